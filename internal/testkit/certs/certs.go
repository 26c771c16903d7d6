// Package certs makes certificates for tests, signed by an authority as in a cluster.
package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/job"
)

// Authority makes the authority of a cluster.
func Authority(t testing.TB) *auth.Authority {
	t.Helper()
	a, err := auth.NewAuthority("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Minion has an authority sign a minion's certificate, issued at an instant, for as
// long as ttl; 0: as usual.
func Minion(t testing.TB, a *auth.Authority, id job.MinionID, at time.Time, ttl time.Duration) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := auth.NewRequest(id, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := a.SignMinion(csr, id, ttl, at)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

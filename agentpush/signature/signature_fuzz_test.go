package signature_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/agentpush/signature"
	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
	"github.com/carillon-cron/carillon/job"
)

// FuzzCheck: whatever comes as a certificate and as a signature, it is answered, and it is
// not taken for a node's word.
func FuzzCheck(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der, []byte("0\x06\x02\x01\x01\x02\x01\x01"), uint32(2), uint32(5), make([]byte, 96))
	fuzzed.Run(f, func(t *testing.T, der, signed []byte, place, count uint32, path []byte) {
		c := signature.NewChecker("m", func(der []byte, _ time.Time) (*x509.Certificate, job.NodeID, error) {
			leaf, err := x509.ParseCertificate(der)
			return leaf, "n", err
		})
		c.Learn([][]byte{der})
		o := full()
		s := &agentpb.Signature{Signer: []byte(signature.CertificateOf(der).ID), Signature: signed, Place: place, Count: count, Path: path}
		if node, err := c.Check(&o, s, noon); err == nil {
			t.Errorf("it is good, of node %s", node)
		}
	})
}

package auth

import (
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
)

// FuzzPEM: certificates, keys and authorities, which come from files and from etcd, are
// read or refused; what is read as an authority can be checked against.
func FuzzPEM(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"), []byte("-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN EC PRIVATE KEY-----\nMA==\n-----END EC PRIVATE KEY-----\n"), []byte{})
	fuzzed.Run(f, func(t *testing.T, cert, key []byte) {
		if c, err := parseCertificate(cert); err == nil && c == nil {
			t.Error("no certificate, and no error")
		}
		if k, err := parseKey(key); err == nil && k == nil {
			t.Error("no key, and no error")
		}
		if c, err := parseCA(cert); err == nil && !c.IsCA {
			t.Error("it is no authority")
		}
		if a, err := ParseAuthority(cert, key); err == nil && a == nil {
			t.Error("no authority, and no error")
		}
	})
}

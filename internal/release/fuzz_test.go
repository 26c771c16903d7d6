package release

import (
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
)

// FuzzParseSigned: no text makes a release that nobody has signed, and none of
// what it claims is read without an error unless it is valid.
func FuzzParseSigned(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	keys := []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}
	fuzzed.Run(f, func(t *testing.T, text []byte) {
		s, err := ParseSigned(text)
		if err != nil {
			return
		}
		if m, err := s.Claims(); err == nil && (m.Release == 0 || m.Expires.IsZero()) {
			t.Errorf("claims %+v are read", m)
		}
		if v, err := s.Verify(keys, 1, time.Unix(0, 0), Floor{}); err == nil {
			t.Errorf("accepted unsigned: %+v", v.Manifest())
		}
	})
}

// FuzzKeys: a file of keys is read or refused; what is read is written and read
// again as the same.
func FuzzKeys(f *testing.F) {
	fuzzed.Run(f, func(t *testing.T, file []byte) {
		if keys, err := ParsePublicKeys(file); err == nil {
			for _, k := range keys {
				again, err := ParsePublicKeys([]byte(FormatPublicKey(k)))
				if err != nil || len(again) != 1 || !again[0].Equal(k) {
					t.Errorf("%x is read again as %x, %v", k, again, err)
				}
			}
		}
		if k, err := ParsePrivateKey(file); err == nil && len(k) != ed25519.PrivateKeySize {
			t.Errorf("a private key of %d bytes", len(k))
		}
	})
}

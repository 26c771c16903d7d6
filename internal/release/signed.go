package release

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// MaxSigned is the largest size of a signed manifest, in bytes: it is a value in
// etcd, and goes to minions.
const MaxSigned = 256 << 10

// signedPrefix comes before the manifest in what is signed, so that a signature
// made for something else is never one of a manifest.
const signedPrefix = "carillon release manifest\n"

// Signature is that of one key.
type Signature struct {
	KeyID KeyID  `json:"keyId"`
	Sig   []byte `json:"sig"`
}

// Signed is a manifest as it travels and lies in files: as JSON.
type Signed struct {
	// Manifest is the exact bytes that were signed.
	Manifest   []byte      `json:"manifest"`
	Signatures []Signature `json:"signatures"`
}

// Sign signs the manifest with each of the keys.
func Sign(m Manifest, keys ...ed25519.PrivateKey) (Signed, error) {
	if len(keys) == 0 {
		return Signed{}, errors.New("sign release: no key: needs one at least")
	}
	b, err := m.Bytes()
	if err != nil {
		return Signed{}, fmt.Errorf("sign release %d: %w", m.Release, err)
	}
	s := Signed{Manifest: b}
	for _, key := range keys {
		s = s.With(key)
	}
	return s, nil
}

// With returns s with one more signature, for keys that are kept in different
// places. A signature that the key has made before is replaced.
func (s Signed) With(key ed25519.PrivateKey) Signed {
	id := IDOf(key.Public().(ed25519.PublicKey))
	out := Signed{Manifest: s.Manifest}
	for _, sig := range s.Signatures {
		if sig.KeyID != id {
			out.Signatures = append(out.Signatures, sig)
		}
	}
	out.Signatures = append(out.Signatures, Signature{KeyID: id, Sig: ed25519.Sign(key, message(s.Manifest))})
	return out
}

// ParseSigned reads the JSON form of a signed manifest. It trusts nothing of it.
func ParseSigned(b []byte) (Signed, error) {
	var s Signed
	if len(b) > MaxSigned {
		return s, fmt.Errorf("%w: signed manifest has %d bytes: must have at most %d", ErrInvalid, len(b), MaxSigned)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("%w: signed manifest: %w", ErrInvalid, err)
	}
	return s, nil
}

// Claims reads the manifest without asking who has signed it, for who shows it
// or passes it on. Nothing is installed by it.
func (s Signed) Claims() (Manifest, error) { return parseManifest(s.Manifest) }

// Floor is what keeps old releases out. It never falls.
type Floor struct {
	// Release is the lowest number a manifest may have.
	Release Number `json:"release"`
	// Minimum is the lowest release that a rollback entry may name.
	Minimum Number `json:"minimum,omitempty"`
}

// Verified is a manifest that Verify has accepted. There is no other way to
// make one that is not empty, so that nothing unsigned is ever installed.
type Verified struct{ manifest Manifest }

// Manifest returns what was verified.
func (v Verified) Manifest() Manifest { return v.manifest }

// Verify accepts the manifest if threshold of the keys (at least one, whatever
// is given) have signed it, if it is valid and has not expired, and if it is not
// older than the floor allows. Otherwise the error wraps every reason; a
// manifest without enough signatures is not read at all.
func (s Signed) Verify(keys []ed25519.PublicKey, threshold int, now time.Time, floor Floor) (Verified, error) {
	threshold = max(threshold, 1)
	good := s.signers(keys)
	if len(good) < threshold {
		return Verified{}, fmt.Errorf("%w: %d of %d trusted keys have signed it, needs %d", ErrSignature, len(good), len(keys), threshold)
	}
	m, err := parseManifest(s.Manifest)
	if err != nil {
		return Verified{}, err
	}
	var errs []error
	if !now.Before(m.Expires) {
		errs = append(errs, fmt.Errorf("release %d (%s): %w: at %s, and it is %s",
			m.Release, m.Version, ErrExpired, m.Expires.Format(time.RFC3339), now.UTC().Format(time.RFC3339)))
	}
	if err := floor.allows(m); err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return Verified{}, errors.Join(errs...)
	}
	return Verified{m}, nil
}

// signers returns the trusted keys that have signed. A key counts once, however
// often it is listed or has signed.
func (s Signed) signers(keys []ed25519.PublicKey) map[KeyID]bool {
	trusted := map[KeyID]ed25519.PublicKey{}
	for _, key := range keys {
		if len(key) == ed25519.PublicKeySize {
			trusted[IDOf(key)] = key
		}
	}
	good := map[KeyID]bool{}
	for _, sig := range s.Signatures {
		if key, ok := trusted[sig.KeyID]; ok && ed25519.Verify(key, message(s.Manifest), sig.Sig) {
			good[sig.KeyID] = true
		}
	}
	return good
}

func message(manifest []byte) []byte { return append([]byte(signedPrefix), manifest...) }

// allows returns nil, or an error that wraps ErrOlder.
func (f Floor) allows(m Manifest) error {
	if m.Release < f.Release {
		return fmt.Errorf("release %d (%s): %w: the floor is %d", m.Release, m.Version, ErrOlder, f.Release)
	}
	if m.RollbackTo != 0 && m.RollbackTo < f.Minimum {
		return fmt.Errorf("release %d (%s): %w: rolls back to %d, and the minimum is %d", m.Release, m.Version, ErrOlder, m.RollbackTo, f.Minimum)
	}
	return nil
}

// after returns the floor once the release is confirmed.
func (f Floor) after(p Program) Floor {
	return Floor{Release: max(f.Release, p.Manifest), Minimum: max(f.Minimum, p.Minimum)}
}

package release

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Each reason for a refusal is told apart from the others.
func TestVerify(t *testing.T) {
	t.Parallel()
	good := func() Manifest { return manifestOf(12, artifactOf([]byte("program"), "https://example.org/worker")) }
	roots := []ed25519.PublicKey{publicKey(1), publicKey(2)}
	all := []error{ErrSignature, ErrInvalid, ErrExpired, ErrOlder}
	for name, c := range map[string]struct {
		change    func(*Manifest)
		signers   []byte
		threshold int
		floor     Floor
		tamper    func(*Signed)
		want      []error
	}{
		"first root":                {signers: []byte{1}},
		"second root":               {signers: []byte{2}},
		"both of both":              {signers: []byte{1, 2}, threshold: 2},
		"a stranger too":            {signers: []byte{9, 1}},
		"at the floor":              {signers: []byte{1}, floor: Floor{Release: 12}},
		"signed rollback":           {signers: []byte{1}, floor: Floor{Release: 11, Minimum: 3}, change: func(m *Manifest) { m.RollbackTo = 3 }},
		"stranger":                  {signers: []byte{9}, want: []error{ErrSignature}},
		"one of two":                {signers: []byte{1}, threshold: 2, want: []error{ErrSignature}},
		"threshold below one":       {signers: []byte{9}, threshold: -1, want: []error{ErrSignature}},
		"no signature":              {signers: []byte{1}, tamper: func(s *Signed) { s.Signatures = nil }, want: []error{ErrSignature}},
		"the same twice":            {signers: []byte{1}, threshold: 2, tamper: func(s *Signed) { s.Signatures = append(s.Signatures, s.Signatures[0]) }, want: []error{ErrSignature}},
		"stranger under our name":   {signers: []byte{9}, tamper: func(s *Signed) { s.Signatures[0].KeyID = IDOf(publicKey(1)) }, want: []error{ErrSignature}},
		"changed":                   {signers: []byte{1}, tamper: func(s *Signed) { s.Manifest = bytes.Replace(s.Manifest, []byte("12"), []byte("13"), 1) }, want: []error{ErrSignature}},
		"signed for something else": {signers: []byte{1}, tamper: func(s *Signed) { s.Signatures[0].Sig = ed25519.Sign(signingKey(1), s.Manifest) }, want: []error{ErrSignature}},
		"expired":                   {signers: []byte{1}, change: func(m *Manifest) { m.Expires = now }, want: []error{ErrExpired}},
		"below the floor":           {signers: []byte{1}, floor: Floor{Release: 13}, want: []error{ErrOlder}},
		"old rollback entry":        {signers: []byte{1}, floor: Floor{Release: 13}, change: func(m *Manifest) { m.RollbackTo = 11 }, want: []error{ErrOlder}},
		"rollback below minimum":    {signers: []byte{1}, floor: Floor{Minimum: 4}, change: func(m *Manifest) { m.RollbackTo = 3 }, want: []error{ErrOlder}},
		"expired and old":           {signers: []byte{1}, floor: Floor{Release: 13}, change: func(m *Manifest) { m.Expires = now.Add(-time.Hour) }, want: []error{ErrExpired, ErrOlder}},
		"expired, not ours":         {signers: []byte{9}, change: func(m *Manifest) { m.Expires = now }, want: []error{ErrSignature}},
		"later format":              {signers: []byte{1}, tamper: resigned(`"format":1`, `"format":2`), want: []error{ErrInvalid}},
		"no JSON":                   {signers: []byte{1}, tamper: resigned(`{`, `<`), want: []error{ErrInvalid}},
		"unknown field":             {signers: []byte{1}, tamper: resigned(`{"format"`, `{"later":true,"format"`)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := good()
			if c.change != nil {
				c.change(&m)
			}
			var keys []ed25519.PrivateKey
			for _, seed := range c.signers {
				keys = append(keys, signingKey(seed))
			}
			s, err := Sign(m, keys...)
			if err != nil {
				t.Fatal(err)
			}
			if c.tamper != nil {
				c.tamper(&s)
			}
			v, err := s.Verify(roots, c.threshold, now, c.floor)
			for _, reason := range all {
				want := false
				for _, w := range c.want {
					want = want || errors.Is(w, reason)
				}
				if errors.Is(err, reason) != want {
					t.Errorf("error %q: is %q = %v", err, reason, !want)
				}
			}
			if err == nil && v.Manifest().Release != 12 || err != nil && v.Manifest().Release != 0 {
				t.Errorf("manifest = %+v, error %v", v.Manifest(), err)
			}
		})
	}
}

// resigned changes the bytes and has the first root sign them.
func resigned(old, changed string) func(*Signed) {
	return func(s *Signed) {
		if !strings.Contains(string(s.Manifest), old) {
			panic("no such text: " + old)
		}
		s.Manifest = []byte(strings.Replace(string(s.Manifest), old, changed, 1))
		*s = s.With(signingKey(1))
	}
}

// Any change of any bit makes the signature bad, and the way through a file changes none.
func TestSignedSurvivesOnlyUnchanged(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := manifestOf(Number(rapid.Int64Range(1, 1<<40).Draw(t, "release")), artifactOf(rapid.SliceOfN(rapid.Byte(), 1, 9).Draw(t, "program"), "file:///x"))
		s, err := Sign(m, signingKey(1))
		if err != nil {
			t.Fatal(err)
		}
		file, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseSigned(file)
		if err != nil {
			t.Fatal(err)
		}
		roots := []ed25519.PublicKey{publicKey(1)}
		if _, err := back.Verify(roots, 1, now, Floor{}); err != nil {
			t.Fatal(err)
		}
		i := rapid.IntRange(0, len(back.Manifest)*8-1).Draw(t, "bit")
		back.Manifest[i/8] ^= 1 << (i % 8)
		if _, err := back.Verify(roots, 1, now, Floor{}); !errors.Is(err, ErrSignature) {
			t.Fatalf("error = %v", err)
		}
	})
}

func TestManifestTellsAllProblems(t *testing.T) {
	t.Parallel()
	m := Manifest{Release: 5, RollbackTo: 5, Minimum: 9, Artifacts: map[Platform]Artifact{"linux/amd64": {URL: "ftp://x/y", Size: -1, SHA256: "AB"}}}
	_, err := Sign(m, signingKey(1))
	if !errors.Is(err, ErrInvalid) {
		t.Fatalf("error = %v", err)
	}
	for _, want := range []string{"version is empty", "expires is missing", "rollbackTo is 5", "minimum is 9", "size is -1", `sha256 is "AB"`, `url is "ftp://x/y"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q: %v", want, err)
		}
	}
}

func TestKeyFiles(t *testing.T) {
	t.Parallel()
	encode := func(kind string, der []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	pub := func(seed byte) string {
		der, err := x509.MarshalPKIXPublicKey(publicKey(seed))
		return encode("PUBLIC KEY", der, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(signingKey(1))
	private := encode("PRIVATE KEY", der, err)
	for name, c := range map[string]struct {
		file string
		want int
		err  string
	}{
		"text":       {file: "# roots\n\n" + FormatPublicKey(publicKey(1)) + "  " + FormatPublicKey(publicKey(2)), want: 2},
		"PEM":        {file: "root one\n" + pub(1) + "\n" + pub(2), want: 2},
		"empty":      {file: "# nothing\n", err: "no key found"},
		"private":    {file: FormatPrivateKey(signingKey(1)), err: "is a private key"},
		"PEM, other": {file: private, err: "must be PUBLIC KEY"},
		"short":      {file: "AAAA\n", err: "has 3 bytes"},
		"all told":   {file: "AAAA\n!\n", err: "key 2: is not base64"},
	} {
		keys, err := ParsePublicKeys([]byte(c.file))
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: error = %v, want %q", name, err, c.err)
		}
		if len(keys) != c.want {
			t.Errorf("%s: %d keys, want %d", name, len(keys), c.want)
		}
		for i, key := range keys {
			if !key.Equal(publicKey(byte(i + 1))) {
				t.Errorf("%s: key %d is another one", name, i)
			}
		}
	}
	for name, file := range map[string]string{"text": FormatPrivateKey(signingKey(1)), "PEM": private} {
		if key, err := ParsePrivateKey([]byte(file)); err != nil || !key.Equal(signingKey(1)) {
			t.Errorf("private key as %s: %v", name, err)
		}
	}
	for name, file := range map[string]string{"public": FormatPublicKey(publicKey(1)), "PEM public": pub(1), "two": private + private, "halves": FormatPrivateKey(append(append(ed25519.PrivateKey{}, signingKey(1)[:32]...), publicKey(2)...))} {
		if _, err := ParsePrivateKey([]byte(file)); err == nil {
			t.Errorf("private key %s was taken", name)
		}
	}
}

package sealkey

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
)

func newKey(t testing.TB) Key {
	t.Helper()
	k, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// keyOfTest is a key that is the same each time, and stored what it has sealed.
const (
	keyOfTest = "csk_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf1g7JMz"
	stored    = "sealed:1:c7290dd77f541fb7:1oKTIYlRwhQ80hGE3sm88IvFC2PnoLj78EszF7afh--ICIM2zi7h_25nlT4QQOCK1-M"
)

func TestKeysHideThemselves(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	read, err := ParseKey(k.Text())
	if err != nil || read.ID() != k.ID() || len(k.ID()) != 16 || k.ID() == newKey(t).ID() {
		t.Fatalf("read again: %v, %v", read, err)
	}
	if said := fmt.Sprintf("%v %+v %#v %s %v %+v %#v", k, k, k, k, NewRing(k), NewRing(k), NewRing(k)); strings.Contains(said, k.Text()[4:20]) {
		t.Errorf("shown with its secret: %s", said)
	}
	wrong := k.Text()[:len(k.Text())-1]
	for _, text := range []string{"", "csk_", wrong, strings.Replace(k.Text(), "csk_", "ct_", 1), k.Text() + "x"} {
		if _, err := ParseKey(text); err == nil || len(text) > 8 && strings.Contains(err.Error(), text[4:12]) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Invariant 1: a value opens under its name only, and by its key only.
func TestI1_ValuesOpenUnderTheirName(t *testing.T) {
	t.Parallel()
	k, other := newKey(t), newKey(t)
	r := NewRing(k)
	for _, value := range []string{"", "x", "-----BEGIN PRIVATE KEY-----", strings.Repeat("long ", 2000)} {
		sealed, err := r.Seal(k.ID(), "auth/ca#key", []byte(value))
		if err != nil || len(value) > 8 && strings.Contains(sealed, value) {
			t.Fatalf("%q: %v", sealed, err)
		}
		if by, ok := SealedBy(sealed); !ok || by != k.ID() || !Begins(sealed) {
			t.Errorf("%q is sealed by %q, %v", sealed, by, ok)
		}
		again, _ := r.Seal(k.ID(), "auth/ca#key", []byte(value))
		if again == sealed {
			t.Error("the same value is sealed as the same text")
		}
		if got, err := r.Open("auth/ca#key", sealed); err != nil || string(got) != value {
			t.Errorf("opened: %q, %v", got, err)
		}
		for _, name := range []string{"", "auth/ca", "auth/ca#keys", "auth/tickets#key"} {
			if got, err := r.Open(name, sealed); err == nil {
				t.Errorf("opened as %s: %q", name, got)
			}
		}
		var missing *NoKeyError
		if _, err := NewRing(other).Open("auth/ca#key", sealed); !errors.As(err, &missing) || missing.ID != k.ID() {
			t.Errorf("by another key: %v", err)
		}
		// Another key's value under this key's id.
		foreign, _ := NewRing(other).Seal(other.ID(), "auth/ca#key", []byte(value))
		if got, err := r.Open("auth/ca#key", strings.Replace(foreign, string(other.ID()), string(k.ID()), 1)); err == nil {
			t.Errorf("another key's: %q", got)
		}
	}
	if _, err := r.Seal(other.ID(), "n", nil); err == nil {
		t.Error("sealed by a key that is not there")
	}
}

// Invariant 2: no letter of a sealed value can be another, and none be missing.
func TestI2_ValuesThatWereChangedDoNotOpen(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	r := NewRing(k)
	// Lengths that leave bits of the last letter without a use, and one that does not.
	for _, value := range []string{"a secre", "a secret", "a secret!"} {
		sealed, err := r.Seal(k.ID(), "n", []byte(value))
		if err != nil {
			t.Fatal(err)
		}
		for i := range sealed {
			letters := "A0_-:"
			if i == len(sealed)-1 {
				letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_="
			}
			for _, c := range []byte(letters) {
				changed := sealed[:i] + string(c) + sealed[i+1:]
				if got, err := r.Open("n", changed); err == nil && changed != sealed {
					t.Fatalf("letter %d is %c: opened as %q", i, c, got)
				}
			}
			if got, err := r.Open("n", sealed[:i]); err == nil {
				t.Fatalf("cut to %d letters: opened as %q", i, got)
			}
		}
		for _, more := range []string{"A", "=", "\n", " "} {
			if got, err := r.Open("n", sealed+more); err == nil {
				t.Errorf("with %q behind it: opened as %q", more, got)
			}
		}
	}
}

// The first key seals, the others open: what one key takes over from another.
func TestRingsTakeKeysOver(t *testing.T) {
	t.Parallel()
	a, b := newKey(t), newKey(t)
	before, after := NewRing(a), NewRing(b, a)
	sealed, err := before.Seal(before.First(), "n", []byte("v"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := after.Open("n", sealed); err != nil || string(got) != "v" {
		t.Errorf("opened by the second key: %q, %v", got, err)
	}
	if after.First() != b.ID() || !slices.Equal(after.IDs(), []ID{b.ID(), a.ID()}) || !after.Has(a.ID()) || before.Has(b.ID()) {
		t.Errorf("the keys are %v", after.IDs())
	}
	if (Ring{}).First() != "" || (Ring{}).Has("") {
		t.Error("no ring has a key")
	}
}

// What is stored stays readable: the form is fixed.
func TestSealedValuesOfVersion1Open(t *testing.T) {
	t.Parallel()
	k, err := ParseKey(keyOfTest)
	if err != nil {
		t.Fatal(err)
	}
	got, err := NewRing(k).Open("/carillon/v1/auth/ca#key", stored)
	if err != nil || string(got) != `"a secret"` {
		t.Errorf("opened: %q, %v", got, err)
	}
}

func FuzzOpen(f *testing.F) {
	k, err := ParseKey(keyOfTest)
	if err != nil {
		f.Fatal(err)
	}
	r := NewRing(k)
	f.Add(stored)
	f.Add("sealed:1:0123456789abcdef:")
	f.Add("sealed:2:0123456789abcdef:AAAA")
	fuzzed.Run(f, func(t *testing.T, text string) {
		by, ok := SealedBy(text)
		if ok && (len(by) != 16 || !Begins(text)) {
			t.Errorf("%q is sealed by %q", text, by)
		}
		if got, err := r.Open("/carillon/v1/auth/ca#key", text); err == nil && text != stored {
			t.Errorf("%q opens as %q", text, got)
		} else if err != nil && len(got) > 0 {
			t.Errorf("%q does not open, and gives %q", text, got)
		}
	})
}

func FuzzFile(f *testing.F) {
	f.Add([]byte(keyOfTest + "\n"))
	f.Add([]byte("# of the cluster\r\n\r\n " + keyOfTest + " \r\n"))
	f.Add([]byte(keyOfTest + "\n" + keyOfTest))
	fuzzed.Run(f, func(t *testing.T, content []byte) {
		r, err := ParseRing(content)
		if err != nil {
			if len(r.IDs()) > 0 {
				t.Errorf("refused, with keys %v", r.IDs())
			}
			return
		}
		if n := len(r.IDs()); n == 0 || n > maxKeys {
			t.Errorf("%d keys", n)
		}
		for i, k := range r.keys {
			if !bytes.Contains(content, []byte(k.Text())) || slices.Index(r.IDs(), k.ID()) != i {
				t.Errorf("the key %v is not in the file, or twice", k)
			}
		}
	})
}

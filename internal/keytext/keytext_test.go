package keytext

import (
	"crypto/rand"
	"errors"
	"strings"
	"testing"
)

func TestTextsAreReadAgain(t *testing.T) {
	t.Parallel()
	secrets := [][32]byte{{}, {31: 1}, {0: 0xff}}
	all := [32]byte{}
	for i := range all {
		all[i] = 0xff
	}
	secrets = append(secrets, all)
	for range 200 {
		var s [32]byte
		if _, err := rand.Read(s[:]); err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, s)
	}
	for _, s := range secrets {
		text := Of("cx_", s)
		if got, err := Secret("cx_", text); err != nil || got != s || len(text) != len("cx_")+Length {
			t.Fatalf("%x as %s was read as %x, %v", s, text, got, err)
		}
		if err := Check("cy_", text); !errors.Is(err, ErrForm) {
			t.Errorf("of another kind: %v", err)
		}
	}
	text := Of("cx_", all)
	for i := len("cx_"); i < len(text); i++ {
		other := text[:i] + string(digits[(strings.IndexByte(digits, text[i])+1)%len(digits)]) + text[i+1:]
		if _, err := Secret("cx_", other); !errors.Is(err, ErrSum) {
			t.Errorf("one letter is another: %v", err)
		}
	}
	// More than 256 bits do not fit, whatever the checksum says.
	body := "cx_" + strings.Repeat("z", secretLength)
	if _, err := Secret("cx_", body+sum(body)); !errors.Is(err, ErrForm) {
		t.Errorf("too many bits: %v", err)
	}
}

package shim

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// pieces writes a text to a masker in pieces, and returns what may be told.
func pieces(m *Masker, text string, size func() int) string {
	var out bytes.Buffer
	for len(text) > 0 {
		n := min(max(size(), 1), len(text))
		out.Write(m.Mask([]byte(text[:n])))
		text = text[n:]
	}
	out.Write(m.Rest())
	return out.String()
}

func TestMask(t *testing.T) {
	t.Parallel()
	pem := "-----BEGIN-----\nAAAABBBBCCCC\n-----END-----"
	for name, c := range map[string]struct {
		texts      []string
		text, want string
	}{
		"once":           {[]string{"secret"}, "a secret b", "a *** b"},
		"side by side":   {[]string{"secret"}, "secretsecret", "******"},
		"almost":         {[]string{"secret"}, "secresecret secre", "secre*** secre"},
		"itself again":   {[]string{"aab"}, "aaab", "a***"},
		"the longer one": {[]string{"abc", "abcdef"}, "abcdef abcde", "*** ***de"},
		"lines":          {[]string{pem}, "  AAAABBBBCCCC\r\n", "  ***\r\n"},
		"as a whole":     {[]string{pem}, "<" + pem + ">", "<***>"},
		"short lines":    {[]string{"ab\ncd"}, "ab cd", "ab cd"},
	} {
		for n := 1; n <= len(c.text); n++ {
			if got := pieces(NewMasker(c.texts), c.text, func() int { return n }); got != c.want {
				t.Errorf("%s, in pieces of %d: %q, want %q", name, n, got, c.want)
			}
		}
	}
}

// However a stream is cut, it comes to the same, and a text of one piece is not in it.
func TestMaskIsTheSameInPieces(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		word := rapid.StringMatching(`[ab]{2,5}`)
		texts := rapid.SliceOfN(word, 1, 3).Draw(rt, "texts")
		text := strings.Join(rapid.SliceOf(rapid.OneOf(word, rapid.SampledFrom(texts))).Draw(rt, "stream"), rapid.SampledFrom([]string{"", " "}).Draw(rt, "between"))
		size := rapid.IntRange(1, 7)
		whole := pieces(NewMasker(texts), text, func() int { return len(text) })
		cut := pieces(NewMasker(texts), text, func() int { return size.Draw(rt, "size") })
		if whole != cut {
			rt.Fatalf("%q without %q: %q as a whole, %q in pieces", text, texts, whole, cut)
		}
		for _, secret := range texts {
			if strings.Contains(cut, secret) {
				rt.Fatalf("%q without %q: %q", text, texts, cut)
			}
		}
	})
}

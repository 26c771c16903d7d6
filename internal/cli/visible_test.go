package cli

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
)

// TestVisible: what a terminal would obey is shown, in whatever pieces it comes;
// letters of all scripts stay.
func TestVisible(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain\n\ttext":          "plain\n\ttext",
		"\x1b[2J\x1b]0;title\a":  `\x1b[2J\x1b]0;title\x07`,
		"50%\r100%\r\ndone\r":    `50%\r100%` + "\r\n" + `done\r`,
		"\x00\b\x7f":             `\x00\x08\x7f`,
		"\u009b31m":              `\x9b31m`,
		"rm \u202etxt.\u2066exe": `rm \u202etxt.\u2066exe`,
		"a\u200eb\u061cc\u2028d": `a\u200eb\u061cc\u2028d`,
		"\U000e0041":             `\U000e0041`,
		"\xff\xfe ok \xe2\x82":   "\ufffd\ufffd ok \ufffd\ufffd",
		"žluťoučký עברית 日本 👩\u200d🚀": "žluťoučký עברית 日本 👩\u200d🚀",
	} {
		for size := 1; size <= len(in); size++ {
			var out bytes.Buffer
			v := &visible{w: &out}
			for rest := in; rest != ""; {
				n := min(size, len(rest))
				if m, err := v.Write([]byte(rest[:n])); m != n || err != nil {
					t.Fatal(m, err)
				}
				rest = rest[n:]
			}
			if err := v.flush(); err != nil {
				t.Fatal(err)
			}
			if out.String() != want {
				t.Fatalf("%q in pieces of %d: %q, want %q", in, size, out.String(), want)
			}
		}
	}
}

// FuzzVisible: nothing that a terminal obeys gets through.
func FuzzVisible(f *testing.F) {
	for _, seed := range []string{"", "plain", "\x1b[31mred\x1b[0m\r\n", "\u202e\xff\xc2", "\x9b\u009b"} {
		f.Add([]byte(seed), 3)
	}
	fuzzed.Run(f, func(t *testing.T, in []byte, cut int) {
		var out bytes.Buffer
		v := &visible{w: &out}
		cut = max(min(cut, len(in)), 0)
		_, _ = v.Write(in[:cut])
		_, _ = v.Write(in[cut:])
		_ = v.flush()
		if !utf8.Valid(out.Bytes()) {
			t.Errorf("%q becomes bad UTF-8: %q", in, out.Bytes())
		}
		for _, r := range strings.ReplaceAll(out.String(), "\r\n", "") {
			if r != '\n' && r != '\t' && obeyed(r) {
				t.Errorf("%q: %q gets through", in, r)
			}
		}
	})
}

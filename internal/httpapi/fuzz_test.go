package httpapi

import (
	"net/http"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
)

// FuzzWords: what a request says in its query and its headers is read as it is, or is
// refused; nothing of a token is in what is told of it.
func FuzzWords(f *testing.F) {
	f.Add("team=web", "Bearer ct_secret", "01HX.a_b-c")
	f.Add("=", "bearer", strings.Repeat("x", 200))
	f.Add("a=b=c", "Basic bWU6bWU=", "a b\x00")
	fuzzed.Run(f, func(t *testing.T, pair, header, word string) {
		if got, err := parsePairs("label", []string{pair}); err == nil {
			for k, v := range got {
				if k == "" || k+"="+v != pair {
					t.Errorf("%q is %q=%q", pair, k, v)
				}
			}
		}
		token, shown, err := bearer([]string{header})
		if shown && !strings.Contains(header, token) {
			t.Errorf("%q shows %q", header, token)
		}
		if err != nil && token != "" {
			t.Errorf("%q: %v and a token", header, err)
		}
		if isRequestID(word) && (len(word) > maxRequestID || strings.ContainsAny(word, " \r\n\x00\x1b\"'<>\u202e")) {
			t.Errorf("%q is taken for a request's id", word)
		}
		r := &http.Request{Header: http.Header{"X-W": {word}}}
		if got := ownWord(r, "X-W", 10); strings.ContainsAny(got, "\r\n\x00\x1b\u202e") {
			t.Errorf("%q is kept as %q", word, got)
		}
	})
}

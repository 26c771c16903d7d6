package pagecookie

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
)

// FuzzCookie: a session is read from the cookie of its own name only.
func FuzzCookie(f *testing.F) {
	f.Add("carillon-session=abc", false)
	f.Add("__Host-carillon=abc; carillon-session=x", true)
	f.Add(`carillon-session="a b"; =; ;`, false)
	fuzzed.Run(f, func(t *testing.T, header string, secure bool) {
		r := &http.Request{Header: http.Header{"Cookie": {header}}}
		if secure {
			r.TLS = &tls.ConnectionState{}
		}
		if got := Of(r); got != "" && (!strings.Contains(header, name(r)) || !strings.Contains(header, got)) {
			t.Errorf("%q holds the session %q", header, got)
		}
	})
}

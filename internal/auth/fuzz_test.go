package auth

import (
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
	"github.com/carillon-cron/carillon/job"
)

// FuzzParseToken: what is read as a token is written as it was, and shows its
// secret only where that is asked for.
func FuzzParseToken(f *testing.F) {
	fuzzed.Run(f, func(t *testing.T, text string) {
		token, err := ParseToken(text)
		switch {
		case err != nil:
			if trimmed := strings.TrimSpace(text); len(trimmed) > 40 && strings.Contains(err.Error(), trimmed) {
				t.Errorf("the error repeats what may be a secret: %v", err)
			}
		case token.Text() != strings.TrimSpace(text):
			t.Errorf("%q is written as %q", text, token.Text())
		case strings.Contains(token.String(), token.secret) && !strings.Contains(token.CAHash, token.secret): // it may be made so
			t.Errorf("%v shows its secret", token)
		}
	})
}

// FuzzCheckRequest: whatever is sent as a request for a certificate is refused,
// or is signed by its own key and for that minion.
func FuzzCheckRequest(f *testing.F) {
	fuzzed.Run(f, func(t *testing.T, csr []byte, id string) {
		r, err := CheckRequest(csr, job.MinionID(id))
		if err != nil {
			return
		}
		if err := r.CheckSignature(); err != nil {
			t.Errorf("accepted unsigned: %v", err)
		}
	})
}

package starts

import (
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
)

// FuzzHookBody: whatever a webhook is called with, what is not ours is refused, or not
// looked at where another signs it.
func FuzzHookBody(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"params":{"a":"b"}}`, `{"type":"push","data":{}}`, `{"params":{"a":"b"}} {}`, `[[[`, "null", `{"params":null,"params":{"a":"b"}}`} {
		f.Add([]byte(seed))
	}
	fuzzed.Run(f, func(t *testing.T, body []byte) {
		ours, err := paramsOf(body, false)
		theirs, foreign := paramsOf(body, true)
		if foreign != nil {
			t.Errorf("another's form is refused: %v", foreign)
		}
		if err == nil && len(ours) != len(theirs) {
			t.Errorf("%q is read as %v, of another as %v", body, ours, theirs)
		}
	})
}

package job

import (
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
)

// FuzzParseFireID: what is read as a fire's id is written so that it is read as
// the same.
func FuzzParseFireID(f *testing.F) {
	fuzzed.Run(f, func(t *testing.T, text string) {
		id, err := ParseFireID(text)
		if err != nil {
			return
		}
		if again, err := ParseFireID(id.String()); err != nil || again != id {
			t.Errorf("%q is %v, and again %v, %v", text, id, again, err)
		}
	})
}

package history

import (
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
)

// FuzzParseCursor: what is read as a cursor is written so that it is read as the
// same.
func FuzzParseCursor(f *testing.F) {
	fuzzed.Run(f, func(t *testing.T, text string) {
		p, err := ParseCursor(text)
		if err != nil {
			return
		}
		if again, err := ParseCursor(p.Cursor()); err != nil || again != p {
			t.Errorf("%q is %+v, and again %+v, %v", text, p, again, err)
		}
	})
}

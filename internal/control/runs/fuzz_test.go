package runs

import (
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
)

// FuzzCursor: a cursor that is taken is written so that it is read as the same.
func FuzzCursor(f *testing.F) {
	f.Add("")
	f.Add("01890a5d-ac96-774b-bcce-b302099a8057~1800000000000000000~x")
	f.Add("~")
	fuzzed.Run(f, func(t *testing.T, text string) {
		c, err := parseCursor(text)
		if err != nil {
			return
		}
		if again, err := parseCursor(c.String()); err != nil || again != c {
			t.Errorf("%q is %+v, and again %+v, %v", text, c, again, err)
		}
	})
}

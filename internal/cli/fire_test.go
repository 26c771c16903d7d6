package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
)

// FuzzFireName: what is read as JOB@TIME is the job and the instant that it says.
func FuzzFireName(f *testing.F) {
	fuzzed.Run(f, func(t *testing.T, text string) {
		name, at, err := fireName(text)
		if err != nil {
			return
		}
		if again, at2, err := fireName(name + "@" + at.Format(time.RFC3339Nano)); err != nil || again != name || !at2.Equal(at) || strings.Contains(name, "@") {
			t.Errorf("%q is %q at %v, and again %q at %v, %v", text, name, at, again, at2, err)
		}
	})
}

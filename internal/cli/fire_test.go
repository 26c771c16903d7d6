package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
)

var fireNow = time.Date(2027, 1, 31, 18, 0, 30, 0, time.UTC)

// TestFireTime: the forms in which times are shown, and those that people type.
func TestFireTime(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for when, want := range map[string]string{
		"2027-01-31T02:30:00Z":     "2027-01-31T02:30:00Z",
		"2027-01-31 02:30:00 CET":  "2027-01-31T01:30:00Z",
		"2027-01-31 02:30:00 UTC":  "2027-01-31T02:30:00Z",
		"2026-10-25 02:30:00 CET":  "2026-10-25T01:30:00Z", // twice that day
		"2026-10-25 02:30:00 CEST": "2026-10-25T00:30:00Z",
		"2027-01-31 02:30":         "2027-01-31T01:30:00Z",
		"17:50":                    "2027-01-31T16:50:00Z",
		"-10m":                     "2027-01-31T17:50:00Z",
		"2027-01-31 02:30:00 EST":  "",
		"2027-07-31 02:30:00 CET":  "", // there is none in summer
		"--10m":                    "",
		"25:00":                    "",
		"":                         "",
	} {
		at, ok := fireTime(when, fireNow, berlin)
		if ok != (want != "") || ok && at.UTC().Format(time.RFC3339) != want {
			t.Errorf("%q: %s, %v, want %q", when, at.UTC(), ok, want)
		}
	}
}

// FuzzFireName: what is read as JOB@TIME is the job and the instant that it says.
func FuzzFireName(f *testing.F) {
	fuzzed.Run(f, func(t *testing.T, text string) {
		name, at, err := fireName(text, fireNow, time.UTC)
		if err != nil {
			return
		}
		if again, at2, err := fireName(name+"@"+at.Format(time.RFC3339Nano), fireNow, time.UTC); err != nil || again != name || !at2.Equal(at) || strings.Contains(name, "@") {
			t.Errorf("%q is %q at %v, and again %q at %v, %v", text, name, at, again, at2, err)
		}
	})
}

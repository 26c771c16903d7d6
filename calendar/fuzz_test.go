package calendar

import (
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
	"github.com/carillon-cron/carillon/job"
)

// FuzzICS: whatever a calendar file holds, it is refused or looked at within its
// cost, at any instant (C1, C2, C4).
func FuzzICS(f *testing.F) {
	f.Add(ics, int64(1_800_000_000))
	fuzzed.Run(f, func(t *testing.T, text string, at int64) {
		c, problems := New("c", &job.CalendarSpec{ICS: text})
		if len(problems) > 0 {
			return
		}
		if c.cost > MaxCost {
			t.Fatalf("a look costs %d steps", c.cost)
		}
		const years = 200 * 366 * 24 * 60 * 60
		when := time.Unix(at%years, 0)
		if _, until, closed := c.Closed(when); closed && !until.After(when) {
			t.Errorf("closed at %v until %v", when, until)
		}
		got, _, ok := Set{c}.Resolve(when, time.UTC, NewWork(SearchSteps))
		if _, _, closed := c.Closed(got); ok && closed {
			t.Errorf("%v goes to %v, which is closed", when, got)
		}
	})
}

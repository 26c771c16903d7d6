package calendar

import (
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
	"github.com/carillon-cron/carillon/job"
)

// FuzzDays: whatever days and windows a calendar is made of, it is refused or looked at
// within its cost, at any instant.
func FuzzDays(f *testing.F) {
	f.Add("2027-12-24 Christmas Eve", "MON-FRI", "0 2 * * SUN for 2h: patching", "Europe/Berlin", int64(1_800_000_000))
	f.Add("02-29..03-01", "sat-mon", "2027-03-01T20:00:00Z..2027-03-02T04:00:00Z: move", "", int64(0))
	f.Add("0000-01-01..9999-12-31", "", "@every 1s for 744h", "America/St_Johns", int64(-1))
	fuzzed.Run(f, func(t *testing.T, day, weekday, window, zone string, at int64) {
		spec := &job.CalendarSpec{TimeZone: zone}
		if day != "" {
			spec.Closed = []string{day}
		}
		if weekday != "" {
			spec.Weekdays = []string{weekday}
		}
		if window != "" {
			spec.Windows = []string{window}
		}
		c, problems := New("c", spec)
		if len(problems) > 0 {
			return
		}
		const years = 200 * 366 * 24 * 60 * 60
		when := time.Unix(at%years, 0)
		if _, until, closed := c.Closed(when); closed && !until.After(when) {
			t.Errorf("closed at %v until %v", when, until)
		}
	})
}

package plan

import (
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/calendar"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// library is the calendars of a test.
type library map[job.Key]Calendar

func (l library) Calendar(k job.Key) (Calendar, bool) {
	c, ok := l[k]
	return c, ok
}

var begin = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC) // a Friday

func timingOf(t *testing.T, spec job.Spec) Timing {
	t.Helper()
	out := Timing{Optional: &Optional{End: Never}}
	if err := out.Read(job.Key{Namespace: "t", Name: "j"}, &spec, begin, schedule.NewCache()); err != nil {
		t.Fatal(err)
	}
	return out
}

func businessDays(t *testing.T) *calendar.Calendar {
	t.Helper()
	c, problems := calendar.New("t/weekdays", &job.CalendarSpec{Weekdays: []string{"MON-FRI"}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return c
}

// Up to the end of each earlier schedule that one holds, and from there on the next
// (I25 of package scheduler). A deleted job is due up to its deletion, and closed.
func TestI25_EarlierSchedulesHoldUpToTheirEnds(t *testing.T) {
	t.Parallel()
	at := func(h int) int64 { return begin.Add(time.Duration(h) * time.Hour).UnixNano() }
	now := timingOf(t, job.Spec{Schedules: []string{"0 */6 * * *"}})
	now.Optional.Holds = at(5)
	now.Optional.Earlier = []Earlier{
		{Timing: timingOf(t, job.Spec{Schedules: []string{"0 * * * *"}}), Until: at(2)},
		{Timing: timingOf(t, job.Spec{Schedules: []string{"30 * * * *"}}), Since: at(2), Until: at(4), Disabled: at(4)},
	}
	var look Look
	var got []string
	for next := now.NextAfter(&look, at(0)); next <= at(12); next = now.NextAfter(&look, next) {
		what := time.Unix(0, next).UTC().Format("15:04")
		if why := now.Closed(&look, next); why != "" {
			what += " closed"
			if !strings.Contains(why, "was disabled at 2027-01-01T04:00:00Z") {
				t.Errorf("%s: %s", what, why)
			}
		}
		got = append(got, what)
	}
	if s := strings.Join(got, ", "); s != "01:00, 02:00, 02:30 closed, 03:30 closed, 06:00, 12:00" {
		t.Errorf("due at %s", s)
	}
	now.Gone, now.Optional.Deleted = true, at(3)
	if n := now.NextAfter(&look, at(2)); n != at(2)+int64(30*time.Minute) || !strings.Contains(now.Closed(&look, n), "was deleted at 2027-01-01T03:00:00Z") {
		t.Errorf("before its deletion it is due at %v, closed by %q", time.Unix(0, n).UTC(), now.Closed(&look, n))
	}
	if n := now.NextAfter(&look, at(3)); n != Never {
		t.Errorf("after its deletion it is due at %v", time.Unix(0, n).UTC())
	}
}

// A job keeps to its calendars: what they exclude is closed, or moved. One that is not
// there, or cannot be used, lets it not run, and says so (I21 of package scheduler).
func TestI21_CalendarsCloseMoveOrSetAside(t *testing.T) {
	t.Parallel()
	key := job.Key{Namespace: "t", Name: "weekdays"}
	usable := library{key: {Calendar: businessDays(t)}}
	saturday := begin.Add(36 * time.Hour)
	for name, c := range map[string]struct {
		calendars library
		moves     job.OnExcluded
		due       time.Time
		why       string
	}{
		"closed":        {calendars: usable, due: saturday, why: "calendar t/weekdays"},
		"moved":         {calendars: usable, moves: job.ExcludedNext, due: begin.Add(72 * time.Hour)},
		"not there":     {calendars: library{}, due: saturday, why: "its calendar t/weekdays is not there"},
		"cannot be":     {calendars: library{key: {Wrong: "no such day"}}, due: saturday, why: "cannot be used: no such day"},
		"moved, wrong":  {calendars: library{key: {Wrong: "no such day"}}, moves: job.ExcludedNext, due: saturday, why: "cannot be used: no such day"},
		"moved, nobody": {calendars: library{}, moves: job.ExcludedNext, due: saturday, why: "is not there"},
	} {
		timing := timingOf(t, job.Spec{Schedules: []string{"0 12 * * SAT"}, Calendars: []string{"weekdays"}, OnExcluded: c.moves})
		look := Look{Calendars: c.calendars}
		next := timing.NextAfter(&look, begin.UnixNano())
		if got := time.Unix(0, next).UTC(); c.moves == job.ExcludedNext && c.why == "" {
			if got.Weekday() != time.Monday {
				t.Errorf("%s: moved to %v", name, got)
			}
		} else if !got.Equal(c.due) {
			t.Errorf("%s: due at %v, want %v", name, got, c.due)
		}
		if why := timing.Closed(&look, next); (c.why == "") != (why == "") || !strings.Contains(why, c.why) {
			t.Errorf("%s: closed by %q, want %q", name, why, c.why)
		}
		if wrong := timing.SetAside(&look) != ""; wrong != strings.Contains(c.why, "cannot be used") {
			t.Errorf("%s: set aside: %v", name, wrong)
		}
	}
}

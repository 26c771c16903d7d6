package plan

import (
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/calendar"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// A job's calendars say when it is not to run. What is due then is recorded as
// skipped, or is moved: the job is then due at the instants to which its
// schedule's are moved, each once, and these are what its fires are named by.
//
// How much is looked at is bounded by steps that are counted, so that no job keeps
// the others of its shard waiting. A job of which more would have to be looked at
// is set aside: its schedule goes on as it is written, and each occurrence is
// recorded as skipped with the reason, until the job or a calendar changes.

// Calendar is a stored calendar as jobs use it.
type Calendar struct {
	// Calendar is nil when it cannot be used; Wrong is why then.
	Calendar *calendar.Calendar
	Wrong    string
}

// Calendars finds calendars.
type Calendars interface {
	// Calendar returns a calendar by its name; false: there is none.
	Calendar(key job.Key) (Calendar, bool)
}

// Look is what timings are looked at with. It is not safe for concurrent use.
type Look struct {
	Calendars Calendars
	// Steps counts the steps of looks at calendars. Whoever bounds them sets it back.
	Steps int
}

// MaxSteps bounds the steps of all looks at calendars that one plan ought to take;
// what it leaves goes into the next one.
const MaxSteps = 2 * calendar.SearchSteps

// set returns a job's calendars. why tells that they do not let it run at all: one is
// not there, so nobody can know what it says, or it cannot be used, or the job is set
// aside.
func (t *Timing) set(look *Look) (set calendar.Set, why string) {
	r := t.Optional
	if r.Aside != "" {
		return nil, r.Aside
	}
	for _, k := range r.Calendars {
		c, ok := look.Calendars.Calendar(k)
		switch {
		case !ok:
			return nil, fmt.Sprintf("its calendar %s is not there", k)
		case c.Wrong != "":
			r.Aside = fmt.Sprintf("its calendar %s cannot be used: %s", k, c.Wrong)
			return nil, r.Aside
		}
		set = append(set, c.Calendar)
	}
	if why := set.TooMuch(); why != "" {
		r.Aside = why
		return nil, why
	}
	return set, ""
}

// SetAside returns why the job is set aside; empty: it is not.
func (t *Timing) SetAside(look *Look) string {
	if t.Optional == nil {
		return ""
	}
	if len(t.Optional.Calendars) > 0 {
		t.set(look)
	}
	return t.Optional.Aside
}

// closedByCalendar returns why a job's calendars do not let it run at an instant;
// empty: they do.
func (t *Timing) closedByCalendar(look *Look, at int64) string {
	if t.Optional == nil || len(t.Optional.Calendars) == 0 {
		return ""
	}
	set, why := t.set(look)
	if why != "" {
		return why
	}
	why, _, _ = set.Closed(time.Unix(0, at))
	return why
}

// Cost is how many steps it takes to see whether an occurrence may run.
func (t *Timing) Cost(look *Look) int {
	if t.Optional == nil || len(t.Optional.Calendars) == 0 && len(t.Optional.Earlier) == 0 {
		return 0
	}
	set, _ := t.set(look)
	cost := set.Cost()
	for i := range t.Optional.Earlier {
		cost += t.Optional.Earlier[i].Timing.Cost(look)
	}
	return cost
}

// nextOwn returns the first instant of the job's own schedule after another, with its
// calendars, or Never.
func (t *Timing) nextOwn(look *Look, after int64) int64 {
	if t.Optional == nil || !t.Optional.Moves {
		return t.Next(after)
	}
	set, why := t.set(look)
	if why != "" {
		return t.Next(after) // and skipped
	}
	zone, err := schedule.LoadZone(t.Optional.Zone)
	if err != nil {
		zone = time.UTC // it could be read before
	}
	work := calendar.NewWork(calendar.SearchSteps)
	at, ok := set.NextMoved(time.Unix(0, after), zone, work, func(after time.Time) (time.Time, bool) {
		n := t.Next(after.UnixNano())
		return time.Unix(0, n), n != Never
	})
	look.Steps += calendar.SearchSteps - work.Left()
	switch {
	case work.Over():
		t.Optional.Aside = calendar.TooFar
		return t.Next(after)
	case !ok:
		return Never
	}
	return at.UnixNano()
}

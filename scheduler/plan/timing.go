package plan

import (
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// Never is the instant of what does not come.
const Never = int64(1<<63 - 1)

// Timing is when a job is due. There may be a million of them, so it is small.
// Instants are nanoseconds since the Unix epoch.
type Timing struct {
	// Set is the job's schedule; empty: it has none.
	Set schedule.Set
	// Optional is what few jobs have; nil: nothing.
	Optional *Optional
	// Gone: the job was deleted.
	Gone bool
}

// Optional are the settings that few jobs have.
type Optional struct {
	// Calendars are those that the job keeps to; Moves: what they exclude is moved, by
	// the clock of Zone.
	Calendars []job.Key
	Moves     bool
	Zone      string
	// Since is from when its schedule holds, with calendars. Aside is why the job is
	// set aside; empty: it is not.
	Since int64
	Aside string
	// Start and End bound the schedule; 0 and Never are no bounds.
	Start, End int64
	// Earlier are the schedules that the job had before, as far as that matters still;
	// its own holds after Holds. Deleted, unless 0, is when it was deleted: what was due
	// before is planned, to be recorded.
	Earlier        []Earlier
	Holds, Deleted int64
	// CatchUp is how far back misfires are run, Jitter spreads starts; 0: not bounded,
	// and not spread.
	CatchUp, Jitter time.Duration
	// After are the jobs for whose ends the job waits, if for more than one.
	After []job.Key
	// Watch is the key that it watches; nil: none.
	Watch *job.Watch
	// OnStart: it starts with the hosts of its minions, unless it is Disabled.
	OnStart, Disabled bool
	// Ping is the check that is told of its runs; nil: none.
	Ping *job.Ping
	// PauseAfter is after how many failures in a row it is paused; 0: never.
	PauseAfter int
	// Bounds are what those who stored the job may have started. Empty: anything.
	Bounds job.Bounds
}

// Earlier is a schedule that a job had before. An edit that changes when a job is due,
// or its deletion, holds from an instant on. Up to there the schedule that was replaced
// holds, whenever an owner comes to it (I25 of package scheduler).
type Earlier struct {
	// Timing is the schedule with its calendars.
	Timing Timing
	// Since and Until bound the instants: after Since, up to and with Until.
	Since, Until int64
	// Disabled is when the job was disabled after it, 0: it was not.
	Disabled int64
}

// Read takes from a job's spec when it is due; counted is from when spec.Count counts.
// Optional must be set, and gets what belongs there.
func (t *Timing) Read(key job.Key, spec *job.Spec, counted time.Time, cache *schedule.Cache) error {
	r := t.Optional
	r.Calendars, r.Moves, r.Zone = spec.CalendarKeys(key.Namespace), spec.OnExcluded == job.ExcludedNext, spec.TimeZone
	if spec.StartAt != nil {
		r.Start = spec.StartAt.UnixNano()
	}
	if spec.EndAt != nil {
		r.End = spec.EndAt.UnixNano()
	}
	if spec.IsEnabled() && len(spec.Schedules) > 0 {
		var err error
		if t.Set, err = cache.ParseSet(spec.Schedules, schedule.OptionsOf(key, spec)); err != nil {
			return err
		}
	}
	if spec.Count > 0 {
		if last, ok := t.Set.Nth(spec.Count, time.Unix(0, max(counted.UnixNano(), r.Start-1))); ok {
			r.End = min(r.End, last.UnixNano())
		}
	}
	return nil
}

// ReadEarlier is Read for a schedule that a job had up to an instant.
func ReadEarlier(key job.Key, spec *job.Spec, counted, until time.Time, cache *schedule.Cache) (Timing, error) {
	t := Timing{Optional: &Optional{End: Never}}
	if err := t.Read(key, spec, counted, cache); err != nil {
		return Timing{}, fmt.Errorf("the schedule that it had up to %s: %w", until.Format(time.RFC3339), err)
	}
	return t, nil
}

// Next returns the first instant of the job's own schedule after t, as it is written
// and within its bounds, or Never.
func (t *Timing) Next(after int64) int64 {
	if len(t.Set) == 0 || t.Gone && (t.Optional == nil || t.Optional.Deleted == 0) {
		return Never
	}
	end := Never
	if t.Optional != nil {
		after, end = max(after, t.Optional.Start-1), t.Optional.End
	}
	n, ok := t.Set.Next(time.Unix(0, after))
	if !ok || n.UnixNano() > end {
		return Never
	}
	return n.UnixNano()
}

// earlierAt returns the earlier schedule that an instant is of; nil: it is of the
// present one.
func (r *Optional) earlierAt(at int64) *Earlier {
	for i := range r.Earlier {
		if e := &r.Earlier[i]; at > e.Since && at <= e.Until {
			return e
		}
	}
	return nil
}

// NextAfter returns the first instant after another at which the job is due, by the
// schedule that holds then and its calendars, or Never.
func (t *Timing) NextAfter(look *Look, after int64) int64 {
	if t.Optional == nil || t.Optional.Earlier == nil && t.Optional.Deleted == 0 {
		return t.nextOwn(look, after)
	}
	n := t.nextOfAny(look, after)
	if t.Gone && n > t.Optional.Deleted {
		return Never
	}
	return n
}

func (t *Timing) nextOfAny(look *Look, after int64) int64 {
	for i := range t.Optional.Earlier {
		e := &t.Optional.Earlier[i]
		if after >= e.Until {
			continue
		}
		if n := e.Timing.nextOwn(look, max(after, e.Since)); n <= e.Until {
			return n
		}
	}
	return t.nextOwn(look, max(after, t.Optional.Holds))
}

// Closed returns why the job does not run at an instant, by itself and by its
// calendars; empty: it does.
func (t *Timing) Closed(look *Look, at int64) string {
	if t.Optional == nil {
		return ""
	}
	if t.Gone {
		return "the job was deleted at " + inWords(t.Optional.Deleted) + whyBehind
	}
	if e := t.Optional.earlierAt(at); e != nil {
		if e.Disabled != 0 {
			return "the job was disabled at " + inWords(e.Disabled) + whyBehind
		}
		t = &e.Timing
	}
	return t.closedByCalendar(look, at)
}

// whyBehind follows on what was done to a job after an instant, and before that
// was committed.
const whyBehind = ", before this occurrence was committed"

// inWords tells people an instant; 0 is no instant.
func inWords(n int64) string {
	if n == 0 {
		return time.Time{}.Format(time.RFC3339)
	}
	return time.Unix(0, n).UTC().Format(time.RFC3339)
}

// Open counts instants of the job, from one on and before another, that closed does
// not close, as far as limit. It looks at most instants, and takes steps up to budget.
func (t *Timing) Open(look *Look, from, before int64, limit, most, budget int, closed func(int64) string) int {
	n := 0
	cost := t.Cost(look)
	for at, looked := from, 0; at < before && n < limit && looked < most && look.Steps < budget; at, looked = t.NextAfter(look, at), looked+1 {
		look.Steps += cost
		if closed(at) == "" {
			n++
		}
	}
	return n
}

package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/calendar"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/jobstore"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// Why a job runs at no time to come, as far as that is known now. The words are
// short, for a column.
const (
	NeverPaused   = "paused"
	NeverDisabled = "not enabled"
	NeverEnded    = "ended"
	NeverCounted  = "count used up"
	NeverClosed   = "closed"
	NeverSetAside = "set aside"
	NeverDue      = "never due"
	NeverReadable = "schedule not readable"
	NeverSearched = "not found" // the search took too many steps
)

// How far a next instant is looked for: of one job, and of each in a list.
const (
	outlookJumps   = 1000
	outlookSteps   = calendar.SearchSteps
	outlookForList = calendar.SearchSteps / 20
)

// outlook is all that decides when a job runs next.
type outlook struct {
	job *job.Job
	set schedule.Set
	// from and end bound the instants: after the one, up to and with the other;
	// zero: no bound. ended tells which bound the end is.
	from, end time.Time
	ended     string
	pauses    []etcdkv.Pause
	calendars calendar.Set
	// closed is why its calendars let it run at no time; empty: they do.
	closed string
	moves  bool
	zone   *time.Location
}

// newOutlook works out the bounds of a job. Calendars and pauses are added by who
// has read them.
func newOutlook(j *job.Job, set schedule.Set) *outlook {
	o := &outlook{job: j, set: set, from: j.After, zone: time.UTC, moves: j.Spec.OnExcluded == job.ExcludedNext}
	if zone, err := schedule.LoadZone(j.Spec.TimeZone); err == nil {
		o.zone = zone
	}
	start := time.Time{}
	if j.Spec.StartAt != nil {
		start = j.Spec.StartAt.Add(-1)
	}
	o.from = jobstore.Later(o.from, start)
	if j.Spec.EndAt != nil {
		o.end, o.ended = *j.Spec.EndAt, NeverEnded
	}
	if j.Spec.Count > 0 {
		last, ok := set.Nth(j.Spec.Count, jobstore.Later(j.CountedFrom, start))
		if ok && (o.end.IsZero() || last.Before(o.end)) {
			o.end, o.ended = last, NeverCounted
		}
	}
	return o
}

// own returns the first instant of the schedule after t, within its bounds.
func (o *outlook) own(t time.Time) (time.Time, bool) {
	next, ok := o.set.Next(jobstore.Later(t, o.from))
	if !ok || !o.end.IsZero() && next.After(o.end) {
		return time.Time{}, false
	}
	return next, true
}

// next returns the job's first instant after t; what calendars move is where it
// is moved to.
func (o *outlook) next(t time.Time, work *calendar.Work) (time.Time, bool) {
	if !o.moves || len(o.calendars) == 0 || o.closed != "" {
		return o.own(t)
	}
	return o.calendars.NextMoved(t, o.zone, work, o.own)
}

// why returns why the job is not run at an instant, and until when that holds
// (zero: it is not known); empty: it is run.
func (o *outlook) why(at time.Time) (short, long string, until time.Time) {
	if o.closed != "" {
		return NeverClosed, o.closed, until
	}
	for i := range o.pauses {
		p := &o.pauses[i]
		if p.Covers(o.job.Key(), o.job.Spec.Group, at) {
			if p.Until.IsZero() {
				return NeverPaused, pauseWords(p), time.Time{}
			}
			short, long, until = NeverPaused, pauseWords(p), jobstore.Later(until, p.Until)
		}
	}
	if long != "" {
		return short, long, until
	}
	if reason, until, closed := o.calendars.Closed(at); closed {
		return NeverClosed, reason, until
	}
	return "", "", until
}

// pauseWords tells of a pause in a line.
func pauseWords(p *etcdkv.Pause) string {
	text := "paused"
	if p.Scope != etcdkv.ScopeJob {
		text += " (" + string(p.Scope) + ")"
	}
	return text + " since " + p.Since.UTC().Format(time.RFC3339) + p.Order()
}

// open returns the first instant after t at which the job is run, as things stand
// now; or why there is none.
func (o *outlook) open(t time.Time, work *calendar.Work) (at time.Time, never string) {
	if !o.job.Spec.IsEnabled() {
		return at, NeverDisabled
	}
	cost := o.calendars.Cost()
	last := ""
	for range outlookJumps {
		if !work.Take(cost) {
			break
		}
		next, ok := o.next(t, work)
		switch {
		case !ok && work.Over():
			return at, NeverSearched
		case !ok && last == NeverClosed:
			return at, last
		case !ok:
			return at, cmp.Or(o.ended, NeverDue)
		}
		short, _, until := o.why(next)
		if short == "" {
			return next.UTC(), ""
		}
		if until.IsZero() {
			return at, short
		}
		last = short
		if t = next; until.After(next) {
			t = until.Add(-1)
		}
	}
	return at, NeverSearched
}

// startsAt is when an instant's run starts.
func (o *outlook) startsAt(at time.Time) time.Time {
	return at.Add(o.job.Spec.Delay(job.FireID{Job: o.job.UID, At: at.UnixNano(), Trigger: job.TriggerSchedule})).UTC()
}

// addNext tells of each job when it runs next, or why it does not.
func (c *Catalog) addNext(ctx context.Context, views []api.Job) error {
	paused, err := c.pauses.Now(ctx)
	if err != nil {
		return err
	}
	calendars := map[job.Key]*calendar.Calendar{}
	for i := range views {
		v := &views[i]
		for p := range paused {
			if paused[p].Covers(v.Key(), v.Spec.Group, c.db.Now()) {
				v.Pauses = append(v.Pauses, apiview.Pause(&paused[p]))
			}
		}
		if len(v.Pauses) > 0 {
			v.Paused = &v.Pauses[0]
		}
		if len(v.Spec.Schedules) == 0 {
			continue
		}
		set, err := c.jobs.SetOf(&v.Job)
		if err != nil {
			v.NoNext = NeverReadable
			continue
		}
		if v.Aside != nil {
			v.NoNext = NeverSetAside
			continue
		}
		o := newOutlook(&v.Job, set)
		o.pauses = paused
		if err := c.readCalendarsOf(ctx, o, calendars); err != nil {
			return err
		}
		steps := outlookSteps
		if len(views) > 1 {
			steps = outlookForList
		}
		if v.NextAt, v.NoNext = o.open(c.db.Now(), calendar.NewWork(steps)); !v.NextAt.IsZero() && v.Spec.Jitter > 0 {
			v.NextStartsAt = o.startsAt(v.NextAt)
		}
	}
	return nil
}

// readCalendarsOf gives an outlook the job's calendars; those that were read
// before are in known.
func (c *Catalog) readCalendarsOf(ctx context.Context, o *outlook, known map[job.Key]*calendar.Calendar) error {
	for _, k := range o.job.Spec.CalendarKeys(o.job.Namespace) {
		cal, read := known[k]
		if !read {
			var err error
			if cal, err = c.definitions.CalendarNamed(ctx, k); err != nil && !errors.Is(err, job.ErrNotFound) {
				return err
			}
			known[k] = cal
		}
		if cal == nil {
			o.closed = fmt.Sprintf("its calendar %s is not there, or cannot be used", k)
			continue
		}
		o.calendars = append(o.calendars, cal)
	}
	if o.closed == "" {
		o.closed = o.calendars.TooMuch()
	}
	return nil
}

// Upcoming returns the instants of a job after a time, at most n, with those that
// are skipped as things stand now, and why.
func (c *Catalog) Upcoming(ctx context.Context, key job.Key, after time.Time, n int) (api.Upcoming, error) {
	v := api.Upcoming{Schedules: []string{}, Words: []string{}, Next: []api.Instant{}}
	if n < 1 || n > api.MaxUpcoming {
		return v, apiview.Invalid("count", fmt.Sprintf("%d is out of range; want 1 to %d", n, api.MaxUpcoming))
	}
	stored, _, err := c.jobs.Stored(ctx, key)
	if err != nil {
		return v, err
	}
	set, err := c.jobs.SetOf(&stored.Job)
	if err != nil {
		return v, fmt.Errorf("schedule of job %s: %w", key, err)
	}
	o := newOutlook(&stored.Job, set)
	v.Schedules, v.Words, v.TimeZone = append(v.Schedules, stored.Spec.Schedules...), set.Words(), o.zone.String()
	if len(set) > 0 {
		v.TimeZone = set[0].Location().String() // an expression may have one of its own
	}
	if o.pauses, err = c.pauses.Now(ctx); err != nil {
		return v, err
	}
	if err := c.readCalendarsOf(ctx, o, map[job.Key]*calendar.Calendar{}); err != nil {
		return v, err
	}
	if len(set) == 0 {
		v.Ends = "the job has no schedule"
		return v, nil
	}
	work := calendar.NewWork(outlookSteps)
	for at := after; len(v.Next) < n; {
		next, ok := o.next(at, work)
		switch {
		case !ok && work.Over():
			v.Ends = calendar.TooFar
			return v, nil
		case !ok:
			v.Ends = o.endWords()
			return v, nil
		}
		u := api.Instant{At: next.UTC(), StartsAt: o.startsAt(next)}
		if _, u.Skipped, _ = o.why(next); !stored.Spec.IsEnabled() {
			u.Skipped = "the job is not enabled"
		}
		v.Next = append(v.Next, u)
		at = next
	}
	return v, nil
}

// endWords tells why no further instant follows.
func (o *outlook) endWords() string {
	switch o.ended {
	case NeverEnded:
		return "its endAt is " + o.end.UTC().Format(time.RFC3339Nano)
	case NeverCounted:
		return fmt.Sprintf("its count is %d, and the last of these is %s", o.job.Spec.Count, o.end.UTC().Format(time.RFC3339Nano))
	}
	return "its schedule is never due again"
}

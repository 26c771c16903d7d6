package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/calendar"
	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/internal/control/jobstore"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

func say(v *api.Fire, format string, args ...any) {
	v.Why = append(v.Why, fmt.Sprintf(format, args...))
}

// lookBack is how many records before an instant are looked at for a row that
// covers it.
const lookBack = 50

// Fire tells what became of an instant of a job. It knows instants of the
// schedule, and those at which the job was started otherwise.
func (c *Catalog) Fire(ctx context.Context, key job.Key, at time.Time) (api.Fire, error) {
	v := api.Fire{Namespace: key.Namespace, Job: key.Name, At: at.UTC(), Why: []string{}, Runs: []job.Run{}}
	stored, lies, err := c.jobs.Stored(ctx, key)
	deleted := errors.Is(err, job.ErrNotFound)
	if err != nil && !deleted {
		return v, err
	}
	oldest, err := c.runsAt(ctx, key, stored.UID, at, &v)
	if err != nil {
		return v, err
	}
	if deleted {
		if len(v.Runs) == 0 {
			if len(v.Missing) > 0 {
				return v, fmt.Errorf("job %s is not there, but a run of it may be open: %w", key, &api.PartialError{Missing: v.Missing})
			}
			return v, jobstore.NoJob(key)
		}
		v.Verdict = api.VerdictRecorded
		say(&v, "the job is deleted; these records are left")
		c.sayRuns(&v)
		sayGap(&v)
		return v, nil
	}
	v.Missing = missingOf(v.Missing, &stored, lies.Shard)
	if err := c.cursorOf(ctx, lies.Shard, &v); err != nil {
		return v, err
	}
	if len(v.Runs) > 0 {
		v.Verdict = api.VerdictRecorded
		if slices.ContainsFunc(v.Runs, func(r job.Run) bool { return !r.State.Final() }) {
			v.Verdict = api.VerdictOpen
		}
		c.sayRuns(&v)
		sayGap(&v)
		return v, nil
	}
	if err := c.explain(ctx, &stored.Job, oldest, &v); err != nil {
		return v, err
	}
	if len(v.Missing) > 0 && v.Verdict != api.VerdictDue {
		v.Verdict, v.Why = api.VerdictUnknown, nil
		say(&v, "no record of it is found, but a run of it may be open; ask again")
		sayGap(&v)
	}
	return v, nil
}

// sayGap tells what is missing, if anything is.
func sayGap(v *api.Fire) {
	if gap := v.Gap(); gap != "" {
		say(v, "%s", gap)
	}
}

// missingOf leaves of what is missing the shards in which runs of a job may be
// open: its own, and the one that it was moved out of.
func missingOf(all []api.MissingRuns, stored *etcdkv.StoredJob, shard job.ShardID) (out []api.MissingRuns) {
	for _, m := range all {
		part := api.MissingRuns{Node: m.Node}
		for _, s := range m.Shards {
			if s == shard || stored.MovedFrom != nil && s == *stored.MovedFrom {
				part.Shards = append(part.Shards, s)
			}
		}
		if len(part.Shards) > 0 {
			out = append(out, part)
		}
	}
	return out
}

// runsAt finds the runs of an instant, in flight and ended, and returns the
// instant of the oldest record seen of the job; zero: there is none.
func (c *Catalog) runsAt(ctx context.Context, key job.Key, uid job.UID, at time.Time, v *api.Fire) (time.Time, error) {
	live, missing, err := c.runs.LiveRuns(ctx, key.Namespace, key.Name)
	if err != nil {
		return time.Time{}, err
	}
	v.Missing = missing
	seen := map[job.RunID]bool{}
	add := func(r *job.Run) {
		covers := r.ScheduledAt.Equal(at) || r.Count > 1 && !at.Before(r.ScheduledAt) && !at.After(r.Until)
		if covers && !seen[r.RunID] && (uid.IsZero() || r.FireID.Job == uid) {
			seen[r.RunID] = true
			v.Runs = append(v.Runs, *r)
		}
	}
	for i := range live {
		add(&live[i])
	}
	// Lists go from new to old: this is the place before all of the instant.
	start := history.Position{At: at.UnixNano() + 1, ID: "zzzz-zzzzzzzzzzzzzzzz"}
	page, err := c.history.List(ctx, history.Query{
		Namespace: key.Namespace, Job: key.Name, UID: uid, Limit: lookBack, Cursor: start.Cursor(),
	})
	if err != nil && !errors.Is(err, job.ErrNotFound) {
		return time.Time{}, fmt.Errorf("ended runs: %w", err)
	}
	var oldest time.Time
	for i := range page.Runs {
		r := &page.Runs[i]
		if r.Folded && !r.ScheduledAt.Equal(at) { // what lies between may have run, and its record may be gone
			id := job.FireID{Job: r.FireID.Job, At: at.UnixNano(), Trigger: job.TriggerSchedule}.RunID()
			of, err := c.history.Get(ctx, id)
			if err != nil && !errors.Is(err, job.ErrNotFound) {
				return time.Time{}, fmt.Errorf("ended runs: %w", err)
			}
			if of.RunID != r.RunID {
				oldest = r.ScheduledAt
				continue
			}
		}
		add(r)
		oldest = page.Runs[i].ScheduledAt
	}
	return oldest, nil
}

// cursorOf reads how far the shard has come, and who owns it.
func (c *Catalog) cursorOf(ctx context.Context, shard job.ShardID, v *api.Fire) error {
	kvs, err := c.db.GetAll(ctx, "read shard "+shard.String(), []string{c.db.Keys.State(shard), c.db.Keys.Owner(shard)})
	if err != nil {
		return err
	}
	if kvs[0] != nil {
		state, err := store.Decode[etcdkv.ShardState](kvs[0])
		if err != nil {
			return err
		}
		v.Cursor = state.Cursor
	}
	if kvs[1] != nil {
		owner, err := store.Decode[etcdkv.Owner](kvs[1])
		if err != nil {
			return err
		}
		v.Owner = owner.Node
	}
	return nil
}

// sayRuns tells what the records say.
func (c *Catalog) sayRuns(v *api.Fire) {
	slices.SortFunc(v.Runs, func(a, b job.Run) int { return history.PositionOf(&a).Compare(history.PositionOf(&b)) })
	for i := range v.Runs {
		r := &v.Runs[i]
		head := fmt.Sprintf("run %s (%s): %s", r.RunID, r.Trigger, r.State)
		if r.Count > 1 {
			head += fmt.Sprintf(", with %d occurrences from %s to %s", r.Count, StampOf(r.ScheduledAt), StampOf(r.Until))
		}
		if r.Reason != "" {
			head += ": " + r.Reason
		}
		say(v, "%s", head)
		if r.Cause != "" {
			say(v, "it was started by: %s", r.Cause)
		}
		if !r.CommittedAt.IsZero() {
			say(v, "node %s committed it at %s (%s), under token %s of shard %s", r.Node, StampOf(r.CommittedAt), lateness(r.ScheduledAt, r.CommittedAt), r.Token, r.Shard)
		}
		if !r.DispatchedAt.IsZero() {
			say(v, "its order was sent at %s (%s)", StampOf(r.DispatchedAt), lateness(r.ScheduledAt, r.DispatchedAt))
		}
		if !r.StartedAt.IsZero() {
			say(v, "it began at %s and %s", StampOf(r.StartedAt), endOf(r))
		}
		for _, a := range r.Alerts {
			say(v, "alert: %s", a)
		}
	}
}

func endOf(r *job.Run) string {
	if r.EndedAt.IsZero() {
		return "goes on"
	}
	return fmt.Sprintf("ended at %s, after %v", StampOf(r.EndedAt), r.EndedAt.Sub(r.StartedAt).Round(time.Millisecond))
}

// StampOf writes an instant with milliseconds, in UTC.
func StampOf(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

// lateness tells how long before or after its instant something was.
func lateness(at, t time.Time) string {
	d := t.Sub(at).Round(100 * time.Microsecond)
	if d < 0 {
		return fmt.Sprintf("%v before its instant", -d)
	}
	return fmt.Sprintf("%v after its instant", d)
}

// explain says why there is no record of an instant.
func (c *Catalog) explain(ctx context.Context, j *job.Job, oldest time.Time, v *api.Fire) error {
	set, err := c.jobs.SetOf(j)
	if err != nil {
		return fmt.Errorf("schedule of job %s: %w", j.Key(), err)
	}
	v.Verdict = api.VerdictNoInstant
	if len(set) == 0 {
		say(v, "the job has no schedule, and was not started at this instant")
		return nil
	}
	if next, ok := set.Next(v.At.Add(-1)); !ok || !next.Equal(v.At) {
		c.sayNearest(set, v)
		return nil
	}
	if moved, err := c.explainMove(ctx, j, v); moved || err != nil {
		return err
	}
	paused, err := c.pauses.Now(ctx)
	if err != nil {
		return err
	}
	for i := range paused {
		if paused[i].Covers(j.Key(), j.Spec.Group, v.At) {
			say(v, "paused (%s) since %s by %s: %s", paused[i].Scope, StampOf(paused[i].Since), paused[i].By, paused[i].Reason)
		}
	}
	switch {
	case !j.Spec.IsEnabled():
		v.Verdict = api.VerdictNotThen
		say(v, "the job is not enabled; it has been as it is since %s (generation %d)", StampOf(j.UpdatedAt), j.Generation)
	case !v.At.After(j.After):
		v.Verdict = api.VerdictNotThen
		say(v, "the schedule as it is now holds from %s on (generation %d); what was due before belonged to an earlier one, or the job was not there", StampOf(j.After), j.Generation)
	case j.Spec.StartAt != nil && v.At.Before(*j.Spec.StartAt):
		v.Verdict = api.VerdictNotThen
		say(v, "it lies before the schedule's start, %s", StampOf(*j.Spec.StartAt))
	case j.Spec.EndAt != nil && v.At.After(*j.Spec.EndAt):
		v.Verdict = api.VerdictNotThen
		say(v, "it lies after the schedule's end, %s", StampOf(*j.Spec.EndAt))
	case beyondCount(set, j, v.At):
		v.Verdict = api.VerdictNotThen
		say(v, "the schedule has %d occurrences since %s, and this would be a later one", j.Spec.Count, StampOf(j.CountedFrom))
	case v.At.After(c.db.Now()):
		v.Verdict = api.VerdictDue
		say(v, "it lies ahead, in %v", v.At.Sub(c.db.Now()).Round(time.Second))
	case v.At.After(v.Cursor):
		v.Verdict = api.VerdictPlanned
		say(v, "the job's shard is committed up to %s only; its owner is %s", StampOf(v.Cursor), ownerWords(v.Owner))
	case oldest.IsZero():
		v.Verdict = api.VerdictForgotten
		say(v, "history keeps the latest records of each job, and has none of then any more")
	default:
		v.Verdict = api.VerdictUnaccounted
		say(v, "the shard is committed up to %s, and there is no record; unless history has let it go (it keeps the latest records of each job), this ought not to be: please report it", StampOf(v.Cursor))
	}
	return nil
}

// explainMove tells of an instant that a calendar moves to another.
func (c *Catalog) explainMove(ctx context.Context, j *job.Job, v *api.Fire) (bool, error) {
	if j.Spec.OnExcluded != job.ExcludedNext {
		return false, nil
	}
	calendars, err := c.definitions.CalendarsOf(ctx, j)
	if err != nil {
		return false, err
	}
	zone, err := schedule.LoadZone(j.Spec.TimeZone)
	if err != nil {
		return false, err
	}
	work := calendar.NewWork(calendar.SearchSteps)
	at, why, ok := calendars.Resolve(v.At, zone, work)
	switch {
	case why == "":
		return false, nil
	case work.Over():
		v.Verdict = api.VerdictMoved
		say(v, "%s, and there is no open time near to which it could be moved", why)
	case ok:
		v.Verdict = api.VerdictMoved
		say(v, "%s, so it is moved to %s: ask about that instant", why, at.Format(time.RFC3339Nano))
	default:
		v.Verdict = api.VerdictMoved
		say(v, "%s, and there is no open time within a year to which it could be moved", why)
	}
	return true, nil
}

func ownerWords(n job.NodeID) string {
	if n == "" {
		return "nobody"
	}
	return "node " + string(n)
}

// beyondCount reports whether the schedule's count is used up before an instant.
func beyondCount(set schedule.Set, j *job.Job, at time.Time) bool {
	if j.Spec.Count == 0 {
		return false
	}
	from := j.CountedFrom
	if j.Spec.StartAt != nil && j.Spec.StartAt.After(from) {
		from = j.Spec.StartAt.Add(-1)
	}
	return len(set.Between(from, at, j.Spec.Count+1)) > j.Spec.Count
}

// sayNearest tells the instants around one that is none.
func (c *Catalog) sayNearest(set schedule.Set, v *api.Fire) {
	say(v, "the schedule (%s) is not due then", strings.Join(set.Words(), "; "))
	var before time.Time
	for _, back := range []time.Duration{time.Minute, time.Hour, 24 * time.Hour, 32 * 24 * time.Hour, 400 * 24 * time.Hour} {
		all := set.Between(v.At.Add(-back), v.At.Add(-1), api.MaxRunLimit*10)
		if len(all) > 0 {
			before = all[len(all)-1]
			break
		}
	}
	if !before.IsZero() {
		say(v, "the instant before is %s", before.Format(time.RFC3339Nano))
	}
	if next, ok := set.Next(v.At); ok {
		say(v, "the instant after is %s", next.Format(time.RFC3339Nano))
	}
}

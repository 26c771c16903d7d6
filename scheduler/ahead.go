package scheduler

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/phase"
)

// A cursor that lies in the future was set by a clock that was wrong. Nothing of the
// shard would fire until the time has come there. So its owner sets it back to now,
// and stores how far it was (ShardState.Ahead). Instants up to there may have been
// committed already: before one is planned, the job's records are read. What has
// run, or may have, does not run again. What was only recorded as missed or skipped
// is decided anew at its time, and its record with it.

// ahead is what an owner knows of occurrences that were committed too early.
type ahead struct {
	// until is up to where they may have been. 0: there are none.
	until int64
	// asked are the jobs whose records are being read; read those whose records
	// have been.
	asked map[job.UID]bool
	read  map[job.UID]*past
	// ended are fires that have ended here: the records may have been read before they
	// were among them.
	ended map[job.FireID]bool
	// queue are jobs whose records are to be read, the next to be planned first.
	queue []*entry
	// cursor is that of the shard, after which records are read.
	cursor func() time.Time

	records Records
	spare   *bestEffort
	do      func(func())
	log     *zap.Logger
}

func newAhead(s *shard) ahead {
	return ahead{
		cursor:  func() time.Time { return s.state.Cursor },
		records: s.deps.Records, spare: s.deps.bestEffort, do: s.do, log: s.log,
	}
}

// end takes note of a fire that has ended, and has run or may have.
func (a *ahead) end(f *fire) {
	if a.ended != nil && f.id.At <= a.until && f.was != phase.FireSkipped && f.was != phase.FireMissed {
		a.ended[f.id] = true
	}
}

// over forgets all of them: the cursor has passed them. What is being read for them
// comes, and is dropped.
func (a *ahead) over() { a.until, a.asked, a.read, a.ended, a.queue = 0, nil, nil, nil, nil }

// past is what a job's records say about instants after one.
type past struct {
	// ran are those that have run, or may have. from: of older ones, nobody knows.
	ran  map[int64]bool
	from int64
}

// slackAhead is how far in the future a cursor may lie besides the look-ahead.
func (s *shard) slackAhead() int64 {
	slack := int64(s.cfg.LookAhead)
	if s.deps.Time != nil {
		slack += int64(s.deps.Time.Bound())
	}
	return slack
}

// turnBack sets a cursor that lies in the future back. It is called when the state
// has been read, by a clock that is fit.
func (s *shard) turnBack(now int64) {
	cursor := s.state.Cursor.UnixNano()
	if cursor > now+s.slackAhead() {
		s.log.Warn("the shard was planned far ahead, by a clock that was wrong: it is planned from now on again; what has run already does not run again",
			zap.Time("planned_to", s.state.Cursor), zap.String("by", string(s.state.Node)), zap.Time("judged", s.state.Judged))
		s.met.turnedBack.Inc()
		if s.state.Ahead.Before(s.state.Cursor) {
			s.state.Ahead = s.state.Cursor
		}
		s.state.Cursor = time.Unix(0, now).UTC()
		s.ringDirty = true // it is stored at once, whatever is due
	}
	if !s.state.Ahead.IsZero() {
		s.ahead.until, s.ahead.asked, s.ahead.read = s.state.Ahead.UnixNano(), map[job.UID]bool{}, map[job.UID]*past{}
		s.ahead.ended = map[job.FireID]bool{}
	}
}

// decided is up to where slots may be rewritten and deleted: what ended in them is
// not planned again, for the cursor has passed it, or for its record is looked for.
func (s *shard) decided() int64 {
	return max(s.state.Cursor.UnixNano(), s.ahead.until)
}

// before reports whether an instant was committed though those before it are still
// to be planned.
func (s *shard) before(at int64) bool { return at > s.planned && at <= s.ahead.until }

// rightBegin returns when a task may start for which a clock has reckoned that was
// ahead: it committed in the future.
func (s *shard) rightBegin(notBefore, committed int64) int64 {
	now := s.deps.now()
	wrong := max(committed, s.state.Judged.UnixNano()) - now
	if s.state.Judged.IsZero() {
		wrong = committed - now
	}
	if s.deps.Time == nil || wrong <= int64(s.deps.Time.Bound()) || notBefore <= now {
		return notBefore
	}
	return max(notBefore-wrong, now)
}

// pastOf returns what the records of a job say about instants that may have been
// committed too early. It returns false while they are being read.
func (a *ahead) pastOf(e *entry) (*past, bool) {
	if p := a.read[e.uid]; p != nil {
		return p, true
	}
	if a.asked[e.uid] {
		return nil, false
	}
	after := a.cursor()
	uid, until := e.uid, a.until
	begun := a.spare.do(func(ctx context.Context) {
		p := &past{ran: map[int64]bool{}}
		oldest := until
		whole, err := a.records.Since(ctx, uid, after, func(r *job.Run) {
			at := r.ScheduledAt.UnixNano()
			oldest = min(oldest, at)
			if r.State != job.StateMissed && r.State != job.StateSkipped {
				p.ran[at] = true
			}
		})
		if !whole {
			p.from = oldest
		}
		a.do(func() {
			delete(a.asked, uid)
			if err != nil {
				a.log.Warn("what has run of a job is not known yet", zap.Stringer("job", e.key), zap.Error(err))
				return
			}
			if a.read != nil { // else the cursor has come so far without it: the job is gone
				a.read[uid] = p
			}
		})
	})
	if begun {
		a.asked[uid] = true
	}
	return nil, false
}

// readsAtOnce bounds the jobs whose records are read at a time.
const readsAtOnce = 4

// queuePast has the records read of all jobs that have instants which may have been
// committed already.
func (a *ahead) queuePast(jobs map[job.Key]*entry) {
	if a.until == 0 {
		return
	}
	for _, e := range jobs {
		if e.timer.Next <= a.until {
			a.queue = append(a.queue, e)
		}
	}
	slices.SortFunc(a.queue, func(e, o *entry) int { return cmp.Compare(e.timer.Next, o.timer.Next) })
}

// readPast goes on with that.
func (a *ahead) readPast() {
	for len(a.queue) > 0 && len(a.asked) < readsAtOnce {
		e := a.queue[0]
		if _, ok := a.pastOf(e); !ok && !a.asked[e.uid] {
			return // nobody has time for it now
		}
		a.queue = a.queue[1:]
	}
}

// awaitsPast reports whether the job's next instant may have been committed already, and
// its records, which tell, are not read yet.
func (a *ahead) awaitsPast(e *entry, at int64) bool {
	if at > a.until {
		return false
	}
	_, ok := a.pastOf(e)
	return !ok
}

// committedBefore decides on an instant that may have been committed already. It
// reports whether it was, as open fires and records tell; or why it is not known, and so
// does not run.
func (a *ahead) committedBefore(e *entry, at int64, open map[job.FireID]*fire) (was bool, why string) {
	if at > a.until {
		return false, ""
	}
	id := job.FireID{Job: e.uid, At: at, Trigger: job.TriggerSchedule}
	if open[id] != nil || a.ended[id] {
		return true, ""
	}
	p, _ := a.pastOf(e)
	switch {
	case p == nil || p.ran[at]:
		return p != nil, ""
	case at < p.from:
		return false, fmt.Sprintf("planned before, up to %s, by a clock that was wrong, or before a restore; whether it ran then is not known, for its record is gone",
			instant(a.until).Format(time.RFC3339))
	}
	return false, ""
}

package scheduler

import (
	"context"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/phase"
)

// A minion is gone when it has been connected to no node for goneGrace. What it
// was sent waits for it, and ends as indeterminate when it is gone for longer than
// the job's lostAfter, at once when somebody wants the run cancelled or has the
// minion forgotten (I29). What it says later mends the record (I30).

const (
	// goneEvery is how often tasks of minions that are gone are looked at, and
	// goneLookEvery how often tasks are looked through when no minion has gone since.
	goneEvery     = 2 * time.Second
	goneLookEvery = 30 * time.Second
	// goneGrace is how long a minion may be on its way from one node to another,
	// or start again.
	goneGrace = 5 * time.Second
	// leaseMargin is how long after the end of its owner's lease an order may
	// still be on its way into a start.
	leaseMargin = time.Second
)

// gone is what the shard knows of tasks whose minions are connected to no node.
type gone struct {
	// looked is when tasks were looked through last, at which edition of absences;
	// waits: some waited for such a minion then.
	looked  int64
	edition uint64
	waits   bool
	// asking: etcd is being asked whether minions are connected anywhere. there
	// asks; tests have an etcd of their own. answer is what came of it; nil: nothing.
	asking bool
	there  func(context.Context) (map[job.MinionID]bool, error)
	answer *whereabouts
	// began is when the shard was taken: earlier owners' orders are older.
	began int64
	// recall are tasks that have ended here as indeterminate, and that their
	// minions are to end once they are back. recalling are the revisions of the
	// commands because of which some are among them.
	recall    map[job.TaskID]recalled
	recalling map[string]int64
}

// recalled is a task that its minion is to end because why; until is when it has
// ended in any case.
type recalled struct {
	why   string
	until int64
}

// whereabouts are the minions that are connected, by etcd, read because of the
// tasks of some.
type whereabouts struct {
	over  []awaited
	there map[job.MinionID]bool
	err   error
}

// awaited is a task of a minion that is gone for too long.
type awaited struct {
	f *fire
	t *task
}

// goneFor tells since when the minion of a task is gone that has something to say
// of it.
func (s *shard) goneFor(t *task) (job.Absence, bool) {
	if t.minion == "" || !t.phase.MayBeOut() {
		return job.Absence{}, false
	}
	return s.deps.Minions.Absence(t.minion)
}

// lookForGone has the tasks of minions that are gone looked at in this step.
func (s *shard) lookForGone() { s.gone.looked, s.gone.waits = 0, true }

// tendGone ends what waits for minions that are gone for too long.
func (s *shard) tendGone(now int64) {
	if a := s.gone.answer; a != nil {
		s.gone.answer = nil
		s.foundGone(a, now)
	}
	since := time.Duration(now - s.gone.looked).Abs() // a clock that has stepped back has no say
	if s.gone.asking || since < goneEvery {
		return
	}
	s.recallBack(now)
	edition := s.deps.Minions.Absences()
	if edition == s.gone.edition && !s.gone.waits && since < goneLookEvery {
		return
	}
	s.gone.looked, s.gone.edition, s.gone.waits = now, edition, false
	var over []awaited
	for _, f := range s.fires {
		if !f.isOpen() {
			continue
		}
		for _, t := range f.tasks[f.firstOpen:] {
			a, is := s.goneFor(t)
			if !is {
				continue
			}
			s.gone.waits = true
			if s.awaitsTooLong(f, t, a, now) {
				over = append(over, awaited{f, t})
			}
		}
	}
	if len(over) > 0 {
		s.confirmGone(over)
	}
}

// awaitsTooLong reports whether a task whose minion is gone is waited for no
// longer.
func (s *shard) awaitsTooLong(f *fire, t *task, a job.Absence, now int64) bool {
	sent := t.sentAt
	if t.phase == phase.Unknown {
		sent = max(sent, s.gone.began)
	}
	if now < sent+int64(s.cfg.LeaseTTL+leaseMargin) {
		return false // its order may still be on its way (I20)
	}
	if f.withdrawn || a.Forgotten {
		return a.For >= goneGrace
	}
	if t.phase == phase.Sent {
		return false // whoever has the order tells when its time is over
	}
	if f.lostAfter == 0 {
		f.lostAfter = job.DefaultLostAfter
		if spec, err := s.spec(f); err == nil {
			f.lostAfter = spec.EffectiveLostAfter()
		}
	}
	return a.For >= max(f.lostAfter, goneGrace)
}

// confirmGone asks etcd itself whether the minions are connected anywhere: this
// node's view of it may stand still, while a minion has gone to another node.
func (s *shard) confirmGone(over []awaited) {
	s.gone.asking = s.deps.bestEffort.do(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, loadTimeout)
		defer cancel()
		there, err := s.gone.there(ctx)
		s.do(func() { s.gone.asking, s.gone.answer = false, &whereabouts{over, there, err} })
	})
}

// connected reads from etcd which minions are connected.
func (s *shard) connected(ctx context.Context) (map[job.MinionID]bool, error) {
	resp, err := s.deps.Client.Get(ctx, s.cfg.Keys.Presence(), clientv3.WithPrefix())
	if err != nil {
		return nil, fmt.Errorf("read which minions are connected: %w", err)
	}
	there := map[job.MinionID]bool{}
	for _, kv := range resp.Kvs {
		p, err := etcdkv.Decode[etcdkv.Presence](string(kv.Key), kv.Value)
		if err != nil {
			return nil, err
		}
		for i := range p.Minions {
			there[p.Minions[i].ID] = true
		}
	}
	return there, nil
}

// foundGone ends the tasks of minions of which etcd says so, too.
func (s *shard) foundGone(w *whereabouts, now int64) {
	if w.err != nil {
		s.log.Warn("whether minions are gone is not known yet", zap.Error(w.err))
		return
	}
	for _, o := range w.over {
		if o.f.ended() || !slices.Contains(o.f.tasks, o.t) {
			continue
		}
		a, is := s.goneFor(o.t)
		switch {
		case !is || !s.awaitsTooLong(o.f, o.t, a, now):
		case w.there[o.t.minion]:
			s.log.Warn("a minion is connected, by etcd, and this node does not see it", zap.String("minion", string(o.t.minion)))
		default:
			s.giveUpGone(o.f, o.t, a, now)
		}
	}
}

// giveUpGone ends a task whose minion is gone.
func (s *shard) giveUpGone(f *fire, t *task, a job.Absence, now int64) {
	why := "minion " + string(t.minion) + " "
	if a.Forgotten {
		why += "was forgotten; it "
	}
	why += "was connected to no node from " + a.Since.Format(time.RFC3339) + " on"
	if !f.withdrawn && !a.Forgotten {
		why += fmt.Sprintf(", longer than lostAfter (%v)", f.lostAfter)
	}
	if t.phase.AtMinion() {
		why += "; it had started the task, and whether that still runs is not known"
	} else {
		why += "; whether it ran the task is not known"
	}
	if f.phase.IsEnding() {
		why = f.endWhy + "; " + why
		spec, err := s.spec(f)
		if err == nil {
			s.gone.recall[f.taskID(t)] = recalled{f.endWhy, now + int64(spec.EffectiveTimeout())}
		}
	}
	s.met.lost.Inc()
	s.finish(f, t, now, job.StateIndeterminate, why)
}

// recallFor has the minions of a run that has ended end what they may still run of
// it. It reports whether some have not been told yet: they are not connected.
func (s *shard) recallFor(key string, w *etcdkv.Entry[etcdkv.RunCommand]) bool {
	if s.gone.recalling[key] != w.ModRevision {
		s.gone.recalling[key] = w.ModRevision
		for _, id := range w.Value.Tasks {
			s.gone.recall[id] = recalled{cancelledBy(&w.Value), w.Value.Until.UnixNano()}
		}
	}
	return slices.ContainsFunc(w.Value.Tasks, func(id job.TaskID) bool {
		_, waits := s.gone.recall[id]
		return waits
	})
}

// recallBack has minions that are back end what was to be ended while they were
// gone.
func (s *shard) recallBack(now int64) {
	for id, r := range s.gone.recall {
		switch {
		case s.deps.Minions.Connected(id.Minion):
			s.deps.Minions.Cancel([]job.Ref{{Task: id, Shard: s.id, Token: s.own.Token(), Term: s.term}}, r.why)
		case now < r.until:
			continue
		}
		delete(s.gone.recall, id)
	}
}

// tellGone puts into the description of an open fire which of its minions are gone.
func (s *shard) tellGone(f *fire, run *job.Run) {
	all, last := true, time.Time{}
	where := job.MinionID("")
	i := 0
	for _, t := range f.tasks {
		if t.minion == "" {
			continue // runOf leaves it out, too
		}
		told := &run.Tasks[i]
		i++
		if t.final() {
			continue
		}
		a, is := s.goneFor(t)
		if !is || a.For < goneGrace {
			all = false
			continue
		}
		told.GoneSince = a.Since
		if a.Since.After(last) {
			last, where = a.Since, t.minion
		}
	}
	if !all || last.IsZero() {
		return
	}
	run.GoneSince = last
	run.Reason = "its minion " + string(where) + " is gone since " + last.Format(time.RFC3339)
	if len(f.tasks) > 1 {
		run.Reason = "all minions that it waits for are gone, the last, " + string(where) + ", since " + last.Format(time.RFC3339)
	}
	run.Reason += "; whether it still runs there is not known"
}

package scheduler

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
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
	minions  Minions
	client   *clientv3.Client
	presence string // what keys of minions' presence begin with
	leaseTTL time.Duration
	spare    *bestEffort
	do       func(func())
	log      *zap.Logger
	lost     prometheus.Counter
	// fires are the shard's. spec is a fire's. ref names a task as the shard's owner
	// does now. finish ends a task.
	fires  map[job.FireID]*fire
	spec   func(*fire) (*job.Spec, error)
	ref    func(job.TaskID) job.Ref
	finish func(f *fire, t *task, now int64, state job.State, reason string)

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

func newGone(s *shard) gone {
	g := gone{
		minions: s.deps.Minions, client: s.deps.Client, presence: s.cfg.Keys.Presence(), leaseTTL: s.cfg.LeaseTTL,
		spare: s.deps.bestEffort, do: s.do, log: s.log, lost: s.met.lost,
		fires: s.fires, spec: s.spec, ref: s.ref, finish: s.finish,
		recall: map[job.TaskID]recalled{}, recalling: map[string]int64{},
	}
	g.there = g.connected
	return g
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

// absence tells since when the minion of a task is gone that has something to say
// of it.
func (g *gone) absence(t *task) (job.Absence, bool) {
	if t.minion == "" || !t.phase.MayBeOut() {
		return job.Absence{}, false
	}
	return g.minions.Absence(t.minion)
}

// look has the tasks of minions that are gone looked at in this step.
func (g *gone) look() { g.looked, g.waits = 0, true }

// tend ends what waits for minions that are gone for too long.
func (g *gone) tend(now int64) {
	if a := g.answer; a != nil {
		g.answer = nil
		g.found(a, now)
	}
	since := time.Duration(now - g.looked).Abs() // a clock that has stepped back has no say
	if g.asking || since < goneEvery {
		return
	}
	g.recallBack(now)
	edition := g.minions.Absences()
	if edition == g.edition && !g.waits && since < goneLookEvery {
		return
	}
	g.looked, g.edition, g.waits = now, edition, false
	var over []awaited
	for _, f := range g.fires {
		if !f.isOpen() {
			continue
		}
		for _, t := range f.tasks[f.firstOpen:] {
			a, is := g.absence(t)
			if !is {
				continue
			}
			g.waits = true
			if g.awaitsTooLong(f, t, a, now) {
				over = append(over, awaited{f, t})
			}
		}
	}
	if len(over) > 0 {
		g.confirm(over)
	}
}

// awaitsTooLong reports whether a task whose minion is gone is waited for no
// longer.
func (g *gone) awaitsTooLong(f *fire, t *task, a job.Absence, now int64) bool {
	sent := t.sentAt
	if t.phase == phase.Unknown {
		sent = max(sent, g.began)
	}
	if now < sent+int64(g.leaseTTL+leaseMargin) {
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
		if spec, err := g.spec(f); err == nil {
			f.lostAfter = spec.EffectiveLostAfter()
		}
	}
	return a.For >= max(f.lostAfter, goneGrace)
}

// confirm asks etcd itself whether the minions are connected anywhere: this
// node's view of it may stand still, while a minion has gone to another node.
func (g *gone) confirm(over []awaited) {
	g.asking = g.spare.do(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, loadTimeout)
		defer cancel()
		there, err := g.there(ctx)
		g.do(func() { g.asking, g.answer = false, &whereabouts{over, there, err} })
	})
}

// connected reads from etcd which minions are connected.
func (g *gone) connected(ctx context.Context) (map[job.MinionID]bool, error) {
	resp, err := g.client.Get(ctx, g.presence, clientv3.WithPrefix())
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

// found ends the tasks of minions of which etcd says so, too.
func (g *gone) found(w *whereabouts, now int64) {
	if w.err != nil {
		g.log.Warn("whether minions are gone is not known yet", zap.Error(w.err))
		return
	}
	for _, o := range w.over {
		if o.f.ended() || !slices.Contains(o.f.tasks, o.t) {
			continue
		}
		a, is := g.absence(o.t)
		switch {
		case !is || !g.awaitsTooLong(o.f, o.t, a, now):
		case w.there[o.t.minion]:
			g.log.Warn("a minion is connected, by etcd, and this node does not see it", zap.String("minion", string(o.t.minion)))
		default:
			g.giveUp(o.f, o.t, a, now)
		}
	}
}

// giveUp ends a task whose minion is gone.
func (g *gone) giveUp(f *fire, t *task, a job.Absence, now int64) {
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
		spec, err := g.spec(f)
		if err == nil {
			g.recall[f.taskID(t)] = recalled{f.endWhy, now + int64(spec.EffectiveTimeout())}
		}
	}
	g.lost.Inc()
	g.finish(f, t, now, job.StateIndeterminate, why)
}

// recallFor has the minions of a run that has ended end what they may still run of
// it. It reports whether some have not been told yet: they are not connected.
func (g *gone) recallFor(key string, w *etcdkv.Entry[etcdkv.RunCommand]) bool {
	if g.recalling[key] != w.ModRevision {
		g.recalling[key] = w.ModRevision
		for _, id := range w.Value.Tasks {
			g.recall[id] = recalled{cancelledBy(&w.Value), w.Value.Until.UnixNano()}
		}
	}
	return slices.ContainsFunc(w.Value.Tasks, func(id job.TaskID) bool {
		_, waits := g.recall[id]
		return waits
	})
}

// recallBack has minions that are back end what was to be ended while they were
// gone.
func (g *gone) recallBack(now int64) {
	for id, r := range g.recall {
		switch {
		case g.minions.Connected(id.Minion):
			g.minions.Cancel([]job.Ref{g.ref(id)}, r.why)
		case now < r.until:
			continue
		}
		delete(g.recall, id)
	}
}

// describe puts into the description of an open fire which of its minions are gone.
func (g *gone) describe(f *fire, run *job.Run) {
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
		a, is := g.absence(t)
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

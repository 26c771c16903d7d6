package worker

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/shim"
)

// What a command had started outlives it when the shim is killed. A task whose shim
// has died stays open until the minion has ended that, so that no other run is
// started beside it (I13).

const (
	// orphansWithin is how long processes may take to end that were killed, before
	// others are looked at, and orphansAgain how long until they are looked at again.
	orphansWithin = 2 * time.Second
	orphansAgain  = time.Second
)

// orphans ends what is left of tasks whose shim has died, and reports them then.
type orphans struct {
	*base
	tasks     *tasks
	reporting *reporting
	groups    *groups
	// wake tells that there are orphans.
	wake chan struct{}

	// The tasks' mutex guards the following: tasks whose shim has died, and when the
	// last one did that this process had.
	list     []*entry
	shimLost time.Time
}

// neverStarted reports whether a task that was handed to a shim which has died was
// certainly not started. The caller holds mu.
func (sv *supervision) neverStarted(e *entry, noted map[string]shim.Starts) bool {
	if e.boot != sv.boot { // what was noted may be gone with the host
		return false
	}
	s, read := noted[e.instance]
	if !read {
		s = shim.ReadStarts(sv.cfg.path("shim"), e.instance)
		noted[e.instance] = s
	}
	return s.Never(e.key.String())
}

// sweepStarts removes what dead shims have noted that nobody will ask for.
func (sv *supervision) sweepStarts() {
	sv.tasks.mu.Lock()
	keep := map[string]bool{sv.tasks.shimID: true}
	for _, e := range sv.tasks.journal.live {
		keep[e.instance] = true
	}
	sv.tasks.mu.Unlock()
	shim.SweepStarts(sv.cfg.path("shim"), func(instance string) bool { return keep[instance] })
}

// add has what is left of a lost task looked for, before it is reported. The
// caller holds mu.
func (op *orphans) add(e *entry) {
	if !e.orphaned {
		e.orphaned = true
		op.list = append(op.list, e)
		notify(op.wake)
	}
}

// mayHaveLeft reports whether processes of a lost task may be here.
func (op *orphans) mayHaveLeft(e *entry) bool {
	return (e.boot == "" || e.boot == op.boot) && !strings.HasPrefix(e.instance, HandlerPrefix)
}

// run ends what is left of lost tasks, and reports them then, until ctx is
// done. What is not reported by then the next process finds as lost.
func (op *orphans) run(ctx context.Context) {
	var open []*entry
	for {
		var again <-chan time.Time
		if len(open) > 0 {
			again = time.After(orphansAgain)
		}
		select {
		case <-ctx.Done():
			return
		case <-op.wake:
		case <-again:
		}
		op.tasks.mu.Lock()
		open = append(open, op.list...)
		op.list = nil
		list := make([]shim.Orphan, len(open))
		for i, e := range open {
			list[i] = op.of(e)
		}
		op.tasks.mu.Unlock()
		open = op.end(ctx, open, list)
	}
}

func (op *orphans) of(e *entry) shim.Orphan {
	key := e.key.String()
	o := shim.Orphan{
		Key: key, Marks: marksOf(e.key.id(op.cfg.ID)), Leader: e.pid, Ticks: e.ticks,
		Fresh: e.seen && time.Since(op.shimLost) < time.Minute,
	}
	if op.groups.tree != nil {
		o.Cgroup = op.groups.tree.Dir(op.groups.prefix + key)
	}
	return o
}

// end ends what is left of lost tasks, and returns those whose processes
// could not be ended: the tasks stay open for as long as these are there, up to
// their time-out.
func (op *orphans) end(ctx context.Context, tasks []*entry, list []shim.Orphan) []*entry {
	found := op.deps.endOrphans(ctx, list, orphansWithin)
	if ctx.Err() != nil {
		return tasks
	}
	var rest []*entry
	var reports []*job.Report
	op.tasks.mu.Lock()
	for i, e := range tasks {
		if e.settling != nil || e.final != nil || e.order == nil {
			continue
		}
		r := found[list[i].Key]
		e.ended += r.Ended
		if e.orphanedAt == 0 {
			e.orphanedAt = time.Now().UnixNano()
		}
		if len(r.Left) > 0 && !e.cancelled && time.Since(time.Unix(0, cmp.Or(e.startedAt, e.orphanedAt))) < e.order.Timeout {
			op.log.Warn("processes of a task whose supervising process died cannot be ended yet", zap.String("task", list[i].Key), zap.Ints("pids", r.Left))
			rest = append(rest, e)
			continue
		}
		r.Ended = e.ended
		reports = append(reports, op.tasks.indeterminate(e, remainsText(&r)))
	}
	op.tasks.mu.Unlock()
	op.reporting.settle(reports)
	return rest
}

// remainsText tells people what was found of a lost task.
func remainsText(r *shim.Remains) string {
	var text string
	if r.Ended > 0 {
		text += fmt.Sprintf("; what was left of it was ended (%s)", count(r.Ended))
	}
	switch {
	case len(r.Left) > 0:
		text += fmt.Sprintf("; %s of it could not be ended: %s", count(len(r.Left)), strings.Trim(fmt.Sprint(r.Left), "[]"))
	case r.Whole:
		text += "; nothing of it runs any more"
	default:
		text += "; it had no control group, so a process of it that hides may still run"
	}
	return text
}

func count(n int) string {
	if n == 1 {
		return "1 process"
	}
	return strconv.Itoa(n) + " processes"
}

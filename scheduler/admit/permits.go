package admit

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/cluster"
)

// A rollout's clusterMaxPer bounds how many tasks are under way at a time, in
// the whole cluster, on the minions that have the same value of a label. Who
// counts is in etcd, in one key per value. A task has a permit in it from before
// its order is sent until its end is known; the task's attempts share it.
//
// Permits are the last thing that a task waits for: it asks when it could be sent
// at once otherwise, for all its labels in one transaction, and a permit of which
// no use can be made is given back. So whoever holds one is under way, and ends.

// Holder is a task that has permits, or wants them.
type Holder struct {
	Fire   job.FireID
	Minion job.MinionID
}

// permits is what an owner knows of its tasks' permits. Since the grant only it
// writes them, so they are what it has last read or written.
type permits struct {
	o    *Owner
	caps func() *cluster.Caps
	book Book
	log  *zap.Logger
	// used: tasks of the shard need permits, so changes of caps matter to it. Others
	// read it, too.
	used atomic.Bool
	// sweep: what earlier owners have left is to be read, before anything is asked
	// for; swept: it has been.
	sweep, swept bool
	// busy: a round is under way.
	busy bool
	// held are the caps under which tasks have permits, surplus those of tasks that
	// need them no more.
	held, surplus map[Holder][]cluster.Cap
	// wanted are the tasks that ask next; asking are these, and those that the
	// round under way asks for; pending counts them.
	wanted  []*Request
	asking  map[Holder]struct{}
	pending map[cluster.Cap]int
	// known is what the owner has seen itself, where the watch may not have yet.
	known map[cluster.Cap]cluster.CapCount
	// waiting are the runs that were refused, with the bounds that did it.
	waiting map[*Run]map[cluster.Cap]int
	// looks is when those that stand in the way are looked at next.
	looks map[cluster.Cap]int64
}

func newPermits(o *Owner, d *Deps, book Book) permits {
	return permits{
		o: o, caps: d.Caps, log: d.Logger, book: book,
		held: map[Holder][]cluster.Cap{}, surplus: map[Holder][]cluster.Cap{}, asking: map[Holder]struct{}{}, pending: map[cluster.Cap]int{},
		known: map[cluster.Cap]cluster.CapCount{}, waiting: map[*Run]map[cluster.Cap]int{}, looks: map[cluster.Cap]int64{},
	}
}

// Used reports whether tasks of the shard need permits, so that it is to be told of
// changes of what counts. Any goroutine may call it.
func (a *Admission) Used() bool { return a.permits.used.Load() }

// Holds reports whether the task has its permits.
func (a *Admission) Holds(h Holder) bool { return a.permits.holds(h) }

// IsFirst reports whether the task has permits, or has asked for them: it is for such
// tasks that others wait, so they go first.
func (a *Admission) IsFirst(h Holder) bool {
	_, is := a.permits.asking[h]
	return is || a.permits.holds(h)
}

// GiveBack gives a task's permits back: it has ended, or cannot start now.
func (a *Admission) GiveBack(h Holder) {
	p := &a.permits
	if keys, ok := p.held[h]; ok {
		delete(p.held, h)
		p.surplus[h] = keys
	}
}

// Sweep has the permits read that earlier owners have left, unless that was done.
func (a *Admission) Sweep() { a.permits.needSweep() }

// CapsChanged has the runs ask again that may find room now.
func (a *Admission) CapsChanged() { a.permits.changed() }

// TendPermits begins a round where there is something to ask for or to give back. idle
// says that none is to begin: the shard is being passed on.
func (a *Admission) TendPermits(idle bool) { a.permits.tend(idle) }

func (p *permits) holds(h Holder) bool {
	if keys, ok := p.surplus[h]; ok { // not given back yet
		delete(p.surplus, h)
		p.held[h] = keys
	}
	return len(p.held[h]) > 0
}

// ask asks for a task's permits.
func (p *permits) ask(r *Run, t Task, now int64) Answer {
	h := t.Holder()
	if p.holds(h) {
		return Yes
	}
	if _, is := p.asking[h]; is {
		return Asked
	}
	if !p.swept {
		p.needSweep()
		return No
	}
	bounds := t.Bounds()
	room := len(bounds) > 0
	for k, most := range bounds {
		if !p.hasRoom(k, most) {
			p.await(r, k, most, now)
			room = false
		}
	}
	if !room {
		return No
	}
	p.asking[h] = struct{}{}
	p.wanted = append(p.wanted, &Request{Holder: h, Bounds: bounds, task: t, r: r})
	for k := range bounds {
		p.pending[k]++
	}
	return Asked
}

func (p *permits) needSweep() {
	p.used.Store(true)
	p.sweep = !p.swept && !p.busy
}

// hasRoom reports whether fewer tasks than most count under a cap, those that ask
// included.
func (p *permits) hasRoom(k cluster.Cap, most int) bool {
	seen, known := p.caps().Count(k), p.known[k]
	if seen.Rev >= known.Rev {
		delete(p.known, k)
	} else {
		seen = known
	}
	return seen.Count+p.pending[k] < most
}

// Those that stand in the way of a run are looked at when they have done so for
// lookAfter, and then every lookEvery: a run may have left them.
const (
	lookAfter = int64(5 * time.Second)
	lookEvery = int64(time.Minute)
)

// await has a run wait for room under a cap.
func (p *permits) await(r *Run, k cluster.Cap, most int, now int64) {
	if p.waiting[r] == nil {
		p.waiting[r] = map[cluster.Cap]int{}
	}
	p.waiting[r][k] = most
	at, there := p.looks[k]
	switch {
	case !there:
		at = now + lookAfter
	case now >= at:
		p.lookAtHolders(k)
		at = now + lookEvery
	}
	p.looks[k] = at
	p.o.AskAgain(r, at)
	r.held = fmt.Sprintf("waiting for one of %d tasks in the cluster to end where %s is %q; its clusterMaxPer is %d",
		max(p.caps().Count(k).Count, p.known[k].Count), k.Label, k.Value, most)
}

func (p *permits) changed() {
	now := p.o.Now()
	for r, bounds := range p.waiting {
		for k, most := range bounds {
			if p.hasRoom(k, most) {
				p.o.AskAgain(r, now)
				break
			}
		}
	}
}

func (p *permits) tend(idle bool) {
	if len(p.waiting) == 0 {
		clear(p.looks)
	}
	if p.busy || idle || !p.sweep && len(p.wanted) == 0 && len(p.surplus) == 0 {
		return
	}
	p.busy = true
	if p.sweep {
		p.sweep = false
		p.o.Go(func(ctx context.Context) {
			left, err := p.book.Read(ctx)
			p.o.Do(func() { p.took(left, err) })
		})
		return
	}
	r := p.next()
	p.o.Go(func(ctx context.Context) {
		err := p.book.Do(ctx, r)
		p.o.Do(func() { p.settled(r, err) })
	})
}

// next takes what fits into a transaction from what is to be done.
func (p *permits) next() *Round {
	r := &Round{Shard: p.o.Shard, Drops: map[Holder][]cluster.Cap{}, Keys: map[cluster.Cap]struct{}{}}
	for id, keys := range p.surplus {
		if r.fits(keys) {
			r.Drops[id] = keys
			delete(p.surplus, id)
		}
	}
	rest := p.wanted[:0]
	for _, q := range p.wanted {
		keys := make([]cluster.Cap, 0, len(q.Bounds))
		for k := range q.Bounds {
			keys = append(keys, k)
		}
		switch {
		case q.task.Over():
			p.askedFor(q)
		case r.fits(keys):
			r.Asks = append(r.Asks, q)
		default:
			rest = append(rest, q)
		}
	}
	clear(p.wanted[len(rest):])
	p.wanted = rest
	return r
}

// askedFor forgets that a task asks.
func (p *permits) askedFor(q *Request) {
	delete(p.asking, q.Holder)
	for k := range q.Bounds {
		if p.pending[k]--; p.pending[k] == 0 {
			delete(p.pending, k)
		}
	}
}

// settled takes note of a round's outcome.
func (p *permits) settled(r *Round, err error) {
	p.busy = false
	if err != nil {
		p.o.Fail(err)
		return
	}
	for k, c := range r.Seen {
		p.known[k] = c
	}
	now := p.o.Now()
	for _, q := range r.Asks {
		p.askedFor(q)
		keys, ok := r.Granted[q.Holder]
		switch {
		case ok && q.task.Over():
			p.surplus[q.Holder] = keys
		case ok:
			p.held[q.Holder] = keys
		}
		if !p.o.Ended(q.r) {
			p.o.AskAgain(q.r, now)
		}
	}
	p.changed()
}

// took takes what earlier owners have left: what belongs to a task that has not
// ended is kept, the rest is given back.
func (p *permits) took(left map[Holder][]cluster.Cap, err error) {
	p.busy = false
	if err != nil {
		p.o.Fail(err)
		return
	}
	p.swept = true
	open := p.o.Capped()
	for id, keys := range left {
		if _, is := open[id]; is {
			p.held[id] = keys
		} else {
			p.surplus[id] = keys
		}
	}
}

// lookAtHolders removes those from a cap whose runs are not open any more. When
// nobody has time for that, it is asked for again.
func (p *permits) lookAtHolders(k cluster.Cap) {
	p.o.Spare(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, readTimeout)
		defer cancel()
		if err := p.book.Collect(ctx, k); err != nil {
			p.log.Warn("tasks that count under a cap not looked at", zap.String("label", k.Label), zap.String("value", k.Value), zap.Error(err))
		}
	})
}

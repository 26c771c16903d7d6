package scheduler

import (
	"context"
	"fmt"
	"slices"
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

// holder is a task that has permits, or wants them.
type holder struct {
	fire   job.FireID
	minion job.MinionID
}

// permits is what a shard knows of its tasks' permits. Since the grant only this
// owner writes them, so they are what it has last read or written.
type permits struct {
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
	held, surplus map[holder][]cluster.Cap
	// wanted are the tasks that ask next; asking are these, and those that the
	// round under way asks for; pending counts them.
	wanted  []*permitAsk
	asking  map[holder]struct{}
	pending map[cluster.Cap]int
	// known is what the shard has seen itself, where the watch may not have yet.
	known map[cluster.Cap]cluster.CapCount
	// waiting are the fires that were refused, with the bounds that did it.
	waiting map[*fire]map[cluster.Cap]int
	// looks is when those that stand in the way are looked at next.
	looks map[cluster.Cap]int64
}

func newPermits() *permits {
	return &permits{
		held: map[holder][]cluster.Cap{}, surplus: map[holder][]cluster.Cap{}, asking: map[holder]struct{}{}, pending: map[cluster.Cap]int{},
		known: map[cluster.Cap]cluster.CapCount{}, waiting: map[*fire]map[cluster.Cap]int{}, looks: map[cluster.Cap]int64{},
	}
}

// permitAsk is a task that asks for permits.
type permitAsk struct {
	f      *fire
	t      *task
	id     holder
	bounds map[cluster.Cap]int
}

// over reports whether the task needs no permit any more.
func (a *permitAsk) over() bool { return a.f.ended() || a.t.final() }

// capped reports whether the fire's tasks need permits.
func (f *fire) capped() bool { return f.rules != nil && len(f.rules.ClusterMaxPer) > 0 }

func (f *fire) holder(t *task) holder { return holder{fire: f.taskID(t).Fire, minion: t.minion} }

// permission is the answer to a task that wants to start.
type permission int

const (
	refused permission = iota // not now; the fire is attended again when it may be otherwise
	asked                     // the fire is attended again when there is an answer
	granted
)

// holds reports whether the task has its permits.
func (s *shard) holds(f *fire, t *task) bool {
	id := f.holder(t)
	if keys, ok := s.permits.surplus[id]; ok { // not given back yet
		delete(s.permits.surplus, id)
		s.permits.held[id] = keys
	}
	return len(s.permits.held[id]) > 0
}

// permit asks for the permits of the task at a place of the fire's.
func (s *shard) permit(f *fire, place int, now int64) permission {
	p, t := s.permits, f.tasks[place]
	if s.holds(f, t) {
		return granted
	}
	id := f.holder(t)
	if _, is := p.asking[id]; is {
		return asked
	}
	if !p.swept {
		s.sweepPermits()
		return refused
	}
	bounds, room := make(map[cluster.Cap]int, len(f.rules.ClusterMaxPer)), true
	for label, most := range f.rules.ClusterMaxPer {
		k := cluster.Cap{Label: label, Value: f.rollout.values[label][place]}
		bounds[k] = most
		if !s.hasRoom(k, most) {
			s.await(f, k, most, now)
			room = false
		}
	}
	if !room {
		return refused
	}
	p.asking[id] = struct{}{}
	p.wanted = append(p.wanted, &permitAsk{f: f, t: t, id: id, bounds: bounds})
	for k := range bounds {
		p.pending[k]++
	}
	return asked
}

// mayStart reports whether a task may be sent as far as the caps of the cluster
// go. It is the last question before an order is made.
func (s *shard) mayStart(f *fire, t *task, now int64) bool {
	if !f.capped() || s.holds(f, t) {
		return true
	}
	place := slices.Index(f.tasks, t)
	return place >= 0 && s.permit(f, place, now) == granted
}

// sweepPermits has the permits read that earlier owners have left, unless that
// was done.
func (s *shard) sweepPermits() {
	s.permits.used.Store(true)
	s.permits.sweep = !s.permits.swept && !s.permits.busy
}

// hasRoom reports whether fewer tasks than most count under a cap, those that ask
// included.
func (s *shard) hasRoom(k cluster.Cap, most int) bool {
	p := s.permits
	seen, known := s.deps.Cluster.Caps().Count(k), p.known[k]
	if seen.Rev >= known.Rev {
		delete(p.known, k)
	} else {
		seen = known
	}
	return seen.Count+p.pending[k] < most
}

// Those that stand in the way of a fire are looked at when they have done so for
// lookAfter, and then every lookEvery: a run may have left them.
const (
	lookAfter = int64(5 * time.Second)
	lookEvery = int64(time.Minute)
)

// await has a fire wait for room under a cap.
func (s *shard) await(f *fire, k cluster.Cap, most int, now int64) {
	p := s.permits
	if p.waiting[f] == nil {
		p.waiting[f] = map[cluster.Cap]int{}
	}
	p.waiting[f][k] = most
	at, there := p.looks[k]
	switch {
	case !there:
		at = now + lookAfter
	case now >= at:
		s.lookAtHolders(k)
		at = now + lookEvery
	}
	p.looks[k] = at
	s.attendAt(f, at)
	if f.rollout != nil {
		f.rollout.held = fmt.Sprintf("waiting for one of %d tasks in the cluster to end where %s is %q; its clusterMaxPer is %d",
			max(s.deps.Cluster.Caps().Count(k).Count, s.permits.known[k].Count), k.Label, k.Value, most)
	}
}

// capsChanged attends to the fires that may find room now.
func (s *shard) capsChanged() {
	now := s.deps.now()
	for f, bounds := range s.permits.waiting {
		for k, most := range bounds {
			if s.hasRoom(k, most) {
				s.attendAt(f, now)
				break
			}
		}
	}
}

// giveBack gives a task's permits back: it has ended, or cannot start now.
func (s *shard) giveBack(f *fire, t *task) {
	if !f.capped() {
		return
	}
	id := f.holder(t)
	if keys, ok := s.permits.held[id]; ok {
		delete(s.permits.held, id)
		s.permits.surplus[id] = keys
	}
}

// leaveCaps gives back all that an ended fire has.
func (s *shard) leaveCaps(f *fire) {
	if !f.capped() {
		return
	}
	delete(s.permits.waiting, f)
	for _, t := range f.tasks {
		s.giveBack(f, t)
	}
}

// tendPermits begins a round where there is something to ask for or to give back.
func (s *shard) tendPermits(ctx context.Context) {
	p := s.permits
	if len(p.waiting) == 0 {
		clear(p.looks)
	}
	if p.busy || s.yielding || !p.sweep && len(p.wanted) == 0 && len(p.surplus) == 0 {
		return
	}
	p.busy = true
	if p.sweep {
		p.sweep = false
		s.wg.Go(func() {
			left, err := s.readPermits(ctx)
			s.do(func() { s.swept(left, err) })
		})
		return
	}
	r := s.nextRound()
	s.wg.Go(func() {
		err := s.doRound(ctx, r)
		s.do(func() { s.settledRound(r, err) })
	})
}

// nextRound takes what fits into a transaction from what is to be done.
func (s *shard) nextRound() *permitRound {
	p := s.permits
	r := &permitRound{shard: s.id, drops: map[holder][]cluster.Cap{}, keys: map[cluster.Cap]struct{}{}}
	for id, keys := range p.surplus {
		if r.fits(keys) {
			r.drops[id] = keys
			delete(p.surplus, id)
		}
	}
	rest := p.wanted[:0]
	for _, a := range p.wanted {
		keys := make([]cluster.Cap, 0, len(a.bounds))
		for k := range a.bounds {
			keys = append(keys, k)
		}
		switch {
		case a.over():
			s.askedFor(a)
		case r.fits(keys):
			r.asks = append(r.asks, a)
		default:
			rest = append(rest, a)
		}
	}
	clear(p.wanted[len(rest):])
	p.wanted = rest
	return r
}

// askedFor forgets that a task asks.
func (s *shard) askedFor(a *permitAsk) {
	delete(s.permits.asking, a.id)
	for k := range a.bounds {
		if s.permits.pending[k]--; s.permits.pending[k] == 0 {
			delete(s.permits.pending, k)
		}
	}
}

// settledRound takes note of a round's outcome.
func (s *shard) settledRound(r *permitRound, err error) {
	p := s.permits
	p.busy = false
	if err != nil {
		s.lost(err)
		return
	}
	for k, c := range r.seen {
		p.known[k] = c
	}
	now := s.deps.now()
	for _, a := range r.asks {
		s.askedFor(a)
		keys, ok := r.granted[a.id]
		switch {
		case ok && a.over():
			p.surplus[a.id] = keys
		case ok:
			p.held[a.id] = keys
		}
		if !a.f.ended() {
			s.attendAt(a.f, now)
		}
	}
	s.capsChanged()
}

// swept takes what earlier owners have left: what belongs to a task that has not
// ended is kept, the rest is given back.
func (s *shard) swept(left map[holder][]cluster.Cap, err error) {
	p := s.permits
	p.busy = false
	if err != nil {
		s.lost(err)
		return
	}
	p.swept = true
	open := map[holder]struct{}{}
	now := s.deps.now()
	for _, f := range s.fires {
		if f.ended() || !f.capped() {
			continue
		}
		for _, t := range f.tasks {
			if !t.final() {
				open[f.holder(t)] = struct{}{}
			}
		}
		s.attendAt(f, max(now, f.due()))
	}
	for id, keys := range left {
		if _, is := open[id]; is {
			p.held[id] = keys
		} else {
			p.surplus[id] = keys
		}
	}
}

// lost ends the shard because of a write that failed.
func (s *shard) lost(err error) {
	if s.err == nil {
		s.err = err
	}
}

// lookAtHolders removes those from a cap whose runs are not open any more. When
// nobody has time for that, it is asked for again.
func (s *shard) lookAtHolders(k cluster.Cap) {
	s.deps.bestEffort.do(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, loadTimeout)
		defer cancel()
		if err := s.removeLeftovers(ctx, k); err != nil {
			s.log.Warn("tasks that count under a cap not looked at", zap.String("label", k.Label), zap.String("value", k.Value), zap.Error(err))
		}
	})
}

// tendCaps wakes the shards that wait for room under a cap, when caps have
// changed.
func (t *ownership) tendCaps() {
	now := t.e.deps.Cluster.Caps()
	if t.capsSeen == now {
		return
	}
	t.capsSeen = now
	t.e.mu.RLock()
	defer t.e.mu.RUnlock()
	for _, s := range t.e.shards {
		if s.permits.used.Load() {
			s.do(s.capsChanged)
		}
	}
}

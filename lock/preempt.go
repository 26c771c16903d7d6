package lock

import (
	"cmp"
	"context"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// breakMargin is what a hold has, beyond what it was promised, to go by itself,
// before a waiter removes it.
const breakMargin = time.Second

// holding is a hold of the lock.
type holding struct {
	located

	rec record
	rev int64
}

func holdingOf(kv *mvccpb.KeyValue) (holding, bool) {
	at, ok := locate(string(kv.Key))
	if !ok || at.what != 'h' {
		return holding{}, false
	}
	rec, err := decodeRecord(kv.Value)
	return holding{at, rec, kv.ModRevision}, err == nil
}

// preempted returns those of the holds that a preempting contender of the kind
// and priority, which waits, makes go: all that exclude it and have a lower
// priority, of a semaphore's the weakest alone. Nobody has to go if the
// contender would be kept out by somebody else anyway.
func preempted(holds []holding, k kind, priority int) []holding {
	var weaker []holding
	for _, h := range holds {
		switch {
		case k == sharing && h.kind == sharing:
		case h.rec.Priority < priority:
			weaker = append(weaker, h)
		case k.limit() <= 1:
			return nil
		}
	}
	if k.limit() <= 1 || len(weaker) == 0 {
		return weaker
	}
	return []holding{slices.MinFunc(weaker, func(a, b holding) int {
		return cmp.Or(cmp.Compare(a.rec.Priority, b.rec.Priority), cmp.Compare(b.rev, a.rev))
	})}
}

// due is when the waiter may break which holds that keep it out.
func (w *waiter) due() map[grantID]time.Duration {
	var holds []holding
	for _, kv := range w.taken {
		if h, ok := holdingOf(kv); ok && (w.kind != sharing || h.kind != sharing) {
			holds = append(holds, h)
		}
	}
	now := w.s.now()
	seen := make(map[grantID]time.Duration, len(holds))
	due := make(map[grantID]time.Duration)
	id := func(h *holding) grantID { return grantID{h.lock.hold(h.kind, h.id), h.rev} }
	soonest := func(h *holding, at time.Duration) {
		if was, ok := due[id(h)]; !ok || at < was {
			due[id(h)] = at
		}
	}
	for _, h := range holds {
		first, ok := w.seen[id(&h)]
		if !ok {
			first = now
		}
		seen[id(&h)] = first
		if h.rec.MaxHold > 0 {
			soonest(&h, first+h.rec.MaxHold+h.rec.Grace+breakMargin)
		}
	}
	w.seen = seen
	if w.rec.Preempt {
		for _, h := range preempted(holds, w.kind, w.rec.Priority) {
			soonest(&h, seen[id(&h)]+2*h.rec.Grace+breakMargin)
		}
	}
	return due
}

// planBreak sets the time at which a hold is to be broken.
func (w *waiter) planBreak() {
	next := lookEvery
	now := w.s.now()
	for _, at := range w.due() {
		next = min(next, max(at-now, 0))
	}
	w.force.Reset(next)
}

// breakDue removes holds that should have gone. Their holders are told by their
// watches, if they are alive.
func (w *waiter) breakDue(ctx context.Context) {
	now := w.s.now()
	for id, at := range w.due() {
		h, ok := holdingOf(w.taken[id.key])
		if !ok || at > now {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, tryTimeout)
		_, err := w.s.client.Txn(ctx).
			If(unchanged(id.key, id.rev), unchanged(w.contender.place, w.mod)).
			Then(endOps(h.lock, h.kind, h.id, &h.rec, false)...).Commit()
		cancel()
		w.s.log.Warn("broke a hold that did not go", zap.String("key", id.key), zap.String("holder", h.rec.Holder), zap.Error(err))
	}
	w.force.Reset(breakMargin)
	w.planBreakAfter(now)
}

// planBreakAfter plans the next break, but not at once for what was just tried.
func (w *waiter) planBreakAfter(now time.Duration) {
	next := lookEvery
	for _, at := range w.due() {
		next = min(next, max(at-now, breakMargin))
	}
	w.force.Reset(next)
}

// preempts reports whether the waiter at the key, with the value, makes the
// grant go. It reads who else holds the lock, for only some have to.
func (g *grant) preempts(ctx context.Context, kv *mvccpb.KeyValue) bool {
	at, ok := locate(string(kv.Key))
	if !ok {
		return false
	}
	w, err := decodeRecord(kv.Value)
	if err != nil || !w.Preempt || w.Priority <= g.end.rec.Priority || !at.kind.mixes(g.end.kind) {
		return false
	}
	if at.kind == exclusive && g.end.kind == exclusive {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	r, err := g.s.client.Get(ctx, g.end.lock.holds(), clientv3.WithPrefix())
	if err != nil {
		return false // the waiter breaks a hold in the end
	}
	var holds []holding
	for _, kv := range r.Kvs {
		if h, ok := holdingOf(kv); ok {
			holds = append(holds, h)
		}
	}
	return slices.ContainsFunc(preempted(holds, at.kind, w.Priority), func(h holding) bool {
		return h.id == g.end.id && h.rev == g.end.rev
	})
}

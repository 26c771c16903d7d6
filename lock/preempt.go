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
	due := make(map[grantID]time.Duration)
	w.held = since(w.held, holds, now)
	for _, h := range holds {
		if h.rec.MaxHold > 0 {
			due[h.grant()] = w.held[h.grant()] + h.rec.MaxHold + h.rec.Grace + breakMargin
		}
	}
	if !w.rec.Preempt {
		return due
	}
	weaker := preempted(holds, w.kind, w.rec.Priority)
	w.asked = since(w.asked, weaker, now)
	for _, h := range weaker {
		at := w.asked[h.grant()] + 2*h.rec.Grace + breakMargin
		if was, ok := due[h.grant()]; !ok || at < was {
			due[h.grant()] = at
		}
	}
	return due
}

// since returns when each of the holds came up first: as known, or now.
func since(known map[grantID]time.Duration, holds []holding, now time.Duration) map[grantID]time.Duration {
	first := make(map[grantID]time.Duration, len(holds))
	for _, h := range holds {
		at, ok := known[h.grant()]
		if !ok {
			at = now
		}
		first[h.grant()] = at
	}
	return first
}

func (h *holding) grant() grantID { return grantID{h.lock.hold(h.kind, h.id), h.rev} }

// planBreak sets the time at which a hold is to be broken.
func (w *waiter) planBreak() {
	next := w.s.lookEvery
	now := w.s.now()
	for _, at := range w.due() {
		next = min(next, max(at-now, breakMargin/10))
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
	w.planBreak()
}

// mustGo reports whether the grant has to make room, and whether somebody has
// asked for room at all. It reads who waits and who holds.
func (g *grant) mustGo(ctx context.Context) (mustGo, asked bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	l, own := g.end.lock, class(g.end.rec.Priority)
	r, err := g.s.client.Txn(ctx).Then(
		clientv3.OpGet(l.queue(), clientv3.WithRange(l.queueOf(own))),
		clientv3.OpGet(l.holds(), clientv3.WithPrefix()),
	).Commit()
	if err != nil {
		return false, false, err
	}
	var holds []holding
	for _, kv := range keysOf(r.Responses[1]) {
		if h, ok := holdingOf(kv); ok {
			holds = append(holds, h)
		}
	}
	free := g.end.kind.limit() - len(holds) // permits; of other kinds nothing is free
	for _, w := range inOrder(keysOf(r.Responses[0])) {
		if rec, err := decodeRecord(w.kv.Value); err != nil || !rec.Preempt {
			continue
		}
		asked = true
		if free--; free >= 0 {
			continue
		}
		going := preempted(holds, w.kind, priorityOf(w.class))
		holds = slices.DeleteFunc(holds, func(h holding) bool {
			return slices.ContainsFunc(going, func(v holding) bool { return v.grant() == h.grant() })
		})
		if slices.ContainsFunc(going, func(h holding) bool { return h.id == g.end.id && h.rev == g.end.rev }) {
			return true, true, nil
		}
	}
	return false, asked, nil
}

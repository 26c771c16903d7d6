package lock

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// lookEvery is about how often a waiter looks by itself, should its watch
	// have missed something.
	lookEvery = 15 * time.Second
	// lookAfter is how long a waiter relies on those before it to hand the lock
	// over, before it watches them. It is then awake should they die.
	lookAfter = 150 * time.Millisecond
	// grantWait is how long a waiter whose place has gone waits for the event
	// that tells that this was its grant; they come at the same time.
	grantWait = 50 * time.Millisecond
	// present makes a watch start at the present.
	present = 0
)

// waiter is a contender in the queue. It is granted the lock by whoever unlocks
// it, or takes it by a transaction that proves that it may. It watches its own
// hold and place, and one thing that it waits for: a place before its own, else
// the holds.
type waiter struct {
	*contender

	mod, since int64 // mod and create revision of the place

	hold, place, blocker watch
	// ahead is the place that is waited for.
	ahead grantID
	// taken are the holds and guards, while they are what is waited for.
	taken map[string]*mvccpb.KeyValue

	look  *time.Timer // when to look
	force *time.Timer // when to break a hold

	failures int
}

// watch is a watch and its end. One that starts in the past is served by etcd
// every 100 ms only until it has caught up; so what must be fast starts at the
// present, and what happened before is read once it is told that it has begun.
type watch struct {
	events clientv3.WatchChan
	stop   context.CancelFunc
	// seen is the revision up to which all is known.
	seen int64
}

func (w *watch) close() {
	if w.stop != nil {
		w.stop()
	}
	*w = watch{}
}

func (c *contender) watch(ctx context.Context, key string, rev int64, opts ...clientv3.OpOption) watch {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	return watch{c.s.client.Watch(ctx, key, append(opts, clientv3.WithRev(rev), clientv3.WithCreatedNotify())...), cancel, 0}
}

// readAt reads keys as they were at rev or later. It proves nothing.
func (c *contender) readAt(ctx context.Context, rev int64, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	r, err := c.s.client.Get(ctx, key, append(opts, clientv3.WithSerializable())...)
	if err == nil && r.Header.Revision < rev {
		// Another member than the one that told us of rev.
		r, err = c.s.client.Get(ctx, key, opts...)
	}
	return r, err
}

// wait returns the contender's hold when it has it. place is its place, and v
// what it saw when it took that; nil: it does not know.
func (c *contender) wait(ctx context.Context, place *mvccpb.KeyValue, v *view) (*mvccpb.KeyValue, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the watches
	w := &waiter{
		contender: c, mod: place.ModRevision, since: place.CreateRevision,
		look: time.NewTimer(0), force: time.NewTimer(c.s.lookEvery),
	}
	defer w.look.Stop()
	defer w.force.Stop()
	w.hold = c.watch(ctx, c.hold, present)
	switch {
	case v == nil:
	case c.relies(v):
		w.look.Reset(lookAfter + rand.N(lookAfter/4))
	default:
		if err := w.block(ctx, v); err != nil {
			return nil, err
		}
	}
	return w.run(ctx)
}

func (w *waiter) run(ctx context.Context) (*mvccpb.KeyValue, error) {
	for {
		select {
		case r, ok := <-w.hold.events:
			if kv := w.told(ctx, r, ok); kv != nil {
				return kv, nil
			}
		case r, ok := <-w.place.events:
			if !ok || r.Err() != nil || len(r.Events) > 0 { // else it has just begun
				w.place.close()
				w.lookIn(grantWait)
			}
		case r, ok := <-w.blocker.events:
			w.changed(ctx, r, ok)
		case <-w.look.C:
			if kv, err := w.tryTake(ctx); kv != nil || err != nil {
				return kv, err
			}
		case <-w.force.C:
			w.breakDue(ctx)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (w *waiter) lookIn(d time.Duration) { w.look.Reset(d) }

// told returns the waiter's hold if the response tells of it. That etcd put
// it on our lease is a fact of its history, and our session's deadline is what
// makes it safe; a hold that has been removed since is found out by the watch
// over it.
func (w *waiter) told(ctx context.Context, r clientv3.WatchResponse, ok bool) *mvccpb.KeyValue {
	switch {
	case !ok || r.Err() != nil:
		w.hold.close()
		w.lookIn(retryMin)
	case r.Created:
		got, err := w.readAt(ctx, r.Header.Revision, w.contender.hold)
		if err != nil {
			w.lookIn(0)
		} else if len(got.Kvs) > 0 && got.Kvs[0].ModRevision > w.mod {
			return got.Kvs[0]
		}
	}
	for _, e := range r.Events {
		if e.Type == clientv3.EventTypePut && e.Kv.ModRevision > w.mod {
			return e.Kv
		}
	}
	return nil
}

// changed takes note of what happened to what is waited for.
func (w *waiter) changed(ctx context.Context, r clientv3.WatchResponse, ok bool) {
	switch {
	case !ok || r.Err() != nil:
		w.blocker.close()
		w.lookIn(retryMin)
		return
	case r.Created:
		if err := w.catchUp(ctx, r.Header.Revision); err != nil {
			w.lookIn(0)
		}
		return
	case len(r.Events) == 0:
		return
	case w.taken == nil: // a place before ours is gone
		w.aheadGone()
		return
	}
	orphaned := false
	for _, e := range r.Events {
		if e.Kv.ModRevision <= w.blocker.seen {
			continue
		}
		if e.Type == clientv3.EventTypePut {
			w.taken[string(e.Kv.Key)] = e.Kv
			continue
		}
		delete(w.taken, string(e.Kv.Key))
		orphaned = true
	}
	if !w.blocked() || orphaned && len(w.orphans(w.taken)) > 0 {
		w.lookIn(0)
		return
	}
	w.planBreak()
}

// aheadGone notes that the place that was waited for is gone.
func (w *waiter) aheadGone() {
	w.blocker.close()
	if at, ok := locate(w.ahead.key); ok && at.kind == w.kind && w.kind != sharing {
		// It has the lock now, most likely, and will hand it over to us.
		w.lookIn(lookAfter)
	} else {
		w.lookIn(0)
	}
}

// catchUp reads what happened to what is waited for before the watch began.
func (w *waiter) catchUp(ctx context.Context, rev int64) error {
	if w.taken == nil {
		r, err := w.readAt(ctx, rev, w.ahead.key, clientv3.WithKeysOnly())
		if err == nil && (len(r.Kvs) == 0 || r.Kvs[0].CreateRevision != w.ahead.rev) { // names are used again
			w.aheadGone()
		}
		return err
	}
	r, err := w.readAt(ctx, rev, w.lock.guards(), clientv3.WithRange(after(w.lock.holds())))
	if err != nil {
		return err
	}
	w.blocker.seen = r.Header.Revision
	w.setTaken(r.Kvs)
	if !w.blocked() {
		w.lookIn(0)
	}
	w.planBreak()
	return nil
}

func (w *waiter) setTaken(kvs []*mvccpb.KeyValue) {
	w.taken = make(map[string]*mvccpb.KeyValue, len(kvs))
	for _, kv := range kvs {
		w.taken[string(kv.Key)] = kv
	}
}

// tryTake takes the lock if it is the waiter's turn; if not, it goes on to wait
// for what is in the way. It is a transaction that could write, so it proves
// what it tells.
func (w *waiter) tryTake(ctx context.Context) (*mvccpb.KeyValue, error) {
	v, err := w.take(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil && !ambiguous(err):
		return nil, err
	case err != nil:
		w.failures++
		w.lookIn(retryAfter(w.failures))
		return nil, nil
	case v.hold != nil && v.hold.Lease == int64(w.s.lease):
		return v.hold, nil
	case v.place == nil || v.place.CreateRevision != w.since:
		return nil, w.s.whyGone(ctx)
	}
	w.mod = v.place.ModRevision
	if err := w.block(ctx, v); err != nil {
		return nil, err
	}
	return nil, nil
}

// take makes the place a hold if nobody is ahead and the lock is free. Else it
// returns what is in the way.
func (w *waiter) take(ctx context.Context) (*view, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	grant, err := w.grant()
	if err != nil {
		return nil, err
	}
	grant = append(grant, clientv3.OpDelete(w.contender.place))
	base := append([]clientv3.Cmp{unchanged(w.contender.place, w.mod)}, w.vacant()...)
	ways := w.first(w.since)
	otherwise := w.viewOps(w.since)
	for _, way := range slices.Backward(ways[1:]) {
		otherwise = []clientv3.Op{clientv3.OpTxn(slices.Concat(base, way), grant, otherwise)}
	}
	r, err := w.s.client.Txn(ctx).If(slices.Concat(base, ways[0])...).Then(grant...).Else(otherwise...).Commit()
	if err != nil {
		return nil, w.doubtful(err)
	}
	done, responses := r.Succeeded, r.Responses
	for range ways[1:] {
		if !done {
			inner := responses[0].GetResponseTxn()
			done, responses = inner.Succeeded, inner.Responses
		}
	}
	rev := r.Header.Revision
	if done {
		return &view{rev: rev, hold: &mvccpb.KeyValue{Key: []byte(w.contender.hold), ModRevision: rev, Lease: int64(w.s.lease)}}, nil
	}
	return viewOf(rev, responses), nil
}

// block waits for what is in the way.
func (w *waiter) block(ctx context.Context, v *view) error {
	if err := w.checkLimit(v); err != nil {
		return err
	}
	w.failures = 0
	w.lookIn(w.s.lookEvery + rand.N(w.s.lookEvery))
	w.blocker.close()
	w.taken = nil
	if w.hold.events == nil {
		w.hold = w.watch(ctx, w.contender.hold, present)
	}
	if w.place.events == nil {
		w.place = w.watch(ctx, w.contender.place, v.rev+1, clientv3.WithFilterPut())
	}
	if v.ahead != nil {
		w.ahead = grantID{string(v.ahead.Key), v.ahead.CreateRevision}
		w.blocker = w.watch(ctx, w.ahead.key, present, clientv3.WithFilterPut())
		return nil
	}
	w.setTaken(v.taken)
	if !w.blocked() {
		w.lookIn(retryMin) // it was blocked by what has changed meanwhile
		if w.chooseSlot(w.taken) {
			w.lookIn(0)
		}
		return nil
	}
	w.blocker = w.watch(ctx, w.lock.guards(), present, clientv3.WithRange(after(w.lock.holds())))
	for _, guard := range w.orphans(w.taken) {
		w.s.background(func() { w.s.letGuardExpire(guard) })
	}
	w.planBreak()
	return nil
}

// relies reports whether the contender may rely on being handed the lock: all
// that is in its way is of its own kind, which hands over. Then it need not
// watch at once.
func (c *contender) relies(v *view) bool {
	if c.kind == sharing || len(v.taken) == 0 || c.checkLimit(v) != nil {
		return false
	}
	permits := 0
	holds := make(map[string]bool)
	for _, kv := range v.taken { // guards sort first
		at, _ := locate(string(kv.Key))
		switch {
		case at.kind != c.kind:
			return false
		case at.what == 'g':
			permits++
		}
		holds[string(kv.Key)] = true
	}
	if c.kind.limit() > 1 && permits < c.kind.limit() && v.ahead == nil {
		return false // we guessed the wrong permit
	}
	for _, kv := range v.taken {
		if g, ok := guardOf(kv); ok && !holds[g.Hold] {
			return false
		}
	}
	if v.ahead != nil {
		at, _ := locate(string(v.ahead.Key))
		return at.kind == c.kind
	}
	return true
}

// blocked reports whether what is taken excludes the contender.
func (w *waiter) blocked() bool {
	permits := 0
	for key := range w.taken {
		at, _ := locate(key)
		switch {
		case w.kind == exclusive, at.kind != w.kind && at.what == 'h', w.kind == sharing && at.kind != sharing:
			return true
		case at.kind == w.kind && at.what == 'g':
			permits++
		}
	}
	return w.kind.limit() > 1 && permits >= w.kind.limit()
}

// chooseSlot picks a permit that is free. It returns false if there is none, or
// no need of one.
func (c *contender) chooseSlot(taken map[string]*mvccpb.KeyValue) bool {
	n := c.kind.limit()
	if n <= 1 {
		return false
	}
	start := rand.IntN(n)
	for i := range n {
		slot := (start + i) % n
		if _, ok := taken[c.lock.guard(c.kind, "", slot)]; !ok {
			c.slot = slot
			return true
		}
	}
	return false
}

// whyGone tells why a key that lay on the lease is gone: with the lease, which
// we may not know yet, or because somebody removed it.
func (s *Session) whyGone(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	if r, err := s.client.TimeToLive(ctx, s.lease); err == nil && r.TTL < 0 {
		return s.leaseGone()
	}
	return s.ended(ErrFenced)
}

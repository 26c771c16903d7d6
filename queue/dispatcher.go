package queue

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// dispatcher is the queue as one holder of the lock knows it.
type dispatcher struct {
	q     *Queue
	fence Fence
	// stop ends Run, with a cause.
	stop context.CancelCauseFunc
	// chores has one place: a token says that there is something to do now.
	chores chan struct{}

	// mu guards what follows.
	mu      sync.Mutex
	rev     int64 // what is known is what etcd held at this revision
	entries map[ref]*entry
	ready   line
	delayed line
	// spent are entries that have used up their attempts and are to be buried.
	spent map[ref]*entry
	// held are those that are claimed, as far as is seen.
	held map[ref]*entry
	// inHand counts those in hand, by key; parked are those that wait for one of them,
	// though it would be their turn. What is parked has one of its key in hand, or ready.
	inHand map[string]int
	parked map[string]*line
	// expiries are when waiting items expire.
	expiries expiries
	// lastAt is the highest instant of first claims.
	lastAt int64
	// claimed are entries that are busy until a revision is seen.
	claimed []*entry
	// orphans are claims whose answer was lost: no worker knows of them.
	orphans map[string]time.Time
	// changed is closed, and made anew, when items come to be ready.
	changed chan struct{}
	woken   bool  // changed is to be closed
	err     error // why the dispatcher has ended
}

// orphanLife is how long a lost claim may take to show up.
const orphanLife = time.Minute

// Run hands items out as long as ctx lives and the fence holds. The caller has
// acquired the lock, and ends ctx when it loses it. Run returns nil when ctx has
// ended, and ErrFenced when a write has shown that somebody else has the lock.
// It is not called again before it has returned.
func (q *Queue) Run(ctx context.Context, fence Fence) error {
	parent := ctx
	ctx, cancel := context.WithCancelCause(parent)
	d := &dispatcher{
		q: q, fence: fence, stop: cancel, chores: make(chan struct{}, 1),
		entries: map[ref]*entry{}, spent: map[ref]*entry{}, orphans: map[string]time.Time{}, changed: make(chan struct{}),
		held: map[ref]*entry{}, inHand: map[string]int{}, parked: map[string]*line{},
		ready: line{less: inTurn(q.cfg.Aging)}, delayed: line{less: inTime},
	}
	q.mu.Lock()
	q.here = d
	q.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { cancel(etcdkv.Follow(ctx, q.client, q.keys.Live(), d.apply)) })
	wg.Go(func() { cancel(d.work(ctx)) })
	wg.Wait()
	err := context.Cause(ctx)
	q.mu.Lock()
	q.here = nil
	q.mu.Unlock()
	d.end(ErrNotDispatcher)
	if parent.Err() != nil && !errors.Is(err, ErrFenced) {
		return nil
	}
	return fmt.Errorf("dispatch queue: %w", err)
}

// end has all who wait for items return err.
func (d *dispatcher) end(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err, d.woken = err, true
	d.publish()
}

// publish ends every change: it updates the metrics and wakes those who wait
// for items, if there are new ones. mu must be held.
func (d *dispatcher) publish() {
	d.q.metrics.ready.Set(float64(d.ready.Len()))
	d.q.metrics.delayed.Set(float64(d.delayed.Len()))
	if d.woken {
		close(d.changed)
		d.changed, d.woken = make(chan struct{}), false
	}
}

// apply brings what is known to the revision of a batch.
func (d *dispatcher) apply(b etcdkv.Batch) error {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	touched := map[ref]*entry{}
	if b.Relist {
		for r, e := range d.entries {
			e.createRev, e.markerRev, e.markerMod, e.cancel = 0, 0, 0, nil
			e.fresh()
			touched[r] = e
		}
	}
	for i := range b.Events {
		if e := d.event(&b.Events[i], now); e != nil {
			touched[e.ref] = e
		}
	}
	d.rev = b.Rev
	seen := d.claimed[:0]
	for _, e := range d.claimed {
		if e.busyRev > d.rev {
			seen = append(seen, e)
			continue
		}
		e.busy = false
		touched[e.ref] = e
	}
	clear(d.claimed[len(seen):])
	d.claimed = seen
	for _, e := range touched {
		d.place(e, now)
	}
	d.publish()
	return nil
}

// event takes one event in, and returns the entry that it is about, or nil.
func (d *dispatcher) event(ev *etcdkv.Event, now time.Time) *entry {
	keys := d.q.keys
	priority, id, isItem := keys.Parse(keys.Items(), ev.Key)
	isMarker, isCancel := false, false
	if !isItem {
		if priority, id, isMarker = keys.Parse(keys.Markers(), ev.Key); !isMarker {
			if priority, id, isCancel = keys.Parse(keys.Cancels(), ev.Key); !isCancel {
				return nil
			}
		}
	}
	r := ref{priority, id}
	e := d.entries[r]
	if e == nil {
		e = &entry{ref: r}
		d.entries[r] = e
	}
	e.fresh()
	switch {
	case isCancel:
		if e.cancel = nil; ev.Value != nil {
			c, _ := etcdkv.Decode[etcdkv.QueueCancel](ev.Key, ev.Value) // one that cannot be read is an order all the same
			e.cancel = &c.Reason
		}
	case isItem:
		e.createRev, e.modRev, e.raw = ev.CreateRevision, ev.ModRevision, ev.Value
		if ev.Value == nil {
			return e
		}
		item, err := etcdkv.Decode[etcdkv.QueueItem](ev.Key, ev.Value)
		if err != nil {
			d.q.log.Error("item cannot be read and is left alone", zap.Error(err))
			e.createRev = 0
		}
		e.item = item
		d.lastAt = max(d.lastAt, item.At)
		if item.Attempt == 0 && !item.ExpiresAt.IsZero() {
			heap.Push(&d.expiries, expiry{item.ExpiresAt, e.ref})
		}
	case ev.Value == nil:
		e.markerRev, e.markerMod = 0, 0
	default:
		// A marker that cannot be read is a claim all the same.
		e.marker, _ = etcdkv.Decode[etcdkv.QueueMarker](ev.Key, ev.Value)
		if e.marker.Visibility <= 0 {
			e.marker.Visibility = d.q.cfg.Visibility
		}
		if ev.ModRevision != e.markerMod {
			e.deadline = now.Add(e.marker.Visibility)
		}
		e.markerRev, e.markerMod = ev.CreateRevision, ev.ModRevision
		if _, lost := d.orphans[e.marker.Claim]; lost {
			signal(d.chores)
		}
	}
	return e
}

// fresh says that a change of the entry has been seen.
func (e *entry) fresh() {
	e.changes++
	if e.stale {
		e.stale, e.busy = false, false
	}
}

// place puts an entry where it belongs; mu must be held.
func (d *dispatcher) place(e *entry, now time.Time) {
	e.leave()
	delete(d.spent, e.ref)
	delete(d.held, e.ref)
	if !e.busy && e.markerRev == 0 {
		d.letGo(e)
	}
	switch {
	case e.createRev == 0 && e.markerRev == 0 && !e.busy:
		delete(d.entries, e.ref)
	case e.createRev == 0 || e.markerRev != 0 || e.busy:
		// gone, or in somebody's hands
		if e.createRev != 0 && e.markerRev != 0 {
			d.held[e.ref] = e
			d.hold(e)
		}
		return
	case e.item.Counted() >= d.q.cfg.Retry.Attempts, e.expired(now), e.cancel != nil:
		d.spent[e.ref] = e
		signal(d.chores)
	case e.item.NotBefore.After(now):
		d.delayed.add(e)
		d.woken = true
	default:
		d.ready.add(e)
		d.woken = true
	}
	if key := e.item.Key; key != "" && d.inHand[key] == 0 {
		d.unpark(key)
	}
}

// expired reports whether it is too late to begin with an item.
func (e *entry) expired(now time.Time) bool {
	return e.item.Attempt == 0 && !e.item.ExpiresAt.IsZero() && !now.Before(e.item.ExpiresAt)
}

// hold counts an entry among those in hand that have its key; mu must be held.
func (d *dispatcher) hold(e *entry) {
	if key := e.item.Key; key != "" && e.heldKey == "" {
		e.heldKey = key
		d.inHand[key]++
	}
}

// letGo counts an entry as in hand no more; mu must be held.
func (d *dispatcher) letGo(e *entry) {
	key := e.heldKey
	if key == "" {
		return
	}
	e.heldKey = ""
	if d.inHand[key]--; d.inHand[key] == 0 {
		delete(d.inHand, key)
		d.unpark(key)
	}
}

// park has an entry wait for the one in hand that has its key; mu must be held.
func (d *dispatcher) park(e *entry) {
	l := d.parked[e.item.Key]
	if l == nil {
		l = &line{less: d.ready.less}
		d.parked[e.item.Key] = l
	}
	l.add(e)
}

// unpark has the first of those that waited for a key be ready; mu must be held.
func (d *dispatcher) unpark(key string) {
	l := d.parked[key]
	if l == nil {
		return
	}
	if e := l.first(); e != nil {
		e.leave()
		d.ready.add(e)
		d.woken = true
	}
	if l.Len() == 0 {
		delete(d.parked, key)
	}
}

// signal puts a token into a channel of length 1, if there is none.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// work takes markers away whose time is over, and buries items that have used
// up their attempts. It returns ErrFenced, or nil when ctx has ended.
func (d *dispatcher) work(ctx context.Context) error {
	every := min(max(d.q.cfg.Visibility/10, 10*time.Millisecond), time.Second)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	swept := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.chores:
		case <-ticker.C:
		}
		if !d.fence.Held() {
			continue // the caller ends ctx, or holds it again
		}
		err := d.expire(ctx)
		if err == nil {
			err = d.buryAll(ctx)
		}
		if now := time.Now(); err == nil && d.q.cfg.DedupWindow > 0 && now.Sub(swept) > sweepEvery {
			swept = now
			err = d.sweep(ctx, now)
		}
		if errors.Is(err, ErrFenced) {
			return err
		}
		if err != nil && ctx.Err() == nil {
			d.q.log.Warn("queue not tidied, will be tried again", zap.Error(err))
		}
	}
}

// sweepEvery is how often de-duplication keys are looked at whose window has passed,
// sweepPage how many are read at once.
const (
	sweepEvery = time.Minute
	sweepPage  = 500
)

// sweep removes the de-duplication keys whose window has passed.
func (d *dispatcher) sweep(ctx context.Context, now time.Time) error {
	from, end := d.q.keys.Dedups(), clientv3.GetPrefixRangeEnd(d.q.keys.Dedups())
	for {
		bounded, cancel := context.WithTimeout(ctx, d.q.cfg.Timeout)
		resp, err := d.q.client.Get(bounded, from, clientv3.WithRange(end), clientv3.WithLimit(sweepPage))
		cancel()
		if err != nil {
			return fmt.Errorf("list de-duplication keys: %w", etcdkv.Unavailable(err))
		}
		for _, kv := range resp.Kvs {
			v, err := etcdkv.Decode[etcdkv.QueueDedup](string(kv.Key), kv.Value)
			if err == nil && now.Before(v.Until) {
				continue
			}
			if _, err := d.write(ctx, []clientv3.Cmp{unchanged(string(kv.Key), kv.ModRevision)}, clientv3.OpDelete(string(kv.Key))); err != nil {
				return fmt.Errorf("remove de-duplication key: %w", err)
			}
		}
		if !resp.More || len(resp.Kvs) == 0 {
			return nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// expire takes away the markers whose deadline has passed or whose claim no
// worker knows of.
func (d *dispatcher) expire(ctx context.Context) error {
	now := time.Now()
	type over struct {
		ref
		mod int64
	}
	var list []over
	d.mu.Lock()
	for _, e := range d.entries {
		if e.markerRev == 0 {
			continue
		}
		if _, lost := d.orphans[e.marker.Claim]; lost || now.After(e.deadline) {
			list = append(list, over{e.ref, e.markerMod})
		}
	}
	for len(d.expiries) > 0 && !now.Before(d.expiries[0].at) {
		x := heap.Pop(&d.expiries).(expiry)
		if e := d.entries[x.ref]; e != nil && e.expired(now) {
			d.place(e, now)
		}
	}
	d.publish()
	for claim, at := range d.orphans {
		if now.Sub(at) > orphanLife {
			delete(d.orphans, claim)
		}
	}
	d.mu.Unlock()
	for _, o := range list {
		marker := d.q.keys.Marker(o.priority, o.id)
		// Extend changes the mod revision, and then the claim stays.
		ok, err := d.write(ctx, []clientv3.Cmp{unchanged(marker, o.mod)}, clientv3.OpDelete(marker))
		if err != nil {
			return fmt.Errorf("end claim of item %s: %w", o.id, err)
		}
		if ok {
			d.q.metrics.claims.WithLabelValues("expired").Inc()
			d.q.log.Info("claim ended by its deadline", zap.String("item", o.id))
		}
	}
	return nil
}

// buryAll makes dead letters of the items that have used up their attempts
// without anybody saying why.
func (d *dispatcher) buryAll(ctx context.Context) error {
	type spent struct {
		ref
		mod      int64
		raw      []byte
		attempts int
		reason   string
		// state, and why, are what is told of it (Q12).
		state job.State
		why   string
	}
	var list []spent
	d.mu.Lock()
	for _, e := range d.spent {
		s := spent{ref: e.ref, mod: e.modRev, raw: e.raw, attempts: e.item.Attempt, state: job.StateIndeterminate}
		s.reason = fmt.Sprintf("given up after %d attempts: the last worker was lost, or did not end in time", e.item.Attempt)
		s.why = s.reason
		switch {
		case e.cancel != nil:
			s.reason, s.state, s.why = "", job.StateCancelled, *e.cancel // it goes
		case e.item.Counted() < d.q.cfg.Retry.Attempts:
			s.reason = "expired at " + e.item.ExpiresAt.Format(time.RFC3339) + ", before a worker had it"
			s.state, s.why = job.StateExpired, s.reason
		}
		list = append(list, s)
	}
	d.mu.Unlock()
	for _, s := range list {
		ops := []clientv3.Op{clientv3.OpDelete(d.q.keys.Item(s.priority, s.id)), clientv3.OpDelete(d.q.keys.Cancel(s.priority, s.id))}
		if s.reason != "" {
			var err error
			if ops, err = d.q.bury(s.priority, s.id, s.raw, s.reason); err != nil {
				return err
			}
		}
		told, err := d.q.toldBy(s.id, s.raw, s.state, s.why)
		if err != nil {
			return err
		}
		ops = append(ops, told...)
		cmps := []clientv3.Cmp{unchanged(d.q.keys.Item(s.priority, s.id), s.mod), absent(d.q.keys.Marker(s.priority, s.id))}
		ok, err := d.write(ctx, cmps, ops...)
		if err != nil {
			return fmt.Errorf("bury item %s: %w", s.id, err)
		}
		if ok {
			d.q.metrics.claims.WithLabelValues("dead").Inc()
			d.q.log.Warn("item given up", zap.String("item", s.id), zap.Int("attempts", s.attempts), zap.String("why", s.reason))
		}
	}
	return nil
}

// write does what only the dispatcher may do (Q4). It reports false when one of
// the compares has failed, and returns ErrFenced when the fence has.
func (d *dispatcher) write(ctx context.Context, cmps []clientv3.Cmp, ops ...clientv3.Op) (bool, error) {
	resp, err := d.q.txn(ctx, append(cmps, d.fence.Fence()), ops)
	if err != nil || resp.Succeeded {
		return err == nil, err
	}
	resp, err = d.q.txn(ctx, []clientv3.Cmp{d.fence.Fence()}, nil)
	if err == nil && !resp.Succeeded {
		err = ErrFenced
	}
	return false, err
}

package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Claim hands up to n items, at most MaxClaim, to a worker. It waits until there
// is at least one, or ctx ends. The claims last until they are settled, the
// worker's lease ends, or the visibility deadline passes. It returns
// ErrNotDispatcher when Run does not run here or its lock is not held for sure,
// ErrFenced when somebody else has the lock, and ErrWorkerLost when the worker's lease has ended.
func (q *Queue) Claim(ctx context.Context, w Worker, n int) ([]Claimed, error) {
	d, err := q.dispatcher()
	if err != nil {
		return nil, err
	}
	if w.ID == "" || w.Lease == clientv3.NoLease || n <= 0 {
		return nil, &job.InvalidError{Problems: []job.Problem{{
			Message: fmt.Sprintf("a claim needs a worker, its lease and a positive number, not %q, %x and %d", w.ID, w.Lease, n),
		}}}
	}
	places := slices.Repeat([]Worker{w}, min(n, MaxClaim))
	for {
		picked, err := d.pick(ctx, len(places))
		if err != nil {
			return nil, err
		}
		got, err := d.claim(ctx, places[:len(picked)], picked)
		if errors.Is(err, ErrFenced) {
			d.stop(ErrFenced)
		}
		if len(got) > 0 || err != nil {
			return got, err
		}
	}
}

// ClaimEach is Claim for several workers at once, and does not wait: each place among
// them is worth one item, and the first items go to the first places. Where nothing may
// be claimed now it returns nothing; see Await. Workers without a lease keep their claims
// until somebody settles them, or the visibility deadline passes.
func (q *Queue) ClaimEach(ctx context.Context, places []Worker) ([]Claimed, error) {
	d, err := q.dispatcher()
	if err != nil {
		return nil, err
	}
	if len(places) == 0 || slices.ContainsFunc(places, func(w Worker) bool { return w.ID == "" }) {
		return nil, &job.InvalidError{Problems: []job.Problem{{Message: "a claim needs workers, each with an id"}}}
	}
	d.mu.Lock()
	picked, _ := d.take(min(len(places), MaxClaim), time.Now())
	err = d.err
	d.mu.Unlock()
	if len(picked) == 0 {
		return nil, err
	}
	got, err := d.claim(ctx, places[:len(picked)], picked)
	if errors.Is(err, ErrFenced) {
		d.stop(ErrFenced)
	}
	return got, err
}

// Await returns when there is an item that may be claimed, as far as is known here, or
// when ctx ends. Its errors are those of Claim.
func (q *Queue) Await(ctx context.Context) error {
	d, err := q.dispatcher()
	if err != nil {
		return err
	}
	for {
		d.mu.Lock()
		err, changed := d.err, d.changed
		next := d.ripen(time.Now())
		ready := d.ready.Len() > 0
		d.mu.Unlock()
		if ready || err != nil {
			return err
		}
		if err := waitFor(ctx, changed, next); err != nil {
			return err
		}
	}
}

func (q *Queue) dispatcher() (*dispatcher, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.here == nil {
		return nil, ErrNotDispatcher
	}
	return q.here, nil
}

// waitFor waits for a change, or for the time at which something will be ready.
func waitFor(ctx context.Context, changed <-chan struct{}, next time.Time) error {
	var timer <-chan time.Time
	if !next.IsZero() {
		timer = time.After(time.Until(next))
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("claim: %w", context.Cause(ctx))
	case <-changed:
	case <-timer:
	}
	return nil
}

// pick takes the next items out of the line, and waits for one if need be.
func (d *dispatcher) pick(ctx context.Context, n int) ([]*entry, error) {
	for {
		d.mu.Lock()
		err, changed := d.err, d.changed
		picked, next := d.take(n, time.Now())
		d.mu.Unlock()
		if len(picked) > 0 {
			return picked, nil
		}
		if err != nil {
			return nil, err
		}
		if err := waitFor(ctx, changed, next); err != nil {
			return nil, err
		}
	}
}

// ripen has the items be ready whose time has come, and returns when the next one will
// be; zero: none waits for its time. mu must be held.
func (d *dispatcher) ripen(now time.Time) time.Time {
	e := d.delayed.first()
	for ; e != nil && !e.item.NotBefore.After(now); e = d.delayed.first() {
		e.leave()
		d.ready.add(e)
	}
	if e == nil {
		return time.Time{}
	}
	return e.item.NotBefore
}

// take marks the next items busy and returns them. When there are none it
// returns when the next one will be ready. mu must be held.
func (d *dispatcher) take(n int, now time.Time) (picked []*entry, next time.Time) {
	if d.err != nil {
		return nil, time.Time{}
	}
	next = d.ripen(now)
	bytes := 0
	for len(picked) < n {
		e := d.ready.first()
		if e == nil || (len(picked) > 0 && bytes+len(e.raw) > maxTxnBytes) {
			break
		}
		e.leave()
		if key := e.item.Key; key != "" {
			if d.inHand[key] > 0 { // Q9
				d.park(e)
				continue
			}
			d.hold(e)
		}
		bytes += len(e.raw)
		e.busy, e.busyRev = true, 0
		picked = append(picked, e)
	}
	d.publish()
	return picked, next
}

// claim makes busy items a worker's own, in one transaction. Where it fails
// because an item has changed, it goes on with halves: nothing is returned when
// the last one has changed, and the view will say how.
func (d *dispatcher) claim(ctx context.Context, places []Worker, picked []*entry) ([]Claimed, error) {
	if !d.fence.Held() {
		d.release(picked)
		return nil, ErrNotDispatcher
	}
	nonce := uuid.NewString()
	cmps, ops, claimed, err := d.plan(places, nonce, picked)
	if err != nil {
		d.release(picked)
		return nil, err
	}
	resp, err := d.q.txn(ctx, append(cmps, d.fence.Fence()), ops)
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		d.release(picked)
		return nil, fmt.Errorf("claim for %s: %w", places[0].ID, ErrWorkerLost)
	case err != nil:
		// It may have been committed, and nobody would know of the claim.
		d.mu.Lock()
		d.orphans[nonce] = time.Now()
		d.mu.Unlock()
		signal(d.chores)
		d.release(picked)
		return nil, fmt.Errorf("claim: %w", err)
	case !resp.Succeeded:
		return d.claimHalves(ctx, places, picked)
	}
	rev := resp.Header.Revision
	d.committed(picked, rev)
	for i := range claimed {
		c := &claimed[i]
		c.Token = job.Token{Epoch: d.fence.Token().Epoch, Revision: rev}
		c.Receipt = Receipt{ID: c.ID, Priority: c.Priority, Item: rev, Marker: rev, Origin: c.Origin}
	}
	d.q.metrics.claims.WithLabelValues("claimed").Add(float64(len(claimed)))
	return claimed, nil
}

// plan returns the transaction of a claim, the fence excepted.
func (d *dispatcher) plan(places []Worker, nonce string, picked []*entry) ([]clientv3.Cmp, []clientv3.Op, []Claimed, error) {
	now := time.Now().UTC()
	var cmps []clientv3.Cmp
	var ops []clientv3.Op
	var claimed []Claimed
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, e := range picked {
		w := places[i]
		marker, err := etcdkv.Encode(etcdkv.QueueMarker{
			Schema: etcdkv.Schema, Worker: string(w.ID), Claim: nonce, Since: now, Visibility: d.q.cfg.Visibility,
		})
		if err != nil {
			return nil, nil, nil, err
		}
		e.planned = e.changes
		item := e.item
		item.Attempt++
		item.NotBefore = time.Time{}
		if item.At == 0 {
			d.lastAt = max(now.UnixNano(), d.lastAt+1)
			item.At = d.lastAt
		}
		value, err := etcdkv.MergeUnknown(e.raw, item)
		if err != nil {
			return nil, nil, nil, err
		}
		itemKey, markerKey := d.q.keys.Item(e.priority, e.id), d.q.keys.Marker(e.priority, e.id)
		cmps = append(cmps, unchanged(itemKey, e.modRev), absent(markerKey))
		ops = append(ops, clientv3.OpPut(itemKey, value), clientv3.OpPut(markerKey, marker, clientv3.WithLease(w.Lease)))
		claimed = append(claimed, Claimed{
			Item:    Item{ID: e.id, Priority: e.priority, Payload: item.Payload, Key: item.Key, Bounds: item.Bounds, Origin: item.Origin, Subject: item.Subject, JobAuthor: item.JobAuthor},
			Attempt: item.Attempt, Worker: w.ID, Since: now, PutAt: item.PutAt, At: item.At, Tried: item.Tried, TriedLeftOut: item.TriedLeftOut,
			Uncounted: item.Uncounted, Checkpoint: item.Checkpoint,
		})
	}
	return cmps, ops, claimed, nil
}

// claimHalves goes on after a claim has failed its compares.
func (d *dispatcher) claimHalves(ctx context.Context, places []Worker, picked []*entry) ([]Claimed, error) {
	resp, err := d.q.txn(ctx, []clientv3.Cmp{d.fence.Fence()}, nil)
	if err == nil && !resp.Succeeded {
		err = ErrFenced
	}
	if err != nil {
		d.release(picked)
		return nil, fmt.Errorf("claim: %w", err)
	}
	if len(picked) == 1 {
		d.outdated(picked[0])
		return nil, nil
	}
	half := len(picked) / 2
	got, err := d.claim(ctx, places[:half], picked[:half])
	if err != nil {
		d.release(picked[half:])
		return got, err
	}
	rest, err := d.claim(ctx, places[half:], picked[half:])
	if err != nil && len(got) > 0 {
		err = nil // those that are claimed must reach the worker
	}
	return append(got, rest...), err
}

// committed keeps entries out of the line until a revision has been seen.
func (d *dispatcher) committed(picked []*entry, rev int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range picked {
		if e.busyRev = rev; rev > d.rev {
			d.claimed = append(d.claimed, e)
			continue
		}
		e.busy = false
		d.place(e, time.Now())
	}
	d.publish()
}

// outdated is called when the claim of an entry has failed its compares. The
// change is seen already, or will be: until then the entry is not tried again.
func (d *dispatcher) outdated(e *entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e.stale = e.changes == e.planned && e.createRev != 0 && e.markerRev == 0; !e.stale {
		e.busy = false
		d.place(e, time.Now())
		d.publish()
	}
}

// release puts entries back into the line.
func (d *dispatcher) release(picked []*entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range picked {
		e.busy = false
		d.place(e, time.Now())
	}
	d.publish()
}

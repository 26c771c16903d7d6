package lock

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// maxHints is how many waiters a hold knows by name. More make every grant
	// larger, fewer make unlocking look for them more often.
	maxHints = 8
	// maxPasses is how many waiters a release tries to hand over to, one after
	// another, before it just frees the lock.
	maxPasses = 16
)

// ending is the release of one hold: by handing the lock over to who is next,
// if that can be done in one transaction, else by deleting the hold.
type ending struct {
	*contender

	rev int64
	rec record
}

// ending returns the release of the contender's hold as it was read.
func (c *contender) ending(kv *mvccpb.KeyValue) (*ending, error) {
	e := &ending{contender: c, rev: kv.ModRevision, rec: c.rec}
	if len(kv.Value) == 0 {
		return e, nil // just granted by our own transaction
	}
	var err error
	e.rec, err = decodeRecord(kv.Value)
	return e, err
}

func (e *ending) fence() clientv3.Cmp { return unchanged(e.hold, e.rev) }

// run releases the hold. It tries until ctx ends, then goes on in the
// background. gone reports that the key was not at rev at the first try; a
// later try cannot tell. clean: whoever used the lock has stopped.
func (e *ending) run(ctx context.Context, clean bool) (gone bool, err error) {
	for try := range resolveTries {
		if try > 0 && !pause(ctx, try) {
			break
		}
		gone, err = e.once(ctx, clean)
		if err == nil {
			return gone && try == 0, nil
		}
		if !ambiguous(err) {
			return false, err
		}
		if ctx.Err() != nil {
			break
		}
	}
	e.s.background(func() {
		e.s.persist("release a lock", func(ctx context.Context) error {
			_, err := e.once(ctx, clean)
			return err
		})
	})
	return false, fmt.Errorf("answer lost, going on in the background: %w", err)
}

// once releases the hold. It is fenced by the hold's revision, so that a late
// or repeated request does no harm.
func (e *ending) once(ctx context.Context, clean bool) (gone bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	// Readers leave others alone, and after an unclean end others have to wait.
	passes := e.kind != sharing && (clean || e.rec.LockDelay == 0)
	for range maxPasses {
		var s step
		switch {
		case !passes:
			s, err = e.free(ctx, clean, false)
		case len(e.rec.Next) > 0:
			s, err = e.pass(ctx)
		default:
			s, err = e.free(ctx, clean, true)
		}
		switch {
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			e.rec.Next = e.rec.Next[1:] // that waiter is lost
			continue
		case err != nil:
			return false, e.doubtful(err)
		case s.done || s.gone:
			e.finish()
			return s.gone, nil
		}
		e.rec.Next = e.behind(s.queue)
		passes = passes && len(e.rec.Next) > 0
	}
	s, err := e.free(ctx, clean, false)
	if err == nil {
		e.finish()
	}
	return s.gone, e.doubtful(err)
}

// step is what became of one transaction.
type step struct {
	done bool
	// gone: the hold is not there any more.
	gone bool
	// queue is who waits, when neither.
	queue []*mvccpb.KeyValue
}

// free deletes the hold; if unlessWaited, only while nobody waits.
func (e *ending) free(ctx context.Context, clean, unlessWaited bool) (step, error) {
	cmps := []clientv3.Cmp{e.fence()}
	if unlessWaited {
		cmps = append(cmps, empty(e.lock.queue(), after(e.lock.queue())))
	}
	return e.step(ctx, cmps, endOps(e.lock, e.kind, e.id, &e.rec, clean))
}

// pass hands the lock over to the next waiter: its place becomes its hold in
// the transaction that ends this one.
func (e *ending) pass(ctx context.Context) (step, error) {
	next := e.rec.Next[0]
	place, err := decodeRecord(next.Value)
	if err != nil {
		return step{}, err
	}
	rec := record{Place: place.Place, Held: time.Now().UTC(), Slot: e.rec.Slot, Next: e.rec.Next[1:]}
	grant, err := grantOps(e.lock, e.kind, next.ID, next.Lease, &rec)
	if err != nil {
		return step{}, err
	}
	placeKey := e.lock.place(next.Class, e.kind, next.ID)
	cmps := []clientv3.Cmp{
		e.fence(),
		unchanged(placeKey, next.Rev),
		// Whoever came since with the same priority is behind; who came with a
		// higher one is first.
		empty(e.lock.queue(), e.lock.queueOf(next.Class)),
	}
	ops := append(grant, clientv3.OpDelete(placeKey), clientv3.OpDelete(e.hold))
	if guarded(e.kind, &e.rec.Place) && e.kind.limit() <= 1 { // a permit's guard is the next one's already
		ops = append(ops, clientv3.OpDelete(e.lock.guard(e.kind, e.id, e.rec.Slot)))
	}
	return e.step(ctx, cmps, ops)
}

func (e *ending) step(ctx context.Context, cmps []clientv3.Cmp, ops []clientv3.Op) (step, error) {
	r, err := e.s.client.Txn(ctx).If(cmps...).Then(ops...).Else(
		clientv3.OpGet(e.hold, clientv3.WithKeysOnly()),
		clientv3.OpGet(e.lock.queue(), clientv3.WithPrefix()),
	).Commit()
	if err != nil {
		return step{}, err
	}
	if r.Succeeded {
		return step{done: true}, nil
	}
	own := oneKey(r.Responses[0])
	return step{gone: own == nil || own.ModRevision != e.rev, queue: keysOf(r.Responses[1])}, nil
}

func keysOf(r *etcdserverpb.ResponseOp) []*mvccpb.KeyValue { return r.GetResponseRange().GetKvs() }

// behind returns those at the head of the queue who can take the hold over.
func (e *ending) behind(queue []*mvccpb.KeyValue) []hint {
	var next []hint
	for _, w := range inOrder(queue) {
		if w.kind != e.kind || len(next) == maxHints {
			break
		}
		next = append(next, hint{
			Class: w.class, ID: w.id, Rev: w.kv.ModRevision, Lease: clientv3.LeaseID(w.kv.Lease), Value: json.RawMessage(w.kv.Value),
		})
	}
	return next
}

// waiting is a place in the queue.
type waiting struct {
	located

	kv *mvccpb.KeyValue
}

// inOrder returns the places in the order in which they are served.
func inOrder(queue []*mvccpb.KeyValue) []waiting {
	places := make([]waiting, 0, len(queue))
	for _, kv := range queue {
		if at, ok := locate(string(kv.Key)); ok {
			places = append(places, waiting{at, kv})
		}
	}
	slices.SortFunc(places, func(a, b waiting) int {
		return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.kv.CreateRevision, b.kv.CreateRevision))
	})
	return places
}

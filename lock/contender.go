package lock

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// contender is one call for a lock: it has a place, then a hold, never both.
// Neither has a key that any other contender has at the time. It is used by one
// goroutine at a time.
type contender struct {
	m     *Mutex
	s     *Session
	lock  layout
	kind  kind
	class string
	id    string
	// rec is the value of the place and, with more, of the hold.
	rec record

	place, hold string // keys
	// slot is the permit that is asked for next; semaphores only.
	slot int
	// name is the number of the session's name for it; -1: it has none.
	name int
	// doubt: an answer was lost, and a request may still be on its way.
	doubt bool
	// held and asked are since when each hold is known to keep the contender
	// out, and since when it is to make room for it.
	held, asked map[grantID]time.Duration
}

// grantID tells one grant, or one place, from all others.
type grantID struct {
	key string
	rev int64
}

func (m *Mutex) contender() *contender {
	o := &m.opts
	c := &contender{
		m: m, s: m.session, lock: m.lock, kind: m.kind, class: class(o.Priority), id: o.ID,
		rec: record{Place: Place{
			Schema: placeSchema, Holder: m.session.cfg.Holder, Purpose: o.Purpose,
			Since: time.Now().UTC(), Epoch: m.session.cfg.Epoch,
			Shared: o.Shared, Limit: o.Limit, Priority: o.Priority, Preempt: o.Preempt,
			Grace: o.Grace, MaxHold: o.MaxHold, LockDelay: o.LockDelay,
		}},
	}
	if c.name = -1; c.id == "" {
		c.name, c.id = c.s.takeName()
	}
	c.place, c.hold = c.lock.place(c.class, c.kind, c.id), c.lock.hold(c.kind, c.id)
	if n := c.kind.limit(); n > 1 {
		c.slot = rand.IntN(n)
	}
	return c
}

// doubtful returns err, and notes whether it leaves a request on its way.
func (c *contender) doubtful(err error) error {
	c.doubt = c.doubt || ambiguous(err)
	return err
}

// finish notes that the contender has neither a place nor a hold any more.
func (c *contender) finish() {
	if c.name >= 0 && !c.doubt {
		c.s.freeName(c.name)
	}
	c.name = -1
}

// vacant compares that nobody holds the lock in a way that excludes the
// contender: holds and guards alike.
func (c *contender) vacant() []clientv3.Cmp {
	holds, guards := c.lock.holds(), c.lock.guards()
	switch c.kind {
	case exclusive:
		return []clientv3.Cmp{empty(guards, after(holds))}
	case sharing: // no kind that excludes it sorts after it
		return []clientv3.Cmp{empty(holds, c.lock.holdsOf(sharing)), empty(guards, c.lock.guardsOf(sharing))}
	}
	own := c.lock.holdsOf(c.kind)
	return []clientv3.Cmp{absent(c.guard()), empty(holds, own), empty(after(own), after(holds))}
}

// guard returns the key that the contender's hold is guarded by, if any.
func (c *contender) guard() string { return c.lock.guard(c.kind, c.id, c.slot) }

// untaken compares that nobody waits before a contender that comes now.
func (c *contender) untaken() []clientv3.Cmp {
	queue, own := c.lock.queue(), c.lock.queueOf(c.class)
	if c.kind == sharing {
		writers := own + string(exclusive) + "/"
		return []clientv3.Cmp{empty(queue, own), empty(writers, after(writers))}
	}
	return []clientv3.Cmp{empty(queue, after(own))}
}

// first compares, in either of two ways, that nobody waits before the
// contender, whose place was taken at revision since.
func (c *contender) first(since int64) [][]clientv3.Cmp {
	queue, own := c.lock.queue(), c.lock.queueOf(c.class)
	higher := empty(queue, own)
	if c.kind != sharing {
		// The range is not empty: the contender's own place is in it.
		return [][]clientv3.Cmp{{higher, clientv3.Compare(clientv3.CreateRevision(own), ">", since-1).WithPrefix()}}
	}
	writers := own + string(exclusive) + "/"
	return [][]clientv3.Cmp{
		{higher, empty(writers, after(writers))},
		{higher, clientv3.Compare(clientv3.CreateRevision(writers), ">", since-1).WithPrefix()},
	}
}

// grant returns the writes that make the contender a holder.
func (c *contender) grant() ([]clientv3.Op, error) {
	c.rec.Held = time.Now().UTC()
	c.rec.Slot = c.slot
	return grantOps(c.lock, c.kind, c.id, c.s.lease, &c.rec)
}

// grantOps puts a hold, and its guard: that of a permit always exists, that of
// another hold if it has a lock delay. With a lock delay the guard does not lie
// on the lease.
func grantOps(l layout, k kind, id string, lease clientv3.LeaseID, rec *record) ([]clientv3.Op, error) {
	value, err := rec.encode()
	if err != nil {
		return nil, err
	}
	hold := l.hold(k, id)
	ops := []clientv3.Op{clientv3.OpPut(hold, value, clientv3.WithLease(lease))}
	if !guarded(k, &rec.Place) {
		return ops, nil
	}
	guard, err := json.Marshal(guardRecord{Hold: hold, Delay: rec.LockDelay})
	if err != nil {
		return nil, fmt.Errorf("encode guard: %w", err)
	}
	if rec.LockDelay > 0 {
		lease = clientv3.NoLease
	}
	return append(ops, clientv3.OpPut(l.guard(k, id, rec.Slot), string(guard), clientv3.WithLease(lease))), nil
}

// guarded reports whether the hold of such a place has a guard.
func guarded(k kind, p *Place) bool { return k.limit() > 1 || p.LockDelay > 0 }

// endOps deletes a hold. Its guard goes too, unless the loss is unclean and
// others have to wait for the lock delay.
func endOps(l layout, k kind, id string, rec *record, clean bool) []clientv3.Op {
	ops := []clientv3.Op{clientv3.OpDelete(l.hold(k, id))}
	if guarded(k, &rec.Place) && (clean || rec.LockDelay == 0) {
		ops = append(ops, clientv3.OpDelete(l.guard(k, id, rec.Slot)))
	}
	return ops
}

// view is what a contender sees of the lock in a transaction.
type view struct {
	rev int64
	// place and hold are the contender's own. Nil: there is none.
	place, hold *mvccpb.KeyValue
	// taken are all holds and guards.
	taken []*mvccpb.KeyValue
	// ahead is a place before the contender's, if there is one: the last of
	// those of its priority that it has to wait for, else one of a higher priority.
	ahead *mvccpb.KeyValue
}

// viewOps are the reads of a view by a contender whose place was taken at
// revision since; zero: it has none yet, or it is not known.
func (c *contender) viewOps(since int64) []clientv3.Op {
	queue, own := c.lock.queue(), c.lock.queueOf(c.class)
	before := own
	if c.kind == sharing {
		before += string(exclusive) + "/"
	}
	last := append(clientv3.WithLastCreate(), clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if since > 0 {
		last = append(last, clientv3.WithMaxCreateRev(since-1))
	}
	return []clientv3.Op{
		clientv3.OpGet(c.place),
		clientv3.OpGet(c.hold),
		clientv3.OpGet(c.lock.guards(), clientv3.WithRange(after(c.lock.holds()))),
		clientv3.OpGet(before, last...),
		clientv3.OpGet(queue, clientv3.WithRange(own), clientv3.WithKeysOnly(), clientv3.WithLimit(1),
			clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend)),
	}
}

// viewOf reads the answers to viewOps.
func viewOf(rev int64, r []*etcdserverpb.ResponseOp) *view {
	one := func(i int) *mvccpb.KeyValue {
		if kvs := r[i].GetResponseRange().GetKvs(); len(kvs) > 0 {
			return kvs[0]
		}
		return nil
	}
	v := &view{rev: rev, place: one(0), hold: one(1), taken: r[2].GetResponseRange().GetKvs(), ahead: one(3)}
	if v.ahead == nil {
		v.ahead = one(4)
	}
	return v
}

// heldBy says who keeps the contender out, as a *HeldError.
func (v *view) heldBy() error {
	for _, kv := range v.taken { // guards sort first
		if at, ok := locate(string(kv.Key)); ok && at.what == 'h' {
			return heldBy(kv)
		}
	}
	if len(v.taken) > 0 {
		return heldBy(v.taken[0])
	}
	if v.ahead != nil {
		return heldBy(v.ahead)
	}
	return ErrHeld
}

// checkLimit returns ErrLimit if the lock is held with another limit.
func (c *contender) checkLimit(v *view) error {
	for _, kv := range append(v.taken, v.ahead) {
		if kv == nil {
			continue
		}
		at, ok := locate(string(kv.Key))
		if !ok || at.kind.mixes(c.kind) || at.what == 'g' {
			continue
		}
		who := ""
		if rec, err := decodeRecord(kv.Value); err == nil {
			who = " by " + rec.Holder
		}
		return fmt.Errorf("%w: limit %s is asked for, limit %s is in use%s", ErrLimit, limitText(c.kind), limitText(at.kind), who)
	}
	return nil
}

func limitText(k kind) string {
	if k == sharing {
		return "none, shared"
	}
	return fmt.Sprint(k.limit())
}

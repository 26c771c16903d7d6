package lock

import (
	"context"
	"slices"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// entry is the transaction by which a contender comes to a lock: it takes the
// lock if that is free, else a place in the queue. As with every write, its
// answer may be lost; see Session.settle.
type entry struct {
	c   *contender
	how otherwise
}

// otherwise is what an entry does if the lock is not free.
type otherwise int

const (
	orQueue otherwise = iota // take a place
	orTell                   // tell why
	orElse                   // nothing: the request is small
)

// entered is what became of an entry: a hold, a place, or neither.
type entered struct {
	hold  *mvccpb.KeyValue
	place *mvccpb.KeyValue
	// view is what the contender saw when it took the place, or was told. Nil
	// when it got the lock, or an earlier call took the place, or the answer was lost.
	view *view
}

func (c *contender) enter(ctx context.Context, how otherwise) (entered, error) {
	e := &entry{c: c, how: how}
	var got entered
	err := c.s.settle(ctx,
		func(ctx context.Context, mark string) (err error) {
			got, err = e.commit(ctx, mark)
			return c.doubtful(err)
		},
		func(ctx context.Context, mark string) (done bool, err error) {
			got, err = e.resolve(ctx, mark)
			return got.hold != nil || got.place != nil, err
		},
		func(ctx context.Context, mark string) error { return c.leave(ctx, mark) },
	)
	return got, err
}

// commit enters once, under the mark.
func (e *entry) commit(ctx context.Context, mark string) (entered, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	c := e.c
	grant, err := c.grant()
	if err != nil {
		return entered{}, err
	}
	unused := []clientv3.Cmp{absent(mark)}
	if c.name < 0 { // an earlier call with the same ID may have got there
		unused = append(unused, absent(c.hold), absent(c.place))
	}
	free := slices.Concat(unused, c.vacant(), c.untaken())
	var otherwise []clientv3.Op
	switch e.how {
	case orElse:
	case orTell:
		otherwise = c.viewOps(0)
	case orQueue:
		read := c.viewOps(0)
		place, err := (&record{Place: c.rec.Place}).encode()
		if err != nil {
			return entered{}, err
		}
		// The reads come first: they are to see those who are ahead.
		take := append(slices.Clone(read), clientv3.OpPut(c.place, place, clientv3.WithLease(c.s.lease)))
		otherwise = []clientv3.Op{clientv3.OpTxn(unused, take, read)}
	}
	r, err := c.s.client.Txn(ctx).If(free...).Then(grant...).Else(otherwise...).Commit()
	if err != nil {
		return entered{}, err
	}
	rev := r.Header.Revision
	if r.Succeeded {
		return entered{hold: &mvccpb.KeyValue{Key: []byte(c.hold), ModRevision: rev, Lease: int64(c.s.lease)}}, nil
	}
	return e.queued(r, rev)
}

// queued reads the answer when the lock was not free.
func (e *entry) queued(r *clientv3.TxnResponse, rev int64) (entered, error) {
	switch e.how {
	case orElse:
		return entered{}, nil
	case orTell:
		v := viewOf(rev, r.Responses)
		return entered{hold: v.hold, place: v.place, view: v}, nil
	case orQueue:
	}
	inner := r.Responses[0].GetResponseTxn()
	v := viewOf(rev, inner.Responses)
	if inner.Succeeded {
		v.place = &mvccpb.KeyValue{Key: []byte(e.c.place), CreateRevision: rev, ModRevision: rev, Lease: int64(e.c.s.lease)}
		return entered{place: v.place, view: v}, nil
	}
	// An earlier call with the same ID took them.
	return entered{hold: v.hold, place: v.place}, nil
}

// resolve reads what became of the entry, and marks it as given up if it has
// not happened: one transaction, so nothing can happen in between. The keys are
// the contender's alone, so that they exist tells that it happened.
func (e *entry) resolve(ctx context.Context, mark string) (entered, error) {
	r, err := e.c.find(ctx, nil, clientv3.OpPut(mark, "", clientv3.WithLease(e.c.s.lease)))
	return r, err
}

// find reads the contender's hold or place, and does onPlace if it has a place,
// or onNone if it has neither. It goes through raft if it does.
func (c *contender) find(ctx context.Context, onPlace []clientv3.Op, onNone ...clientv3.Op) (entered, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	place := append([]clientv3.Op{clientv3.OpGet(c.place)}, onPlace...)
	r, err := c.s.client.Txn(ctx).If(c.mine(c.hold)).
		Then(clientv3.OpGet(c.hold)).
		Else(clientv3.OpTxn([]clientv3.Cmp{c.mine(c.place)}, place, onNone)).
		Commit()
	if err != nil {
		return entered{}, c.doubtful(err)
	}
	if r.Succeeded {
		return entered{hold: oneKey(r.Responses[0])}, nil
	}
	if inner := r.Responses[0].GetResponseTxn(); inner.Succeeded {
		return entered{place: oneKey(inner.Responses[0])}, nil
	}
	return entered{}, nil
}

// mine compares that the key exists and lies on the contender's lease.
func (c *contender) mine(key string) clientv3.Cmp {
	return clientv3.Compare(clientv3.LeaseValue(key), "=", c.s.lease)
}

func oneKey(r *etcdserverpb.ResponseOp) *mvccpb.KeyValue {
	if kvs := r.GetResponseRange().GetKvs(); len(kvs) > 0 {
		return kvs[0]
	}
	return nil
}

// leave removes the contender: its place, or the hold that it may have got
// meanwhile. If there is neither, it puts the mark, if one is given, so that an
// entry that is still on its way does nothing.
func (c *contender) leave(ctx context.Context, mark string) error {
	var none []clientv3.Op
	if mark != "" {
		none = append(none, clientv3.OpPut(mark, "", clientv3.WithLease(c.s.lease)))
	} else {
		none = append(none, clientv3.OpDelete(c.s.cfg.Marks+"none")) // so that it goes through raft
	}
	var drop []clientv3.Op
	if !c.m.opts.KeepPlace || mark == "" {
		drop = append(drop, clientv3.OpDelete(c.place))
	}
	found, err := c.find(ctx, drop, none...)
	switch {
	case err != nil, c.m.opts.KeepPlace && mark != "":
		return err
	case found.hold == nil:
		c.finish()
		return nil
	}
	e, err := c.ending(found.hold)
	if err != nil {
		return err
	}
	_, err = e.once(ctx, true)
	return err
}

package store

import (
	"context"
	"maps"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Txn is a transaction in the making: what has to hold, and what is done
// then. What is said twice is in it once; of two values for a key the later
// counts. The zero Txn holds nothing.
type Txn struct {
	cmps map[string]clientv3.Cmp
	// Ops are what is done, by their keys.
	Ops map[string]clientv3.Op
	// Bytes is the size of what is put.
	Bytes int
}

// SameAs demands that a key has not been written since it was read; revision 0
// that there is none.
func (d *Txn) SameAs(key string, modRevision int64) {
	d.demand("mod "+key, clientv3.Compare(clientv3.ModRevision(key), "=", modRevision))
}

// StillThere demands that a key is the one that was read, whatever it holds now;
// revision 0 that there is none.
func (d *Txn) StillThere(key string, createRevision int64) {
	d.demand("create "+key, clientv3.Compare(clientv3.CreateRevision(key), "=", createRevision))
}

// Empty demands that there is no key under a prefix.
func (d *Txn) Empty(prefix string) {
	d.demand("prefix "+prefix, clientv3.Compare(clientv3.CreateRevision(prefix), "=", 0).WithPrefix())
}

// Untouched demands that no key under a prefix has been written since a revision.
func (d *Txn) Untouched(prefix string, since int64) {
	d.demand("since "+prefix, clientv3.Compare(clientv3.ModRevision(prefix), "<", since+1).WithPrefix())
}

func (d *Txn) demand(what string, c clientv3.Cmp) {
	if d.cmps == nil {
		d.cmps = map[string]clientv3.Cmp{}
	}
	d.cmps[what] = c
}

// Put writes a key.
func (d *Txn) Put(key, value string) {
	d.Do(key, clientv3.OpPut(key, value))
}

// Remove deletes a key.
func (d *Txn) Remove(key string) { d.Do(key, clientv3.OpDelete(key)) }

// Clear removes all keys under a prefix.
func (d *Txn) Clear(prefix string) {
	d.Do(prefix, clientv3.OpDelete(prefix, clientv3.WithPrefix()))
}

// Do does op with a key.
func (d *Txn) Do(key string, op clientv3.Op) {
	if d.Ops == nil {
		d.Ops = map[string]clientv3.Op{}
	}
	d.Bytes += len(op.ValueBytes()) - len(d.Ops[key].ValueBytes())
	d.Ops[key] = op
}

// Add takes all of another Txn into this one.
func (d *Txn) Add(o *Txn) {
	for what, c := range o.cmps {
		d.demand(what, c)
	}
	for key, op := range o.Ops {
		d.Do(key, op)
	}
}

// Size is how much of etcd's limit on operations the Txn takes: conditions
// and writes count apart.
func (d *Txn) Size() int { return max(len(d.cmps), len(d.Ops)) }

// Commit does what the Txn says; it is false when a condition does not hold.
func (s *Store) Commit(ctx context.Context, doing string, d *Txn) (bool, error) {
	cmps := make([]clientv3.Cmp, 0, len(d.cmps))
	for _, what := range slices.Sorted(maps.Keys(d.cmps)) {
		cmps = append(cmps, d.cmps[what])
	}
	ops := make([]clientv3.Op, 0, len(d.Ops))
	for _, key := range slices.Sorted(maps.Keys(d.Ops)) {
		ops = append(ops, d.Ops[key])
	}
	resp, err := s.Do(ctx, doing, cmps, ops)
	if err != nil {
		return false, err
	}
	return resp.Succeeded, nil
}

package control

import (
	"context"
	"maps"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// draft is a transaction in the making: what has to hold, and what is done
// then. What is said twice is in it once; of two values for a key the later
// counts. The zero draft holds nothing.
type draft struct {
	cmps map[string]clientv3.Cmp
	ops  map[string]clientv3.Op
	// bytes is the size of what is put.
	bytes int
}

// sameAs demands that a key has not been written since it was read; revision 0
// that there is none.
func (d *draft) sameAs(key string, modRevision int64) {
	d.demand("mod "+key, clientv3.Compare(clientv3.ModRevision(key), "=", modRevision))
}

// stillThere demands that a key is the one that was read, whatever it holds now;
// revision 0 that there is none.
func (d *draft) stillThere(key string, createRevision int64) {
	d.demand("create "+key, clientv3.Compare(clientv3.CreateRevision(key), "=", createRevision))
}

// empty demands that there is no key under a prefix.
func (d *draft) empty(prefix string) {
	d.demand("prefix "+prefix, clientv3.Compare(clientv3.CreateRevision(prefix), "=", 0).WithPrefix())
}

func (d *draft) demand(what string, c clientv3.Cmp) {
	if d.cmps == nil {
		d.cmps = map[string]clientv3.Cmp{}
	}
	d.cmps[what] = c
}

func (d *draft) put(key, value string) {
	d.do(key, clientv3.OpPut(key, value))
}

func (d *draft) remove(key string) { d.do(key, clientv3.OpDelete(key)) }

// clear removes all keys under a prefix.
func (d *draft) clear(prefix string) {
	d.do(prefix, clientv3.OpDelete(prefix, clientv3.WithPrefix()))
}

func (d *draft) do(key string, op clientv3.Op) {
	if d.ops == nil {
		d.ops = map[string]clientv3.Op{}
	}
	d.bytes += len(op.ValueBytes()) - len(d.ops[key].ValueBytes())
	d.ops[key] = op
}

// add takes all of another draft into this one.
func (d *draft) add(o *draft) {
	for what, c := range o.cmps {
		d.demand(what, c)
	}
	for key, op := range o.ops {
		d.do(key, op)
	}
}

// size is how much of etcd's limit on operations the draft takes: conditions
// and writes count apart.
func (d *draft) size() int { return max(len(d.cmps), len(d.ops)) }

// commit does what the draft says; it is false when a condition does not hold.
func (c *Control) commit(ctx context.Context, doing string, d *draft) (bool, error) {
	cmps := make([]clientv3.Cmp, 0, len(d.cmps))
	for _, what := range slices.Sorted(maps.Keys(d.cmps)) {
		cmps = append(cmps, d.cmps[what])
	}
	ops := make([]clientv3.Op, 0, len(d.ops))
	for _, key := range slices.Sorted(maps.Keys(d.ops)) {
		ops = append(ops, d.ops[key])
	}
	resp, err := c.txn(ctx, doing, cmps, ops)
	if err != nil {
		return false, err
	}
	return resp.Succeeded, nil
}

package cluster

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/mode"
)

// DrainNode drains a node: it holds no shards until UndrainNode, also when it is started
// again. The node must be alive, or drained already: any other name may be a
// mistake. A node that is drained already stays so since then.
func (op *Operator) DrainNode(ctx context.Context, node job.NodeID, o api.Order) error {
	key := op.db.Keys.Drain(node)
	kv, err := op.db.Get(ctx, "drain node", key)
	if err != nil {
		return err
	}
	d := etcdkv.Drain{Schema: etcdkv.Schema, Node: node, By: caller.Of(ctx, o.By), Reason: o.Reason, Since: op.db.Now().UTC()}
	if kv == nil {
		if _, err := op.liveNode(ctx, node); err != nil {
			return err
		}
	} else {
		old, err := store.Decode[etcdkv.Drain](kv)
		if err != nil {
			return err
		}
		d.Since = old.Since
	}
	text, err := etcdkv.Encode(d)
	if err != nil {
		return err
	}
	return op.audit.Write(ctx, "node.drain", string(node), o, key, kv, clientv3.OpPut(key, text))
}

// UndrainNode ends a drain. The node need not be alive.
func (op *Operator) UndrainNode(ctx context.Context, node job.NodeID, o api.Order) error {
	key := op.db.Keys.Drain(node)
	kv, err := op.db.Get(ctx, "undrain node", key)
	if err != nil {
		return err
	}
	if kv == nil {
		return fmt.Errorf("drain of node %s: %w", node, job.ErrNotFound)
	}
	return op.audit.Write(ctx, "node.undrain", string(node), o, key, kv, clientv3.OpDelete(key))
}

// ForgetNode removes a node that is gone and has not left in order from those that are
// known, and the drain of one that is gone. A node that lives is not forgotten.
func (op *Operator) ForgetNode(ctx context.Context, node job.NodeID, o api.Order) error {
	key := op.db.Keys.KnownNode(node)
	kv, err := op.db.Get(ctx, "forget node", key)
	if err != nil {
		return err
	}
	live, err := op.db.Get(ctx, "forget node", op.db.Keys.Member(node))
	if err != nil {
		return err
	}
	drain, err := op.db.Get(ctx, "forget node", op.db.Keys.Drain(node))
	switch {
	case err != nil:
		return err
	case live != nil && drain != nil:
		return fmt.Errorf("node %s is drained, and still runs: stop it first: %w", node, job.ErrConflict)
	case live != nil:
		return fmt.Errorf("node %s is alive: drain it, and stop it first: %w", node, job.ErrConflict)
	}
	switch {
	case kv == nil && drain == nil:
		return fmt.Errorf("node %s: %w", node, job.ErrNotFound)
	case kv == nil:
		key, kv = op.db.Keys.Drain(node), drain
	}
	return op.audit.Write(ctx, "node.forget", string(node), o, key, kv, clientv3.OpDelete(op.db.Keys.KnownNode(node)), clientv3.OpDelete(op.db.Keys.Drain(node)))
}

// MoveShard moves a shard to a node for as long as it lives and may, whatever
// the mode says, until FailbackShard or ReleaseShard. Ref is a shard's number,
// or the name of a group.
func (op *Operator) MoveShard(ctx context.Context, ref string, node job.NodeID, o api.Order) error {
	s, err := op.shardRef(ctx, ref)
	if err != nil {
		return err
	}
	m, err := op.liveNode(ctx, node)
	if err != nil {
		return err
	}
	drain, err := op.db.Get(ctx, "move shard", op.db.Keys.Drain(node))
	if err != nil {
		return err
	}
	if drain != nil || m.Phase == etcdkv.PhaseDraining {
		return apiview.Invalid("node", fmt.Sprintf("node %s is drained or leaves, so it can hold no shard; undrain it first, or name another", node))
	}
	if s.Group != nil {
		n := mode.Node{ID: m.Node, Site: m.Site, Labels: m.Labels}
		if !mode.Eligible(&s.Group.Spec, &n) {
			return apiview.Invalid("node", fmt.Sprintf("group %s does not let node %s fire; see nodes and pin in its spec", s.Group.Key(), node))
		}
	}
	return op.override(ctx, "shard.move", s, etcdkv.Override{Node: node}, o)
}

// HoldShard has a shard stay with whoever holds it, until ReleaseShard.
func (op *Operator) HoldShard(ctx context.Context, ref string, o api.Order) error {
	s, err := op.shardRef(ctx, ref)
	if err != nil {
		return err
	}
	return op.override(ctx, "shard.hold", s, etcdkv.Override{}, o)
}

// FailbackShard has a shard go where its mode wants it, without a hold-off, and
// ends what MoveShard and HoldShard asked for.
func (op *Operator) FailbackShard(ctx context.Context, ref string, o api.Order) error {
	s, err := op.shardRef(ctx, ref)
	if err != nil {
		return err
	}
	return op.override(ctx, "shard.failback", s, etcdkv.Override{Failback: true}, o)
}

// ReleaseShard ends what MoveShard and HoldShard asked for; the mode decides.
func (op *Operator) ReleaseShard(ctx context.Context, ref string, o api.Order) error {
	s, err := op.shardRef(ctx, ref)
	if err != nil {
		return err
	}
	key := op.db.Keys.Override(s.Id)
	kv, err := op.db.Get(ctx, "release shard", key)
	if err != nil {
		return err
	}
	if kv == nil {
		return fmt.Errorf("override of shard %s, by which it would be moved or held: %w", s, job.ErrNotFound)
	}
	return op.audit.Write(ctx, "shard.release", s.String(), o, key, kv, clientv3.OpDelete(key))
}

func (op *Operator) override(ctx context.Context, action string, s Shard, v etcdkv.Override, o api.Order) error {
	v.Schema, v.Shard, v.By, v.Reason, v.Since = etcdkv.Schema, s.Id, caller.Of(ctx, o.By), o.Reason, op.db.Now().UTC()
	text, err := etcdkv.Encode(v)
	if err != nil {
		return err
	}
	key := op.db.Keys.Override(s.Id)
	kv, err := op.db.Get(ctx, action, key)
	if err != nil {
		return err
	}
	return op.audit.Write(ctx, action, s.String(), o, key, kv, clientv3.OpPut(key, text))
}

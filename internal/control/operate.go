package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

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
func (c *Control) DrainNode(ctx context.Context, node job.NodeID, o api.Order) error {
	key := c.cfg.Keys.Drain(node)
	kv, err := c.db.Get(ctx, "drain node", key)
	if err != nil {
		return err
	}
	d := etcdkv.Drain{Schema: etcdkv.Schema, Node: node, By: caller.Of(ctx, o.By), Reason: o.Reason, Since: c.now().UTC()}
	if kv == nil {
		if _, err := c.liveNode(ctx, node); err != nil {
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
	return c.operate(ctx, "node.drain", string(node), o, key, kv, clientv3.OpPut(key, text))
}

// UndrainNode ends a drain. The node need not be alive.
func (c *Control) UndrainNode(ctx context.Context, node job.NodeID, o api.Order) error {
	key := c.cfg.Keys.Drain(node)
	kv, err := c.db.Get(ctx, "undrain node", key)
	if err != nil {
		return err
	}
	if kv == nil {
		return fmt.Errorf("drain of node %s: %w", node, job.ErrNotFound)
	}
	return c.operate(ctx, "node.undrain", string(node), o, key, kv, clientv3.OpDelete(key))
}

// ForgetNode removes a node that is gone and has not left in order from those that are known. A
// node that lives is not forgotten.
func (c *Control) ForgetNode(ctx context.Context, node job.NodeID, o api.Order) error {
	key := c.cfg.Keys.KnownNode(node)
	kv, err := c.db.Get(ctx, "forget node", key)
	if err != nil {
		return err
	}
	if live, err := c.db.Get(ctx, "forget node", c.cfg.Keys.Member(node)); err != nil || live != nil {
		if err == nil {
			err = fmt.Errorf("node %s is alive; stop it, or drain it: %w", node, job.ErrConflict)
		}
		return err
	}
	if kv == nil {
		return fmt.Errorf("node %s: %w", node, job.ErrNotFound)
	}
	return c.operate(ctx, "node.forget", string(node), o, key, kv, clientv3.OpDelete(key))
}

// MoveShard moves a shard to a node for as long as it lives and may, whatever
// the mode says, until FailbackShard or ReleaseShard. Ref is a shard's number,
// or the name of a group.
func (c *Control) MoveShard(ctx context.Context, ref string, node job.NodeID, o api.Order) error {
	s, err := c.shardRef(ctx, ref)
	if err != nil {
		return err
	}
	m, err := c.liveNode(ctx, node)
	if err != nil {
		return err
	}
	drain, err := c.db.Get(ctx, "move shard", c.cfg.Keys.Drain(node))
	if err != nil {
		return err
	}
	if drain != nil || m.Phase == etcdkv.PhaseDraining {
		return apiview.Invalid("node", fmt.Sprintf("node %s is drained or leaves, so it can hold no shard; undrain it first, or name another", node))
	}
	if s.group != nil {
		n := mode.Node{ID: m.Node, Site: m.Site, Labels: m.Labels}
		if !mode.Eligible(&s.group.Spec, &n) {
			return apiview.Invalid("node", fmt.Sprintf("group %s does not let node %s fire; see nodes and pin in its spec", s.group.Key(), node))
		}
	}
	return c.override(ctx, "shard.move", s, etcdkv.Override{Node: node}, o)
}

// HoldShard has a shard stay with whoever holds it, until ReleaseShard.
func (c *Control) HoldShard(ctx context.Context, ref string, o api.Order) error {
	s, err := c.shardRef(ctx, ref)
	if err != nil {
		return err
	}
	return c.override(ctx, "shard.hold", s, etcdkv.Override{}, o)
}

// FailbackShard has a shard go where its mode wants it, without a hold-off, and
// ends what MoveShard and HoldShard asked for.
func (c *Control) FailbackShard(ctx context.Context, ref string, o api.Order) error {
	s, err := c.shardRef(ctx, ref)
	if err != nil {
		return err
	}
	return c.override(ctx, "shard.failback", s, etcdkv.Override{Failback: true}, o)
}

// ReleaseShard ends what MoveShard and HoldShard asked for; the mode decides.
func (c *Control) ReleaseShard(ctx context.Context, ref string, o api.Order) error {
	s, err := c.shardRef(ctx, ref)
	if err != nil {
		return err
	}
	key := c.cfg.Keys.Override(s.id)
	kv, err := c.db.Get(ctx, "release shard", key)
	if err != nil {
		return err
	}
	if kv == nil {
		return fmt.Errorf("override of shard %s, by which it would be moved or held: %w", s, job.ErrNotFound)
	}
	return c.operate(ctx, "shard.release", s.String(), o, key, kv, clientv3.OpDelete(key))
}

func (c *Control) override(ctx context.Context, action string, s namedShard, v etcdkv.Override, o api.Order) error {
	v.Schema, v.Shard, v.By, v.Reason, v.Since = etcdkv.Schema, s.id, caller.Of(ctx, o.By), o.Reason, c.now().UTC()
	text, err := etcdkv.Encode(v)
	if err != nil {
		return err
	}
	key := c.cfg.Keys.Override(s.id)
	kv, err := c.db.Get(ctx, action, key)
	if err != nil {
		return err
	}
	return c.operate(ctx, action, s.String(), o, key, kv, clientv3.OpPut(key, text))
}

// operate does what an operator asked for and keeps a record of it, in one
// transaction. before is the key's pair as it was read; nil: there was none.
func (c *Control) operate(ctx context.Context, action, object string, o api.Order, key string, before *mvccpb.KeyValue, ops ...clientv3.Op) error {
	rec := c.auditOf(ctx, action, object, o)
	var rev int64
	if before != nil {
		rec.Before, rev = string(before.Value), before.ModRevision
	}
	cmps := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(key), "=", rev)}
	audit, err := c.auditOp(rec)
	if err != nil {
		return err
	}
	resp, err := c.db.Do(ctx, action+" "+object, cmps, append(ops, audit))
	if err != nil {
		return err
	}
	if !resp.Succeeded {
		return fmt.Errorf("%s %s: somebody else changed it meanwhile; look, and try again: %w", action, object, job.ErrConflict)
	}
	c.log.Info("operator", zap.String("action", action), zap.String("object", object), zap.String("by", rec.By), zap.String("reason", o.Reason))
	return nil
}

// isConflict reports whether somebody else was faster.
func isConflict(err error) bool { return errors.Is(err, job.ErrConflict) }

// auditOf returns the record of what an operator ordered.
func (c *Control) auditOf(ctx context.Context, action, object string, o api.Order) etcdkv.Audit {
	return etcdkv.Audit{Schema: etcdkv.Schema, At: c.now().UTC(), By: caller.Of(ctx, o.By), Action: action, Object: object, Reason: o.Reason}
}

// auditOp returns the write of an audit record.
func (c *Control) auditOp(rec etcdkv.Audit) (clientv3.Op, error) {
	id, err := uuid.NewRandom()
	if err != nil {
		return clientv3.Op{}, fmt.Errorf("new audit id: %w", err)
	}
	text, err := etcdkv.Encode(rec)
	if err != nil {
		return clientv3.Op{}, err
	}
	return clientv3.OpPut(c.cfg.Keys.AuditRecord(rec.At, id.String()), text), nil
}

// Audit returns the latest records of what operators did, newest first.
func (c *Control) Audit(ctx context.Context, limit int) ([]api.AuditRecord, error) {
	if limit <= 0 || limit > api.MaxAudit {
		return nil, apiview.Invalid("limit", fmt.Sprintf("%d is out of range; want 1 to %d", limit, api.MaxAudit))
	}
	actx, cancel := c.db.Bounded(ctx)
	defer cancel()
	resp, err := c.client.Get(actx, c.cfg.Keys.Audit(), clientv3.WithPrefix(), clientv3.WithLimit(int64(limit)),
		clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))
	if err != nil {
		return nil, store.Error(ctx, "list audit records", err)
	}
	out := make([]api.AuditRecord, 0, len(resp.Kvs))
	for _, kv := range resp.Kvs {
		rec, err := store.Decode[etcdkv.Audit](kv)
		if err != nil {
			c.log.Warn("record unreadable", zap.Error(err))
			continue
		}
		out = append(out, apiview.Audit(&rec))
	}
	return out, nil
}

// liveNode returns a node that is alive.
func (c *Control) liveNode(ctx context.Context, node job.NodeID) (etcdkv.Member, error) {
	members, err := store.ListAll[etcdkv.Member](ctx, c.db, "list nodes", c.cfg.Keys.Members())
	if err != nil {
		return etcdkv.Member{}, err
	}
	var names []string
	for _, m := range members {
		if m.Node == node {
			return m, nil
		}
		names = append(names, string(m.Node))
	}
	slices.Sort(names)
	hint := "live nodes are " + strings.Join(names, ", ")
	if near, ok := job.Nearest(string(node), names); ok {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return etcdkv.Member{}, fmt.Errorf("there is no live node %q; %s: %w", node, hint, job.ErrNotFound)
}

// namedShard is a shard as an operator names it; group is nil for a hash shard.
type namedShard struct {
	id    job.ShardID
	group *etcdkv.StoredGroup
}

// String returns the number of a hash shard, and the name of a group.
func (s namedShard) String() string {
	if s.group == nil {
		return s.id.String()
	}
	return s.group.Key().String()
}

// title names the shard in a sentence.
func (s namedShard) title() string {
	if s.group == nil {
		return "shard " + s.id.String()
	}
	return "group " + s.group.Key().String()
}

// shardRef reads a shard's number, or the name of a group.
func (c *Control) shardRef(ctx context.Context, ref string) (namedShard, error) {
	n, err := strconv.ParseUint(ref, 10, 32)
	if err != nil {
		key, err := job.ParseKey(ref)
		if err != nil {
			return namedShard{}, apiview.Invalid("shard", fmt.Sprintf("%q is neither a shard's number nor a group's name: %v", ref, err))
		}
		g, _, err := c.storedGroup(ctx, key)
		return namedShard{g.Shard, &g}, err
	}
	id := job.ShardID(n)
	if !id.IsGroup() {
		if int(n) >= c.cfg.Meta.Shards {
			return namedShard{}, fmt.Errorf("there is no shard %d, those without a group are 0 to %d: %w", n, c.cfg.Meta.Shards-1, job.ErrNotFound)
		}
		return namedShard{id: id}, nil
	}
	groups, err := c.groupNames(ctx)
	if err != nil {
		return namedShard{}, err
	}
	g, ok := groups[id]
	if !ok {
		return namedShard{}, fmt.Errorf("no group has the shard %d: %w", n, job.ErrNotFound)
	}
	return namedShard{id, &g}, nil
}

package scheduler

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/lock"
)

// join writes the node's member key. A key of the same data directory is left
// over from a process that is dead, since the directory is locked: its lease is
// revoked, which frees its shards at once.
func (e *Engine) join(ctx context.Context, sess *lock.Session) (etcdkv.Member, error) {
	incarnation, err := uuid.NewRandom()
	if err != nil {
		return etcdkv.Member{}, fmt.Errorf("new incarnation: %w", err)
	}
	m := etcdkv.Member{
		Schema: etcdkv.Schema, Node: e.cfg.Node, Identity: e.cfg.Identity, Incarnation: incarnation.String(),
		Site: e.cfg.Site, Priority: e.cfg.Priority, Capacity: e.cfg.Capacity, Labels: e.cfg.Labels, Phase: etcdkv.PhaseReady,
		PeerAddr: e.cfg.PeerAddr, APIAddr: e.cfg.APIAddr, Lease: int64(sess.Lease()),
		Version: e.cfg.Version, Commit: e.cfg.Commit, StartedAt: e.began,
	}
	known, err := etcdkv.Encode(&etcdkv.KnownNode{
		Schema: etcdkv.Schema, Node: e.cfg.Node, PeerAddr: e.cfg.PeerAddr, JoinedAt: time.Unix(0, e.deps.now()).UTC(),
	})
	if err != nil {
		return m, err
	}
	key := e.cfg.Keys.Member(e.cfg.Node)
	for range 10 {
		value, err := etcdkv.Encode(&m)
		if err != nil {
			return m, err
		}
		resp, err := e.deps.Client.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
			Then(clientv3.OpPut(key, value, clientv3.WithLease(sess.Lease())), clientv3.OpPut(e.cfg.Keys.KnownNode(e.cfg.Node), known)).
			Else(clientv3.OpGet(key)).Commit()
		if err != nil {
			return m, fmt.Errorf("join: %w", err)
		}
		if resp.Succeeded {
			return m, nil
		}
		kvs := resp.Responses[0].GetResponseRange().GetKvs()
		if len(kvs) == 0 {
			continue
		}
		old, err := etcdkv.Decode[etcdkv.Member](key, kvs[0].Value)
		if err != nil {
			return m, err
		}
		if old.Incarnation == m.Incarnation {
			return m, nil // our own, after an answer that was lost
		}
		if old.Identity != e.cfg.Identity {
			return m, fmt.Errorf("%w: %q is alive at %s with another data directory; give this node a name of its own",
				ErrNameTaken, e.cfg.Node, old.PeerAddr)
		}
		e.log.Info("revoking the lease of this node's former process", zap.Int64("lease", kvs[0].Lease))
		if _, err := e.deps.Client.Revoke(ctx, clientv3.LeaseID(kvs[0].Lease)); err != nil {
			e.log.Debug("former lease not revoked", zap.Error(err))
		}
	}
	return m, fmt.Errorf("join: member key %s does not settle", key)
}

// leave has the node forgotten: it leaves in order. Should that fail, it is told
// as one that is gone.
func (t *ownership) leave(ctx context.Context) {
	key := t.e.cfg.Keys.Member(t.self.Node)
	_, err := t.e.deps.Client.Txn(ctx).
		If(clientv3.Compare(clientv3.LeaseValue(key), "=", t.sess.Lease())).
		Then(clientv3.OpDelete(t.e.cfg.Keys.KnownNode(t.self.Node))).Commit()
	if err != nil {
		t.e.log.Warn("the node is still known after it has left", zap.Error(err))
	}
}

// announce writes the node's phase. If that fails, it is tried again at the next
// look.
func (t *ownership) announce(ctx context.Context, phase etcdkv.Phase) {
	m := t.self
	m.Phase, m.PhaseSince = phase, time.Unix(0, t.e.deps.now()).UTC()
	value, err := etcdkv.Encode(&m)
	if err == nil {
		key := t.e.cfg.Keys.Member(m.Node)
		_, err = t.e.deps.Client.Txn(ctx).
			If(clientv3.Compare(clientv3.LeaseValue(key), "=", t.sess.Lease())).
			Then(clientv3.OpPut(key, value, clientv3.WithLease(t.sess.Lease()))).Commit()
	}
	if err != nil {
		t.e.log.Warn("phase not announced", zap.String("phase", string(phase)), zap.Error(err))
		return
	}
	t.self = m
	t.e.log.Info("phase announced", zap.String("phase", string(phase)))
}

// ownerValue makes the value of an owner key. due is the instant that the owner
// is to fire next; never: none that is known.
func ownerValue(node, from job.NodeID, now, due int64) (string, error) {
	grant, err := uuid.NewRandom()
	if err != nil {
		return "", fmt.Errorf("new grant id: %w", err)
	}
	o := etcdkv.Owner{Schema: etcdkv.Schema, Node: node, Grant: grant.String(), Since: time.Unix(0, now).UTC(), From: from}
	if due != never && due != 0 {
		o.Due = time.Unix(0, due).UTC()
	}
	return etcdkv.Encode(o)
}

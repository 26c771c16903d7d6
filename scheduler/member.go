package scheduler

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
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
		Site: e.cfg.Site, Priority: e.cfg.Priority, Capacity: e.cfg.Capacity, Labels: e.cfg.Labels, Witness: e.cfg.Witness, Phase: etcdkv.PhaseReady,
		PeerAddr: e.cfg.PeerAddr, APIAddr: e.cfg.APIAddr, Lease: int64(sess.Lease()),
		Version: e.cfg.Version, Commit: e.cfg.Commit, StartedAt: e.began,
		KnowsAccess: true, KnowsBounds: true, Signs: true, OpenAPI: e.cfg.OpenAPI,
	}
	known, err := etcdkv.Encode(&etcdkv.KnownNode{
		Schema: etcdkv.Schema, Node: e.cfg.Node, PeerAddr: e.cfg.PeerAddr, JoinedAt: time.Unix(0, e.deps.now()).UTC(), Site: e.cfg.Site, Signs: true,
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

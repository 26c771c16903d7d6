package ownership

import (
	"context"
	"errors"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/lock"
	"github.com/carillon-cron/carillon/scheduler/cluster"
	"github.com/carillon-cron/carillon/scheduler/timers"
)

func (n *Node) isBusy(id job.ShardID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.busy[id]
}

// start takes a shard and runs it, unless that is under way.
func (n *Node) start(id job.ShardID, take func(context.Context) (*lock.Ownership, error)) {
	n.mu.Lock()
	if n.busy[id] || n.ctx.Err() != nil {
		n.mu.Unlock()
		return
	}
	n.busy[id] = true
	n.mu.Unlock()
	n.wg.Go(func() {
		held := false
		defer func() {
			n.mu.Lock()
			delete(n.busy, id)
			delete(n.passing, id)
			n.mu.Unlock()
			if held {
				n.d.Cluster.Wake() // it may be ours again already
			}
		}()
		bounded, cancel := context.WithTimeout(n.ctx, takeTimeout)
		own, err := take(bounded)
		cancel()
		if err != nil {
			// Tried again with the next look: at once would be a busy loop for as
			// long as the view of the owners is behind.
			if !errors.Is(err, lock.ErrHeld) && !errors.Is(err, lock.ErrFenced) && n.ctx.Err() == nil {
				n.log.Warn("shard not taken", zap.Stringer("shard", id), zap.Error(err))
			}
			return
		}
		held = true
		n.d.Run(n.ctx, id, own, func() uint32 { return n.begins(id, own.Token().Revision) })
	})
}

// claim takes a shard that nobody owns.
func (n *Node) claim(ctx context.Context, id job.ShardID) (*lock.Ownership, error) {
	value, err := OwnerValue(n.cfg.Node, "", n.d.Now(), timers.Never)
	if err != nil {
		return nil, err
	}
	return n.d.Session.Claim(ctx, lock.Grant{Key: n.cfg.Keys.Owner(id), Value: value, If: n.d.Fence()})
}

// beginnings are those with a shard, and with what is asked anew there, under the
// token of a revision.
type beginnings struct {
	token int64
	n     uint32
}

// begins notes that a shard is begun with under a token, or that something is asked
// there anew, and returns how often that was, with this time.
func (n *Node) begins(id job.ShardID, token int64) uint32 {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := n.begun[id]
	if b.token != token {
		b = beginnings{token: token}
	}
	b.n++
	n.begun[id] = b
	return b.n
}

// seize takes a shard from an owner that is dead, or overdue. It loses its place
// in line, for each of its turns would cost a grace: it joins again when it is
// well.
func (n *Node) seize(ctx context.Context, id job.ShardID, o cluster.Owner) (*lock.Ownership, error) {
	now := n.d.Now()
	value, err := OwnerValue(n.cfg.Node, "", now, timers.Never)
	if err != nil {
		return nil, err
	}
	key := n.cfg.Keys.Owner(id)
	g := lock.Grant{Key: key, Value: value, If: n.d.Fence()}
	if gr := n.d.Cluster.Group(id); gr != nil && gr.Mode.Lined {
		g.Then = append(g.Then, clientv3.OpDelete(n.cfg.Keys.Line(id, o.Node)))
	}
	n.d.Seized()
	return n.d.Session.Seize(ctx, o.Rev, g)
}

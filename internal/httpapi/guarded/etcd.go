package guarded

import (
	"context"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// EtcdMembers lists the nodes of the cluster's own etcd.
func (c *Control) EtcdMembers(ctx context.Context) ([]api.EtcdMember, error) {
	if err := c.whole(ctx, rights.Read, rights.Nodes); err != nil {
		return nil, err
	}
	return c.behind.EtcdMembers(ctx)
}

// RemoveEtcdMember has a node be no member.
func (c *Control) RemoveEtcdMember(ctx context.Context, node string, o api.Order) error {
	if err := c.whole(ctx, rights.Operate, rights.Nodes); err != nil {
		return err
	}
	return c.behind.RemoveEtcdMember(ctx, node, o)
}

// AddEtcdMember has a node be a member again.
func (c *Control) AddEtcdMember(ctx context.Context, node job.NodeID, o api.Order) error {
	if err := c.whole(ctx, rights.Operate, rights.Nodes); err != nil {
		return err
	}
	return c.behind.AddEtcdMember(ctx, node, o)
}

// MoveEtcdLeader has another member lead.
func (c *Control) MoveEtcdLeader(ctx context.Context, node string, o api.Order) error {
	if err := c.whole(ctx, rights.Operate, rights.Nodes); err != nil {
		return err
	}
	return c.behind.MoveEtcdLeader(ctx, node, o)
}

// DefragEtcd has a member give free space back.
func (c *Control) DefragEtcd(ctx context.Context, node string, o api.Order) error {
	if err := c.whole(ctx, rights.Operate, rights.Nodes); err != nil {
		return err
	}
	return c.behind.DefragEtcd(ctx, node, o)
}

// CreateNodeToken makes a token by which nodes join. A node has all that the cluster
// has, its authority among it: so this is for who may give everything.
func (c *Control) CreateNodeToken(ctx context.Context, req api.TokenRequest) (api.JoinToken, error) {
	if err := c.whole(ctx, rights.Grant, rights.Nodes); err != nil {
		return api.JoinToken{}, err
	}
	return c.behind.CreateNodeToken(ctx, req)
}

package guarded

import (
	"context"
	"io"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/rights"
)

// Standby tells what the cluster is to another one.
func (c *Control) Standby(ctx context.Context) (api.Standby, error) {
	if err := c.whole(ctx, rights.Read, rights.Cluster); err != nil {
		return api.Standby{}, err
	}
	return c.behind.Standby(ctx)
}

// FollowActive makes the cluster the standby of another one. All that it has is replaced by
// what that one has, so this is for who may give everything.
func (c *Control) FollowActive(ctx context.Context, req api.FollowRequest) (api.Followed, error) {
	if err := c.whole(ctx, rights.Grant, rights.Cluster); err != nil {
		return api.Followed{}, err
	}
	return c.behind.FollowActive(ctx, req)
}

// StopFollowing has a standby go on by itself.
func (c *Control) StopFollowing(ctx context.Context, o api.Order) error {
	if err := c.whole(ctx, rights.Grant, rights.Cluster); err != nil {
		return err
	}
	return c.behind.StopFollowing(ctx, o)
}

// PromoteCluster has a standby take over.
func (c *Control) PromoteCluster(ctx context.Context, req api.PromoteRequest) (api.Promotion, error) {
	if err := c.whole(ctx, rights.Grant, rights.Cluster); err != nil {
		return api.Promotion{}, err
	}
	return c.behind.PromoteCluster(ctx, req)
}

// Mirror writes what etcd holds, and what changes. Who has it has all of the cluster.
func (c *Control) Mirror(ctx context.Context, req api.MirrorRequest, w io.Writer) error {
	if err := c.whole(ctx, rights.Grant, rights.Cluster); err != nil {
		return err
	}
	lasts, end := c.lasting(ctx, func(ctx context.Context) error { return c.whole(ctx, rights.Grant, rights.Cluster) })
	defer end()
	return whyEnded(ctx, lasts, c.behind.Mirror(lasts, req, w))
}

// HandOver has the cluster stop, for its standby to take over.
func (c *Control) HandOver(ctx context.Context, o api.Order) (api.HandedOver, error) {
	if err := c.whole(ctx, rights.Grant, rights.Cluster); err != nil {
		return api.HandedOver{}, err
	}
	return c.behind.HandOver(ctx, o)
}

// Overtaken tells the cluster that another one goes on.
func (c *Control) Overtaken(ctx context.Context, req api.OvertakenRequest) (api.Standby, error) {
	if err := c.whole(ctx, rights.Grant, rights.Cluster); err != nil {
		return api.Standby{}, err
	}
	return c.behind.Overtaken(ctx, req)
}

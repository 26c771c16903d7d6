package guarded

import (
	"context"
	"io"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// Nodes lists nodes.
func (c *Control) Nodes(ctx context.Context) ([]api.Node, error) {
	if err := c.whole(ctx, rights.Read, rights.Nodes); err != nil {
		return nil, err
	}
	return c.behind.Nodes(ctx)
}

// Shards lists shards.
func (c *Control) Shards(ctx context.Context) ([]api.Shard, error) {
	if err := c.whole(ctx, rights.Read, rights.Shards); err != nil {
		return nil, err
	}
	all, err := c.behind.Shards(ctx)
	if err != nil {
		return nil, err
	}
	s, err := c.decide.Of(ctx)
	if err != nil || s.May(rights.Request{Verb: rights.Read, Kind: rights.Groups}) {
		return all, err
	}
	// A shard is the cluster's; whose group it is may be another's.
	groups, err := c.Groups(ctx, "")
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for i := range groups {
		seen[groups[i].Key().String()] = true
	}
	for i := range all {
		if v := &all[i]; v.Group != "" && !seen[v.Group] {
			v.Group = hiddenGroup
		}
	}
	return all, nil
}

// hiddenGroup stands for the name of a group that the caller may not read.
const hiddenGroup = "(hidden)"

// Backup writes a backup of what etcd holds. Who has it has all of the cluster: so this is for
// who may give everything.
func (c *Control) Backup(ctx context.Context, w io.Writer) error {
	if err := c.whole(ctx, rights.Grant, rights.Cluster); err != nil {
		return err
	}
	return c.behind.Backup(ctx, w)
}

// Recover has a cluster go on that is held since a restore.
func (c *Control) Recover(ctx context.Context, req api.RecoverRequest) (api.Recovery, error) {
	if err := c.whole(ctx, rights.Grant, rights.Cluster); err != nil {
		return api.Recovery{}, err
	}
	return c.behind.Recover(ctx, req)
}

// DrainNode has a node hand its shards over.
func (c *Control) DrainNode(ctx context.Context, node job.NodeID, o api.Order) error {
	if err := c.whole(ctx, rights.Operate, rights.Nodes); err != nil {
		return err
	}
	return c.behind.DrainNode(ctx, node, o)
}

// ForgetNode forgets a node.
func (c *Control) ForgetNode(ctx context.Context, node job.NodeID, o api.Order) error {
	if err := c.whole(ctx, rights.Operate, rights.Nodes); err != nil {
		return err
	}
	return c.behind.ForgetNode(ctx, node, o)
}

// UndrainNode ends a drain.
func (c *Control) UndrainNode(ctx context.Context, node job.NodeID, o api.Order) error {
	if err := c.whole(ctx, rights.Operate, rights.Nodes); err != nil {
		return err
	}
	return c.behind.UndrainNode(ctx, node, o)
}

// Sites lists sites: nodes and minions, counted.
func (c *Control) Sites(ctx context.Context) ([]api.Site, error) {
	if err := c.whole(ctx, rights.Read, rights.Nodes); err != nil {
		return nil, err
	}
	return c.behind.Sites(ctx)
}

// DrainSite has the nodes of a site hand their shards over.
func (c *Control) DrainSite(ctx context.Context, site string, o api.Order) error {
	if err := c.whole(ctx, rights.Operate, rights.Nodes); err != nil {
		return err
	}
	return c.behind.DrainSite(ctx, site, o)
}

// UndrainSite ends the drains of the nodes of a site.
func (c *Control) UndrainSite(ctx context.Context, site string, o api.Order) error {
	if err := c.whole(ctx, rights.Operate, rights.Nodes); err != nil {
		return err
	}
	return c.behind.UndrainSite(ctx, site, o)
}

// MoveShard moves a shard to a node.
func (c *Control) MoveShard(ctx context.Context, ref string, node job.NodeID, o api.Order) error {
	if err := c.whole(ctx, rights.Operate, rights.Shards); err != nil {
		return err
	}
	return c.behind.MoveShard(ctx, ref, node, o)
}

// HoldShard keeps a shard where it is.
func (c *Control) HoldShard(ctx context.Context, ref string, o api.Order) error {
	if err := c.whole(ctx, rights.Operate, rights.Shards); err != nil {
		return err
	}
	return c.behind.HoldShard(ctx, ref, o)
}

// ReleaseShard ends a move or a hold.
func (c *Control) ReleaseShard(ctx context.Context, ref string, o api.Order) error {
	if err := c.whole(ctx, rights.Operate, rights.Shards); err != nil {
		return err
	}
	return c.behind.ReleaseShard(ctx, ref, o)
}

// FailbackShard moves a shard to where its mode wants it.
func (c *Control) FailbackShard(ctx context.Context, ref string, o api.Order) error {
	if err := c.whole(ctx, rights.Operate, rights.Shards); err != nil {
		return err
	}
	return c.behind.FailbackShard(ctx, ref, o)
}

// Audit tells what was done. Records name things of all namespaces, so that the right is on all.
func (c *Control) Audit(ctx context.Context, q api.AuditQuery) (api.AuditPage, error) {
	if err := c.whole(ctx, rights.Audit, rights.Cluster); err != nil {
		return api.AuditPage{}, err
	}
	return c.behind.Audit(ctx, q)
}

// AuditFeed tells what is sealed, with the right of Audit.
func (c *Control) AuditFeed(ctx context.Context, after int64, since time.Time) (api.AuditFeed, error) {
	if err := c.whole(ctx, rights.Audit, rights.Cluster); err != nil {
		return api.AuditFeed{}, err
	}
	return c.behind.AuditFeed(ctx, after, since)
}

// VerifyAudit checks the records, with the right of Audit.
func (c *Control) VerifyAudit(ctx context.Context, segment int64, hash string) (api.AuditVerdict, error) {
	if err := c.whole(ctx, rights.Audit, rights.Cluster); err != nil {
		return api.AuditVerdict{}, err
	}
	return c.behind.VerifyAudit(ctx, segment, hash)
}

// Refused wants no right: it is what has none that is noted.
func (c *Control) Refused(ctx context.Context, action, object, why string) {
	c.behind.Refused(ctx, action, object, why)
}

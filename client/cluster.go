package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// Nodes are the schedulers.
type Nodes struct{ c *conn }

// List returns the nodes that live, and those that are gone and have not left in order.
func (n Nodes) List(ctx context.Context) ([]api.Node, error) {
	var out struct{ Nodes []api.Node }
	err := n.c.get(ctx, &out, nil, "nodes")
	return out.Nodes, err
}

// Drain has a node hand its shards over and take none until Undrain.
func (n Nodes) Drain(ctx context.Context, node job.NodeID, o api.Order) error {
	return n.c.post(ctx, orderOf(o), "nodes", string(node), "drain")
}

// Undrain ends a drain.
func (n Nodes) Undrain(ctx context.Context, node job.NodeID, o api.Order) error {
	return n.c.post(ctx, orderOf(o), "nodes", string(node), "undrain")
}

// Forget forgets a node that is gone for good.
func (n Nodes) Forget(ctx context.Context, node job.NodeID, o api.Order) error {
	return n.c.post(ctx, orderOf(o), "nodes", string(node), "forget")
}

// Sites are the places in which nodes and minions are.
type Sites struct{ c *conn }

// List returns all sites; last, without a name, what says no site.
func (s Sites) List(ctx context.Context) ([]api.Site, error) {
	var out struct{ Sites []api.Site }
	err := s.c.get(ctx, &out, nil, "sites")
	return out.Sites, err
}

// Drain has all live nodes of a site hand their shards over, and take none until Undrain.
func (s Sites) Drain(ctx context.Context, site string, o api.Order) error {
	return s.c.post(ctx, orderOf(o), "sites", site, "drain")
}

// Undrain ends the drains of all nodes of a site.
func (s Sites) Undrain(ctx context.Context, site string, o api.Order) error {
	return s.c.post(ctx, orderOf(o), "sites", site, "undrain")
}

// Shards are the parts into which jobs are split. A shard is named by its number, or
// by its group as NAMESPACE/NAME.
type Shards struct{ c *conn }

// List returns the shards and their owners.
func (s Shards) List(ctx context.Context) ([]api.Shard, error) {
	var out struct{ Shards []api.Shard }
	err := s.c.get(ctx, &out, nil, "shards")
	return out.Shards, err
}

// Move has a node hold a shard, whatever its mode says.
func (s Shards) Move(ctx context.Context, shard string, node job.NodeID, o api.Order) error {
	body := struct {
		Node job.NodeID `json:"node"`
		order
	}{node, orderOf(o)}
	return s.c.post(ctx, body, "shards", shard, "move")
}

// Hold keeps a shard with the node that holds it, whatever its mode says.
func (s Shards) Hold(ctx context.Context, shard string, o api.Order) error {
	return s.c.post(ctx, orderOf(o), "shards", shard, "hold")
}

// Release ends a move or a hold.
func (s Shards) Release(ctx context.Context, shard string, o api.Order) error {
	return s.c.post(ctx, orderOf(o), "shards", shard, "release")
}

// Failback has a shard go where its mode wants it, now.
func (s Shards) Failback(ctx context.Context, shard string, o api.Order) error {
	return s.c.post(ctx, orderOf(o), "shards", shard, "failback")
}

// Cluster tells of the cluster as a whole.
type Cluster struct{ c *conn }

// Version tells what runs on the server.
func (c Cluster) Version(ctx context.Context) (api.Version, error) {
	var out api.Version
	err := c.c.get(ctx, &out, nil, "version")
	return out, err
}

// Doctor tells what is wrong, or will soon be.
func (c Cluster) Doctor(ctx context.Context) ([]api.Check, error) {
	var out struct{ Checks []api.Check }
	err := c.c.get(ctx, &out, nil, "doctor")
	return out.Checks, err
}

// Recover has a cluster go on that is held since a restore, or shows what would be done.
func (c Cluster) Recover(ctx context.Context, req api.RecoverRequest) (api.Recovery, error) {
	body := struct {
		DryRun        bool       `json:"dryRun,omitempty"`
		AcceptUnknown bool       `json:"acceptUnknown,omitempty"`
		LostAt        *time.Time `json:"lostAt,omitempty"`
		Adopt         bool       `json:"adopt,omitempty"`
		order
	}{DryRun: req.DryRun, AcceptUnknown: req.AcceptUnknown, Adopt: req.Adopt, order: orderOf(req.Order)}
	if !req.LostAt.IsZero() {
		body.LostAt = &req.LostAt
	}
	var out api.Recovery
	err := c.c.send(ctx, http.MethodPost, []string{"v1", "recover"}, body, &out)
	return out, err
}

// Backup returns a backup of what etcd holds of the cluster, as `carillon backup verify` and
// `carillon restore` read it. One that ends early is not whole: they notice that.
func (c Cluster) Backup(ctx context.Context) (io.ReadCloser, error) {
	return c.c.open(ctx, request{method: http.MethodPost, path: []string{"v1", "backup"}})
}

// Dispatch tells what waits for minions: for those with something to tell, or all.
func (c Cluster) Dispatch(ctx context.Context, all bool) (api.Dispatch, error) {
	var out api.Dispatch
	err := c.c.get(ctx, &out, url.Values{"all": {strconv.FormatBool(all)}}, "dispatch")
	return out, err
}

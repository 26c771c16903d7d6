package client

import (
	"context"
	"net/http"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// Etcd is the etcd of a cluster that keeps its data itself.
type Etcd struct{ c *conn }

// Members returns the nodes of the cluster's own etcd: members, and clients of theirs.
func (e Etcd) Members(ctx context.Context) ([]api.EtcdMember, error) {
	var out struct{ Members []api.EtcdMember }
	err := e.c.get(ctx, &out, nil, "etcd", "members")
	return out.Members, err
}

// Remove has a node be no member. One that lives goes on as a client, one that does not
// is forgotten.
func (e Etcd) Remove(ctx context.Context, node job.NodeID, o api.Order) error {
	return e.c.post(ctx, orderOf(o), "etcd", "members", string(node), "remove")
}

// Add has a node be a member again, as soon as there is room.
func (e Etcd) Add(ctx context.Context, node job.NodeID, o api.Order) error {
	return e.c.post(ctx, orderOf(o), "etcd", "members", string(node), "add")
}

// MoveLeader has a member lead.
func (e Etcd) MoveLeader(ctx context.Context, node job.NodeID, o api.Order) error {
	return e.c.post(ctx, orderOf(o), "etcd", "members", string(node), "move-leader")
}

// Defrag has a member give free space back. It answers nobody meanwhile.
func (e Etcd) Defrag(ctx context.Context, node job.NodeID, o api.Order) error {
	return e.c.post(ctx, orderOf(o), "etcd", "members", string(node), "defrag")
}

// CreateToken makes a token by which nodes join. Its text is in this answer only.
// Minions is a glob of the nodes' names.
func (e Etcd) CreateToken(ctx context.Context, req api.TokenRequest) (api.JoinToken, error) {
	body := struct {
		TTLSeconds int64  `json:"ttlSeconds,omitempty"`
		Uses       int    `json:"uses,omitempty"`
		Nodes      string `json:"nodes,omitempty"`
		order
	}{int64(req.TTL / time.Second), req.Uses, req.Minions, orderOf(req.Order)}
	var out api.JoinToken
	err := e.c.send(ctx, http.MethodPost, []string{"v1", "node-tokens"}, body, &out)
	return out, err
}

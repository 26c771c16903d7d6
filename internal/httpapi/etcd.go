package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// EtcdMembers shows the members of the cluster's own etcd, and takes orders for them.
type EtcdMembers interface {
	EtcdMembers(ctx context.Context) ([]api.EtcdMember, error)
	RemoveEtcdMember(ctx context.Context, node string, o api.Order) error
	AddEtcdMember(ctx context.Context, node job.NodeID, o api.Order) error
	MoveEtcdLeader(ctx context.Context, node string, o api.Order) error
	DefragEtcd(ctx context.Context, node string, o api.Order) error
	CreateNodeToken(ctx context.Context, req api.TokenRequest) (api.JoinToken, error)
}

type etcdMembersBody struct {
	Members []api.EtcdMember `json:"members" nullable:"false"`
}

type etcdOrder struct {
	Node string `path:"name" maxLength:"128" doc:"The node's name, or the number of its member."`
	Body *orderBody
}

type nodeTokenInput struct{ Body nodeTokenBody }

type nodeTokenBody struct {
	TTLSeconds int64  `json:"ttlSeconds,omitempty" minimum:"0" doc:"How long it lasts; not given: an hour."`
	Uses       int    `json:"uses,omitempty" minimum:"0" doc:"How many nodes it lets in; not given: one."`
	Nodes      string `json:"nodes,omitempty" maxLength:"256" doc:"A glob that the names of the nodes must match."`
	By         string `json:"by,omitempty" maxLength:"256" doc:"Who asks; kept in the audit record."`
	Reason     string `json:"reason,omitempty" maxLength:"1024" doc:"Why; kept in the audit record."`
}

func (a *API) etcdRoutes(doc huma.API) {
	huma.Register(doc, operation(http.MethodGet, "/v1/etcd/members", "list-etcd-members", "Nodes of the cluster's own etcd: members, and clients of theirs", http.StatusConflict),
		func(ctx context.Context, _ *struct{}) (*reply[etcdMembersBody], error) {
			all, err := a.control.EtcdMembers(ctx)
			return answer(etcdMembersBody{some(all)}, err)
		})
	for _, o := range []struct {
		verb, id, summary string
		do                func(context.Context, string, api.Order) error
	}{
		{"remove", "remove-etcd-member", "Have a node be no member; one that is gone for good is forgotten", a.control.RemoveEtcdMember},
		{"add", "add-etcd-member", "Have a node be a member again that was removed", func(ctx context.Context, node string, o api.Order) error {
			return a.control.AddEtcdMember(ctx, job.NodeID(node), o)
		}},
		{"move-leader", "move-etcd-leader", "Have a member lead", a.control.MoveEtcdLeader},
		{"defrag", "defrag-etcd-member", "Have a member give free space back; it answers nobody meanwhile", a.control.DefragEtcd},
	} {
		op := operation(http.MethodPost, "/v1/etcd/members/{name}/"+o.verb, o.id, o.summary, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity)
		op.DefaultStatus = http.StatusNoContent
		huma.Register(doc, op, func(ctx context.Context, in *etcdOrder) (*struct{}, error) {
			return done(o.do(ctx, in.Node, in.Body.order()))
		})
	}
	token := operation(http.MethodPost, "/v1/node-tokens", "create-node-token", "Make a token by which nodes join a cluster that keeps its data itself; its text is given this once", http.StatusConflict, http.StatusUnprocessableEntity)
	token.DefaultStatus = http.StatusCreated
	huma.Register(doc, token, func(ctx context.Context, in *nodeTokenInput) (*reply[api.JoinToken], error) {
		b := &in.Body
		v, err := a.control.CreateNodeToken(ctx, api.TokenRequest{
			TTL: time.Duration(b.TTLSeconds) * time.Second, Uses: b.Uses, Minions: b.Nodes, Order: api.Order{By: b.By, Reason: b.Reason},
		})
		return answer(v, err)
	})
}

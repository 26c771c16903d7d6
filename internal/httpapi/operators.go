package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// orderBody is what an operator may say with an order.
type orderBody struct {
	By     string `json:"by,omitempty" maxLength:"256" doc:"Who asks; kept in the audit record."`
	Reason string `json:"reason,omitempty" maxLength:"1024" doc:"Why; shown to others and kept in the audit record."`
}

func (b *orderBody) order() api.Order {
	if b == nil {
		return api.Order{}
	}
	return api.Order{By: b.By, Reason: b.Reason}
}

type sitesBody struct {
	Sites []api.Site `json:"sites" nullable:"false"`
}

type siteOrder struct {
	Site string `path:"name" maxLength:"128" doc:"The site's name."`
	Body *orderBody
}

type nodeOrder struct {
	Node string `path:"name" doc:"The node's name."`
	Body *orderBody
}

type shardOrder struct {
	Ref  string `path:"ref" doc:"The shard's number, or the name of a group, NAME or NAMESPACE/NAME (with the slash as %2F)."`
	Body *orderBody
}

type moveInput struct {
	Ref  string `path:"ref" doc:"The shard's number, or the name of a group, NAME or NAMESPACE/NAME (with the slash as %2F)."`
	Body moveBody
}

type moveBody struct {
	Node   string `json:"node" minLength:"1" maxLength:"128" doc:"The node that is to hold the shard."`
	By     string `json:"by,omitempty" maxLength:"256" doc:"Who asks; kept in the audit record."`
	Reason string `json:"reason,omitempty" maxLength:"1024" doc:"Why; shown to others and kept in the audit record."`
}

func (a *API) operatorRoutes(doc huma.API) {
	order := func(path, id, summary string, errs ...int) huma.Operation {
		op := operation(http.MethodPost, path, id, summary,
			append(errs, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity)...)
		op.DefaultStatus = http.StatusNoContent
		return op
	}
	for _, o := range []struct {
		verb, summary string
		do            func(context.Context, job.NodeID, api.Order) error
	}{
		{"drain", "Drain a node: it hands its shards over and takes none", a.control.DrainNode},
		{"undrain", "End a drain", a.control.UndrainNode},
		{"forget", "Forget a node that is gone for good", a.control.ForgetNode},
	} {
		huma.Register(doc, order("/v1/nodes/{name}/"+o.verb, o.verb+"-node", o.summary),
			func(ctx context.Context, in *nodeOrder) (*struct{}, error) {
				return done(o.do(ctx, job.NodeID(in.Node), in.Body.order()))
			})
	}
	huma.Register(doc, operation(http.MethodGet, "/v1/sites", "list-sites", "Sites: their nodes, minions and shards, and which are lost"),
		func(ctx context.Context, _ *struct{}) (*reply[sitesBody], error) {
			all, err := a.control.Sites(ctx)
			return answer(sitesBody{some(all)}, err)
		})
	for _, o := range []struct {
		verb, summary string
		do            func(context.Context, string, api.Order) error
	}{
		{"drain", "Drain all live nodes of a site: they hand their shards over and take none", a.control.DrainSite},
		{"undrain", "End the drains of all nodes of a site", a.control.UndrainSite},
	} {
		huma.Register(doc, order("/v1/sites/{name}/"+o.verb, o.verb+"-site", o.summary),
			func(ctx context.Context, in *siteOrder) (*struct{}, error) {
				return done(o.do(ctx, in.Site, in.Body.order()))
			})
	}
	for _, o := range []struct {
		verb, summary string
		do            func(context.Context, string, api.Order) error
	}{
		{"hold", "Keep a shard where it is, whatever its mode says", a.control.HoldShard},
		{"release", "End a move or a hold; the mode decides", a.control.ReleaseShard},
		{"failback", "Move a shard to where its mode wants it, now", a.control.FailbackShard},
	} {
		huma.Register(doc, order("/v1/shards/{ref}/"+o.verb, o.verb+"-shard", o.summary),
			func(ctx context.Context, in *shardOrder) (*struct{}, error) {
				return done(o.do(ctx, in.Ref, in.Body.order()))
			})
	}
	huma.Register(doc, order("/v1/shards/{ref}/move", "move-shard", "Move a shard to a node, whatever its mode says"),
		func(ctx context.Context, in *moveInput) (*struct{}, error) {
			b := in.Body
			return done(a.control.MoveShard(ctx, in.Ref, job.NodeID(b.Node), api.Order{By: b.By, Reason: b.Reason}))
		})
}

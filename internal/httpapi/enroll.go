package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

type dispatchInput struct {
	All bool `query:"all" doc:"Also minions of which nothing is to be told."`
}

type tokenInput struct{ Body tokenBody }

type tokenBody struct {
	TTLSeconds int64             `json:"ttlSeconds,omitempty" minimum:"0" doc:"How long it lasts; not given: an hour."`
	Uses       int               `json:"uses,omitempty" minimum:"0" doc:"How many minions it enrolls; not given: one."`
	Minions    string            `json:"minions,omitempty" maxLength:"256" doc:"A glob that the ids of the minions must match."`
	Labels     map[string]string `json:"labels,omitempty" doc:"Labels that are granted to the minions that join by it."`
	By         string            `json:"by,omitempty" maxLength:"256" doc:"Who asks; kept in the audit record."`
	Reason     string            `json:"reason,omitempty" maxLength:"1024" doc:"Why; kept in the audit record."`
}

type labelInput struct {
	ID   job.MinionID `path:"id" doc:"The minion's id."`
	Body labelBody
}

type labelBody struct {
	Set    map[string]string `json:"set,omitempty" doc:"Labels that the minion is granted, in place of those of the same names."`
	Remove []string          `json:"remove,omitempty" nullable:"false" maxItems:"64" doc:"Names of labels that are taken away."`
	By     string            `json:"by,omitempty" maxLength:"256" doc:"Who asks; kept in the audit record."`
	Reason string            `json:"reason,omitempty" maxLength:"1024" doc:"Why; kept in the audit record."`
}

type labelsBody struct {
	Labels map[string]string `json:"labels" doc:"All labels that the minion has been granted."`
}

type tokensBody struct {
	Tokens []api.JoinToken `json:"tokens" nullable:"false"`
}

type tokenOrder struct {
	ID   string `path:"id" doc:"The token's id, the first part of its text."`
	Body *orderBody
}

type minionOrder struct {
	ID   job.MinionID `path:"id" doc:"The minion's id."`
	Body *orderBody
}

type approveInput struct {
	ID   job.MinionID `path:"id" doc:"The minion's id."`
	Body *approveBody
}

type approveBody struct {
	Fingerprint string            `json:"fingerprint,omitempty" maxLength:"128" doc:"That of the minion's key, as the minion logs it. Without it nothing is approved, and the error lists the keys that ask."`
	Labels      map[string]string `json:"labels,omitempty" doc:"Labels that are granted to the minion when it joins."`
	By          string            `json:"by,omitempty" maxLength:"256" doc:"Who asks; kept in the audit record."`
	Reason      string            `json:"reason,omitempty" maxLength:"1024" doc:"Why; kept in the audit record."`
}

type requestsBody struct {
	Requests []api.JoinRequest `json:"requests" nullable:"false"`
}

type enrolledBody struct {
	Minions []api.Enrollment `json:"minions" nullable:"false"`
}

func (a *API) enrollRoutes(doc huma.API) {
	order := func(method, path, id, summary string) huma.Operation {
		op := operation(method, path, id, summary, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity)
		op.DefaultStatus = http.StatusNoContent
		return op
	}
	create := order(http.MethodPost, "/v1/minion-tokens", "create-minion-token", "Make a token by which minions join; its text is given this once")
	create.DefaultStatus = http.StatusCreated
	huma.Register(doc, create, func(ctx context.Context, in *tokenInput) (*reply[api.JoinToken], error) {
		b := &in.Body
		v, err := a.control.CreateToken(ctx, api.TokenRequest{
			TTL: time.Duration(b.TTLSeconds) * time.Second, Uses: b.Uses, Minions: b.Minions, Labels: b.Labels, Order: api.Order{By: b.By, Reason: b.Reason},
		})
		return answer(v, err)
	})
	huma.Register(doc, operation(http.MethodGet, "/v1/dispatch", "dispatch-status", "What waits for minions, what is with them, how long, and what was dropped"),
		func(ctx context.Context, in *dispatchInput) (*reply[api.Dispatch], error) {
			v, err := a.control.DispatchStatus(ctx, in.All)
			return answer(v, err)
		})
	huma.Register(doc, operation(http.MethodGet, "/v1/authority", "get-authority", "The certificate of the cluster's authority, which minions that join by approval know it by", http.StatusNotFound),
		func(context.Context, *struct{}) (*reply[api.Authority], error) {
			return answer(a.control.Authority())
		})
	huma.Register(doc, operation(http.MethodGet, "/v1/minion-tokens", "list-minion-tokens", "Tokens by which minions join", http.StatusConflict),
		func(ctx context.Context, _ *struct{}) (*reply[tokensBody], error) {
			all, err := a.control.Tokens(ctx)
			return answer(tokensBody{some(all)}, err)
		})
	huma.Register(doc, order(http.MethodDelete, "/v1/minion-tokens/{id}", "delete-minion-token", "End a token; minions that have joined by it stay"),
		func(ctx context.Context, in *tokenOrder) (*struct{}, error) {
			return done(a.control.DeleteToken(ctx, in.ID, in.Body.order()))
		})
	huma.Register(doc, operation(http.MethodGet, "/v1/minion-requests", "list-minion-requests", "Minions that ask to join and wait for an operator", http.StatusConflict),
		func(ctx context.Context, _ *struct{}) (*reply[requestsBody], error) {
			all, err := a.control.JoinRequests(ctx)
			return answer(requestsBody{some(all)}, err)
		})
	huma.Register(doc, operation(http.MethodGet, "/v1/minion-certificates", "list-minion-certificates", "Minions that have, or had, a certificate", http.StatusConflict),
		func(ctx context.Context, _ *struct{}) (*reply[enrolledBody], error) {
			all, err := a.control.Enrolled(ctx)
			return answer(enrolledBody{some(all)}, err)
		})
	huma.Register(doc, order(http.MethodPost, "/v1/minions/{id}/approve", "approve-minion", "Let a minion join that waits"),
		func(ctx context.Context, in *approveInput) (*struct{}, error) {
			var b approveBody
			if in.Body != nil {
				b = *in.Body
			}
			return done(a.control.ApproveMinion(ctx, in.ID, b.Fingerprint, b.Labels, api.Order{By: b.By, Reason: b.Reason}))
		})
	huma.Register(doc, order(http.MethodPost, "/v1/minions/{id}/reject", "reject-minion", "Refuse a minion that waits"),
		func(ctx context.Context, in *minionOrder) (*struct{}, error) {
			return done(a.control.RejectMinion(ctx, in.ID, in.Body.order()))
		})
	huma.Register(doc, order(http.MethodPost, "/v1/minions/{id}/revoke", "revoke-minion", "End a minion's certificates and its session"),
		func(ctx context.Context, in *minionOrder) (*struct{}, error) {
			return done(a.control.RevokeMinion(ctx, in.ID, in.Body.order()))
		})
	label := order(http.MethodPost, "/v1/minions/{id}/labels", "label-minion", "Grant labels to a minion, or take some away")
	label.DefaultStatus = http.StatusOK
	huma.Register(doc, label, func(ctx context.Context, in *labelInput) (*reply[labelsBody], error) {
		b := &in.Body
		labels, err := a.control.LabelMinion(ctx, in.ID, api.LabelRequest{Set: b.Set, Remove: b.Remove, Order: api.Order{By: b.By, Reason: b.Reason}})
		return answer(labelsBody{labels}, err)
	})
	huma.Register(doc, order(http.MethodDelete, "/v1/minions/{id}", "delete-minion", "Forget a minion that is not connected"),
		func(ctx context.Context, in *minionOrder) (*struct{}, error) {
			return done(a.control.ForgetMinion(ctx, in.ID, in.Body.order()))
		})
}

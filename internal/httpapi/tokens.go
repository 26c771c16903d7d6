package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/access"
)

type apiTokenInput struct{ Body apiTokenBody }

type apiTokenBody struct {
	Name       string `json:"name" minLength:"1" maxLength:"128" doc:"What bindings and records know the token by. It is never given again."`
	Owner      string `json:"owner,omitempty" maxLength:"256" doc:"Who answers for the token; not given: who asks."`
	Note       string `json:"note,omitempty" maxLength:"1024" doc:"What the token is for."`
	TTLSeconds int64  `json:"ttlSeconds" minimum:"1" maximum:"3153600000" doc:"How long it lasts; the node has a most."`
	By         string `json:"by,omitempty" maxLength:"256" doc:"Who asks; kept in the audit record."`
	Reason     string `json:"reason,omitempty" maxLength:"1024" doc:"Why; kept in the audit record."`
}

type apiTokensBody struct {
	Tokens []api.APIToken `json:"tokens" nullable:"false"`
}

type apiTokenOrder struct {
	Ref  string `path:"ref" doc:"The token's name, or its id."`
	Body *orderBody
}

type tokenRotationInput struct {
	Ref  string `path:"ref" doc:"The token's name, or its id."`
	Body *tokenRotationBody
}

type tokenRotationBody struct {
	TTLSeconds   int64  `json:"ttlSeconds,omitempty" minimum:"0" maximum:"3153600000" doc:"How long the token lasts from now on; not given: as long as it would have. The node has a most."`
	GraceSeconds int64  `json:"graceSeconds,omitempty" minimum:"0" maximum:"604800" doc:"How long the former text is good beside the new one; not given: it ends at once."`
	By           string `json:"by,omitempty" maxLength:"256" doc:"Who asks; kept in the audit record."`
	Reason       string `json:"reason,omitempty" maxLength:"1024" doc:"Why; kept in the audit record."`
}

type bootstrapInput struct{ Body bootstrapBody }

type bootstrapBody struct {
	Token      string `json:"token" minLength:"1" maxLength:"128" doc:"The bootstrap token, from the file on a node's host."`
	Name       string `json:"name" minLength:"1" maxLength:"128" doc:"The name of the token that is made."`
	TTLSeconds int64  `json:"ttlSeconds" minimum:"1" maximum:"3153600000" doc:"How long that one lasts; the node has a most."`
}

type accessInput struct{ Body accessBody }

type accessBody struct {
	State  string `json:"state" doc:"open: the API answers everybody; noting: it does, and notes what it would refuse; closed: it refuses what no binding allows."`
	By     string `json:"by,omitempty" maxLength:"256" doc:"Who asks; kept in the audit record."`
	Reason string `json:"reason,omitempty" maxLength:"1024" doc:"Why; kept in the audit record."`
}

// callerRoutes are who may ask: tokens, and who it is that asks.
func (a *API) callerRoutes(doc huma.API) {
	create := operation(http.MethodPost, "/v1/tokens", "create-token", "Make a token by which programs and people ask the API; its text is given this once", http.StatusConflict, http.StatusUnprocessableEntity)
	create.DefaultStatus = http.StatusCreated
	huma.Register(doc, create, func(ctx context.Context, in *apiTokenInput) (*reply[api.APIToken], error) {
		b := &in.Body
		v, err := a.control.CreateAPIToken(ctx, api.APITokenRequest{
			Name: b.Name, Owner: b.Owner, Note: b.Note, TTL: time.Duration(b.TTLSeconds) * time.Second, Order: api.Order{By: b.By, Reason: b.Reason},
		})
		return answer(v, err)
	})
	huma.Register(doc, operation(http.MethodGet, "/v1/tokens", "list-tokens", "Tokens of the API, without their texts"),
		func(ctx context.Context, _ *struct{}) (*reply[apiTokensBody], error) {
			all, err := a.control.APITokens(ctx)
			return answer(apiTokensBody{some(all)}, err)
		})
	huma.Register(doc, operation(http.MethodPost, "/v1/tokens/{ref}/rotate", "rotate-token", "Give a token another text, under the same name and id; it is given this once", http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity),
		func(ctx context.Context, in *tokenRotationInput) (*reply[api.APIToken], error) {
			var b tokenRotationBody
			if in.Body != nil {
				b = *in.Body
			}
			return answer(a.control.RotateAPIToken(ctx, in.Ref, api.TokenRotation{
				TTL: time.Duration(b.TTLSeconds) * time.Second, Grace: time.Duration(b.GraceSeconds) * time.Second, Order: api.Order{By: b.By, Reason: b.Reason},
			}))
		})
	revoke := operation(http.MethodDelete, "/v1/tokens/{ref}", "revoke-token", "End a token", http.StatusNotFound, http.StatusConflict)
	revoke.DefaultStatus = http.StatusNoContent
	huma.Register(doc, revoke, func(ctx context.Context, in *apiTokenOrder) (*struct{}, error) {
		return done(a.control.RevokeAPIToken(ctx, in.Ref, in.Body.order()))
	})
	huma.Register(doc, operation(http.MethodGet, "/v1/auth/self", "self", "Who asks, as the cluster knows it"),
		func(ctx context.Context, _ *struct{}) (*reply[api.Self], error) {
			return answer(a.control.Self(ctx))
		})
	bootstrap := operation(http.MethodPost, "/v1/auth/bootstrap", "bootstrap", "Make a token with the role admin, by the bootstrap token of a node's host, once", http.StatusConflict, http.StatusUnprocessableEntity)
	bootstrap.DefaultStatus = http.StatusCreated
	huma.Register(doc, bootstrap, func(ctx context.Context, in *bootstrapInput) (*reply[api.APIToken], error) {
		b := &in.Body
		v, err := a.control.Bootstrap(ctx, b.Token, api.APITokenRequest{Name: b.Name, TTL: time.Duration(b.TTLSeconds) * time.Second})
		return answer(v, err)
	})
	a.loginRoutes(doc)
	huma.Register(doc, operation(http.MethodGet, "/v1/auth/state", "get-access", "Whether the API answers everybody"),
		func(ctx context.Context, _ *struct{}) (*reply[api.Access], error) {
			v, err := a.control.AccessState(ctx)
			return answer(v, err)
		})
	huma.Register(doc, operation(http.MethodPut, "/v1/auth/state", "set-access", "Open or close the API", http.StatusConflict, http.StatusUnprocessableEntity),
		func(ctx context.Context, in *accessInput) (*reply[api.Access], error) {
			v, err := a.control.SetAccess(ctx, access.State(in.Body.State), api.Order{By: in.Body.By, Reason: in.Body.Reason})
			return answer(v, err)
		})
}

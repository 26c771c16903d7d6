package client

import (
	"context"
	"net/http"
	"time"

	"github.com/carillon-cron/carillon/api"
)

// Tokens are what programs and people show the API, each request anew; see
// [Config.Token].
type Tokens struct{ c *conn }

// Create makes a token. Its text is in this answer only.
func (t Tokens) Create(ctx context.Context, req api.APITokenRequest) (api.APIToken, error) {
	body := struct {
		Name       string `json:"name"`
		Owner      string `json:"owner,omitempty"`
		Note       string `json:"note,omitempty"`
		TTLSeconds int64  `json:"ttlSeconds"`
		order
	}{req.Name, req.Owner, req.Note, int64(req.TTL / time.Second), orderOf(req.Order)}
	var out api.APIToken
	err := t.c.send(ctx, http.MethodPost, []string{"v1", "tokens"}, body, &out)
	return out, err
}

// List returns the tokens that were not revoked, without their texts.
func (t Tokens) List(ctx context.Context) ([]api.APIToken, error) {
	var out struct{ Tokens []api.APIToken }
	err := t.c.get(ctx, &out, nil, "tokens")
	return out.Tokens, err
}

// Revoke ends a token, which is given by its name or its id.
func (t Tokens) Revoke(ctx context.Context, ref string, o api.Order) error {
	return t.c.send(ctx, http.MethodDelete, []string{"v1", "tokens", ref}, orderOf(o), nil)
}

// Auth is who may ask.
type Auth struct{ c *conn }

// Self returns who this client is for the cluster.
func (a Auth) Self(ctx context.Context) (api.Self, error) {
	var out api.Self
	err := a.c.get(ctx, &out, nil, "auth", "self")
	return out, err
}

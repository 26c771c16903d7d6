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

// Rotate gives a token, which is given by its name or its id, another text: it is in this
// answer only.
func (t Tokens) Rotate(ctx context.Context, ref string, req api.TokenRotation) (api.APIToken, error) {
	body := struct {
		TTLSeconds   int64 `json:"ttlSeconds,omitempty"`
		GraceSeconds int64 `json:"graceSeconds,omitempty"`
		order
	}{int64(req.TTL / time.Second), int64(req.Grace / time.Second), orderOf(req.Order)}
	var out api.APIToken
	err := t.c.send(ctx, http.MethodPost, []string{"v1", "tokens", ref, "rotate"}, body, &out)
	return out, err
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

// State tells whether the API answers everybody.
func (a Auth) State(ctx context.Context) (api.Access, error) {
	var out api.Access
	err := a.c.get(ctx, &out, nil, "auth", "state")
	return out, err
}

// SetState opens or closes the API: "open", "noting" or "closed". Only who can open it
// again closes it.
func (a Auth) SetState(ctx context.Context, state string, o api.Order) (api.Access, error) {
	body := struct {
		State string `json:"state"`
		order
	}{state, orderOf(o)}
	var out api.Access
	err := a.c.send(ctx, http.MethodPut, []string{"v1", "auth", "state"}, body, &out)
	return out, err
}

// LoginWays tells how one may log in besides by a token.
func (a Auth) LoginWays(ctx context.Context) (api.LoginWays, error) {
	var out api.LoginWays
	err := a.c.get(ctx, &out, nil, "auth", "login")
	return out, err
}

// BeginLogin begins a login by a browser on this host, and returns where it is sent.
func (a Auth) BeginLogin(ctx context.Context, req api.LoginRequest) (api.LoginURL, error) {
	var out api.LoginURL
	err := a.c.send(ctx, http.MethodPost, []string{"v1", "auth", "login"}, req, &out)
	return out, err
}

// FinishLogin finishes it by what the browser came back with. The token of the login is in
// this answer only.
func (a Auth) FinishLogin(ctx context.Context, in api.LoginAnswer) (api.Login, error) {
	var out api.Login
	if err := inClear(a.c.base); err != nil {
		return out, err
	}
	err := a.c.send(ctx, http.MethodPost, []string{"v1", "auth", "login", "finish"}, in, &out)
	return out, err
}

// BeginDeviceLogin begins a login that somebody confirms on another device.
func (a Auth) BeginDeviceLogin(ctx context.Context) (api.DeviceLogin, error) {
	var out api.DeviceLogin
	err := a.c.send(ctx, http.MethodPost, []string{"v1", "auth", "device-login"}, struct{}{}, &out)
	return out, err
}

// FinishDeviceLogin finishes it, once it is confirmed; until then the answer is Pending.
func (a Auth) FinishDeviceLogin(ctx context.Context, code string) (api.Login, error) {
	var out api.Login
	if err := inClear(a.c.base); err != nil {
		return out, err
	}
	body := struct {
		Code string `json:"code"`
	}{code}
	err := a.c.send(ctx, http.MethodPost, []string{"v1", "auth", "device-login", "finish"}, body, &out)
	return out, err
}

// EndSession ends the login whose token this client shows.
func (a Auth) EndSession(ctx context.Context) error { return a.c.remove(ctx, "auth", "session") }

// Bootstrap makes a token with the role admin by the text of a bootstrap token, which
// lies in a file on a node's host and is good once. Its text is in this answer only.
func (a Auth) Bootstrap(ctx context.Context, text string, req api.APITokenRequest) (api.APIToken, error) {
	body := struct {
		Token      string `json:"token"`
		Name       string `json:"name"`
		TTLSeconds int64  `json:"ttlSeconds"`
	}{text, req.Name, int64(req.TTL / time.Second)}
	var out api.APIToken
	if err := inClear(a.c.base); err != nil {
		return out, err
	}
	err := a.c.send(ctx, http.MethodPost, []string{"v1", "auth", "bootstrap"}, body, &out)
	return out, err
}

package guarded

import (
	"context"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/access"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/rights"
)

// ByToken returns who shows a token. It wants no right: nobody is known before it.
func (c *Control) ByToken(ctx context.Context, text, from string) (caller.Caller, error) {
	return c.behind.ByToken(ctx, text, from)
}

// BySession returns who has a session of the page. It wants no right, as ByToken.
func (c *Control) BySession(ctx context.Context, secret, from string) (caller.Caller, error) {
	return c.behind.BySession(ctx, secret, from)
}

// Self tells who asks. It wants no right: it tells of nobody else.
func (c *Control) Self(ctx context.Context) (api.Self, error) { return c.behind.Self(ctx) }

// LoginWays tells how one may log in besides by a token. Like all of a login, it wants no
// right: who asks is not known yet.
func (c *Control) LoginWays() api.LoginWays { return c.behind.LoginWays() }

// BeginLogin begins a login of the command line.
func (c *Control) BeginLogin(ctx context.Context, req api.LoginRequest) (api.LoginURL, error) {
	return c.behind.BeginLogin(ctx, req)
}

// FinishLogin finishes it: the identity provider says who it is.
func (c *Control) FinishLogin(ctx context.Context, in api.LoginAnswer) (api.Login, error) {
	return c.behind.FinishLogin(ctx, in)
}

// BeginDeviceLogin begins a login that is confirmed elsewhere.
func (c *Control) BeginDeviceLogin(ctx context.Context) (api.DeviceLogin, error) {
	return c.behind.BeginDeviceLogin(ctx)
}

// FinishDeviceLogin finishes it.
func (c *Control) FinishDeviceLogin(ctx context.Context, code string) (api.Login, error) {
	return c.behind.FinishDeviceLogin(ctx, code)
}

// EndSession ends the session by which a request comes, which wants no right.
func (c *Control) EndSession(ctx context.Context) error { return c.behind.EndSession(ctx) }

// CanStart tells what the caller may have started. It wants no right, as Self.
func (c *Control) CanStart(ctx context.Context, req api.CanIRequest) (api.CanI, error) {
	return c.behind.CanStart(ctx, req)
}

// CreateAPIToken makes a token. That its maker has all that bindings give to its name is
// decided where it is written.
func (c *Control) CreateAPIToken(ctx context.Context, req api.APITokenRequest) (api.APIToken, error) {
	if err := c.whole(ctx, rights.Grant, rights.Tokens); err != nil {
		return api.APIToken{}, err
	}
	return c.behind.CreateAPIToken(ctx, req)
}

// APITokens lists tokens, without their texts.
func (c *Control) APITokens(ctx context.Context) ([]api.APIToken, error) {
	if err := c.whole(ctx, rights.Read, rights.Tokens); err != nil {
		return nil, err
	}
	return c.behind.APITokens(ctx)
}

// RotateAPIToken gives a token another text. As with one that is made, who may is decided
// where it is written.
func (c *Control) RotateAPIToken(ctx context.Context, ref string, req api.TokenRotation) (api.APIToken, error) {
	if err := c.whole(ctx, rights.Grant, rights.Tokens); err != nil {
		return api.APIToken{}, err
	}
	return c.behind.RotateAPIToken(ctx, ref, req)
}

// RevokeAPIToken ends a token.
func (c *Control) RevokeAPIToken(ctx context.Context, ref string, o api.Order) error {
	if err := c.whole(ctx, rights.Grant, rights.Tokens); err != nil {
		return err
	}
	return c.behind.RevokeAPIToken(ctx, ref, o)
}

// Bootstrap makes an admin for who shows a bootstrap token, which is its right.
func (c *Control) Bootstrap(ctx context.Context, text string, req api.APITokenRequest) (api.APIToken, error) {
	return c.behind.Bootstrap(ctx, text, req)
}

// AccessState tells whether the cluster is open.
func (c *Control) AccessState(ctx context.Context) (api.Access, error) {
	if err := c.whole(ctx, rights.Read, rights.Cluster); err != nil {
		return api.Access{}, err
	}
	return c.behind.AccessState(ctx)
}

// SetAccess opens or closes the cluster.
func (c *Control) SetAccess(ctx context.Context, state access.State, o api.Order) (api.Access, error) {
	if err := c.whole(ctx, rights.Grant, rights.Cluster); err != nil {
		return api.Access{}, err
	}
	return c.behind.SetAccess(ctx, state, o)
}

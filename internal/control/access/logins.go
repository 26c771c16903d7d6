package access

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/apitoken"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/idp"
	"github.com/carillon-cron/carillon/internal/limit"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// callerOfUser is somebody whom the identity provider has told.
func callerOfUser(name string, u *etcdkv.SessionUser, from string) caller.Caller {
	c := caller.Caller{Name: name, Subjects: []rights.Subject{{Kind: rights.User, Name: name}}, Remote: from, Provider: u.Issuer}
	for _, g := range u.Groups {
		c.Subjects = append(c.Subjects, rights.Subject{Kind: rights.Group, Name: g})
	}
	return c
}

// errNoProvider is the answer where nobody logs in by a provider.
var errNoProvider = fmt.Errorf("this cluster has no identity provider: its nodes are told none (--oidc-issuer); log in by a token: %w", job.ErrConflict)

// LoginWays tells how one may log in besides by a token.
func (a *Authenticator) LoginWays() api.LoginWays {
	if a.provider == nil {
		return api.LoginWays{}
	}
	return api.LoginWays{Issuer: a.provider.Issuer()}
}

// PageLogin returns where a browser is sent for a login of the page. The redirect of the
// request does not count.
func (a *Authenticator) PageLogin(ctx context.Context, req api.LoginRequest) (string, error) {
	if a.provider == nil {
		return "", errNoProvider
	}
	return a.provider.AuthURL(ctx, idp.Attempt{State: req.State, Nonce: req.Nonce, Challenge: req.Challenge})
}

// secretForm is what the client of a login may choose.
var secretForm = regexp.MustCompile(`^[A-Za-z0-9_.~-]{22,128}$`)

// BeginLogin returns where a browser is sent for a login of the command line.
func (a *Authenticator) BeginLogin(ctx context.Context, req api.LoginRequest) (api.LoginURL, error) {
	if a.provider == nil {
		return api.LoginURL{}, errNoProvider
	}
	var problems []job.Problem
	if !isCommand(req.Redirect) {
		problems = append(problems, job.Problem{Path: "redirect", Message: "is not where a command listens; give http://127.0.0.1:PORT/callback"})
	}
	for _, f := range []struct{ path, text string }{{"state", req.State}, {"nonce", req.Nonce}, {"challenge", req.Challenge}} {
		if !secretForm.MatchString(f.text) {
			problems = append(problems, job.Problem{Path: f.path, Message: "is not 22 to 128 letters, digits, '-', '.', '_' and '~'"})
		}
	}
	if len(problems) > 0 {
		return api.LoginURL{}, &job.InvalidError{Problems: problems}
	}
	to, err := a.provider.AuthURL(ctx, idp.Attempt{State: req.State, Nonce: req.Nonce, Challenge: req.Challenge, Redirect: req.Redirect})
	return api.LoginURL{URL: to}, err
}

// isCommand reports whether an address is one at which a command of the same host as the
// browser listens (RFC 8252, 7.3).
func isCommand(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" || u.Path != "/callback" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return false
	}
	at, err := netip.ParseAddrPort(u.Host)
	return err == nil && at.Addr().IsLoopback() && at.Port() > 0 && u.String() == address
}

// LoginByProvider begins a session of the page by an answer of the identity provider, and
// returns what the browser is to keep of it, and until when. The error is a
// caller.RefusedError, a caller.BusyError, or says that nobody can log in now.
func (a *Authenticator) LoginByProvider(ctx context.Context, in api.LoginAnswer, from string) (secret string, until time.Time, err error) {
	in.Redirect = ""
	id, err := a.redeem(ctx, in, from)
	if err != nil {
		return "", time.Time{}, err
	}
	return a.enter(ctx, &id, false, from)
}

// FinishLogin begins a session of the command line by an answer of the identity provider.
// Errors are those of LoginByProvider.
func (a *Authenticator) FinishLogin(ctx context.Context, in api.LoginAnswer) (api.Login, error) {
	c, _ := caller.From(ctx)
	if a.provider != nil && !isCommand(in.Redirect) {
		return api.Login{}, &caller.RefusedError{Reason: "the login did not begin at a command"}
	}
	id, err := a.redeem(ctx, in, c.Remote)
	if err != nil {
		return api.Login{}, err
	}
	return a.login(ctx, &id, c.Remote)
}

// login begins a session of the command line.
func (a *Authenticator) login(ctx context.Context, id *idp.Identity, from string) (api.Login, error) {
	secret, until, err := a.enter(ctx, id, true, from)
	if err != nil {
		return api.Login{}, err
	}
	return api.Login{Token: secret, Name: id.Name, Groups: id.Groups, Issuer: id.Issuer, ExpiresAt: until}, nil
}

// redeem returns whose login an answer is of.
func (a *Authenticator) redeem(ctx context.Context, in api.LoginAnswer, from string) (idp.Identity, error) {
	return a.asked(from, func() (idp.Identity, error) {
		return a.provider.Redeem(ctx, idp.Answer{Code: in.Code, Issuer: in.Issuer, Verifier: in.Verifier, Nonce: in.Nonce, Redirect: in.Redirect})
	})
}

// asked has the provider be asked who somebody is, and counts what was in vain.
func (a *Authenticator) asked(from string, ask func() (idp.Identity, error)) (idp.Identity, error) {
	if a.provider == nil {
		return idp.Identity{}, errNoProvider
	}
	now := a.db.Now()
	if err := kept(&a.wrong, from, now); err != nil {
		return idp.Identity{}, err
	}
	id, err := ask()
	return id, a.refusal(err, from, now)
}

// refusal turns what the provider's answer is not believed for into what a caller is
// refused for, and counts it.
func (a *Authenticator) refusal(err error, from string, now time.Time) error {
	if refused := (*idp.RefusedError)(nil); errors.As(err, &refused) {
		a.wrong.Failed(limit.Address(from), now)
		a.log.Info("login refused", zap.String("from", from), zap.String("reason", refused.Reason))
		return &caller.RefusedError{Reason: refused.Reason}
	}
	return err
}

// enter begins a session of somebody whom the provider has told.
func (a *Authenticator) enter(ctx context.Context, id *idp.Identity, command bool, from string) (secret string, until time.Time, err error) {
	u := &etcdkv.SessionUser{Issuer: id.Issuer, Subject: id.Subject, Session: id.Session, Groups: id.Groups}
	c := callerOfUser(id.Name, u, from)
	secret, until, err = a.begin(ctx, etcdkv.PageSession{Name: id.Name, User: u, Command: command}, c, a.cfg.LoginLife)
	if err == nil {
		a.log.Info("login", zap.String("user", id.Name), zap.Strings("groups", id.Groups), zap.String("from", from), zap.Bool("command", command), zap.Time("until", until))
	}
	return secret, until, err
}

// BeginDeviceLogin begins a login of the command line that is confirmed on another
// device.
func (a *Authenticator) BeginDeviceLogin(ctx context.Context) (api.DeviceLogin, error) {
	if a.provider == nil {
		return api.DeviceLogin{}, errNoProvider
	}
	c, _ := caller.From(ctx)
	now := a.db.Now()
	if err := kept(&a.wrong, c.Remote, now); err != nil {
		return api.DeviceLogin{}, err
	}
	d, err := a.provider.BeginDevice(ctx)
	if err != nil {
		return api.DeviceLogin{}, a.refusal(err, c.Remote, now)
	}
	return api.DeviceLogin{
		Code: d.Code, UserCode: d.UserCode, Page: d.Page, Direct: d.Direct,
		ExpiresSeconds: int64(d.Expires / time.Second), IntervalSeconds: int64(d.Interval / time.Second),
	}, nil
}

// FinishDeviceLogin begins a session of the command line once somebody has confirmed it.
// Errors are those of LoginByProvider.
func (a *Authenticator) FinishDeviceLogin(ctx context.Context, code string) (api.Login, error) {
	c, _ := caller.From(ctx)
	id, err := a.asked(c.Remote, func() (idp.Identity, error) { return a.provider.RedeemDevice(ctx, code) })
	switch {
	case errors.Is(err, idp.ErrPending):
		return api.Login{Pending: true, Slower: errors.Is(err, idp.ErrSlower)}, nil
	case err != nil:
		return api.Login{}, err
	}
	return a.login(ctx, &id, c.Remote)
}

// mostEnds is how many sessions are ended in one transaction.
const mostEnds = 50

// LogoutByProvider ends the sessions that a logout token of the identity provider names, at
// all nodes. A token that was used is refused. Errors are those of LoginByProvider.
func (a *Authenticator) LogoutByProvider(ctx context.Context, token, from string) error {
	if a.provider == nil {
		return errNoProvider
	}
	now := a.db.Now()
	if err := kept(&a.wrong, from, now); err != nil {
		return err
	}
	told, err := a.provider.Logout(ctx, token)
	if err != nil {
		return a.refusal(err, from, now)
	}
	used := a.db.Keys.UsedLogout(apitoken.Hash(told.Issuer + "\n" + told.ID))
	kv, err := a.db.Get(ctx, "look for the logout", used)
	if err != nil {
		return err
	}
	if kv != nil {
		return a.refusal(&idp.RefusedError{Reason: "the logout token was used before"}, from, now)
	}
	ends, err := a.endsOf(caller.With(ctx, caller.Caller{Name: "identity provider", Remote: from, Provider: told.Issuer}), &told)
	if err != nil {
		return err
	}
	n := len(ends)
	for len(ends) > 0 {
		var ops []clientv3.Op
		for _, e := range ends[:min(mostEnds, len(ends))] {
			ops = append(ops, e...)
		}
		if _, err := a.db.Do(ctx, "end sessions", nil, ops); err != nil {
			return err
		}
		ends = ends[min(mostEnds, len(ends)):]
	}
	// Last, so that a token whose sessions were not all ended can be sent again.
	if err := a.use(ctx, used); err != nil {
		return err
	}
	a.log.Info("the identity provider has ended sessions", zap.String("subject", told.Subject), zap.String("session", told.Session), zap.Int("sessions", n))
	return nil
}

// use notes that a logout token was used, for as long as it could be shown again.
func (a *Authenticator) use(ctx context.Context, key string) error {
	lease, err := a.grant(ctx, idp.LogoutMemory)
	if err != nil {
		return err
	}
	text, err := etcdkv.Encode(etcdkv.UsedLogout{Schema: etcdkv.Schema, At: a.db.Now().UTC()})
	if err != nil {
		return err
	}
	_, err = a.db.Do(ctx, "note the logout", nil, []clientv3.Op{clientv3.OpPut(key, text, clientv3.WithLease(lease))})
	return err
}

// endsOf returns what ends each of the sessions that a logout names.
func (a *Authenticator) endsOf(ctx context.Context, told *idp.Logout) ([][]clientv3.Op, error) {
	var ends [][]clientv3.Op
	err := a.db.List(ctx, "list sessions", a.db.Keys.PageSessions(), func(kv *mvccpb.KeyValue) error {
		s, err := store.Decode[etcdkv.PageSession](kv)
		if err != nil || s.User == nil || !isEnded(s.User, told) {
			return nil // one that cannot be read opens nothing
		}
		record, err := a.audit.Op(a.audit.Record(ctx, "session.end", s.Name, api.Order{Reason: "the identity provider has ended it"}))
		if err != nil {
			return err
		}
		ends = append(ends, []clientv3.Op{clientv3.OpDelete(string(kv.Key)), record})
		return nil
	})
	return ends, err
}

// isEnded reports whether a logout names a session. One of which the provider told no name
// is ended with all of its person.
func isEnded(u *etcdkv.SessionUser, told *idp.Logout) bool {
	switch {
	case u.Issuer != told.Issuer, told.Subject != "" && u.Subject != told.Subject:
		return false
	case told.Session == "" || u.Session == told.Session:
		return true
	default:
		return u.Session == "" && told.Subject != ""
	}
}

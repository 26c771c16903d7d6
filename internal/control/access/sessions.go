package access

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/apitoken"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/limit"
	"github.com/carillon-cron/carillon/job"
)

const (
	// sessionLife is how long a session lasts, sessionIdle how long without a request.
	sessionLife = 12 * time.Hour
	sessionIdle = 30 * time.Minute
	// seenEvery is how often it is noted that a session is in use.
	seenEvery = time.Minute
	// sessionSecret is how many random bytes tell a session.
	sessionSecret = 32
)

// Login begins a session of the page for who shows the text of a token, and returns
// what the browser is to keep of it, and until when. Errors are those of ByToken.
func (a *Authenticator) Login(ctx context.Context, text, from string) (secret string, until time.Time, err error) {
	key, t, err := a.find(ctx, text, from)
	if err != nil {
		return "", time.Time{}, err
	}
	s := etcdkv.PageSession{Token: key, Name: t.Name}
	if secret, until, err = a.begin(ctx, s, callerOf(&t, from), sessionLife); err != nil {
		return "", time.Time{}, err
	}
	a.note(key, t.ID, from)
	return secret, until, nil
}

// begin begins a session of a caller, and returns its secret and when it ends.
func (a *Authenticator) begin(ctx context.Context, s etcdkv.PageSession, c caller.Caller, life time.Duration) (secret string, until time.Time, err error) {
	if secret, err = newSecret(s.Command); err != nil {
		return "", time.Time{}, err
	}
	key := a.db.Keys.PageSession(apitoken.Hash(secret))
	now := a.db.Now().UTC()
	until = now.Add(life)
	s.Schema, s.From, s.CreatedAt, s.SeenAt = etcdkv.Schema, c.Remote, now, now
	if s.User != nil {
		s.ExpiresAt = until
	}
	value, err := etcdkv.Encode(s)
	if err != nil {
		return "", time.Time{}, err
	}
	action := "page.login"
	if s.Command {
		action = "command.login"
	}
	record, err := a.audit.Op(a.audit.Record(caller.With(ctx, c), action, s.Name, api.Order{Reason: "from " + c.Remote}))
	if err != nil {
		return "", time.Time{}, err
	}
	// A session whose browser never comes back goes by itself.
	lease, err := a.grant(ctx, life)
	if err != nil {
		return "", time.Time{}, err
	}
	var cmps []clientv3.Cmp
	if s.Token != "" {
		cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(s.Token), ">", 0))
	}
	resp, err := a.db.Do(ctx, "begin a session", cmps, []clientv3.Op{clientv3.OpPut(key, value, clientv3.WithLease(lease)), record})
	if err != nil {
		return "", time.Time{}, err
	}
	if !resp.Succeeded {
		return "", time.Time{}, &caller.RefusedError{Reason: noSuchToken}
	}
	a.wasGood(key, true, now)
	return secret, until, nil
}

// newSecret returns what tells a session: of a command, as it is kept in a file, or of a
// browser.
func newSecret(command bool) (string, error) {
	if command {
		t, err := apitoken.NewSession()
		return t.Text(), err
	}
	b := make([]byte, sessionSecret)
	if _, err := rand.Read(b); err != nil {
		return "", fmt.Errorf("new session: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

func (a *Authenticator) grant(ctx context.Context, life time.Duration) (clientv3.LeaseID, error) {
	gctx, cancel := a.db.Bounded(ctx)
	defer cancel()
	resp, err := a.db.Client.Grant(gctx, int64(life/time.Second))
	if err != nil {
		return 0, store.Error(ctx, "begin a session", err)
	}
	return resp.ID, nil
}

// noSession says that a session is none, or no more.
const noSession = "the session has ended; log in again"

// BySession returns who a session of the page is of, from an address. The error is a
// caller.RefusedError, a caller.BusyError, or says that the cluster cannot answer now.
func (a *Authenticator) BySession(ctx context.Context, secret, from string) (caller.Caller, error) {
	b, err := base64.RawURLEncoding.DecodeString(secret)
	return a.bySession(ctx, secret, from, false, err == nil && len(b) == sessionSecret)
}

// byCommand is BySession for a login of the command line.
func (a *Authenticator) byCommand(ctx context.Context, text, from string) (caller.Caller, error) {
	_, err := apitoken.ParseSession(text)
	return a.bySession(ctx, text, from, true, err == nil)
}

func (a *Authenticator) bySession(ctx context.Context, secret, from string, command, whole bool) (caller.Caller, error) {
	now := a.db.Now()
	key := a.db.Keys.PageSession(apitoken.Hash(secret))
	refuse := func() (caller.Caller, error) {
		a.ended.Failed(limit.Address(from), now)
		a.wasGood(key, false, now)
		return caller.Caller{}, &caller.RefusedError{Reason: noSession}
	}
	// A session that was good here is looked at whatever else its address shows.
	if !a.isGood(key) {
		if err := kept(&a.ended, from, now); err != nil {
			return caller.Caller{}, err
		}
	}
	if !whole {
		return refuse()
	}
	select {
	case a.lookups <- struct{}{}:
	default:
		return caller.Caller{}, &caller.BusyError{RetryAfter: time.Second}
	}
	// Sessions are read anew each time: one that was ended is ended at all nodes.
	kv, err := a.db.Get(ctx, "look for the session", key)
	<-a.lookups
	if err != nil {
		return caller.Caller{}, err
	}
	if kv == nil {
		return refuse()
	}
	s, err := store.Decode[etcdkv.PageSession](kv)
	if err != nil {
		return caller.Caller{}, err
	}
	if s.Command != command {
		return refuse()
	}
	c, use, err := a.callerIn(ctx, key, &s, from, now)
	if err != nil {
		return caller.Caller{}, err
	}
	if !c.Known() {
		return refuse()
	}
	if now.Sub(s.SeenAt) >= seenEvery {
		s.SeenAt = now.UTC()
		value, err := etcdkv.Encode(s)
		if err != nil {
			return caller.Caller{}, err
		}
		// Who was faster has noted it, or has ended the session: the next request tells.
		same := clientv3.Compare(clientv3.ModRevision(key), "=", kv.ModRevision)
		if _, err := a.db.Do(ctx, "note the session", []clientv3.Cmp{same}, []clientv3.Op{clientv3.OpPut(key, value, clientv3.WithIgnoreLease())}); err != nil {
			return caller.Caller{}, err
		}
	}
	if use != "" {
		a.note(s.Token, use, from)
	}
	a.wasGood(key, true, now)
	return c, nil
}

// callerIn returns who a session is of, and the ID of the token that began it; nobody: it
// has ended.
func (a *Authenticator) callerIn(ctx context.Context, key string, s *etcdkv.PageSession, from string, now time.Time) (caller.Caller, string, error) {
	if !s.Command && now.Sub(s.SeenAt) >= sessionIdle {
		return caller.Caller{}, "", nil
	}
	if s.User != nil {
		// A provider that is no more this cluster's has nobody let in.
		if a.provider == nil || s.User.Issuer != a.provider.Issuer() || !now.Before(s.ExpiresAt) || now.Sub(s.CreatedAt) >= a.cfg.LoginLife {
			return caller.Caller{}, "", nil
		}
		c := callerOfUser(s.Name, s.User, from)
		c.Session, c.Until = key, s.ExpiresAt
		return c, "", nil
	}
	if now.Sub(s.CreatedAt) >= sessionLife {
		return caller.Caller{}, "", nil
	}
	t, ok, err := a.look(ctx, s.Token, from, now)
	if err != nil || !ok || !now.Before(t.ExpiresAt) {
		return caller.Caller{}, "", err
	}
	c := callerOf(&t, from)
	c.Token, c.Session, c.Until = s.Token, key, s.CreatedAt.Add(sessionLife)
	if t.ExpiresAt.Before(c.Until) {
		c.Until = t.ExpiresAt
	}
	return c, t.ID, nil
}

// isGood reports whether a session was good when it was shown here last.
func (a *Authenticator) isGood(key string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.good[key]
	return ok
}

// wasGood notes whether a session was good.
func (a *Authenticator) wasGood(key string, good bool, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !good {
		delete(a.good, key)
		return
	}
	if _, ok := a.good[key]; !ok && len(a.good) >= mostSessions {
		for other, at := range a.good {
			if now.Sub(at) >= sessionIdle {
				delete(a.good, other)
			}
		}
		if len(a.good) >= mostSessions {
			clear(a.good)
		}
	}
	a.good[key] = now
}

// Logout ends a session of the page; what the browser kept of it opens nothing any more.
func (a *Authenticator) Logout(ctx context.Context, secret string) error {
	_, err := a.db.Do(ctx, "end the session", nil, []clientv3.Op{clientv3.OpDelete(a.db.Keys.PageSession(apitoken.Hash(secret)))})
	return err
}

// EndSession ends the session by which a request comes.
func (a *Authenticator) EndSession(ctx context.Context) error {
	c, _ := caller.From(ctx)
	if c.Session == "" {
		return fmt.Errorf("you have not logged in: you are known by something else, and there is no session to end: %w", job.ErrConflict)
	}
	_, err := a.db.Do(ctx, "end the session", nil, []clientv3.Op{clientv3.OpDelete(c.Session)})
	return err
}

// Still returns nil while the caller of a context is who it was when its request came, and
// a caller.RefusedError once what it showed has ended. It is for answers that last. As a
// rule it reads no etcd.
func (a *Authenticator) Still(ctx context.Context) error {
	c, _ := caller.From(ctx)
	now := a.db.Now()
	if !c.Until.IsZero() && !now.Before(c.Until) {
		return &caller.RefusedError{Reason: "what the request showed has expired"}
	}
	if c.Token != "" {
		a.mu.Lock()
		gone := a.revoked[c.Token]
		a.mu.Unlock()
		view, _ := a.tokens.Snapshot()
		token := view[c.Token].Value
		there, err := a.there(ctx, c.Token, func() bool { return token.Schema > 0 })
		if err != nil {
			return err
		}
		switch {
		case gone || !there:
			return &caller.RefusedError{Reason: "the token was revoked, or has another text now"}
		case token.Rotated && !now.Before(token.ExpiresAt):
			return &caller.RefusedError{Reason: "the token has another text now"}
		}
	}
	if c.Session == "" {
		return nil
	}
	view, _ := a.sessions.Snapshot()
	known := view[c.Session].Value
	there, err := a.there(ctx, c.Session, func() bool { return known.Schema > 0 })
	if err != nil {
		return err
	}
	if !there || known.Schema > 0 && !known.Command && now.Sub(known.SeenAt) >= sessionIdle {
		return &caller.RefusedError{Reason: noSession}
	}
	return nil
}

// there reports whether a key is there: as a view says it, or else etcd.
func (a *Authenticator) there(ctx context.Context, key string, seen func() bool) (bool, error) {
	if seen() {
		return true, nil
	}
	kv, err := a.db.Get(ctx, "look again who asks", key)
	return kv != nil, err
}

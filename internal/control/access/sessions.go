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
	b := make([]byte, sessionSecret)
	if _, err := rand.Read(b); err != nil {
		return "", time.Time{}, fmt.Errorf("new session: %w", err)
	}
	secret = base64.RawURLEncoding.EncodeToString(b)
	now := a.db.Now().UTC()
	s := etcdkv.PageSession{Schema: etcdkv.Schema, Token: key, Name: t.Name, From: from, CreatedAt: now, SeenAt: now}
	value, err := etcdkv.Encode(s)
	if err != nil {
		return "", time.Time{}, err
	}
	c := callerOf(&t, from)
	record, err := a.audit.Op(a.audit.Record(caller.With(ctx, c), "page.login", t.Name, api.Order{Reason: "from " + from}))
	if err != nil {
		return "", time.Time{}, err
	}
	// A session whose browser never comes back goes by itself.
	lease, err := a.grant(ctx)
	if err != nil {
		return "", time.Time{}, err
	}
	there := clientv3.Compare(clientv3.CreateRevision(key), ">", 0)
	resp, err := a.db.Do(ctx, "begin a session", []clientv3.Cmp{there}, []clientv3.Op{
		clientv3.OpPut(a.db.Keys.PageSession(apitoken.Hash(secret)), value, clientv3.WithLease(lease)), record,
	})
	if err != nil {
		return "", time.Time{}, err
	}
	if !resp.Succeeded {
		return "", time.Time{}, &caller.RefusedError{Reason: noSuchToken}
	}
	a.note(key, t.ID, from)
	a.wasGood(a.db.Keys.PageSession(apitoken.Hash(secret)), true, now)
	return secret, now.Add(sessionLife), nil
}

func (a *Authenticator) grant(ctx context.Context) (clientv3.LeaseID, error) {
	gctx, cancel := a.db.Bounded(ctx)
	defer cancel()
	resp, err := a.db.Client.Grant(gctx, int64(sessionLife/time.Second))
	if err != nil {
		return 0, store.Error(ctx, "begin a session", err)
	}
	return resp.ID, nil
}

// noSession says that a session is none, or no more.
const noSession = "the session has ended; log in again"

// BySession returns who a session is of, from an address. The error is a
// caller.RefusedError, a caller.BusyError, or says that the cluster cannot answer now.
func (a *Authenticator) BySession(ctx context.Context, secret, from string) (caller.Caller, error) {
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
	if b, err := base64.RawURLEncoding.DecodeString(secret); err != nil || len(b) != sessionSecret {
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
	if now.Sub(s.CreatedAt) >= sessionLife || now.Sub(s.SeenAt) >= sessionIdle {
		return refuse()
	}
	t, ok, err := a.look(ctx, s.Token, from, now)
	if err != nil {
		return caller.Caller{}, err
	}
	if !ok || !now.Before(t.ExpiresAt) {
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
	a.note(s.Token, t.ID, from)
	a.wasGood(key, true, now)
	return callerOf(&t, from), nil
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

// Logout ends a session; what the browser kept of it opens nothing any more.
func (a *Authenticator) Logout(ctx context.Context, secret string) error {
	_, err := a.db.Do(ctx, "end the session", nil, []clientv3.Op{clientv3.OpDelete(a.db.Keys.PageSession(apitoken.Hash(secret)))})
	return err
}

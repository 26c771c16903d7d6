package access

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-cron/carillon/internal/apitoken"
	"github.com/carillon-cron/carillon/internal/control/audit"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/roles"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/idp"
	"github.com/carillon-cron/carillon/internal/limit"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

const (
	// DefaultMaxAge bounds how long a token lasts.
	DefaultMaxAge = 365 * 24 * time.Hour
	// DefaultLoginLife is how long a login by the identity provider lasts, and
	// MaxLoginLife the longest that it may.
	DefaultLoginLife = 12 * time.Hour
	MaxLoginLife     = 24 * time.Hour
)

// Config holds the settings of an Authenticator; zero values mean the defaults.
type Config struct {
	// MaxAge bounds how long a token may last. Zero: DefaultMaxAge.
	MaxAge time.Duration
	// LoginLife is how long a login by the identity provider lasts. Zero: DefaultLoginLife.
	LoginLife time.Duration
}

// Deps is what an Authenticator stands on. All but Provider must be set.
type Deps struct {
	Store *store.Store
	Audit *audit.Log
	// Grants reads who has which role.
	Grants *roles.Granter
	// Holds returns nil if the caller of a context has all that a subject has, by the
	// roles and bindings that are given.
	Holds func(ctx context.Context, by *rights.Policy, of rights.Subject) error
	// Provider tells who people are. Nil: nobody logs in by one.
	Provider *idp.Provider
	// TimeKnown reports whether the clock was held against others since the start.
	TimeKnown func() bool
	Logger    *zap.Logger
}

// Authenticator knows the credentials of the API. Use New. It may be used by many
// goroutines at once. WatchAccess must run; until it does, each credential is looked up
// in etcd, and no use of one is noted.
type Authenticator struct {
	cfg    Config
	db     *store.Store
	audit  *audit.Log
	grants *roles.Granter
	holds  func(ctx context.Context, by *rights.Policy, of rights.Subject) error
	log    *zap.Logger
	// provider is nil where nobody logs in by one.
	provider *idp.Provider
	tokens   *etcdkv.Map[etcdkv.APIToken]
	sessions *etcdkv.Map[etcdkv.PageSession]
	timed    func() bool
	// wrong are wrong credentials, by address.
	wrong limit.Attempts
	// ended are wrong sessions of the page.
	ended limit.Attempts
	// state is the cluster's; nil: not known yet.
	state atomic.Pointer[known]
	// lookups bounds how many unknown credentials are looked up at a time.
	lookups chan struct{}
	uses    chan use

	mu sync.Mutex
	// mu guards all below.

	// revoked are the keys of tokens that this node has revoked: its view may not know
	// it yet.
	revoked map[string]bool
	// noted is when the last use of a token was noted, by its ID.
	noted map[string]time.Time
	// good are the keys of sessions that were good here, and when.
	good map[string]time.Time
}

// noSuchToken says that a token is not known.
const noSuchToken = "this cluster has no such token: it was revoked, or is another cluster's"

const (
	// mostWrong is how many wrong credentials one address may show within wrongSpan
	// before no more are looked at: for the span, and each time that it goes on for
	// longer, up to wrongWait.
	mostWrong = 10
	wrongSpan = time.Minute
	wrongWait = 15 * time.Minute
	// mostEnded is mostWrong for sessions of the page, for which nobody waits longer:
	// those that have ended by themselves are shown by all pages that were left open
	// behind an address.
	mostEnded = 200
	// mostLookups is how many credentials that are not known are looked up at a time.
	mostLookups = 16
	// noteEvery is how often the use of a token is noted.
	noteEvery = time.Minute
	// mostUses bounds what waits to be noted.
	mostUses = 64
	// mostSessions bounds what is remembered of sessions.
	mostSessions = 4096
)

// New returns an Authenticator.
func New(cfg Config, deps Deps) *Authenticator {
	if cfg.MaxAge == 0 {
		cfg.MaxAge = DefaultMaxAge
	}
	if cfg.LoginLife == 0 {
		cfg.LoginLife = DefaultLoginLife
	}
	return &Authenticator{
		cfg: cfg, db: deps.Store, audit: deps.Audit, grants: deps.Grants, holds: deps.Holds, log: deps.Logger.Named("access"),
		provider: deps.Provider, timed: deps.TimeKnown,
		tokens: etcdkv.NewMap(etcdkv.Decode[etcdkv.APIToken], nil), sessions: etcdkv.NewMap(etcdkv.Decode[etcdkv.PageSession], nil),
		lookups: make(chan struct{}, mostLookups), uses: make(chan use, mostUses),
		revoked: map[string]bool{}, noted: map[string]time.Time{}, good: map[string]time.Time{},
		wrong: limit.Attempts{Most: mostWrong, Span: wrongSpan, MaxWait: wrongWait},
		ended: limit.Attempts{Most: mostEnded, Span: wrongSpan, MaxWait: wrongSpan},
	}
}

// WatchAccess keeps what is known current until ctx ends, and returns ctx's cause.
func (a *Authenticator) WatchAccess(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { a.noteUses(ctx); return nil })
	g.Go(func() error { return a.watchState(ctx) })
	g.Go(func() error { return a.tokens.Run(ctx, a.db.Client, a.db.Keys.APITokens()) })
	g.Go(func() error { return a.sessions.Run(ctx, a.db.Client, a.db.Keys.PageSessions()) })
	return g.Wait()
}

// ByToken returns who shows the text of a token, from an address. The error is a
// caller.RefusedError, a caller.BusyError, or says that the cluster cannot answer now.
//
// The text may be that of a login of the command line.
func (a *Authenticator) ByToken(ctx context.Context, text, from string) (caller.Caller, error) {
	if apitoken.IsSession(text) {
		return a.byCommand(ctx, text, from)
	}
	key, v, err := a.find(ctx, text, from)
	if err != nil {
		return caller.Caller{}, err
	}
	a.note(key, v.ID, from)
	c := callerOf(&v, from)
	c.Token, c.Until = key, v.ExpiresAt
	return c, nil
}

// kept returns an error while an address is kept out.
func kept(out *limit.Attempts, from string, now time.Time) error {
	if wait := out.Wait(limit.Address(from), now); wait > 0 {
		return &caller.BusyError{RetryAfter: wait}
	}
	return nil
}

func callerOf(t *etcdkv.APIToken, from string) caller.Caller {
	return caller.Caller{Name: "token " + t.Name, Subjects: []rights.Subject{{Kind: rights.Token, Name: t.Name}}, Remote: from}
}

// find returns the token of a text and its key, if it is good now.
func (a *Authenticator) find(ctx context.Context, text, from string) (string, etcdkv.APIToken, error) {
	now := a.db.Now()
	refuse := func(reason string) (string, etcdkv.APIToken, error) {
		a.wrong.Failed(limit.Address(from), now)
		a.log.Debug("credential refused", zap.String("from", from), zap.String("reason", reason))
		return "", etcdkv.APIToken{}, &caller.RefusedError{Reason: reason}
	}
	token, err := apitoken.Parse(text)
	if err != nil {
		if busy := kept(&a.wrong, from, now); busy != nil {
			return "", etcdkv.APIToken{}, busy
		}
		return refuse(err.Error())
	}
	key := a.db.Keys.APIToken(token.Hash())
	v, known, err := a.look(ctx, key, from, now)
	switch {
	case err != nil:
		return "", etcdkv.APIToken{}, err
	case !known:
		return refuse(noSuchToken)
	case !a.timed():
		return "", etcdkv.APIToken{}, fmt.Errorf("the node does not know yet whether its clock is right, and so whether the token has expired; ask another node, or again: %w", job.ErrUnavailable)
	case v.Rotated && !now.Before(v.ExpiresAt):
		return refuse(fmt.Sprintf("this is the former text of the token %s, which has had another since; it ended at %s", v.Name, v.ExpiresAt.UTC().Format(time.RFC3339)))
	case !now.Before(v.ExpiresAt):
		return refuse(fmt.Sprintf("the token %s expired at %s; have another made with `carillon token create`", v.Name, v.ExpiresAt.UTC().Format(time.RFC3339)))
	}
	return key, v, nil
}

// look returns the token of a key: as the view has it, or else etcd.
func (a *Authenticator) look(ctx context.Context, key, from string, now time.Time) (etcdkv.APIToken, bool, error) {
	a.mu.Lock()
	gone := a.revoked[key]
	a.mu.Unlock()
	if gone {
		return etcdkv.APIToken{}, false, nil
	}
	view, _ := a.tokens.Snapshot()
	if e, ok := view[key]; ok {
		return e.Value, true, nil
	}
	if err := kept(&a.wrong, from, now); err != nil {
		return etcdkv.APIToken{}, false, err
	}
	select {
	case a.lookups <- struct{}{}:
		defer func() { <-a.lookups }()
	default:
		return etcdkv.APIToken{}, false, &caller.BusyError{RetryAfter: time.Second}
	}
	kv, err := a.db.Get(ctx, "look for the token", key)
	if err != nil || kv == nil {
		return etcdkv.APIToken{}, false, err
	}
	v, err := store.Decode[etcdkv.APIToken](kv)
	return v, err == nil, err
}

// use is that a token was used.
type use struct {
	key, id, from string
	at            time.Time
}

// note has the use of a token be noted, unless it was a short time ago.
func (a *Authenticator) note(key, id, from string) {
	now := a.db.Now().UTC()
	a.mu.Lock()
	defer a.mu.Unlock()
	if last, ok := a.noted[id]; ok && now.Sub(last) < noteEvery {
		return
	}
	select {
	case a.uses <- use{key, id, from, now}:
		a.noted[id] = now
	default: // the next use tells it
	}
}

// noteUses writes when tokens were used.
func (a *Authenticator) noteUses(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case u := <-a.uses:
			if err := a.noteUse(ctx, u); err != nil && ctx.Err() == nil {
				a.log.Warn("the use of a token is not noted", zap.String("token", u.id), zap.Error(err))
			}
		}
	}
}

// noteUse writes that a token was used, unless it is gone.
func (a *Authenticator) noteUse(ctx context.Context, u use) error {
	text, err := etcdkv.Encode(etcdkv.APITokenUse{Schema: etcdkv.Schema, ID: u.id, At: u.at, From: u.from})
	if err != nil {
		return err
	}
	there := clientv3.Compare(clientv3.CreateRevision(u.key), ">", 0)
	_, err = a.db.Do(ctx, "note the use of the token", []clientv3.Cmp{there}, []clientv3.Op{clientv3.OpPut(a.db.Keys.APITokenUse(u.id), text)})
	return err
}

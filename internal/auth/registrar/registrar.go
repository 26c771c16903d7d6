package registrar

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/auth/authpb"
	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/sealing"
	"github.com/carillon-cron/carillon/job"
)

const (
	// callTimeout bounds one request to etcd.
	callTimeout = 5 * time.Second
	// keepHouseEvery is how often tickets, tokens and requests are looked at.
	keepHouseEvery = 10 * time.Minute
)

// Config says how a Registrar behaves. Zero values stand for the defaults.
type Config struct {
	// Node is this node's name; it must be given.
	Node job.NodeID
	// Hosts are names and addresses by which others than minions and nodes
	// reach this node; they come into its certificate. There may be none.
	Hosts []string
	// Cluster is a name for the authority's certificate, for people. It counts
	// for the first node only. Default "cluster".
	Cluster string
	// Keys are the cluster's.
	Keys etcdkv.Keys
	// MinionTTL and NodeTTL are how long certificates last. Defaults
	// auth.MinionTTL and auth.NodeTTL; at least a minute.
	MinionTTL time.Duration
	NodeTTL   time.Duration
	// MaxRequests bounds the minions that wait for an operator. Default 10,000.
	MaxRequests int
	// MaxRequestsPerAddress bounds those of one address. Default 64.
	MaxRequestsPerAddress int
}

// defaultCluster is the default of Config.Cluster.
const defaultCluster = "cluster"

func (c Config) filled() (Config, error) {
	var errs []error
	if err := job.CheckName(string(c.Node)); err != nil {
		errs = append(errs, fmt.Errorf("registrar: node: %w", err))
	}
	if c.Keys == (etcdkv.Keys{}) {
		errs = append(errs, errors.New("registrar: Keys must be given"))
	}
	if c.MinionTTL == 0 {
		c.MinionTTL = auth.MinionTTL
	}
	if c.NodeTTL == 0 {
		c.NodeTTL = auth.NodeTTL
	}
	if c.MinionTTL < time.Minute || c.NodeTTL < time.Minute {
		errs = append(errs, fmt.Errorf("registrar: certificates of minions last %s, of nodes %s; give a minute or more, or 0 for the default", c.MinionTTL, c.NodeTTL))
	}
	if c.MaxRequests == 0 {
		c.MaxRequests = 10_000
	}
	if c.MaxRequestsPerAddress <= 0 {
		c.MaxRequestsPerAddress = 64
	}
	if c.MaxRequests < 0 {
		errs = append(errs, fmt.Errorf("registrar: max requests is %d; give a positive number, or 0 for the default", c.MaxRequests))
	}
	if c.Cluster == "" {
		c.Cluster = defaultCluster
	}
	return c, errors.Join(errs...)
}

// Deps is what a Registrar works with. All but Client may be nil.
type Deps struct {
	Client *clientv3.Client
	// Seal seals the authority's key and other secrets in etcd. Nil: they are in the
	// clear.
	Seal   *sealing.Keeper
	Logger *zap.Logger
	Now    func() time.Time
	// Store tells what a host needs that is to be a node, besides its certificate.
	// Nil: the cluster's etcd is not its own, and nodes do not join by tokens.
	Store func(context.Context) (Store, error)
}

// Store is where a cluster keeps its data that keeps it itself.
type Store struct {
	// SealKey is the content of the seal key file, Endpoints are where members are
	// reached.
	SealKey   []byte
	Endpoints []string
}

// Registrar enrolls minions. Its methods may be called by many goroutines.
type Registrar struct {
	authpb.UnimplementedEnrollServer

	cfg     Config
	client  *clientv3.Client
	seal    *sealing.Keeper
	store   func(context.Context) (Store, error)
	keys    etcdkv.Keys
	log     *zap.Logger
	now     func() time.Time
	ca      *auth.Authority
	tls     *auth.ServerTLS
	revoked *revocations
	ranges  ranges
	// tokens lets one Join with a token at a time commit, so that many hosts
	// that are given the same one do not undo one another's transactions.
	tokens chan struct{}
	// requests lets a few others at a time, so that made-up tokens and names do
	// not hold up those with a good token.
	requests chan struct{}
	// lookups lets so many at a time find out whether their token is good.
	lookups chan struct{}
	waiting *waiting

	mu sync.Mutex
	// mu guards what follows.

	own     *tls.Certificate
	renewAt time.Time
}

// Open reads what the cluster has, and makes its authority and its ticket keys
// where it is the first. It returns when the revocations are known, and starts
// no goroutine. While etcd does not answer it tries again, until ctx ends.
func Open(ctx context.Context, cfg Config, deps Deps) (*Registrar, error) {
	cfg, err := cfg.filled()
	if deps.Client == nil {
		err = errors.Join(err, errors.New("registrar: Client must be given"))
	}
	if err != nil {
		return nil, err
	}
	r := &Registrar{
		cfg: cfg, client: deps.Client, seal: deps.Seal, store: deps.Store, keys: cfg.Keys, log: deps.Logger, now: deps.Now,
		tokens: make(chan struct{}, 1), requests: make(chan struct{}, 8), lookups: make(chan struct{}, 32),
	}
	if r.log == nil {
		r.log = zap.NewNop()
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.ranges, err = newRanges(); err != nil {
		return nil, err
	}
	r.revoked = newRevocations(r.keys.AuthRevocations(), r.log)
	r.waiting = newWaiting(r.keys.AuthRequests(), r.log)
	if err := patiently(ctx, func() (err error) {
		r.ca, err = r.authority(ctx)
		return err
	}); err != nil {
		return nil, fmt.Errorf("the cluster's authority: %w", err)
	}
	if r.tls, err = auth.NewServerTLS(auth.ServerConfig{
		CA: r.ca.Certificate(), Certificate: r.Certificate, Revocations: r.revoked, Now: r.now,
	}); err != nil {
		return nil, err
	}
	if err := patiently(ctx, func() error {
		known, err := r.Revoked(ctx)
		for _, v := range known {
			r.revoked.raise(v.ID, v.Before)
		}
		return err
	}); err != nil {
		return nil, fmt.Errorf("revocations: %w", err)
	}
	if err := patiently(ctx, func() error { return r.rotate(ctx) }); err != nil {
		return nil, fmt.Errorf("keys of session tickets: %w", err)
	}
	return r, nil
}

// patiently does a step of the start again while etcd does not answer, until ctx ends.
func patiently(ctx context.Context, step func() error) error {
	wait := backoff.Backoff{Least: 100 * time.Millisecond, Most: 2 * time.Second}
	for {
		err := step()
		if !errors.Is(err, job.ErrUnavailable) || !wait.Pause(ctx) {
			return err
		}
	}
}

// Run follows revocations and ticket keys, rotates these once a day, and
// removes old tokens and requests, until ctx ends; it returns nil then.
func (r *Registrar) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return etcdkv.Follow(ctx, r.client, r.keys.AuthRevocations(), r.revoked.apply) })
	g.Go(func() error { return etcdkv.Follow(ctx, r.client, r.keys.AuthTickets(), r.applyTickets) })
	g.Go(func() error { return etcdkv.Follow(ctx, r.client, r.keys.AuthRequests(), r.waiting.apply) })
	g.Go(func() error {
		tick := time.NewTicker(keepHouseEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-tick.C:
				if err := errors.Join(r.rotate(ctx), r.sweep(ctx)); err != nil {
					r.log.Warn("enrollment: housekeeping failed, trying again later", zap.Error(err))
				}
			}
		}
	})
	if err := g.Wait(); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// ServerTLS is the TLS of this node as a server, for minions and nodes.
func (r *Registrar) ServerTLS() *auth.ServerTLS { return r.tls }

// ClientTLS returns the TLS of this node as a client of other nodes. A connection
// shows which of them answers.
func (r *Registrar) ClientTLS() (*tls.Config, error) {
	return auth.ClientTLS(auth.ClientConfig{CA: r.ca.Certificate(), Certificate: r.Certificate, Afresh: true, Now: r.now})
}

// Authority returns the cluster's authority.
func (r *Registrar) Authority() *auth.Authority { return r.ca }

// Caller returns who calls a gRPC method, as TLS has verified it. A connection
// outlives the revocation of the certificate that it was opened with, and takes
// further calls: the error is auth.ErrRevoked then, and auth.ErrNoIdentity where
// the caller showed no certificate.
func (r *Registrar) Caller(ctx context.Context) (auth.Identity, error) {
	id, err := auth.FromPeer(ctx)
	if err == nil && r.revoked.Revoked(id) {
		err = fmt.Errorf("%s, issued %s: %w", id, id.IssuedAt.Format(time.RFC3339), auth.ErrRevoked)
	}
	return id, err
}

// IsRevoked reports whether a certificate was revoked, as far as this node knows.
func (r *Registrar) IsRevoked(id auth.Identity) bool { return r.revoked.Revoked(id) }

// OnRevoke has fn called when a minion was revoked, once per revocation, so
// that its sessions can be closed. A minion that has enrolled again since may
// be among them. fn must not block. It is called by Run.
func (r *Registrar) OnRevoke(fn func(job.MinionID)) { r.revoked.onRaise(fn) }

// Certificate returns this node's certificate of now, and makes a new one after
// two thirds of its life.
func (r *Registrar) Certificate() (*tls.Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if r.own != nil && now.Before(r.renewAt) {
		return r.own, nil
	}
	cert, err := r.ca.IssueNode(r.cfg.Node, r.cfg.Hosts, r.cfg.NodeTTL, now)
	if err != nil {
		return nil, err
	}
	r.own, r.renewAt = cert, now.Add(r.cfg.NodeTTL*2/3)
	return cert, nil
}

// authority reads the cluster's authority, and makes it where there is none.
func (r *Registrar) authority(ctx context.Context) (*auth.Authority, error) {
	key := r.keys.AuthCA()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	got, err := r.client.Get(ctx, key)
	if err != nil {
		return nil, etcdkv.Unavailable(err)
	}
	if len(got.Kvs) > 0 {
		return parseAuthority(r.seal, key, got.Kvs[0].Value)
	}
	mine, text, err := r.newAuthority()
	if err != nil {
		return nil, err
	}
	// Another node may start at the same time: the first one's counts.
	done, err := r.txn(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0)}, []clientv3.Op{clientv3.OpPut(key, text)}, clientv3.OpGet(key))
	if err != nil {
		return nil, etcdkv.Unavailable(err)
	}
	if done.Succeeded {
		r.log.Info("the cluster's authority was made", zap.String("caHash", auth.CAHash(mine.Certificate())))
		return mine, nil
	}
	kvs := done.Responses[0].GetResponseRange().Kvs
	if len(kvs) == 0 {
		return nil, fmt.Errorf("%s came and went: %w", key, job.ErrConflict)
	}
	return parseAuthority(r.seal, key, kvs[0].Value)
}

func parseAuthority(seal *sealing.Keeper, key string, value []byte) (*auth.Authority, error) {
	value, err := seal.Open(key, value)
	if err != nil {
		return nil, err
	}
	rec, err := etcdkv.Decode[etcdkv.Authority](key, value)
	if err != nil {
		return nil, err
	}
	return auth.ParseAuthority([]byte(rec.Certificate), []byte(rec.Key))
}

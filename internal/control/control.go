package control

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/internal/control/access"
	"github.com/carillon-cron/carillon/internal/control/apply"
	"github.com/carillon-cron/carillon/internal/control/audit"
	"github.com/carillon-cron/carillon/internal/control/backups"
	"github.com/carillon-cron/carillon/internal/control/catalog"
	"github.com/carillon-cron/carillon/internal/control/changes"
	"github.com/carillon-cron/carillon/internal/control/cluster"
	"github.com/carillon-cron/carillon/internal/control/definitions"
	"github.com/carillon-cron/carillon/internal/control/doctor"
	"github.com/carillon-cron/carillon/internal/control/enroll"
	"github.com/carillon-cron/carillon/internal/control/etcdmembers"
	"github.com/carillon-cron/carillon/internal/control/jobstore"
	"github.com/carillon-cron/carillon/internal/control/locks"
	"github.com/carillon-cron/carillon/internal/control/minions"
	"github.com/carillon-cron/carillon/internal/control/notifiers"
	"github.com/carillon-cron/carillon/internal/control/pauses"
	"github.com/carillon-cron/carillon/internal/control/plans"
	"github.com/carillon-cron/carillon/internal/control/policy"
	"github.com/carillon-cron/carillon/internal/control/queues"
	"github.com/carillon-cron/carillon/internal/control/roles"
	"github.com/carillon-cron/carillon/internal/control/runs"
	"github.com/carillon-cron/carillon/internal/control/sites"
	"github.com/carillon-cron/carillon/internal/control/starts"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/control/sweep"
	"github.com/carillon-cron/carillon/internal/control/updates"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/idp"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/internal/sealing"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// Config says who answers. Keys and Meta must be set.
type Config struct {
	// Node is the node that answers.
	Node job.NodeID
	// Version and Commit are of the build.
	Version string
	Commit  string
	// Authority is the certificate of the cluster's authority, as PEM. Empty: there
	// is none, and connections are plain.
	Authority string

	Keys etcdkv.Keys
	Meta etcdkv.Meta

	// TokenMaxAge bounds how long tokens of the API last. Zero: access.DefaultMaxAge.
	TokenMaxAge time.Duration
	// LoginLife is how long logins by Provider last. Zero: access.DefaultLoginLife.
	LoginLife time.Duration

	// Timeout bounds one request to etcd. Zero: DefaultTimeout.
	Timeout time.Duration
	// PollInterval is how often Output, when following, looks for further
	// attempts of a run. Zero: DefaultPollInterval.
	PollInterval time.Duration
}

// Defaults of Config.
const (
	DefaultTimeout      = 5 * time.Second
	DefaultPollInterval = 500 * time.Millisecond
)

// Deps is what Control stands on. Client, History, Live, Outputs and Minions
// must be set.
type Deps struct {
	Client  *clientv3.Client
	History history.Store
	Live    runs.Live
	Outputs runs.Outputs
	Minions minions.Inventory
	// MinionsRead reports whether Minions has all that etcd has had at some time
	// since the start: what it tells before that is a part of them. Nil: it has.
	MinionsRead func() bool
	// Dispatch knows what is on its way. Nil: nobody does.
	Dispatch minions.Dispatch
	// Seal seals what the cluster keeps of its own. Nil: it is in the clear.
	Seal *sealing.Keeper
	// Enrollment looks after who may connect. Nil: connections are plain.
	Enrollment enroll.Enrollment
	// Members are those of the cluster's own etcd. Nil: its etcd is not its own.
	Members etcdmembers.Members
	// TestNotifier sends a sample to a notifier's receiver. Nil: nothing is sent from here.
	TestNotifier func(context.Context, *job.Notifier) error
	// UnreadableSecrets tells which secrets that a notifier names this node cannot read. Nil:
	// it tells nothing.
	UnreadableSecrets func(*job.Notifier) []string
	// Provider tells who people are. Nil: nobody logs in by one.
	Provider *idp.Provider
	// Door tells how far the cluster looks at rights. Nil: as etcd says it; see
	// access.Authenticator.ReadState.
	Door access.Door
	// Roles are roles and bindings; WatchRights runs it. Nil: Control makes one.
	Roles *policy.View
	// Metrics takes what callers had no right to. Nil: it is not shown.
	Metrics prometheus.Registerer
	// Decode reads a manifest. Nil: manifest.Decode.
	Decode func(file string, data []byte) ([]manifest.Object, error)
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// TimeKnown reports whether the clock was held against others since the start.
	// Nil: it was.
	TimeKnown func() bool
	// Past says why nothing is planned from what etcd holds; empty: it is. Nil: etcd is
	// believed.
	Past func() string
	// Held is what the cluster is held by, if that alone is why nothing is planned. Nil: it
	// never is.
	Held func() *etcdkv.Hold
	// Logger may be nil.
	Logger *zap.Logger
}

// Recovery recovers a cluster after a restore (package recovery).
type Recovery interface {
	Recover(ctx context.Context, req api.RecoverRequest) (api.Recovery, error)
}

// Recover has a cluster go on that is held since a restore.
func (c *Control) Recover(ctx context.Context, req api.RecoverRequest) (api.Recovery, error) {
	if c.recovery == nil {
		return api.Recovery{}, fmt.Errorf("this node recovers nothing: %w", job.ErrUnavailable)
	}
	return c.recovery.Recover(ctx, req)
}

// AuditOp returns the write of the record of what somebody ordered.
func (c *Control) AuditOp(ctx context.Context, action, object string, o api.Order) (clientv3.Op, error) {
	return c.records.Op(c.records.Record(ctx, action, object, o))
}

// SetRecovery has Recover ask another room, which stands on this Control. It is called
// once, before anybody asks.
func (c *Control) SetRecovery(r Recovery) { c.recovery = r }

// Control answers what people ask of a cluster: it is all rooms at once. Use New.
type Control struct {
	cfg Config
	db  *store.Store

	*access.Authenticator
	*apply.Applier
	*audit.Journal
	*backups.Taker
	*audit.Refusals
	*catalog.Catalog
	*changes.Feed
	*cluster.Operator
	*definitions.Set
	*doctor.Checker
	*enroll.Registry
	*etcdmembers.Membership
	*jobstore.Finder
	*locks.Keeper
	*minions.Fleet
	*notifiers.Teller
	*pauses.Pauser
	*plans.Desk
	*queues.Clerk
	*roles.Granter
	*runs.Book
	*sites.Map
	*starts.Starter
	*sweep.Sweeper
	*updates.Rollout
	Standing
	roles    *policy.View
	rights   *policy.Decider
	records  *audit.Log
	recovery Recovery
}

// New returns a Control. Watch must run for Changes to report anything; the
// other methods do not need it.
func New(cfg Config, deps Deps) (*Control, error) {
	switch {
	case cfg.Keys == etcdkv.Keys{}:
		return nil, errors.New("control: Config.Keys is not set")
	case cfg.Meta.Shards <= 0:
		return nil, errors.New("control: Config.Meta has no shards")
	case deps.Client == nil || deps.History == nil || deps.Live == nil || deps.Outputs == nil || deps.Minions == nil:
		return nil, errors.New("control: Client, History, Live, Outputs and Minions must be set")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.PollInterval == 0 {
		cfg.PollInterval = DefaultPollInterval
	}
	if deps.Decode == nil {
		deps.Decode = manifest.Decode
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.TimeKnown == nil {
		deps.TimeKnown = func() bool { return true }
	}
	if deps.MinionsRead == nil {
		deps.MinionsRead = func() bool { return true }
	}
	if deps.Logger == nil {
		deps.Logger = zap.NewNop()
	}
	log := deps.Logger.Named("control")
	schedules := schedule.NewCache()
	db := store.New(store.Config{Keys: cfg.Keys, Meta: cfg.Meta, Timeout: cfg.Timeout}, store.Deps{Client: deps.Client, Seal: deps.Seal, Now: deps.Now, Logger: log})
	records := audit.New(db, log)

	c := &Control{cfg: cfg, db: db, records: records, Standing: nowhere{}}
	c.Granter = roles.New(roles.Deps{
		Store: db, Audit: records, Logger: log,
		Holds: func(ctx context.Context, by *rights.Policy, role rights.Role, namespaces []string) error {
			s, err := c.rights.Of(ctx)
			if err != nil || s.Everything() {
				return err
			}
			return s.Holds(by, role, namespaces)
		},
	})
	c.Authenticator = access.New(access.Config{MaxAge: cfg.TokenMaxAge, LoginLife: cfg.LoginLife}, access.Deps{
		Store: db, Audit: records, Grants: c.Granter, Provider: deps.Provider, TimeKnown: deps.TimeKnown, Logger: log,
		Holds: func(ctx context.Context, by *rights.Policy, of rights.Subject) error {
			s, err := c.rights.Of(ctx)
			if err != nil {
				return err
			}
			return s.HoldsAll(by, of)
		},
	})
	if deps.Door == nil {
		deps.Door = c.Authenticator
	}
	if c.roles = deps.Roles; c.roles == nil {
		c.roles = policy.NewView(deps.Client, cfg.Keys, log)
	}
	var err error
	if c.rights, err = policy.New(policy.Deps{Door: deps.Door, Policy: c.roles.Policy, Metrics: deps.Metrics, Logger: log.Named("rights")}); err != nil {
		return nil, err
	}
	c.Feed = changes.New(changes.Deps{Store: db, Logger: log})
	c.Keeper = locks.New(locks.Deps{Store: db, Audit: records, Logger: log})
	c.Operator = cluster.New(cluster.Deps{Store: db, Audit: records, Logger: log})
	c.Journal = audit.NewJournal(db, log)
	c.Taker = backups.New(backups.Deps{Store: db, Audit: records, Version: cfg.Version, Logger: log})
	c.Refusals = audit.NewRefusals(records)
	c.Fleet = minions.New(minions.Deps{
		Store: db, Audit: records, Inventory: deps.Minions, Read: deps.MinionsRead, Dispatch: deps.Dispatch, Logger: log,
	})
	c.Map = sites.New(sites.Deps{Store: db, Audit: records, Cluster: c.Operator, Minions: c.Fleet, Logger: log})
	c.Registry = enroll.New(enroll.Deps{
		Store: db, Audit: records, Minions: c.Fleet, Enrollment: deps.Enrollment, Authority: cfg.Authority,
	})
	c.Membership = etcdmembers.New(etcdmembers.Deps{Store: db, Audit: records, Members: deps.Members, Enroll: c.Registry, Logger: log})
	c.Rollout = updates.New(updates.Deps{Store: db, Audit: records, Minions: c.Fleet})
	c.Finder = jobstore.New(jobstore.Deps{Store: db, Schedules: schedules, Logger: log})
	c.Pauser = pauses.New(pauses.Deps{Store: db, Audit: records, Jobs: c.Finder, Cluster: c.Operator, Rights: c.rights, Logger: log})
	c.Teller = notifiers.New(notifiers.Deps{Store: db, Audit: records, Test: deps.TestNotifier, Logger: log})
	c.Set = definitions.New(definitions.Deps{Store: db, Audit: records, Logger: log})
	c.Book = runs.New(runs.Deps{
		Store: db, Jobs: c.Finder, History: deps.History, Live: deps.Live, Outputs: deps.Outputs, PollInterval: cfg.PollInterval, Logger: log,
	})
	c.Catalog = catalog.New(catalog.Deps{
		Store: db, Audit: records, Jobs: c.Finder, Runs: c.Book, Pauses: c.Pauser, Definitions: c.Set, History: deps.History, Logger: log,
	})
	c.Applier = apply.New(apply.Deps{
		Store: db, Audit: records, Jobs: c.Finder, Pauses: c.Pauser, Definitions: c.Set, Minions: c.Fleet,
		Roles: c.Granter, Rights: c.rights, Decode: deps.Decode, Schedules: schedules, Logger: log,
	})
	c.Starter = starts.New(starts.Deps{
		Store: db, Audit: records, Jobs: c.Finder, Cluster: c.Operator, Definitions: c.Set, Runs: c.Book, Minions: c.Fleet,
		Apply: c.Applier, Rights: c.rights, Logger: log,
	})
	c.Clerk = queues.New(queues.Deps{Store: db, Audit: records, History: deps.History, Bounds: c.ItemBounds, Takers: c.Takers, Logger: log})
	c.Desk = plans.New(plans.Deps{Store: db, Audit: records, Bounds: c.ItemBounds, Takers: c.Takers, Logger: log})
	c.Checker = doctor.New(doctor.Deps{
		Store: db, Catalog: c.Catalog, Runs: c.Book, Cluster: c.Operator, Minions: c.Fleet, Enroll: c.Registry, Etcd: c.Membership, Updates: c.Rollout, Access: c.Authenticator, Rights: c.rights, Queues: c.Clerk,
		Inventory: deps.Minions, Enrollment: deps.Enrollment, Unreadable: deps.UnreadableSecrets, Past: deps.Past, Held: deps.Held,
	})
	c.Sweeper = sweep.New(sweep.Deps{Texts: c.Set, Starts: c.Starter, Pauses: c.Pauser, Tokens: c.Authenticator, Logger: log})
	return c, nil
}

// Watch keeps what lists are made from, and tells what changes, until ctx ends.
func (c *Control) Watch(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.Feed.Watch(ctx) })
	g.Go(func() error { return c.KeepIndex(ctx) })
	return g.Wait()
}

// Rights tells what callers may do. Control itself asks only where it gives rights: who
// asks Control for all else decides before (see httpapi/guarded).
func (c *Control) Rights() *policy.Decider { return c.rights }

// WatchRights keeps what callers may do current until ctx ends.
func (c *Control) WatchRights(ctx context.Context) error { return c.roles.Run(ctx) }

// RightsKnown is closed when what callers may do has been read once.
func (c *Control) RightsKnown() <-chan struct{} { return c.roles.Synced() }

// Version tells what runs here.
func (c *Control) Version() api.Version {
	return api.Version{
		Version:   c.cfg.Version,
		Commit:    c.cfg.Commit,
		Go:        runtime.Version(),
		Node:      c.cfg.Node,
		ClusterID: c.cfg.Meta.ClusterID,
	}
}

// ForgetNode forgets a node that is gone, unless it is still a member of the cluster's own
// etcd.
func (c *Control) ForgetNode(ctx context.Context, node job.NodeID, o api.Order) error {
	if err := c.MayForget(ctx, node); err != nil {
		return err
	}
	return c.Operator.ForgetNode(ctx, node, o)
}

package scheduler

import (
	"context"
	"errors"
	"hash/maphash"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/clock"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
	"github.com/carillon-cron/carillon/scheduler/cluster"
	"github.com/carillon-cron/carillon/scheduler/fair"
	"github.com/carillon-cron/carillon/scheduler/timekeeper"
)

// Config configures an Engine. Node, Identity, Keys and Meta must be set; zero
// durations mean the defaults.
type Config struct {
	Node job.NodeID
	// Identity belongs to the data directory: a restarted node is known by it,
	// and another node of the same name is refused.
	Identity string
	Site     string
	Priority int
	// Capacity is the node's relative weight; below 1 counts as 1.
	Capacity int
	// Witness: the node holds no shard, ever.
	Witness bool
	// Labels are what groups pin and spread by, besides "node" and "site".
	Labels   map[string]string
	PeerAddr string
	APIAddr  string
	// OpenAPI: others than programs of this host reach the API.
	OpenAPI bool
	// Version and Commit are of the build.
	Version string
	Commit  string

	Keys etcdkv.Keys
	Meta etcdkv.Meta
	// LeaseTTL is how long the node's lease lives without renewal. Zero: DefaultLeaseTTL.
	LeaseTTL time.Duration
	// LookAhead is how long before its instant a fire is committed. Zero: DefaultLookAhead.
	LookAhead time.Duration
	// Tick is the shortest time between two commits of a shard. Zero: DefaultTick.
	Tick time.Duration
	// SlotFires bounds the fires of a commit; more that are due go into the next
	// one, which follows at once. Default 20,000: of about 50 bytes each they lie
	// well under etcd's request limit of 1.5 MiB.
	SlotFires int
	// CloseEvery is how long closed slots wait for company. Default 500 ms.
	CloseEvery time.Duration
	// MisfireGrace: an occurrence that is later than this is a misfire. Zero:
	// DefaultMisfireGrace.
	MisfireGrace time.Duration
	// MaxMessageExpired caps how long an order may take to its minion. Zero:
	// DefaultMaxMessageExpired.
	MaxMessageExpired time.Duration
	// ProbeEvery is how often a node tries its peers' ports. Default 200 ms.
	ProbeEvery time.Duration
	// RebalanceAfter is how long the members must be unchanged before shards
	// are moved for balance. Default 1 s.
	RebalanceAfter time.Duration
	// StalledAfter is how long the engine's loop may take to come round before the
	// node says that it is in trouble. Default 3 s.
	StalledAfter time.Duration
	// DrainTimeout bounds the handing over of all shards at the end. Default 10 s.
	DrainTimeout time.Duration

	seed maphash.Seed
}

// Defaults of Config, and of the settings of a node.
const (
	DefaultLeaseTTL          = 5 * time.Second
	DefaultLookAhead         = 300 * time.Millisecond
	DefaultTick              = 50 * time.Millisecond
	DefaultMisfireGrace      = 30 * time.Second
	DefaultMaxMessageExpired = time.Minute
)

// filled returns c with defaults in the place of zeros.
func (c Config) filled() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.LeaseTTL, DefaultLeaseTTL)
	def(&c.LookAhead, DefaultLookAhead)
	def(&c.Tick, DefaultTick)
	def(&c.CloseEvery, 500*time.Millisecond)
	def(&c.MisfireGrace, DefaultMisfireGrace)
	def(&c.MaxMessageExpired, DefaultMaxMessageExpired)
	def(&c.ProbeEvery, 200*time.Millisecond)
	def(&c.RebalanceAfter, time.Second)
	def(&c.StalledAfter, 3*time.Second)
	def(&c.DrainTimeout, 10*time.Second)
	if c.SlotFires == 0 {
		c.SlotFires = 20_000
	}
	c.Capacity = max(c.Capacity, 1)
	c.seed = maphash.MakeSeed()
	return c
}

func (c *Config) check() error {
	switch {
	case c.Node == "":
		return errors.New("scheduler: Config.Node is not set")
	case c.Identity == "":
		return errors.New("scheduler: Config.Identity is not set")
	case c.Keys == etcdkv.Keys{}:
		return errors.New("scheduler: Config.Keys is not set")
	case c.Meta.Shards <= 0:
		return errors.New("scheduler: Config.Meta has no shards")
	}
	return nil
}

// Minions is how the engine reaches minions. No method blocks; what cannot be
// delivered comes back through Engine.Reports.
type Minions interface {
	// Match returns the connected minions that the target matches, sorted.
	Match(t job.Target) []job.MinionID
	// Reach returns the same, and the minions that the target matches, and that get
	// no orders, with the reason, by one look: no minion is among both.
	Reach(t job.Target) (ready []job.MinionID, away []job.Uncontrollable)
	// Value returns a minion's value of a label or fact; empty: it has none.
	Value(m job.MinionID, key string) string
	// Connected reports whether the minion has a session with any node.
	Connected(m job.MinionID) bool
	// Absence tells whether the minion has no session with any node, and since when.
	Absence(m job.MinionID) (job.Absence, bool)
	// Absences changes whenever a minion has no session any more, or is forgotten.
	Absences() uint64
	// Revoked reports whether nothing more will be heard of the minion: its
	// certificate was revoked, and it has no session.
	Revoked(m job.MinionID) bool
	// Send orders tasks.
	Send(orders []job.Order)
	// Ask has minions report what became of tasks.
	Ask(refs []job.Ref)
	// Cancel has minions end tasks, or makes sure that they never start. The
	// minions' reports say what came of it.
	Cancel(refs []job.Ref, reason string)
	// Ack tells minions that reports are in history.
	Ack(tasks []job.TaskID)
}

// Owned is the lock of a shard that the node holds.
type Owned interface {
	// Fence returns the compare that holds as long as the ownership does.
	Fence() clientv3.Cmp
	// Token is the fencing token of the ownership.
	Token() job.Token
	// Held reports whether the ownership holds now, as far as can be known here.
	Held() bool
}

// Recorder writes run records to history. Record never blocks; done is called
// when the record is durable, or could not be made so.
type Recorder interface {
	Record(run job.Run, done func(error))
}

// Records reads run records.
type Records interface {
	Get(ctx context.Context, id job.RunID) (job.Run, error)
	// Since calls fn with each record of a job whose instant lies after another. It
	// reports whether none of those can have been dropped.
	Since(ctx context.Context, uid job.UID, after time.Time, fn func(*job.Run)) (whole bool, err error)
}

// Deps is what an Engine works with. Now, Clock, Clocks and Time may be nil; all others
// must be set.
type Deps struct {
	Client *clientv3.Client
	// Renewers are clients of one endpoint each, over which lease renewals are
	// hedged. Nil: Client.
	Renewers  []*clientv3.Client
	Cluster   *cluster.View
	Minions   Minions
	History   Recorder
	Records   Records
	Schedules *schedule.Cache
	Logger    *zap.Logger
	Metrics   prometheus.Registerer
	// Now is the wall clock. Nil: time.Now.
	Now func() time.Time
	// Clocks reads the clocks of others. Nil: there is nobody to compare with.
	Clocks timekeeper.Clocks
	// Time is the time that the engine goes by. Nil: one is made of Now and Clock.
	Time *clock.Clock
	// Clock is what leases are timed by; see lock.Deps. Nil: the system's.
	Clock func() time.Duration
	// OnLease is told of the lease of each membership, and of 0 when one ends.
	// May be nil. It must not block.
	OnLease func(clientv3.LeaseID)

	// Roles tells what bounds of what is stored come to by roles as they are now. Nil: what
	// they were.
	Roles Roles

	// Ping has a check told of a run. It must not block. Nil: none is.
	Ping func(job.PingCall)

	// Past holds etcd against what this node has seen of it. Nil: etcd is believed.
	Past Past

	// Beside, unless nil, is run for each hash shard that the node holds, beside the
	// jobs in it, until ctx ends: the lock is lost then, or is being passed on. What it
	// writes has to compare the ownership's fence.
	Beside func(ctx context.Context, id job.ShardID, own Owned)

	bestEffort *bestEffort
	load       *fair.Load
}

// Past tells whether etcd is as new as what was seen of it (package epoch). Its methods do
// not block.
type Past interface {
	// Why says why nothing may be planned from what etcd holds; empty: it may.
	Why() string
	// Lost is closed once etcd has gone back, or is another: nothing more is done then.
	Lost() <-chan struct{}
	// Fence is compared in each transaction that takes a shard.
	Fence() []clientv3.Cmp
}

// Roles are the roles that bound what may be started. Its methods do not block.
type Roles interface {
	// Version rises with each change. 0: roles have not been read yet.
	Version() uint64
	// Now returns what bounds of something in a namespace come to now.
	Now(bounds job.Bounds, namespace string) job.Bounds
}

// why says why etcd's past lets nothing be planned; empty: it does.
func (d *Deps) why() string {
	if d.Past == nil {
		return ""
	}
	return d.Past.Why()
}

// lost is closed once etcd has gone back; nil: nobody looks.
func (d *Deps) lost() <-chan struct{} {
	if d.Past == nil {
		return nil
	}
	return d.Past.Lost()
}

// fence is compared in each transaction that takes a shard.
func (d *Deps) fence() []clientv3.Cmp {
	if d.Past == nil {
		return nil
	}
	return d.Past.Fence()
}

// now returns the time in nanoseconds since the Unix epoch, by the clock of most as
// far as that is known.
func (d *Deps) now() int64 {
	switch {
	case d.Time != nil:
		return d.Time.Now()
	case d.Now != nil:
		return d.Now().UnixNano()
	}
	return time.Now().UnixNano()
}

func (d *Deps) check() error {
	switch {
	case d.Client == nil, d.Cluster == nil, d.Minions == nil, d.History == nil, d.Records == nil,
		d.Schedules == nil, d.Logger == nil, d.Metrics == nil:
		return errors.New("scheduler: a field of Deps is not set")
	}
	return nil
}

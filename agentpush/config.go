package agentpush

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/carillon-cron/carillon/agentpush/signature"
	"github.com/carillon-cron/carillon/job"
)

// Config says how a Hub behaves. Zero values stand for the defaults.
type Config struct {
	// Node is this node's name; it must be given.
	Node job.NodeID
	// SessionBase is the high part of session epochs: the etcd revision at the
	// node's start, so that epochs rise over restarts of the cluster's nodes.
	SessionBase int64
	// TopicDepth bounds the messages that wait for one minion. Default 1000.
	TopicDepth int
	// OfferMax and OfferBytes bound one offer. Defaults 256 and 200 KiB; a
	// single message that is larger travels alone.
	OfferMax   int
	OfferBytes int
	// MaxMessageExpired is how long a message may wait that names no end of its
	// own: a cancel, or an order without NotAfter. Default 60 s.
	MaxMessageExpired time.Duration
	// BeatEvery is how often minions beat; after BeatMisses of them without a
	// word the session is closed. Defaults 10 s and 3.
	BeatEvery  time.Duration
	BeatMisses int
	// StallAfter is how long a minion may take to take an offer before it counts
	// as uncontrollable. Default 30 s.
	StallAfter time.Duration
	// MaxSkew is how far a minion's clock may be off. Default 30 s.
	MaxSkew time.Duration
	// MinVersion is the oldest release of minions that get orders. Empty: any.
	MinVersion string
	// RebalanceAfter is how long a node must have had more than its share of the
	// minions before it asks some to go elsewhere. Default 30 s.
	RebalanceAfter time.Duration
	// ProbeWait is how long an old session may take to answer when another
	// process claims its minion's id. Default 2 s.
	ProbeWait time.Duration
	// PeerReconnect is the pause after a link to a peer broke. Default 500 ms.
	PeerReconnect time.Duration
	// PeerWait bounds one call to a peer and the opening of a link. Default 3 s.
	PeerWait time.Duration
	// ResendAfter is the pause before a report without a known or reachable
	// owner is tried again, and ReportRetry how long it is tried at all.
	// Defaults 300 ms and 10 s.
	ResendAfter time.Duration
	ReportRetry time.Duration
	// PresenceEvery is how long changes of presence are gathered before they
	// are written. Default 250 ms.
	PresenceEvery time.Duration
}

// The bounds that nobody needs to set.
const (
	// grace is how long after NotAfter an offer on a live session, or an order
	// at a peer, may still be answered before it is indeterminate.
	grace = 10 * time.Second
	// questionLife is how long a question waits: its asker asks again.
	questionLife = 10 * time.Second
	// sweepEvery is how often expiry, beats and waiting messages are looked at.
	sweepEvery = 200 * time.Millisecond
	// maxHops bounds how often a message is forwarded.
	maxHops = 3
	// linkDepth bounds what a link to a peer holds, per kind.
	linkDepth = 1 << 16
	// linkBatch and linkBytes bound one batch on a link; linkPace is the least
	// time between two small ones.
	linkBatch = 256
	linkBytes = 200 << 10
	linkPace  = 3 * time.Millisecond
	// linkHello is how long a peer's first word on a link is awaited.
	linkHello = time.Second
	// maxRetries bounds the reports that wait for an owner.
	maxRetries = 1 << 16
	// maxAcks bounds the acknowledgements that wait for one minion's stream.
	maxAcks = 1 << 14
	// ackBatch bounds one acknowledgement frame.
	ackBatch = 2048
	// bucketSize bounds one presence bucket.
	bucketSize = 256
	// maxMessageBytes bounds what a node receives in one piece. The largest is
	// a batch of a peer with one order whose script has job.MaxScriptBytes; what a
	// minion sends has at most agentpb.MaxFrame.
	maxMessageBytes = 1 << 20
)

func (c Config) filled() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	num := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	num(&c.TopicDepth, 1000)
	num(&c.OfferMax, 256)
	num(&c.OfferBytes, 200<<10)
	num(&c.BeatMisses, 3)
	def(&c.MaxMessageExpired, time.Minute)
	def(&c.BeatEvery, 10*time.Second)
	def(&c.StallAfter, 30*time.Second)
	def(&c.RebalanceAfter, 30*time.Second)
	def(&c.MaxSkew, 30*time.Second)
	def(&c.ProbeWait, 2*time.Second)
	def(&c.PeerReconnect, 500*time.Millisecond)
	def(&c.PeerWait, 3*time.Second)
	def(&c.ResendAfter, 300*time.Millisecond)
	def(&c.ReportRetry, 10*time.Second)
	def(&c.PresenceEvery, 250*time.Millisecond)
	return c
}

func (c *Config) check() error {
	var errs []error
	if err := job.CheckName(string(c.Node)); err != nil {
		errs = append(errs, fmt.Errorf("agentpush: node: %w", err))
	}
	for _, n := range []struct {
		name string
		v    int64
	}{
		{"topic depth", int64(c.TopicDepth)}, {"offer max", int64(c.OfferMax)}, {"offer bytes", int64(c.OfferBytes)},
		{"beat misses", int64(c.BeatMisses)}, {"max message expired time", int64(c.MaxMessageExpired)},
		{"beat every", int64(c.BeatEvery)}, {"stall after", int64(c.StallAfter)}, {"max skew", int64(c.MaxSkew)}, {"rebalance after", int64(c.RebalanceAfter)}, {"probe wait", int64(c.ProbeWait)}, {"peer reconnect", int64(c.PeerReconnect)},
		{"peer wait", int64(c.PeerWait)}, {"resend after", int64(c.ResendAfter)}, {"report retry", int64(c.ReportRetry)},
		{"presence every", int64(c.PresenceEvery)},
	} {
		if n.v < 0 {
			errs = append(errs, fmt.Errorf("agentpush: %s is %d; give a positive value, or 0 for the default", n.name, n.v))
		}
	}
	return errors.Join(errs...)
}

// Deps is what a Hub works with. Logger, Metrics and Texts may be nil; the other
// interfaces must be given.
type Deps struct {
	Logger    *zap.Logger
	Metrics   prometheus.Registerer
	Directory Directory
	Sink      Sink
	Registry  Registry
	// Caller tells who is at the other end of a stream, as the connection has
	// proven it. Nil: connections prove nothing, and everybody is whom he says
	// he is. Who may call what is decided before a method of the hub is called;
	// the hub only holds names in frames against it.
	Caller func(context.Context) (Caller, error)
	// Revoked is told of minions of which nothing more will be heard, since their
	// certificates were revoked (Hub.Revoked). It must not block. May be nil.
	Revoked func(job.MinionID)
	// Texts finds what minions ask for by its hash. Nil: they are not answered.
	Texts Texts
	// Shared answers tasks of this node's shards. Nil: none is.
	Shared Shared
	// Signer signs the orders of this node's engine. Nil: they go without a signature.
	Signer *signature.Signer
	// Signs reports whether orders are signed now. It must not block. Nil: they are.
	Signs func() bool
	// PeerDialOptions are used for connections to peers; they hold the
	// transport credentials. Empty: no transport security.
	PeerDialOptions []grpc.DialOption
	// Clock is that of the orders' HoldUntil. Nil: the time since the machine's
	// start.
	Clock func() time.Duration
	// Now is the time that the engine goes by. Nil: the wall clock's.
	Now func() time.Time
	// Seen tells how far this node has seen etcd, for minions. Nil: they are not told.
	Seen func() (cluster string, epoch, revision int64)
	// Away says why minions are to go to other servers than this cluster's nodes; empty: they
	// are not. It must not block. Nil: never.
	Away func() string
	// Witness reads the wall clock for peers. It reports false when that is not to be
	// counted. Nil: it is, always.
	Witness func() (wall int64, sure bool)
}

func (d *Deps) check() error {
	if d.Directory == nil || d.Sink == nil || d.Registry == nil {
		return errors.New("agentpush: Directory, Sink and Registry must be given")
	}
	return nil
}

// Directory tells what the cluster looks like now. Its methods are called
// often and from many goroutines, and must not block.
type Directory interface {
	// Owner returns the node that owns the shard.
	Owner(job.ShardID) (job.NodeID, bool)
	// PeerAddr returns the address at which a node serves its peers.
	PeerAddr(job.NodeID) (string, bool)
	// Servers returns the addresses of all nodes that take minions, Nodes their
	// names.
	Servers() []string
	Nodes() []job.NodeID
}

// Sink is this node's engine.
type Sink interface {
	// Reports takes what became of tasks. It must not block for long, and it
	// is called by many goroutines.
	Reports([]job.Report)
	// LiveRuns lists the runs that the engine holds open, and the shards of which
	// they are all. Empty strings select every namespace, and every name.
	LiveRuns(namespace, name string) ([]job.Run, []job.ShardID)
}

// Shared answers what tasks ask of the state that they share.
type Shared interface {
	// Do answers a request, shared.Request as JSON, of a task that was ordered under a
	// token. The answer is a shared.Answer as JSON. It may take its time.
	Do(ctx context.Context, task job.TaskID, shard job.ShardID, token job.Token, request []byte) []byte
}

// Registry writes what the cluster is to know about minions.
type Registry interface {
	// Present writes one bucket of the minions connected here, at most 256; an
	// empty list deletes it.
	Present(ctx context.Context, bucket int, minions []Present) error
	// Describe stores a minion that was first seen, or whose labels, facts or
	// version have changed.
	Describe(ctx context.Context, m job.Minion) error
}

// Present says that a minion is connected. The highest Session of a minion
// tells where it is.
type Present struct {
	ID      job.MinionID
	Session int64
	// Opened is since when it is connected; zero: it is not known.
	Opened time.Time
	// Trouble is why it gets no orders, Since since when. Empty: it does.
	Trouble string
	Since   time.Time
}

// ServerOptions are the settings of the gRPC server that a Hub is registered
// at; it must have them: the frames of minions are checked before they are
// decoded, small buffers, static windows (the bandwidth estimator answers every
// small message with a ping), bounded messages, and no connection age, which
// would cut streams that are meant to last.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ReadBufferSize(4 << 10),
		grpc.WriteBufferSize(8 << 10),
		grpc.StaticStreamWindowSize(64 << 10),
		grpc.StaticConnWindowSize(128 << 10),
		grpc.MaxConcurrentStreams(64), // a minion uses one; a peer a few
		grpc.MaxRecvMsgSize(maxMessageBytes),
		frameCodec(),
		grpc.MaxHeaderListSize(4 << 10),
		grpc.ConnectionTimeout(10 * time.Second),
		// A minion always has its session open, and a peer comes back when it has
		// something to say.
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 2 * time.Minute, Time: 45 * time.Second, Timeout: 15 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	}
}

package agentpush

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
)

var (
	errReplaced   = errors.New("replaced by a newer session of the same minion")
	errElsewhere  = errors.New("the minion has a newer session at another node")
	errSilent     = errors.New("no beat in time")
	errUnread     = errors.New("the minion asks for texts, and does not read them")
	errStopping   = errors.New("the node stops")
	errNotTheOnly = errors.New("another live process has this id")
	errRevoked    = errors.New(agentpb.Revoked)
)

// helloWait is how long a new stream may take to say hello.
const helloWait = 10 * time.Second

type minionStream = grpc.BidiStreamingServer[agentpb.FromMinion, agentpb.ToMinion]

// session is one live stream of a minion.
type session struct {
	c      *channel
	stream minionStream
	identity
	// seen is when the minion was last heard, in nanoseconds.
	seen atomic.Int64
	// heard is signaled at every frame while somebody probes.
	heard chan struct{}
	closing

	// The channel's mutex guards outgoing and word.
	outgoing
	word

	clock minionClock
	// fetches counts those that are being answered.
	fetches atomic.Int32
	texts   textRoom
	shared  shareRoom
	outputs readers
}

// identity is whose session it is. It does not change once the session is open.
type identity struct {
	instance string
	version  string
	remote   string
	epoch    int64
	opened   time.Time
}

// closing is the end of a session.
type closing struct {
	once sync.Once
	done chan struct{}
	// cause is why the session ended; it may be read once done is closed.
	cause error
}

// outgoing is what the pump sends beside offers.
type outgoing struct {
	// sending: a pump runs.
	sending bool
	control []*agentpb.ToMinion
	acks    []*agentpb.TaskID
	// told is the last word on releases that went to the minion over it.
	told *agentpb.ToMinion
	// signers are those that the minion was told of.
	signers told
}

// word is the minion's word on itself.
type word struct {
	trouble trouble
	// beats and descriptions bound how often the minion's word on itself counts;
	// untold is the newest description that has not counted yet.
	beats, descriptions allowance
	untold              *agentpb.Inventory
}

// close ends the session; only the first cause counts.
func (c *closing) close(cause error) {
	c.once.Do(func() {
		c.cause = cause
		close(c.done)
	})
}

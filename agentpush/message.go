package agentpush

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/agentpush/signature"
	"github.com/carillon-cron/carillon/job"
)

// body is what a message carries: an order, a question or a cancel.
type body interface {
	proto.Message
	GetTask() *agentpb.TaskID
	GetShard() uint32
}

// message is one thing that a minion is to be told. Its body is never changed
// once the message exists: a stream may still be writing it.
type message struct {
	body body
	// until ends its life, in nanoseconds since the Unix epoch.
	until int64
	// since is when it came to this node.
	since int64
	size  int
	hops  uint32
	// unsure: it may have reached the minion already.
	unsure bool
	// told: its end has been reported, but it is still with the other side.
	told bool
	// proof is the signature of whose word it is.
	proof signature.Proof
	// from is the link it came by, nil for this node's engine; number is its
	// number there.
	from   *inbound
	number uint64

	// linkNumber is its number on a link to a peer that answers for it.
	linkNumber uint64
	// before and after are its neighbours in a line, place its place there, and
	// heapAt that in a heap of ends.
	before, after *message
	place         int64
	heapAt        int
}

func (set *base) newMessage(b body, now int64) *message {
	m := &message{body: b, since: now, size: proto.Size(b) + 4}
	switch b := b.(type) {
	case *agentpb.Order:
		m.until = b.GetNotAfter()
		if m.until == 0 {
			m.until = now + int64(set.cfg.MaxMessageExpired)
		}
	case *agentpb.Question:
		m.until = now + int64(min(set.cfg.MaxMessageExpired, questionLife))
	default:
		m.until = now + int64(set.cfg.MaxMessageExpired)
	}
	return m
}

func (m *message) minion() job.MinionID { return job.MinionID(m.body.GetTask().GetMinion()) }

func (m *message) kind() kind {
	switch m.body.(type) {
	case *agentpb.Order:
		return anOrder
	case *agentpb.Question:
		return aQuestion
	}
	return aCancel
}

func (m *message) isOrder() bool { return m.kind() == anOrder }

func (m *message) isQuestion() bool { return m.kind() == aQuestion }

// orphaned: the peer that sent it answers for it again.
func (m *message) orphaned() bool { return m.from != nil && m.from.broken.Load() }

// ending is how a message ended on its way.
type ending struct {
	m      *message
	state  job.State
	reason string
}

// expiry is the end of a message whose time is over.
func (m *message) expiry() ending {
	if m.unsure {
		return ending{m, job.StateIndeterminate, "was offered to minion " + string(m.minion()) + ", which has not said whether it accepted the order"}
	}
	return ending{m, job.StateDeliveryTimeout, "never reached the minion: " + string(m.minion()) + " did not take it in time"}
}

// overflow is the end of a message that a newer one pushed out.
func (m *message) overflow() ending {
	if m.unsure {
		return ending{m, job.StateIndeterminate, "pushed out by newer messages for minion " + string(m.minion()) + ", which may have accepted it"}
	}
	return ending{m, job.StateDropped, "pushed out by newer orders: too many wait for minion " + string(m.minion())}
}

// endStale is how an order ends that has waited here until its owner's lease was over,
// as far as that was renewed when it was sent: the minion would only give it back.
const endStale = job.State("stale")

// stale reports whether an order is one that ends so, by the clock of the orders'
// HoldUntil. One that may have reached the minion does not: the minion knows.
func (m *message) stale(clock time.Duration) bool {
	o, ok := m.body.(*agentpb.Order)
	return ok && !m.unsure && o.GetHoldUntil() != 0 && int64(clock) > o.GetHoldUntil()
}

// staleness is the end of a stale order.
func (m *message) staleness() ending {
	return ending{m, endStale, "waited for minion " + string(m.minion()) + " until the lease of the owner that had sent it ended"}
}

// endNeedless is how a question ends whose answer is on its way already.
const endNeedless = job.State("needless")

// needless is the end of a question about what waits here.
func (m *message) needless() ending { return ending{m: m, state: endNeedless} }

// settled tells the link that a message came by that this node no longer
// answers for it.
func (m *message) settled() {
	if m.from != nil {
		m.from.settle(m.number)
	}
}

package agentpush

import (
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// inbound is a link that a peer has opened to this node.
type inbound struct {
	// broken: the peer answers again for what it sent on this link.
	broken atomic.Bool
	wake   chan struct{}

	mu sync.Mutex
	// mu guards settledNumbers: what is settled and not yet told.
	settledNumbers []uint64
}

// settle tells the peer that this node no longer answers for a message.
func (in *inbound) settle(number uint64) {
	if in.broken.Load() {
		return
	}
	in.mu.Lock()
	in.settledNumbers = append(in.settledNumbers, number)
	in.mu.Unlock()
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

type inboundStream = grpc.BidiStreamingServer[agentpb.PeerFrame, agentpb.PeerFrame]

// Link serves a peer's link.
func (p peerServer) Link(stream inboundStream) error {
	h := p.h
	if !h.enter() {
		return status.Error(codes.Unavailable, "the node stops")
	}
	defer h.running.Done()
	in := &inbound{wake: make(chan struct{}, 1)}
	done := make(chan error, 1)
	if !h.spawn(func() {
		err := h.receiveLink(stream, in)
		in.broken.Store(true)
		h.forgetOrphans()
		done <- err
	}) {
		return status.Error(codes.Unavailable, "the node stops")
	}
	// From here on the link counts as broken, whatever made it end.
	defer in.broken.Store(true)
	if err := stream.Send(&agentpb.PeerFrame{Body: &agentpb.PeerFrame_Hello{Hello: &agentpb.PeerHello{
		Node: string(h.cfg.Node), Fans: true, Clock: int64(h.deps.Clock()),
	}}}); err != nil {
		return err
	}
	for {
		select {
		case err := <-done:
			return err
		case <-h.life.Done():
			return status.Error(codes.Unavailable, "the node stops")
		case <-in.wake:
		}
		in.mu.Lock()
		numbers := in.settledNumbers
		in.settledNumbers = nil
		in.mu.Unlock()
		if len(numbers) == 0 {
			continue
		}
		f := &agentpb.PeerFrame{Body: &agentpb.PeerFrame_Batch{Batch: &agentpb.Batch{
			Settled: numbers, Clock: int64(h.deps.Clock()),
		}}}
		if err := stream.Send(f); err != nil {
			return err
		}
		pace := time.NewTimer(linkPace)
		select {
		case <-h.life.Done():
		case <-pace.C:
		}
		pace.Stop()
	}
}

// forgetOrphans drops what waits here and came by broken links (I6).
func (h *Hub) forgetOrphans() {
	for _, c := range h.allChannels() {
		c.mu.Lock()
		c.topic.forgetOrphans()
		c.mu.Unlock()
	}
}

// receiveLink takes a peer's batches until the stream ends.
func (h *Hub) receiveLink(stream inboundStream, in *inbound) error {
	f, err := stream.Recv()
	if err != nil {
		return err
	}
	from := job.NodeID(f.GetHello().GetNode())
	if from == "" {
		return status.Error(codes.InvalidArgument, "the first frame on a link must be hello, with the node's name")
	}
	if err := h.isNode(stream.Context(), from); err != nil {
		return err
	}
	for {
		f, err := stream.Recv()
		if err != nil {
			return err
		}
		if b := f.GetBatch(); b != nil {
			h.takeBatch(b, in)
		}
	}
}

func (h *Hub) takeBatch(b *agentpb.Batch, in *inbound) {
	now := h.now().UnixNano()
	msgs := make([]*message, 0, len(b.GetOrders())+len(b.GetQuestions())+len(b.GetCancels()))
	add := func(it body) {
		m := h.newMessage(it, now)
		m.from, m.number, m.hops = in, b.GetFirst()+uint64(len(msgs)), 1 //nolint:gosec // a length
		if i := len(msgs); i < len(b.GetMarks()) {
			m.unsure = b.GetMarks()[i]&1 != 0
			m.hops = b.GetMarks()[i]>>1 + 1
		}
		msgs = append(msgs, m)
	}
	for _, o := range b.GetOrders() {
		o.HoldUntil = agentpb.Translate(o.GetHoldUntil(), b.Ahead)
		add(o)
	}
	for _, f := range b.GetFans() {
		if f.GetOrder() == nil {
			continue
		}
		f.Order.HoldUntil = agentpb.Translate(f.GetOrder().GetHoldUntil(), b.Ahead)
		for _, minion := range f.GetMinions() {
			add(withMinion(f.GetOrder(), minion))
		}
	}
	for _, q := range b.GetQuestions() {
		add(q)
	}
	for _, c := range b.GetCancels() {
		add(c)
	}
	h.deliver(msgs)
	if len(b.GetAcks()) > 0 {
		h.ack(b.GetAcks(), true)
	}
	if len(b.GetReports()) > 0 {
		h.routeRelayed(b.GetReports())
	}
}

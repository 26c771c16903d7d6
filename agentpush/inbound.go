package agentpush

import (
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/agentpush/signature"
	"github.com/carillon-cron/carillon/job"
)

// inbound is a link that a peer has opened to this node.
type inbound struct {
	// broken: the peer answers again for what it sent on this link.
	broken atomic.Bool
	wake   chan struct{}
	// signers are those that the peer has told of. The receiver's.
	signers signers

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

// inbounds serves the links that peers have opened to this node.
type inbounds struct {
	*base
	life     *lifetime
	callers  *callers
	channels *channels
	router   *router
	reports  *reports
}

// serve serves a peer's link.
func (ins *inbounds) serve(stream inboundStream) error {
	if !ins.life.enter() {
		return status.Error(codes.Unavailable, "the node stops")
	}
	defer ins.life.running.Done()
	in := &inbound{wake: make(chan struct{}, 1), signers: signers{}}
	done := make(chan error, 1)
	if !ins.life.spawn(func() {
		err := ins.receive(stream, in)
		in.broken.Store(true)
		ins.forgetOrphans()
		done <- err
	}) {
		return status.Error(codes.Unavailable, "the node stops")
	}
	// From here on the link counts as broken, whatever made it end.
	defer in.broken.Store(true)
	if err := stream.Send(&agentpb.PeerFrame{Body: &agentpb.PeerFrame_Hello{Hello: &agentpb.PeerHello{
		Node: string(ins.cfg.Node), Fans: true, Clock: int64(ins.clock()),
	}}}); err != nil {
		return err
	}
	for {
		select {
		case err := <-done:
			return err
		case <-ins.life.ctx.Done():
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
			Settled: numbers, Clock: int64(ins.clock()),
		}}}
		if err := stream.Send(f); err != nil {
			return err
		}
		pace := time.NewTimer(linkPace)
		select {
		case <-ins.life.ctx.Done():
		case <-pace.C:
		}
		pace.Stop()
	}
}

// forgetOrphans drops what waits here and came by broken links (I6).
func (ins *inbounds) forgetOrphans() {
	for _, c := range ins.channels.all() {
		c.mu.Lock()
		c.topic.forgetOrphans()
		c.mu.Unlock()
	}
}

// receive takes a peer's batches until the stream ends.
func (ins *inbounds) receive(stream inboundStream, in *inbound) error {
	f, err := stream.Recv()
	if err != nil {
		return err
	}
	from := job.NodeID(f.GetHello().GetNode())
	if from == "" {
		return status.Error(codes.InvalidArgument, "the first frame on a link must be hello, with the node's name")
	}
	if err := ins.callers.isNode(stream.Context(), from); err != nil {
		return err
	}
	for {
		f, err := stream.Recv()
		if err != nil {
			return err
		}
		if b := f.GetBatch(); b != nil {
			if err := in.signers.learn(b.GetCertificates()); err != nil {
				return status.Error(codes.InvalidArgument, err.Error())
			}
			ins.take(b, in)
		}
	}
}

func (ins *inbounds) take(b *agentpb.Batch, in *inbound) {
	now := ins.now().UnixNano()
	msgs := make([]*message, 0, len(b.GetOrders())+len(b.GetQuestions())+len(b.GetCancels()))
	add := func(it body, proof signature.Proof) {
		m := ins.newMessage(it, now)
		m.from, m.number, m.hops = in, b.GetFirst()+uint64(len(msgs)), 1
		if i := len(msgs); i < len(b.GetMarks()) {
			m.unsure = b.GetMarks()[i]&1 != 0
			m.hops = b.GetMarks()[i]>>1 + 1
		}
		if m.proof = proof; proof.By() != nil {
			m.size += proofBytes
		}
		msgs = append(msgs, m)
	}
	for i, o := range b.GetOrders() {
		o.HoldUntil = agentpb.Translate(o.GetHoldUntil(), b.Ahead)
		add(o, in.signers.proof(b, i))
	}
	signed, place := in.signers.fanned(b), 0
	for _, f := range b.GetFans() {
		if f.GetOrder() == nil {
			place += len(f.GetMinions())
			continue
		}
		f.Order.HoldUntil = agentpb.Translate(f.GetOrder().GetHoldUntil(), b.Ahead)
		for _, minion := range f.GetMinions() {
			var proof signature.Proof
			if signed != nil {
				proof = signed.Proof(place)
			}
			place++
			add(withMinion(f.GetOrder(), minion), proof)
		}
	}
	behind := len(b.GetOrders())
	for i, q := range b.GetQuestions() {
		add(q, in.signers.proof(b, behind+i))
	}
	behind += len(b.GetQuestions())
	for i, c := range b.GetCancels() {
		add(c, in.signers.proof(b, behind+i))
	}
	ins.router.deliver(msgs)
	if len(b.GetAcks()) > 0 {
		ins.router.ack(b.GetAcks(), true)
	}
	if len(b.GetReports()) > 0 {
		ins.reports.relayed(b.GetReports())
	}
}

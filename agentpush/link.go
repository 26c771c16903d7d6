package agentpush

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/proto"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

var (
	errNodeGone = errors.New("the node has left the cluster")
	errNoAddr   = errors.New("the node's address is not known")
)

// link is this node's way to one peer: one stream, opened when there is
// something to say. Its goroutine runs while the stream is open or opening; a
// link that broke rests for a moment, and refuses work meanwhile.
type link struct {
	h    *Hub
	node job.NodeID
	// wake tells the goroutine that there is something to send.
	wake chan struct{}

	mu sync.Mutex
	// mu guards what follows.

	running bool
	rest    time.Time
	cancel  context.CancelCauseFunc
	queue   []*message
	reports []timedReport
	// reportBytes is the size of reports.
	reportBytes int
	acks        []*agentpb.TaskID
	// fans: the peer has said on this stream that it reads Batch.fans.
	fans bool
	// clock is what the peer has told of its clock on this stream.
	clock agentpb.Ahead
	// unsettled are the messages for which the peer answers now, by their
	// number; next numbers them.
	unsettled map[uint64]*message
	next      uint64
	// earliest is not later than the end of any unsettled message; 0: none.
	earliest int64
}

// linkTo returns the link to a peer.
func (h *Hub) linkTo(node job.NodeID) *link {
	h.mu.RLock()
	l := h.links[node]
	h.mu.RUnlock()
	if l != nil {
		return l
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if l = h.links[node]; l == nil {
		l = &link{h: h, node: node, wake: make(chan struct{}, 1), unsettled: map[uint64]*message{}}
		h.links[node] = l
	}
	return l
}

// nodeGone breaks the link to a node that has left the cluster.
func (h *Hub) nodeGone(node job.NodeID) {
	h.mu.RLock()
	l := h.links[node]
	h.mu.RUnlock()
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel != nil {
		l.cancel(errNodeGone)
	}
}

// ready starts the goroutine if it does not run. It reports false while the
// link rests. The caller holds l.mu.
func (l *link) ready() bool {
	if !l.running {
		if time.Now().Before(l.rest) {
			return false
		}
		ctx, cancel := context.WithCancelCause(l.h.life)
		if !l.h.spawn(func() { l.run(ctx, cancel) }) {
			cancel(errStopping)
			return false
		}
		l.running, l.cancel = true, cancel
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return true
}

// push queues messages and returns those that it has no room for.
func (l *link) push(msgs []*message) []*message {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(msgs), max(linkDepth-len(l.queue)-len(l.unsettled), 0))
	if n == 0 || !l.ready() {
		return msgs
	}
	l.queue = append(l.queue, msgs[:n]...)
	return msgs[n:]
}

// pushReports queues reports and returns those that it has no room for.
func (l *link) pushReports(reports []timedReport) []timedReport {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, size := 0, 0
	for n < len(reports) && len(l.reports)+n < linkDepth && l.reportBytes+size < linkReportBytes {
		size += reports[n].size()
		n++
	}
	if n == 0 || !l.ready() {
		return reports
	}
	l.reports = append(l.reports, reports[:n]...)
	l.reportBytes += size
	return reports[n:]
}

// pushAcks queues acknowledgements; those without room are lost, which the
// minion's next report makes good.
func (l *link) pushAcks(ids []*agentpb.TaskID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(ids), max(linkDepth-len(l.acks), 0))
	if n > 0 && l.ready() {
		l.acks = append(l.acks, ids[:n]...)
	}
}

// run keeps one stream until it breaks. Then everything that the peer has not
// settled is delivered anew (I6).
func (l *link) run(ctx context.Context, cancel context.CancelCauseFunc) {
	err := l.serve(ctx, cancel)
	cancel(err)
	l.mu.Lock()
	msgs, reports := l.queue, l.reports
	for _, m := range l.unsettled {
		if !m.told {
			m.unsure = true
			msgs = append(msgs, m)
		}
	}
	l.queue, l.reports, l.reportBytes, l.acks, l.earliest, l.cancel = nil, nil, 0, nil, 0, nil
	l.unsettled = map[uint64]*message{}
	l.running, l.fans, l.clock, l.rest = false, false, agentpb.Ahead{}, time.Now().Add(l.h.cfg.PeerReconnect)
	l.mu.Unlock()
	if l.h.life.Err() != nil {
		return
	}
	l.h.met.linkBreaks.Inc()
	l.h.log.Warn("link to peer broke", zap.String("peer", string(l.node)),
		zap.Int("messages", len(msgs)), zap.Int("reports", len(reports)), zap.Error(err))
	l.h.deliver(msgs)
	l.h.retries.add(reports, l.h.now().Add(l.h.cfg.ResendAfter))
}

// serve opens the stream and sends what is queued.
func (l *link) serve(ctx context.Context, cancel context.CancelCauseFunc) error {
	conn, err := l.h.connTo(l.node)
	if err != nil {
		return err
	}
	slow := time.AfterFunc(l.h.cfg.PeerWait, func() { cancel(errors.New("no connection in time")) })
	defer slow.Stop()
	stream, err := agentpb.NewPeerClient(conn).Link(ctx)
	if err != nil {
		return cause(ctx, err)
	}
	slow.Stop()
	// Another node may have come to the address.
	if err := l.h.isNode(stream.Context(), l.node); err != nil {
		return err
	}
	hello := &agentpb.PeerFrame{Body: &agentpb.PeerFrame_Hello{Hello: &agentpb.PeerHello{Node: string(l.h.cfg.Node)}}}
	if err := stream.Send(hello); err != nil {
		return cause(ctx, err)
	}
	received, answered := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(received)
		cancel(l.receive(stream, answered))
	}()
	// What is sent before the peer has told its clock has no end of a lease. One of
	// an older release may say nothing.
	patience := time.NewTimer(linkHello)
	select {
	case <-answered:
	case <-ctx.Done():
	case <-patience.C:
	}
	patience.Stop()
	err = l.send(ctx, stream)
	cancel(err)
	<-received
	return cause(ctx, err)
}

// cause prefers why ctx ended to what came of it.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return c
	}
	return err
}

type linkStream = grpc.BidiStreamingClient[agentpb.PeerFrame, agentpb.PeerFrame]

// receive takes what the peer settles. answered is closed with the first frame.
func (l *link) receive(stream linkStream, answered chan<- struct{}) error {
	for first := true; ; first = false {
		f, err := stream.Recv()
		if err != nil {
			return err
		}
		if said := f.GetHello().GetNode(); said != "" && said != string(l.node) {
			return fmt.Errorf("node %s answers where %s is expected", said, l.node)
		}
		numbers := f.GetBatch().GetSettled()
		msgs := make([]*message, 0, len(numbers))
		l.mu.Lock()
		l.fans = l.fans || f.GetHello().GetFans()
		l.clock.Heard(time.Duration(max(f.GetHello().GetClock(), f.GetBatch().GetClock())), l.h.deps.Clock())
		for _, n := range numbers {
			if m := l.unsettled[n]; m != nil {
				delete(l.unsettled, n)
				msgs = append(msgs, m)
			}
		}
		l.mu.Unlock()
		if first {
			close(answered)
		}
		for _, m := range msgs {
			l.h.settled(m)
		}
	}
}

// send writes batches. What comes within linkPace after a small batch waits
// for company.
func (l *link) send(ctx context.Context, stream linkStream) error {
	pace := time.NewTimer(0)
	defer pace.Stop()
	for {
		b, full := l.batch(l.h.now().UnixNano())
		if b == nil {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-l.wake:
				continue
			}
		}
		if err := stream.Send(&agentpb.PeerFrame{Body: &agentpb.PeerFrame_Batch{Batch: b}}); err != nil {
			return err
		}
		if full {
			continue
		}
		pace.Reset(linkPace)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-pace.C:
		}
	}
}

// batch returns what is sent next, nil if nothing, and whether it is full.
func (l *link) batch(now int64) (b *agentpb.Batch, full bool) {
	b = &agentpb.Batch{}
	var ends []ending
	l.mu.Lock()
	defer func() {
		l.mu.Unlock()
		l.h.finish(ends)
	}()
	size, n := 0, 0
	var orders, questions, cancels []*message
	units := 0
	for ; n < len(l.queue) && n < linkFan; n++ {
		m := l.queue[n]
		if m.orphaned() {
			continue
		}
		if m.until <= now {
			ends = append(ends, m.expiry())
			continue
		}
		weight := m.size
		if l.fans && len(orders) > 0 && sameFan(orders[len(orders)-1], m) {
			weight = len(m.minion()) + 2
		} else if units++; units > linkBatch {
			full = true
			break
		}
		if size > 0 && size+weight > linkBytes {
			full = true
			break
		}
		size += weight
		switch body := m.body.(type) {
		case *agentpb.Order:
			orders = append(orders, m)
		case *agentpb.Question:
			b.Questions, questions = append(b.Questions, body), append(questions, m)
		case *agentpb.Cancel:
			b.Cancels, cancels = append(b.Cancels, body), append(cancels, m)
		}
	}
	clear(l.queue[:n])
	if l.queue = l.queue[n:]; len(l.queue) == 0 {
		l.queue = nil
	}
	orders = l.fan(b, orders)
	if by, ok := l.clock.Bound(l.h.deps.Clock()); ok {
		b.Ahead = proto.Int64(int64(by))
	}
	l.number(b, append(append(orders, questions...), cancels...))

	for n = 0; n < len(l.reports) && n < linkBatch; n++ {
		r := l.reports[n].report
		s := proto.Size(r)
		if size > 0 && size+s > linkBytes {
			full = true
			break
		}
		size += s
		l.reportBytes -= l.reports[n].size()
		b.Reports = append(b.Reports, r)
	}
	if l.reports = l.reports[n:]; len(l.reports) == 0 {
		l.reports, l.reportBytes = nil, 0
	}
	n = min(len(l.acks), ackBatch)
	b.Acks = l.acks[:n:n]
	if l.acks = l.acks[n:]; len(l.acks) == 0 {
		l.acks = nil
	}
	full = full || len(l.queue)+len(l.reports)+len(l.acks) > 0
	if len(b.Orders)+len(b.Fans)+len(b.Questions)+len(b.Cancels)+len(b.Reports)+len(b.Acks) == 0 && !full {
		return nil, false
	}
	return b, full
}

// number gives the batch's messages their numbers and marks. The caller holds
// l.mu.
func (l *link) number(b *agentpb.Batch, msgs []*message) {
	b.First = l.next + 1
	marked := false
	for _, m := range msgs {
		l.next++
		l.unsettled[l.next] = m
		if l.earliest == 0 || m.until < l.earliest {
			l.earliest = m.until
		}
		mark := m.hops << 1
		if m.unsure {
			mark |= 1
		}
		marked = marked || mark != 0
		b.Marks = append(b.Marks, mark)
	}
	if !marked {
		b.Marks = nil
	}
}

// overdue ends the orders that the peer should have settled long ago.
func (l *link) overdue(now int64) []ending {
	l.mu.Lock()
	defer l.mu.Unlock()
	const late = int64(2 * grace)
	if l.earliest == 0 || now < l.earliest+late {
		return nil
	}
	l.earliest = 0
	var ends []ending
	for n, m := range l.unsettled {
		switch {
		case m.until+late > now:
			if l.earliest == 0 || m.until < l.earliest {
				l.earliest = m.until
			}
		case m.orphaned():
			delete(l.unsettled, n)
		default:
			delete(l.unsettled, n)
			ends = append(ends, ending{m, job.StateIndeterminate, fmt.Sprintf(
				"was forwarded to node %s, which has not said whether minion %s accepted it", l.node, m.minion())})
		}
	}
	return ends
}

// connTo returns the connection to a peer, and makes it if need be.
func (h *Hub) connTo(node job.NodeID) (*grpc.ClientConn, error) {
	addr, ok := h.deps.Directory.PeerAddr(node)
	if !ok || addr == "" {
		return nil, fmt.Errorf("peer %s: %w", node, errNoAddr)
	}
	return h.conn(addr)
}

func (h *Hub) conn(addr string) (*grpc.ClientConn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.conns[addr]; c != nil {
		return c, nil
	}
	if h.life.Err() != nil {
		return nil, errStopping
	}
	opts := []grpc.DialOption{
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 2 * time.Second,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second, PermitWithoutStream: true}),
		grpc.WithStaticStreamWindowSize(1 << 20),
		grpc.WithStaticConnWindowSize(2 << 20),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
	}
	if len(h.deps.PeerDialOptions) == 0 {
		opts = append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))
	}
	c, err := grpc.NewClient("passthrough:///"+addr, append(opts, h.deps.PeerDialOptions...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to peer at %s: %w", addr, err)
	}
	h.conns[addr] = c
	return c, nil
}

package agentpush

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
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
	of   *links
	node job.NodeID
	// wake tells the goroutine that there is something to send.
	wake chan struct{}

	mu sync.Mutex
	// mu guards what follows.

	running bool
	rest    time.Time
	cancel  context.CancelCauseFunc
	toPeer
	peerWord
	unsettled unsettled
}

// toPeer is what waits to be sent to a peer.
type toPeer struct {
	queue   []*message
	reports []timedReport
	// reportBytes is the size of reports.
	reportBytes int
	acks        []*agentpb.TaskID
}

// peerWord is what the peer has said of itself on the present stream.
type peerWord struct {
	// fans: it reads Batch.fans.
	fans bool
	// clock is what it has told of its clock.
	clock agentpb.Ahead
	// told are the signers that it was told of.
	told told
}

// unsettled are the messages for which the peer answers now. To settle one, or to
// find those that are overdue, costs the same for 1 and for 100,000 of them, but
// for the depth of a heap.
type unsettled struct {
	byNumber map[uint64]*message
	// ends are the same, by the end of their lives.
	ends byEnd
	// last numbers them.
	last uint64
}

// add numbers a message.
func (u *unsettled) add(m *message) {
	u.last++
	if u.byNumber == nil {
		u.byNumber = map[uint64]*message{}
	}
	m.linkNumber = u.last
	u.byNumber[u.last] = m
	u.ends.add(m)
}

// settle removes a message by its number, and returns it; nil: there is none.
func (u *unsettled) settle(n uint64) *message {
	m := u.byNumber[n]
	if m != nil {
		delete(u.byNumber, n)
		u.ends.remove(m)
	}
	return m
}

// over removes and returns a message whose life has ended by a time, nil if there
// is none.
func (u *unsettled) over(at int64) *message {
	m := u.ends.over(at)
	if m != nil {
		u.settle(m.linkNumber)
	}
	return m
}

// all removes and returns all messages.
func (u *unsettled) all() []*message {
	msgs := u.ends
	u.byNumber, u.ends = nil, nil
	return msgs
}

// ready starts the goroutine if it does not run. It reports false while the
// link rests. The caller holds l.mu.
func (l *link) ready() bool {
	if !l.running {
		if time.Now().Before(l.rest) {
			return false
		}
		ctx, cancel := context.WithCancelCause(l.of.life.ctx)
		if !l.of.life.spawn(func() { l.run(ctx, cancel) }) {
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
	n := min(len(msgs), max(linkDepth-len(l.queue)-len(l.unsettled.ends), 0))
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
	for _, m := range l.unsettled.all() {
		if !m.told {
			m.unsure = true
			msgs = append(msgs, m)
		}
	}
	l.toPeer, l.peerWord, l.cancel = toPeer{}, peerWord{}, nil
	l.running, l.rest = false, time.Now().Add(l.of.cfg.PeerReconnect)
	l.mu.Unlock()
	if l.of.life.ctx.Err() != nil {
		return
	}
	l.of.met.linkBreaks.Inc()
	l.of.log.Warn("link to peer broke", zap.String("peer", string(l.node)),
		zap.Int("messages", len(msgs)), zap.Int("reports", len(reports)), zap.Error(err))
	l.of.deliver(msgs)
	l.of.retries.add(reports, l.of.now().Add(l.of.cfg.ResendAfter))
}

// serve opens the stream and sends what is queued.
func (l *link) serve(ctx context.Context, cancel context.CancelCauseFunc) error {
	conn, err := l.of.peers.connTo(l.node)
	if err != nil {
		return err
	}
	slow := time.AfterFunc(l.of.cfg.PeerWait, func() { cancel(errors.New("no connection in time")) })
	defer slow.Stop()
	stream, err := agentpb.NewPeerClient(conn).Link(ctx)
	if err != nil {
		return cause(ctx, err)
	}
	slow.Stop()
	// Another node may have come to the address.
	if err := l.of.callers.isNode(stream.Context(), l.node); err != nil {
		return err
	}
	hello := &agentpb.PeerFrame{Body: &agentpb.PeerFrame_Hello{Hello: &agentpb.PeerHello{Node: string(l.of.cfg.Node)}}}
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
		l.clock.Heard(time.Duration(max(f.GetHello().GetClock(), f.GetBatch().GetClock())), l.of.clock())
		for _, n := range numbers {
			if m := l.unsettled.settle(n); m != nil {
				msgs = append(msgs, m)
			}
		}
		l.mu.Unlock()
		if first {
			close(answered)
		}
		for _, m := range msgs {
			m.settled()
		}
	}
}

// send writes batches. What comes within linkPace after a small batch waits
// for company.
func (l *link) send(ctx context.Context, stream linkStream) error {
	pace := time.NewTimer(0)
	defer pace.Stop()
	for {
		b, full := l.batch(l.of.now().UnixNano())
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
		l.of.finish(ends)
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
	b.Signatures, b.Certificates = l.told.signatures(slices.Concat(orders[:len(b.GetOrders())], questions, cancels))
	l.of.signing.signFans(b, &l.told)
	if by, ok := l.clock.Bound(l.of.clock()); ok {
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
	b.First = l.unsettled.last + 1
	marked := false
	for _, m := range msgs {
		l.unsettled.add(m)
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
	var ends []ending
	for m := l.unsettled.over(now - int64(2*grace)); m != nil; m = l.unsettled.over(now - int64(2*grace)) {
		if !m.orphaned() {
			ends = append(ends, ending{m, job.StateIndeterminate, fmt.Sprintf(
				"was forwarded to node %s, which has not said whether minion %s accepted it", l.node, m.minion())})
		}
	}
	return ends
}

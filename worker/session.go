package worker

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
)

const (
	backoffMin = 200 * time.Millisecond
	backoffMax = 10 * time.Second
	// welcomeWait is how long a node may take to accept a session.
	welcomeWait = 10 * time.Second
	// shortSession: one that ends sooner counts as a failed try.
	shortSession = 2 * time.Second
	// defaultBeat is used when a node does not say how often it wants beats.
	defaultBeat = 10 * time.Second
	// maxReaders bounds how many outputs one session reads at a time.
	maxReaders = 16
)

var errDrained = errors.New("the node asked to connect elsewhere")

// errNoSession is wrapped by what went wrong before a node's welcome.
var errNoSession = errors.New("not accepted")

type stream = grpc.BidiStreamingClient[agentpb.FromMinion, agentpb.ToMinion]

// session is one stream to a node.
type session struct {
	of     *connection
	stream stream
	beat   time.Duration
	// chunks carries output to the sender; it holds little, so that reports
	// do not wait behind output.
	chunks chan *agentpb.OutputChunk
	// shared carries requests of tasks for what they share. done is closed when the stream
	// has ended.
	shared chan *agentpb.Shared
	done   <-chan struct{}
	// drain ends the session in its good time.
	drain chan time.Duration
	// edition is that of the inventory that the node was told. The sender's.
	edition uint64

	readers sync.WaitGroup
	mu      sync.Mutex
	// mu guards readings: outputs that are being read, by request id.
	readings map[uint64]*reading
}

// run sends and receives until the stream ends, or ctx is done and the
// farewell is over.
func (s *session) run(ctx, sctx context.Context, cancel context.CancelCauseFunc, servers *serverList) error {
	var wg sync.WaitGroup
	wg.Go(func() {
		err := s.receive(sctx, servers)
		cancel(err)
	})
	err := s.send(ctx, sctx)
	if err == nil {
		_ = s.stream.CloseSend()
		// Acknowledgements of what was sent last are welcome.
		t := time.AfterFunc(farewell/3, func() { cancel(errDrained) })
		wg.Wait()
		t.Stop()
		cancel(errDrained)
		s.readers.Wait()
		return errDrained
	}
	cancel(err)
	wg.Wait()
	s.readers.Wait()
	return context.Cause(sctx)
}

// send is the only place that sends. It returns nil when the session is to be
// closed in good order, because of a drain or because the minion stops.
func (s *session) send(ctx, sctx context.Context) error {
	beat := time.NewTicker(s.beat)
	defer beat.Stop()
	stop := ctx.Done()
	var leave, giveUp <-chan time.Time
	// At once, so that the node can compare the clocks.
	if err := s.stream.Send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Beat{Beat: s.of.beat()}}); err != nil {
		return err
	}
	for {
		if err := s.flush(); err != nil {
			return err
		}
		select {
		case <-sctx.Done():
			return context.Cause(sctx)
		case <-s.of.tasks.out.wake:
		case c := <-s.chunks:
			if err := s.stream.Send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Output{Output: c}}); err != nil {
				return err
			}
		case r := <-s.shared:
			if err := s.stream.Send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Shared{Shared: r}}); err != nil {
				return err
			}
		case <-beat.C:
			if err := s.stream.Send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Beat{Beat: s.of.beat()}}); err != nil {
				return err
			}
		case within := <-s.drain:
			leave = time.After(rand.N(max(within, time.Millisecond)))
		case <-leave:
			return nil
		case <-stop:
			stop = nil
			leave = s.whenAcked(sctx)
			giveUp = time.After(farewell)
		case <-giveUp:
			return nil
		}
	}
}

// whenAcked returns a channel that fires once no final report waits for its
// acknowledgement, and no handler is about to end.
func (s *session) whenAcked(sctx context.Context) <-chan time.Time {
	ch := make(chan time.Time, 1)
	s.readers.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for end := time.Now().Add(farewell); time.Now().Before(end) && s.of.unsaid(); {
			select {
			case <-sctx.Done():
				return
			case <-tick.C:
			}
		}
		ch <- time.Now()
	})
	return ch
}

// flush sends the outbox.
func (s *session) flush() error {
	if err := s.tellInventory(); err != nil {
		return err
	}
	if err := s.tellFetch(); err != nil {
		return err
	}
	for {
		s.of.tasks.mu.Lock()
		msgs := s.of.tasks.out.next(s.of.tasks.journal.taskTable, s.of.cfg.ID, time.Now())
		s.of.tasks.mu.Unlock()
		if len(msgs) == 0 {
			return nil
		}
		for _, msg := range msgs {
			if err := s.stream.Send(msg); err != nil {
				return err
			}
			if msg.GetTaken() != nil {
				s.of.crash("taken")
			} else {
				s.of.crash("reported")
			}
		}
	}
}

// receive deals with what the node sends, until the stream ends.
func (s *session) receive(sctx context.Context, servers *serverList) error {
	for {
		msg, err := s.stream.Recv()
		if err != nil {
			return err
		}
		switch b := msg.GetBody().(type) {
		case *agentpb.ToMinion_Offer:
			s.of.admission.admit(b.Offer)
		case *agentpb.ToMinion_Text:
			s.of.execution.arrived(b.Text)
		case *agentpb.ToMinion_Shared:
			s.of.sharing.answered(b.Shared)
		case *agentpb.ToMinion_Ack:
			s.of.reporting.acked(b.Ack)
			s.of.crash("acked")
		case *agentpb.ToMinion_Output:
			s.readOutput(sctx, b.Output)
		case *agentpb.ToMinion_OutputCancel:
			s.mu.Lock()
			if r := s.readings[b.OutputCancel.GetId()]; r != nil {
				r.cancel()
			}
			s.mu.Unlock()
		case *agentpb.ToMinion_OutputMore:
			s.mu.Lock()
			if r := s.readings[b.OutputMore.GetId()]; r != nil {
				r.add(b.OutputMore.GetTaken())
			}
			s.mu.Unlock()
		case *agentpb.ToMinion_Update:
			if s.of.deps.Update != nil {
				s.of.deps.Update(b.Update.GetRelease(), b.Update.GetSigned())
			}
		case *agentpb.ToMinion_Drain:
			servers.learn(b.Drain.GetServers())
			select {
			case s.drain <- time.Duration(b.Drain.GetWithin()):
			default:
			}
		}
	}
}

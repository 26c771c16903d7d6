package agentpush

import (
	"context"
	"sync"

	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/handler/shared"
	"github.com/carillon-cron/carillon/job"
)

// shareLink asks a peer for tasks whose shards it owns: one stream for all that is under way,
// opened when there is something to ask. When it breaks, what is under way is told so.
type shareLink struct {
	of   *shares
	node job.NodeID

	mu sync.Mutex
	// mu guards what follows; sending is one request at a time.
	stream *shareStream
}

// shareStream is a stream that is open.
type shareStream struct {
	grpc.BidiStreamingClient[agentpb.Shared, agentpb.SharedAnswer]
	cancel context.CancelFunc

	sending sync.Mutex

	mu sync.Mutex
	// mu guards what follows. Each channel has one place.
	last   uint64
	waits  map[uint64]chan []byte
	broken bool
}

// open returns the stream, and opens one if there is none.
func (l *shareLink) open() (*shareStream, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stream != nil {
		return l.stream, nil
	}
	conn, err := l.of.peers.connTo(l.node)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(l.of.life.ctx)
	st, err := agentpb.NewPeerClient(conn).Share(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	s := &shareStream{BidiStreamingClient: st, cancel: cancel, waits: map[uint64]chan []byte{}}
	if !l.of.life.spawn(func() { l.read(s) }) {
		cancel()
		return nil, errStopping
	}
	l.stream = s
	return s, nil
}

// read hands answers to who waits for them, until the stream ends.
func (l *shareLink) read(s *shareStream) {
	defer s.cancel()
	for {
		a, err := s.Recv()
		if err != nil {
			l.of.log.Debug("a peer does not answer tasks any more", zap.String("node", string(l.node)), zap.Error(err))
			break
		}
		s.mu.Lock()
		wait := s.waits[a.GetId()]
		delete(s.waits, a.GetId())
		s.mu.Unlock()
		if wait != nil {
			wait <- a.GetAnswer()
		}
	}
	l.mu.Lock()
	if l.stream == s {
		l.stream = nil
	}
	l.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = true
	for id, wait := range s.waits {
		delete(s.waits, id)
		close(wait)
	}
}

// add numbers a request; false: the stream has ended.
func (s *shareStream) add() (uint64, chan []byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return 0, nil, false
	}
	s.last++
	wait := make(chan []byte, 1)
	s.waits[s.last] = wait
	return s.last, wait, true
}

func (s *shareStream) forget(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waits, id)
}

// ask has the peer answer a request.
func (l *shareLink) ask(ctx context.Context, r *agentpb.Shared) []byte {
	s, err := l.open()
	if err != nil {
		return notNow("the run's node, " + string(l.node) + ", cannot be reached: " + err.Error())
	}
	id, wait, ok := s.add()
	if !ok {
		return notNow("the connection to the run's node, " + string(l.node) + ", has just ended")
	}
	defer s.forget(id)
	s.sending.Lock()
	err = s.Send(&agentpb.Shared{
		Id: id, Task: r.GetTask(), Shard: r.GetShard(), TokenEpoch: r.GetTokenEpoch(), TokenRevision: r.GetTokenRevision(), Request: r.GetRequest(),
	})
	s.sending.Unlock()
	if err != nil {
		return notNow("the run's node, " + string(l.node) + ", cannot be reached")
	}
	select {
	case text, ok := <-wait:
		if ok {
			return text
		}
	case <-ctx.Done():
	}
	return encoded(shared.Answer{Code: shared.CodeUnsure, Reason: "the connection to the run's node, " + string(l.node) + ", ended before it answered"})
}

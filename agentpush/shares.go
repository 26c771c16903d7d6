package agentpush

import (
	"context"
	"encoding/json"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/handler/shared"
	"github.com/carillon-cron/carillon/job"
)

// shares brings what tasks ask of the state that they share to the nodes that own their
// shards, and the answers back. A session says for whom it asks: its own minion's tasks
// only.
type shares struct {
	*base
	life  *lifetime
	pumps *pumps
	peers *peers
	// serves answers for this node's shards. Nil: nobody does.
	serves Shared
	// budget is what answers of all sessions take.
	budget *budget

	mu sync.Mutex
	// mu guards byNode.
	byNode map[job.NodeID]*shareLink
}

// peerShares bounds the requests of one peer that are answered at a time. Those of a
// minion are bounded by agentpb.MaxShared.
const peerShares = 16 << 10

// shareRoom is what a session's answers take that wait for its stream, and how many
// requests it has open.
type shareRoom struct {
	mu sync.Mutex
	// mu guards what follows.
	open, held int
	gone       bool
}

// begin counts a request, unless there are too many.
func (r *shareRoom) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone || r.open >= agentpb.MaxShared {
		return false
	}
	r.open++
	return true
}

// hold counts an answer of n bytes, if there is room for it.
func (r *shareRoom) hold(n int, all *budget) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone || r.held+n > sessionSharedBytes || !all.take(n) {
		return false
	}
	r.held += n
	return true
}

// sent lets go of a request whose answer of n bytes has been sent.
func (r *shareRoom) sent(n int, all *budget) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return // drop has let go of it
	}
	r.open--
	if n > 0 {
		r.held -= n
		all.give(n)
	}
}

// drop lets go of all when the session has ended; it may be called again.
func (r *shareRoom) drop(all *budget) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.gone {
		r.gone = true
		all.give(r.held)
	}
}

// smallAnswer is an answer that is not held against the room: there are as few of them as
// requests.
const smallAnswer = 1 << 10

// weight is what an answer counts in its room.
func weightOfAnswer(a *agentpb.SharedAnswer) int {
	if n := len(a.GetAnswer()); n > smallAnswer {
		return n
	}
	return 0
}

// asked answers a minion's task. A minion that asks for more than it may has what is too
// much not answered.
func (sh *shares) asked(s *session, r *agentpb.Shared) {
	if r.GetTask() == nil || !s.shared.begin() {
		sh.met.illegal.Inc()
		return
	}
	r.Task.Minion = string(s.c.id) // I9
	if !sh.life.spawn(func() {
		ctx, cancel := context.WithCancel(s.stream.Context())
		defer cancel()
		defer context.AfterFunc(sh.life.ctx, cancel)()
		sh.tell(s, &agentpb.SharedAnswer{Id: r.GetId(), Answer: sh.route(ctx, r)})
	}) {
		s.shared.sent(0, sh.budget)
	}
}

// tell has an answer sent.
func (sh *shares) tell(s *session, a *agentpb.SharedAnswer) {
	if n := weightOfAnswer(a); n > 0 && !s.shared.hold(n, sh.budget) {
		a.Answer = encoded(shared.Answer{Code: shared.CodeFull, Reason: "the minion does not read its answers"})
	}
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.c.session != s {
		return // what it holds goes with it
	}
	s.control = append(s.control, &agentpb.ToMinion{Body: &agentpb.ToMinion_Shared{Shared: a}})
	sh.pumps.kick(s.c)
}

// sent notes that an answer has been sent.
func (sh *shares) sent(s *session, a *agentpb.SharedAnswer) {
	s.shared.sent(weightOfAnswer(a), sh.budget)
}

func encoded(a shared.Answer) []byte {
	text, err := json.Marshal(a)
	if err != nil { // it is made of texts and numbers
		return nil
	}
	return text
}

func notNow(why string) []byte {
	return encoded(shared.Answer{Code: shared.CodeUnavailable, Reason: why})
}

// route has a request answered where the owner of its shard is.
func (sh *shares) route(ctx context.Context, r *agentpb.Shared) []byte {
	switch owner, ok := sh.directory.Owner(job.ShardID(r.GetShard())); {
	case !ok:
		return notNow("the run's shard has no owner now")
	case owner == sh.cfg.Node:
		return sh.here(ctx, r)
	default:
		return sh.to(owner).ask(ctx, r)
	}
}

// here answers for this node's shards.
func (sh *shares) here(ctx context.Context, r *agentpb.Shared) []byte {
	if sh.serves == nil {
		return encoded(shared.Refusef("this node has tasks share nothing"))
	}
	task, err := agentpb.ToTask(r.GetTask(), "")
	if err != nil {
		return encoded(shared.Refusef("the task: %v", err))
	}
	return sh.serves.Do(ctx, task, job.ShardID(r.GetShard()), job.Token{Epoch: r.GetTokenEpoch(), Revision: r.GetTokenRevision()}, r.GetRequest())
}

// to returns the link by which a peer is asked.
func (sh *shares) to(node job.NodeID) *shareLink {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	l := sh.byNode[node]
	if l == nil {
		l = &shareLink{of: sh, node: node}
		sh.byNode[node] = l
	}
	return l
}

type sharesStream = grpc.BidiStreamingServer[agentpb.Shared, agentpb.SharedAnswer]

// serve answers a peer. It asks no further node: where the shard is not this node's, the
// one that asks finds out whose it is by now.
func (sh *shares) serve(stream sharesStream) error {
	if !sh.life.enter() {
		return status.Error(codes.Unavailable, "the node stops")
	}
	defer sh.life.running.Done()
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	defer context.AfterFunc(sh.life.ctx, func() { cancel(errStopping) })()
	answers := make(chan *agentpb.SharedAnswer)
	places := make(chan struct{}, peerShares)
	received := make(chan error, 1)
	if !sh.life.spawn(func() { received <- sh.receive(ctx, stream, places, answers) }) {
		return status.Error(codes.Unavailable, "the node stops")
	}
	for {
		select {
		case <-ctx.Done():
			return status.Error(codes.Unavailable, context.Cause(ctx).Error())
		case err := <-received:
			return err
		case a := <-answers:
			if err := stream.Send(a); err != nil {
				return err
			}
		}
	}
}

// receive reads a peer's requests until the stream ends.
func (sh *shares) receive(ctx context.Context, stream sharesStream, places chan struct{}, answers chan<- *agentpb.SharedAnswer) error {
	for {
		r, err := stream.Recv()
		if err != nil {
			return err
		}
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if !sh.life.spawn(func() {
			defer func() { <-places }()
			a := &agentpb.SharedAnswer{Id: r.GetId()}
			if owner, ok := sh.directory.Owner(job.ShardID(r.GetShard())); ok && owner == sh.cfg.Node {
				a.Answer = sh.here(ctx, r)
			} else {
				a.Answer = notNow("the run's shard is passing to another node")
			}
			select {
			case answers <- a:
			case <-ctx.Done():
			}
		}) {
			return errStopping
		}
	}
}

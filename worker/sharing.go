package worker

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/handler/shared"
	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/sharesock"
)

// sharing brings what tasks ask of the state that they share to the node, over the session
// that there is, and asks again where nothing can be done twice by that.
type sharing struct {
	*base
	tasks *tasks
	// server is where commands ask; nil: they cannot.
	server *sharesock.Server
	places *sharedPlaces

	mu sync.Mutex
	// mu guards what follows: the session with a node that answers such requests, nil if
	// there is none, and old, if there is one with a node that does not; changed is closed
	// when they change.
	session *session
	old     bool
	changed chan struct{}
	last    uint64
	waits   map[uint64]chan []byte
}

func newSharing(b *base, t *tasks) *sharing {
	return &sharing{base: b, tasks: t, places: newSharedPlaces(), changed: make(chan struct{}), waits: map[uint64]chan []byte{}}
}

const (
	sharedSocket = "shared.sock"
	sharedKey    = "shared.key"
	// sharedWait is how long a request that does not wait is tried.
	sharedWait = 15 * time.Second
)

// listen opens the socket for commands. Without it they go without.
func (sh *sharing) listen() {
	server, err := sharesock.Listen(sharesock.Config{Path: sh.cfg.path(sharedSocket), Key: sh.cfg.path(sharedKey)}, sharesock.Deps{
		Logger: sh.log, Ask: func(ctx context.Context, task string, r shared.Request) shared.Answer {
			var key taskKey
			if err := key.UnmarshalText([]byte(task)); err != nil {
				return shared.Refusef("%v", err)
			}
			return sh.ask(ctx, key, r)
		},
	})
	if err != nil {
		sh.log.Error("commands of jobs cannot share state on this host", zap.Error(err))
		return
	}
	sh.server = server
}

// variables adds to the environment of a task by what it asks.
func (sh *sharing) variables(env map[string]string, o *job.Order, acct *account) {
	delete(env, shared.EnvSocket)
	delete(env, shared.EnvToken)
	if _, item := o.Env[job.EnvItem]; item || sh.server == nil {
		return
	}
	uid, _ := acct.ids()
	env[shared.EnvSocket] = sh.server.Path()
	env[shared.EnvToken] = sh.server.Token(keyOf(o.Task).String(), uint32(uid))
}

// opened notes that there is a session; shares: its node answers such requests.
func (sh *sharing) opened(s *session, shares bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.session, sh.old = nil, !shares
	if shares {
		sh.session = s
	}
	close(sh.changed)
	sh.changed = make(chan struct{})
}

// ended notes that a session has ended.
func (sh *sharing) ended(s *session) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.session == s || sh.session == nil {
		sh.session, sh.old = nil, false
	}
}

// answered hands an answer to who waits for it.
func (sh *sharing) answered(a *agentpb.SharedAnswer) {
	sh.mu.Lock()
	wait := sh.waits[a.GetId()]
	delete(sh.waits, a.GetId())
	sh.mu.Unlock()
	if wait != nil {
		wait <- a.GetAnswer()
	}
}

// frame returns the request of a task as it is sent, without its number, or why it is
// refused here.
func (sh *sharing) frame(key taskKey) (*agentpb.Shared, *shared.Answer) {
	sh.tasks.mu.Lock()
	defer sh.tasks.mu.Unlock()
	refuse := func(format string, args ...any) (*agentpb.Shared, *shared.Answer) {
		a := shared.Refusef(format, args...)
		return nil, &a
	}
	e := sh.tasks.journal.live[key]
	if e == nil || e.order == nil || e.settling != nil || e.phase < phaseIntent {
		return refuse("the task is not open on this minion: it has ended")
	}
	if _, item := e.order.Env[job.EnvItem]; item {
		return refuse("items of queues share no state: they have checkpoints, and a queue orders them")
	}
	return &agentpb.Shared{
		Task: agentpb.FromTask(key.id(sh.cfg.ID)), Shard: uint32(e.order.Shard),
		TokenEpoch: e.order.Token.Epoch, TokenRevision: e.order.Token.Revision,
	}, nil
}

// account is the one that a task runs as; empty: the minion's own, or the task is over.
func (sh *sharing) account(key taskKey) string {
	sh.tasks.mu.Lock()
	defer sh.tasks.mu.Unlock()
	if e := sh.tasks.journal.live[key]; e != nil && e.order != nil {
		return e.order.User
	}
	return ""
}

// ask answers a request of a task, which was checked.
func (sh *sharing) ask(ctx context.Context, key taskKey, r shared.Request) shared.Answer {
	leave, why := sh.places.take(key, sh.account(key), r.Waits())
	if leave == nil {
		return shared.Answer{Code: shared.CodeFull, Reason: why}
	}
	defer leave()
	begun := time.Now()
	wait := time.Duration(r.Timeout * float64(time.Second))
	if !r.Waits() {
		wait = sharedWait
	}
	retry := backoff.Backoff{Least: 50 * time.Millisecond, Most: time.Second, Full: true}
	for last := (shared.Answer{}); ; {
		left := wait - time.Since(begun)
		if r.Waits() && wait > 0 {
			r.Timeout = max(left, time.Millisecond).Seconds()
		}
		if wait > 0 && left <= 0 && last.Code != "" {
			if r.Waits() && last.Code == shared.CodeAgain {
				last.Code = shared.CodeTimeout
			}
			return last
		}
		f, refused := sh.frame(key)
		if refused != nil {
			return *refused
		}
		last = sh.once(ctx, f, &r, left, wait > 0)
		switch {
		case ctx.Err() != nil:
			return shared.Answer{Code: shared.CodeUnsure, Reason: "nobody has waited for the answer"}
		case last.Code == shared.CodeAgain:
			retry.Reset()
		case last.Code == shared.CodeUnavailable, last.Code == shared.CodeUnsure && !r.Writes():
			last.Code = shared.CodeUnavailable
			retry.Pause(ctx)
		default:
			return last
		}
	}
}

// once asks the node once.
func (sh *sharing) once(ctx context.Context, f *agentpb.Shared, r *shared.Request, left time.Duration, bounded bool) shared.Answer {
	text, err := json.Marshal(r)
	if err != nil {
		return shared.Refusef("the request: %v", err)
	}
	if bounded {
		// A little longer, so that the node is the one to say that the time is over.
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, left+time.Second)
		defer stop()
	}
	s, answer := sh.current(ctx)
	if s == nil {
		return answer
	}
	wait := make(chan []byte, 1)
	sh.mu.Lock()
	sh.last++
	f.Id, f.Request = sh.last, text
	sh.waits[f.Id] = wait
	sh.mu.Unlock()
	defer func() {
		sh.mu.Lock()
		delete(sh.waits, f.Id)
		sh.mu.Unlock()
	}()
	select {
	case s.shared <- f:
	case <-s.done:
		return shared.Answer{Code: shared.CodeUnavailable, Reason: "the connection to the node has ended"}
	case <-ctx.Done():
		return shared.Answer{Code: shared.CodeUnavailable, Reason: "the connection to the node is busy"}
	}
	select {
	case text := <-wait:
		var a shared.Answer
		if err := json.Unmarshal(text, &a); err != nil {
			return shared.Answer{Code: shared.CodeUnsure, Reason: "the node's answer cannot be read"}
		}
		return a
	case <-s.done:
		return shared.Answer{Code: shared.CodeUnsure, Reason: "the connection to the node ended before it answered"}
	case <-ctx.Done():
		return shared.Answer{Code: shared.CodeUnsure, Reason: "the node has not answered in time"}
	}
}

// current returns the session, and waits for one if there is none.
func (sh *sharing) current(ctx context.Context) (*session, shared.Answer) {
	for {
		sh.mu.Lock()
		s, old, changed := sh.session, sh.old, sh.changed
		sh.mu.Unlock()
		if s != nil {
			return s, shared.Answer{}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			why := "the minion has no connection to a node"
			if old {
				why = "the minion's node is of a release that has tasks share nothing"
			}
			return nil, shared.Answer{Code: shared.CodeUnavailable, Reason: why}
		}
	}
}

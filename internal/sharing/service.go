package sharing

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/carillon-cron/carillon/handler/shared"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// The bounds and times of the protocol (H7).
const (
	// Rate is how many requests a second a task has answered, Burst how many at once.
	Rate  = 50
	Burst = 100
	// WriteEvery is the least time between two rounds that write a scope.
	WriteEvery = 10 * time.Millisecond
	// Rounds is how many rounds a node does at once.
	Rounds = 16
	// PollMost is how long a request waits here before it is to be asked again, ForgetAfter
	// how long who has asked counts as here.
	PollMost    = 20 * time.Second
	ForgetAfter = 10 * time.Second
	// JudgeEvery is how often it is looked whether a barrier can open still.
	JudgeEvery = 500 * time.Millisecond
	// CloseEvery is how often it is looked which runs are over, SweepEvery for runs of which
	// this node knows nothing.
	CloseEvery = 2 * time.Second
	SweepEvery = time.Minute

	turnWait  = 2 * time.Second
	lookEvery = time.Second
	// idleFor is how long a scope that nobody uses is kept, for its rates.
	idleFor = 10 * time.Second
)

// Runs tells of open runs of this node's shards. Errors wrap job.ErrUnavailable when the
// shard is not this node's. scheduler.Engine is one.
type Runs interface {
	Member(ctx context.Context, shard job.ShardID, task job.TaskID, token job.Token) (job.Member, error)
	Fellows(ctx context.Context, shard job.ShardID, fire job.FireID) ([]job.Fellow, error)
	Closed(ctx context.Context, shard job.ShardID, fires []job.FireID) ([]job.FireID, job.Token, error)
}

// Deps is what a Service stands on. Logger and Room may be nil.
type Deps struct {
	// Room returns an error while etcd's space is nearly used up, as for new jobs (H6).
	Room   func(ctx context.Context) error
	Keys   etcdkv.Keys
	Store  Store
	Runs   Runs
	Logger *zap.Logger
}

// Service answers tasks of the shards that this node owns. Use New and Run.
type Service struct {
	deps Deps
	log  *zap.Logger
	// ctx ends with Run: it is the lifetime of what the service starts.
	ctx    context.Context
	stop   context.CancelFunc
	rounds chan struct{}
	// every is WriteEvery, but in tests.
	every time.Duration

	mu sync.Mutex
	// mu guards scopes, by their keys. It is locked before those of scopes.
	scopes map[string]*scope

	gate sync.Mutex
	// gate guards closed: nothing is started any more.
	closed bool
	wg     sync.WaitGroup
}

// New returns a Service.
func New(deps Deps) (*Service, error) {
	if deps.Keys == (etcdkv.Keys{}) || deps.Store == nil || deps.Runs == nil {
		return nil, errors.New("sharing: Keys, Store and Runs must be given")
	}
	if deps.Logger == nil {
		deps.Logger = zap.NewNop()
	}
	s := &Service{deps: deps, log: deps.Logger.Named("sharing"), rounds: make(chan struct{}, Rounds), every: WriteEvery, scopes: map[string]*scope{}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// spawn runs f, unless the service has ended.
func (s *Service) spawn(f func()) bool {
	s.gate.Lock()
	defer s.gate.Unlock()
	if s.closed {
		return false
	}
	s.wg.Go(f)
	return true
}

// Run removes what runs have left that are over (H8), until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	defer func() {
		s.gate.Lock()
		s.closed = true
		s.gate.Unlock()
		s.stop()
		s.wg.Wait()
	}()
	near, far := time.NewTicker(CloseEvery), time.NewTicker(SweepEvery)
	defer near.Stop()
	defer far.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-near.C:
			s.closeKnown(ctx)
		case <-far.C:
			if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("what runs have left is not removed yet", zap.Error(err))
			}
		}
	}
}

// Do answers a request of a task that was ordered under a token (H1). The end of ctx is the
// end of the wait.
func (s *Service) Do(ctx context.Context, task job.TaskID, shard job.ShardID, token job.Token, text []byte) []byte {
	a := s.answer(ctx, task, shard, token, text)
	out, err := json.Marshal(a)
	if err != nil { // answers are texts and numbers
		s.log.Error("an answer cannot be encoded", zap.Error(err))
		return []byte(`{"code":"unsure"}`)
	}
	return out
}

// parse reads a request strictly.
func parse(text []byte) (shared.Request, error) {
	var r shared.Request
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return r, fmt.Errorf("it cannot be read: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return r, errors.New("there is more behind it")
	}
	return r, r.Check()
}

func (s *Service) answer(ctx context.Context, task job.TaskID, shard job.ShardID, token job.Token, text []byte) shared.Answer {
	r, err := parse(text)
	if err != nil {
		return shared.Refusef("the request: %v", err)
	}
	m, err := s.deps.Runs.Member(ctx, shard, task, token)
	if err != nil {
		return unavailable(err.Error())
	}
	if m.Refused != "" {
		return shared.Refusef("the task of %s, attempt %d: %s", task.Fire, task.Attempt, m.Refused)
	}
	f := Fence{Shard: shard, Owner: m.Owner}
	key := s.deps.Keys.SharedRun(shard, m.Fire)
	run := runScope{shard, m.Fire}
	if r.Scope == shared.ScopeJob {
		if m.Deleted {
			return shared.Refusef("job %s was deleted, or has moved to another group, since the run began", m.Job)
		}
		f.Job, key, run = m.Job, s.deps.Keys.SharedJob(m.Fire.Job), runScope{}
	}
	sc := s.enter(key, run)
	defer s.leave(sc)
	if !sc.allow(ctx, task) {
		return shared.Answer{Code: shared.CodeFull, Reason: fmt.Sprintf("the task asks more often than %d times a second", Rate)}
	}
	a := s.serve(ctx, sc, &m, f, task, &r)
	if a.Code == shared.CodeUnsure && !r.Writes() {
		a.Code = shared.CodeUnavailable
	}
	return a
}

// grows reports whether a request may take more of etcd's space. What is deleted only gives
// some back.
func grows(r *shared.Request) bool { return r.Writes() && r.Op != shared.OpDelete }

// serve does a request, or waits for what it waits for.
func (s *Service) serve(ctx context.Context, sc *scope, m *job.Member, f Fence, task job.TaskID, r *shared.Request) shared.Answer {
	if grows(r) && s.deps.Room != nil {
		if err := s.deps.Room(ctx); err != nil {
			return shared.Answer{Code: shared.CodeFull, Reason: err.Error()}
		}
	}
	if !r.Waits() {
		return sc.do(ctx, f, func(v *value) shared.Answer { return v.Do(r) })
	}
	wait, poll := PollMost, true
	if t := time.Duration(r.Timeout * float64(time.Second)); t > 0 && t <= wait {
		wait, poll = t, false
	}
	waiting, stop := context.WithTimeout(ctx, wait)
	defer stop()
	var a shared.Answer
	if r.Op == shared.OpBarrier {
		a = sc.barrier(waiting, m, f, task, r, poll)
	} else {
		a = sc.watch(waiting, f, r)
	}
	if a.Code == shared.CodeAgain && !poll && ctx.Err() == nil {
		a.Code = shared.CodeTimeout
		if a.Reason == "" {
			a.Reason = r.Key + " has not changed"
		}
	}
	return a
}

// enter returns the scope of a key, which is kept until it is left.
func (s *Service) enter(key string, run runScope) *scope {
	s.mu.Lock()
	defer s.mu.Unlock()
	sc := s.scopes[key]
	if sc == nil {
		sc = &scope{s: s, key: key, run: run, changed: make(chan struct{}), barriers: map[string]*barrier{}, rates: map[job.TaskID]*rate.Limiter{}}
		s.scopes[key] = sc
	}
	sc.mu.Lock()
	defer sc.mu.Unlock()
	sc.users++
	return sc
}

func (s *Service) leave(sc *scope) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	sc.users--
	sc.idle = time.Now()
}

// unused reports whether the scope may be forgotten.
func (sc *scope) unused() bool {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	return sc.users == 0 && !sc.running && len(sc.barriers) == 0 && !sc.stored && time.Since(sc.idle) > idleFor
}

// closeKnown removes what those runs have left that were served here.
func (s *Service) closeKnown(ctx context.Context) {
	keys := map[job.ShardID][]job.FireID{}
	s.mu.Lock()
	for key, sc := range s.scopes {
		if sc.unused() {
			delete(s.scopes, key)
			continue
		}
		sc.mu.Lock()
		if sc.stored && sc.run != (runScope{}) {
			keys[sc.run.shard] = append(keys[sc.run.shard], sc.run.fire)
		}
		if sc.run == (runScope{}) {
			sc.stored = false // it goes with the job
		}
		sc.mu.Unlock()
	}
	s.mu.Unlock()
	for shard, fires := range keys {
		s.remove(ctx, shard, fires)
	}
}

// Sweep removes what runs of this node's shards have left that are over, whoever has served
// them.
func (s *Service) Sweep(ctx context.Context) error {
	keys, err := s.deps.Store.Runs(ctx)
	if err != nil {
		return err
	}
	fires := map[job.ShardID][]job.FireID{}
	for _, key := range keys {
		shard, fire, err := s.deps.Keys.ParseSharedRun(key)
		if err != nil {
			s.log.Warn("a key cannot be read", zap.Error(err))
			continue
		}
		fires[shard] = append(fires[shard], fire)
	}
	for shard, list := range fires {
		s.remove(ctx, shard, list)
	}
	return nil
}

// remove removes what those runs have left that are over. What cannot be said or removed
// now is looked at again.
func (s *Service) remove(ctx context.Context, shard job.ShardID, fires []job.FireID) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	over, token, err := s.deps.Runs.Closed(ctx, shard, fires)
	if errors.Is(err, job.ErrUnavailable) {
		for _, f := range fires { // it is another node's to remove
			s.removed(s.deps.Keys.SharedRun(shard, f))
		}
	}
	if err != nil {
		return
	}
	for _, f := range over {
		key := s.deps.Keys.SharedRun(shard, f)
		if err := s.deps.Store.Remove(ctx, Fence{Shard: shard, Owner: token}, key); err != nil {
			s.log.Debug("what a run has left is not removed yet", zap.String("key", key), zap.Error(err))
			continue
		}
		s.removed(key)
	}
}

// removed notes that a scope has nothing to be removed here any more.
func (s *Service) removed(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sc := s.scopes[key]; sc != nil {
		sc.mu.Lock()
		sc.stored = false
		sc.mu.Unlock()
	}
}

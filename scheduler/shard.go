package scheduler

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/lock"
	"github.com/carillon-cron/carillon/scheduler/admit"
	"github.com/carillon-cron/carillon/scheduler/plan"
	"github.com/carillon-cron/carillon/scheduler/timers"
)

// shard is one owned shard. A single goroutine, run, owns all fields below mailbox;
// others reach them through that. The parts that are embedded own their fields: their
// methods know no other part.
type shard struct {
	id  job.ShardID
	own *lock.Ownership
	// heldUntil returns the end of our lease, as far as it is renewed (I20).
	heldUntil func() time.Duration
	cfg       *Config
	deps      *Deps
	log       *zap.Logger
	met       *metrics
	choice    chooser
	writer    writer

	// mailbox is how others reach the fields below.
	mailbox

	// epoch is that of the time that the shard has begun by.
	epoch int64

	jobs map[job.Key]*entry
	// count is len(jobs), for others.
	count atomic.Int64
	// loaded is told how many jobs the first listing has. May be nil.
	loaded   func(int)
	jobsRev  int64
	timers   timers.Heap[*entry]
	specs    specs
	triggers triggers
	// planned: everything at or before it is planned, in memory. instants is what
	// one plan of a job takes them in.
	planned  int64
	instants []int64

	// term numbers this node's beginnings with the shard under the same token, the
	// first is 1. nextTerm returns a number that neither these have nor a question
	// before.
	term     uint32
	nextTerm func() uint32
	// turns asks the group's mode; nil for hash shards.
	turns *turnPolicy
	// rereadJobs has the view of jobs read anew. need, unless zero, is which views
	// are waited for, behind since when, for others too, refreshed when they were
	// read anew last.
	rereadJobs etcdkv.Reread
	need       view
	behind     atomic.Int64
	refreshed  int64
	// askGone has it found out what became of a job whose key is gone; vanish is told.
	askGone func(context.Context, *entry)
	// moved are the jobs that were moved out, or deleted, and may have open fires here.
	moved   movedJobs
	records goneRecords
	// ring is state.Ring, for others; ringDirty says that it is to be stored.
	ring      atomic.Pointer[[]etcdkv.RingNode]
	ringDirty bool
	// afterState waits until the state is stored as it is now.
	afterState []func()
	admission  *admit.Admission
	remembered int64
	// due is the instant that is planned next, for others; never: none.
	due atomic.Int64

	slotTable

	fires map[job.FireID]*fire
	deadlines

	// reports wait to be taken; late takes those about what is closed.
	reports [][]job.Report
	late    lateReports
	out     orders
	asks    []job.Ref

	state    etcdkv.ShardState
	stateRev int64
	// committing: a transaction is under way; lastCommit is when it began.
	// cut: more was due than its plan took, so that the next one follows at once.
	committing bool
	lastCommit int64
	cut        bool
	afterSave  []func()
	// pausing are pauses that the next commit makes.
	pausing []etcdkv.Pause
	outbox  outbox
	notices notices
	watches keyWatches
	starts  hostStarts
	// anyCalendars: a job has some; calendarsRev is as of which revision of them
	// jobs are planned, but for those that are to be planned anew, calendarsDone as
	// of which all are. look counts the steps of looks at calendars.
	anyCalendars                bool
	calendarsRev, calendarsDone int64
	replan                      []*entry
	look                        plan.Look
	asides                      asides
	// granted are the commands that have been seen to, by their mod revision.
	granted   map[string]int64
	ahead     ahead
	backfills backfills

	gone gone

	// listed: the jobs have been read; synced: so have the records of those that
	// are gone, and the shard goes on with what is open.
	listed, synced bool
	yielding       bool
	err            error

	// wg counts the goroutines that run waits for. spawn runs one of them, with the
	// context of run.
	wg    sync.WaitGroup
	spawn func(func(context.Context))
}

func newShard(id job.ShardID, own *lock.Ownership, cfg *Config, deps *Deps, met *metrics) *shard {
	epoch := int64(0)
	if deps.Time != nil {
		epoch = deps.Time.Epoch()
	}
	log := deps.Logger.With(zap.Stringer("shard", id), zap.Stringer("token", own.Token()))
	s := &shard{
		epoch: epoch, id: id, own: own, heldUntil: own.HeldUntil, cfg: cfg, deps: deps, met: met,
		log:     log,
		mailbox: newMailbox(),
		jobs:    map[job.Key]*entry{},
		moved:   movedJobs{},
		late:    lateReports{deps.Records, deps.History, deps.Minions, deps.bestEffort, log},
		records: goneRecords{deps.Client, cfg.Keys, id, deps.Schedules, log},
		fires:   map[job.FireID]*fire{},
		granted: map[string]int64{}, look: plan.Look{Calendars: deps.Cluster},
	}
	s.admission = s.newAdmission(nil)
	s.slotTable = newSlotTable(deps.now, s.decided)
	s.nodeLoad = deps.load
	s.outbox = outbox{own: own, client: deps.Client, keys: cfg.Keys, shards: cfg.Meta.Shards, id: id, now: deps.now, log: s.log}
	s.watches, s.starts = newKeyWatches(s), newHostStarts(s)
	s.choice = chooser{minions: deps.Minions, roles: deps.Roles, seed: cfg.seed}
	s.writer = writer{own: own, client: deps.Client, keys: cfg.Keys, id: id, retries: met.commitRetries, log: s.log}
	s.backfills = backfills{cluster: deps.Cluster, keys: cfg.Keys, now: deps.now, entry: s.entry, all: map[string]*backfilled{}}
	s.ahead = newAhead(s)
	s.triggers = triggers{now: deps.now, log: s.log, all: map[string]arrived{}}
	s.asides = asides{stored: deps.Cluster.Aside, now: deps.now, log: s.log, jobs: met.aside}
	s.askGone, s.rereadJobs = s.lookUpGone, etcdkv.NewReread()
	s.notices, s.gone = newNotices(s), newGone(s)
	return s
}

// run owns the shard until ctx ends, the lock is lost or passed on. It returns
// when all its goroutines have ended.
func (s *shard) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer s.wg.Wait()
	defer cancel(errYielded)

	if err := s.awaitFit(ctx); err != nil {
		return err
	}
	if err := s.load(ctx); err != nil {
		return fmt.Errorf("load shard %d: %w", s.id, err)
	}
	s.wg.Go(func() {
		s.follow(ctx, cancel, s.cfg.Keys.ShardJobs(s.id), s.rereadJobs, func(b etcdkv.Batch) {
			// An edit is applied between commits: what is planned is committed by then.
			s.whenIdle(func() { s.onJobs(ctx, b) })
		})
	})
	s.wg.Go(func() { s.follow(ctx, cancel, s.cfg.Keys.Triggers(s.id), nil, s.triggers.apply) })

	s.spawn = func(fn func(context.Context)) { s.wg.Go(func() { fn(ctx) }) }
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.knock:
		case <-timer.C:
		}
		if err := s.readMail(); err != nil {
			return err
		}
		timer.Reset(s.step(ctx))
	}
}

// readMail does what others want done.
func (s *shard) readMail() error {
	mail, knocked := s.take()
	if len(mail) > 0 {
		s.met.loopDelay.Observe(time.Since(knocked).Seconds())
	}
	for _, fn := range mail {
		fn()
	}
	return s.err
}

// follow keeps a prefix's view current until ctx ends.
func (s *shard) follow(ctx context.Context, cancel context.CancelCauseFunc, prefix string, reread etcdkv.Reread, apply func(etcdkv.Batch)) {
	err := etcdkv.FollowAnew(ctx, s.deps.Client, prefix, reread, func(b etcdkv.Batch) error {
		s.do(func() { apply(b) })
		return nil
	})
	if err != nil && ctx.Err() == nil {
		cancel(fmt.Errorf("follow %s: %w", prefix, err))
	}
}

// maxSleep caps every sleep, so that a step of the wall clock is seen.
const maxSleep = time.Second

// unfitPause is how long a shard waits that may not go on for its node's clock.
const unfitPause = 100 * time.Millisecond

// step does what is due and returns how long the shard may sleep.
func (s *shard) step(ctx context.Context) time.Duration {
	if !s.synced {
		return maxSleep
	}
	if !s.own.Held() {
		s.err = lock.ErrLost
		return 0
	}
	if !s.fit() {
		if s.err != nil {
			return 0
		}
		return unfitPause
	}
	now := s.deps.now()
	s.ahead.readPast()
	s.remember(now)
	s.admission.Tend(s.group(), now)
	s.outbox.next(ctx, s.wg.Go, s.do)
	s.watches.tend(ctx, s.wg.Go)
	s.starts.tend(ctx, now, s.wg.Go, s.do)
	s.followCalendars()
	s.tendCommands(now)
	s.takeReports()
	s.reconcileSome(now)
	s.gone.tend(now)
	s.flush()
	s.admission.TendPermits(s.yielding)
	next := now + int64(maxSleep)
	if !s.committing && !s.yielding {
		next = min(next, s.commitDue(ctx, now))
	}
	s.tellDue()
	next = min(next, s.wakeups.Top())
	if len(s.replan) > 0 || s.line.Any() || len(s.reports) > 0 {
		next = now
	}
	return time.Duration(max(next-s.deps.now(), 0))
}

// commitDue begins a commit if one is due, and returns when to look again.
func (s *shard) commitDue(ctx context.Context, now int64) int64 {
	later := s.lastCommit + int64(s.cfg.Tick)
	_, at, planned := s.timers.Top()
	due := planned && at <= now+int64(s.cfg.LookAhead) || s.triggers.fresh || s.backfills.due(now) || s.ringDirty || s.triggers.read && s.moved.anyOver() || s.asides.any()
	s.shrinkSlots(now)
	s.passSlots()
	due = due || len(s.dirty) > 0 || len(s.notices.waiting) > 0
	if !due && len(s.closed) == 0 && len(s.beyond) == 0 {
		if planned {
			return at - int64(s.cfg.LookAhead)
		}
		return never
	}
	if now < later && !s.cut {
		return later
	}
	s.cut = false
	if !due && now < s.lastCommit+int64(s.cfg.CloseEvery) {
		wait := s.lastCommit + int64(s.cfg.CloseEvery)
		if planned {
			wait = min(wait, at-int64(s.cfg.LookAhead))
		}
		return wait
	}
	s.commit(ctx, now)
	if !s.committing && s.isFull(now) {
		return now + int64(s.cfg.Tick) // what is due waits for the node to have done with other work
	}
	if !s.committing && s.need != (view{}) {
		return now + behindEvery
	}
	if !s.committing && s.turns != nil {
		return now + turnPause // what is due is another node's to fire
	}
	return never
}

// turnPause is how long a group's owner waits before it looks again at what is
// due and not its to fire.
const turnPause = int64(50 * time.Millisecond)

// tellDue lets others know which instant is planned next; a mode may want
// another holder for it.
func (s *shard) tellDue() {
	_, at, _ := s.timers.Top()
	if s.due.Swap(at) != at && s.turns != nil {
		s.deps.Cluster.Wake()
	}
}

// flush hands the orders and questions gathered in this step to the minions.
func (s *shard) flush() {
	if len(s.out) > 0 {
		until := s.heldUntil() // I20
		for _, piece := range s.out {
			for i := range piece {
				piece[i].HoldUntil = until
			}
			s.deps.Minions.Send(piece)
		}
		s.out = nil
	}
	if len(s.asks) > 0 {
		s.deps.Minions.Ask(s.asks)
		s.asks = nil
	}
}

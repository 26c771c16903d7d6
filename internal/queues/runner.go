package queues

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/queue"
)

// The times of a runner.
const (
	// lookEvery is how often workers and items in hand are looked at.
	lookEvery = time.Second
	// resendAfter is how long an order may go without a word before it is sent again.
	resendAfter = 10 * time.Second
	// askEvery is how often a minion is asked about an item that it has.
	askEvery = 30 * time.Second
	// cancelEvery is how often a minion is told to end an item.
	cancelEvery = 5 * time.Second
	// claimsAtOnce bounds the claiming transactions under way.
	claimsAtOnce = 4
	// claimRetry is the pause after a claim that failed, awaitAnew that before it is
	// asked again whether there is something to claim.
	claimRetry = 200 * time.Millisecond
	awaitAnew  = 20 * time.Millisecond
	// settlesAtOnce bounds the transactions under way that settle what was done,
	// settleMost the items of one turn.
	settlesAtOnce = 4
	settleMost    = 40
	// settleRetry is the pause before a settlement is tried again.
	settleRetry = 500 * time.Millisecond
)

// runner dispatches one queue. A single goroutine, run, owns all fields below mailbox;
// others reach them by do.
type runner struct {
	m      *Dispatch
	key    job.Key
	shard  job.ShardID
	fence  queue.Fence
	stored *etcdkv.StoredQueue
	work   job.Spec
	held   held // what bounds the queue
	q      *queue.Queue
	log    *zap.Logger

	// mailbox: mail is what others want done, knock has one place.
	mu    sync.Mutex
	mail  []func()
	knock chan struct{}
	// more has one place: the runner wants to hear of something to claim.
	more chan struct{}

	ctx     context.Context // of run
	wg      sync.WaitGroup
	workers map[job.MinionID]*worker
	tasks   map[job.FireID]*task
	// synced: what was in hand when the runner began has been read.
	synced bool
	// ready: there is something to claim; claiming counts claims under way.
	ready    bool
	claiming int
	// done are to be settled, settling counts transactions that do so.
	done     []done
	settling int
	rates    rates
	told     toldStatus
	// waiting is how many items the metrics count for this queue.
	waiting int
}

// worker is a minion that works on the queue.
type worker struct {
	id     job.MinionID
	places int
	// inHand counts the items that it has, or is to get by a claim under way.
	inHand int
	// trouble is why it gets none; empty: it does.
	trouble string
}

// task is an item in a minion's hands.
type task struct {
	queue.Claimed
	id                                            job.TaskID
	sentAt, heardAt, askedAt, cancelAt, startedAt time.Time
	// ending: its end is being written. freed: its place is free for another one.
	ending, freed bool
	// progress is what its minion has said last, left the checkpoint that it has told of,
	// kept the one that is stored. keeping: one is being stored.
	progress   *job.Progress
	left, kept string
	keeping    bool
	// nowhere: no minion has the order, as it was not sent, or is not known there.
	nowhere bool
}

func newRunner(m *Dispatch, id job.ShardID, fence queue.Fence, stored *etcdkv.StoredQueue, q *queue.Queue) *runner {
	return &runner{
		m: m, key: stored.Key(), shard: id, fence: fence, stored: stored, work: stored.Spec.Work(), q: q,
		log:   m.log.With(zap.Stringer("queue", stored.Key())),
		knock: make(chan struct{}, 1), more: make(chan struct{}, 1), workers: map[job.MinionID]*worker{}, tasks: map[job.FireID]*task{},
	}
}

// do has the runner's goroutine call fn. It does not block.
func (r *runner) do(fn func()) {
	r.mu.Lock()
	r.mail = append(r.mail, fn)
	r.mu.Unlock()
	signal(r.knock)
}

// deliver takes a report.
func (r *runner) deliver(rep job.Report) { r.do(func() { r.onReport(&rep) }) }

// run dispatches until ctx ends.
func (r *runner) run(ctx context.Context) {
	r.ctx = ctx
	r.wg.Go(r.await)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	r.look()
	for {
		r.claim()
		select {
		case <-ctx.Done():
			return
		case <-r.knock:
		case <-ticker.C:
			r.look()
			continue
		}
		r.mu.Lock()
		mail := r.mail
		r.mail = nil
		r.mu.Unlock()
		for _, fn := range mail {
			fn()
		}
	}
}

// await tells the runner that there is something to claim, whenever it wants more.
func (r *runner) await() {
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.more:
		}
		for r.q.Await(r.ctx) != nil {
			select { // the dispatcher has not begun, or has ended
			case <-r.ctx.Done():
				return
			case <-time.After(awaitAnew):
			}
		}
		r.do(func() { r.ready = true })
	}
}

// claim claims items for the free places.
func (r *runner) claim() {
	for r.synced && r.claiming < claimsAtOnce && !r.paused() && r.fence.Held() && r.hasFree() {
		if !r.ready {
			signal(r.more)
			return
		}
		places := r.freePlaces()
		r.claiming++
		r.ready = false // until await says so, or a claim got all that it asked for
		r.wg.Go(func() {
			got, err := r.q.ClaimEach(r.ctx, places)
			if err != nil {
				select {
				case <-r.ctx.Done():
				case <-time.After(claimRetry):
				}
			}
			r.do(func() { r.claimed(places, got, err) })
		})
	}
}

// signal puts a token into a channel of length 1, if there is none.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (w *worker) isFree() bool { return w.trouble == "" && w.inHand < w.places }

func (r *runner) hasFree() bool {
	for _, w := range r.workers {
		if w.isFree() {
			return true
		}
	}
	return false
}

// paused reports whether nothing is to be handed out (D5).
func (r *runner) paused() bool { return r.stored.Hold != nil && !r.stored.Hold.Draining }

// freePlaces takes free places, those of the least busy first, one of each in turn.
func (r *runner) freePlaces() []queue.Worker {
	var free []*worker
	for _, w := range r.workers {
		if w.isFree() {
			free = append(free, w)
		}
	}
	slices.SortFunc(free, func(a, b *worker) int { return cmp.Or(cmp.Compare(a.inHand, b.inHand), cmp.Compare(a.id, b.id)) })
	var places []queue.Worker
	for len(free) > 0 && len(places) < queue.MaxClaim {
		left := free[:0]
		for _, w := range free {
			if len(places) == queue.MaxClaim {
				break
			}
			places = append(places, queue.Worker{ID: w.id})
			if w.inHand++; w.inHand < w.places {
				left = append(left, w)
			}
		}
		free = left
	}
	return places
}

// claimed takes the result of a claim.
func (r *runner) claimed(places []queue.Worker, got []queue.Claimed, err error) {
	r.claiming--
	for _, p := range places {
		r.free(p.ID)
	}
	if err != nil && r.ctx.Err() == nil && !errors.Is(err, queue.ErrNotDispatcher) {
		r.log.Warn("items not claimed, will be tried again", zap.Error(err))
	}
	if len(got) == len(places) {
		r.ready = true // there may be more
	}
	var taken []*task
	for i := range got {
		if t := r.take(&got[i]); t != nil {
			t.nowhere = true
			taken = append(taken, t)
		}
	}
	r.send(taken...)
}

// free counts one item less in a worker's hands.
func (r *runner) free(id job.MinionID) {
	if w := r.workers[id]; w != nil && w.inHand > 0 {
		w.inHand--
	}
}

// take notes that an item is in a minion's hands; nil: that is known.
func (r *runner) take(c *queue.Claimed) *task {
	id := r.taskID(c)
	if t := r.tasks[id.Fire]; t != nil {
		if t.id == id {
			return nil
		}
		r.drop(t)
	}
	t := &task{Claimed: *c, id: id}
	r.tasks[id.Fire] = t
	r.worker(c.Worker).inHand++
	return t
}

// worker returns a worker, made if need be.
func (r *runner) worker(id job.MinionID) *worker {
	w := r.workers[id]
	if w == nil {
		w = &worker{id: id}
		r.workers[id] = w
	}
	return w
}

// drop forgets an item in hand.
func (r *runner) drop(t *task) {
	if r.tasks[t.id.Fire] == t {
		delete(r.tasks, t.id.Fire)
		r.vacate(t)
	}
}

// vacate frees the place that an item has taken.
func (r *runner) vacate(t *task) {
	if !t.freed {
		t.freed = true
		r.free(t.Worker)
	}
}

// look does what is due now and then: it finds out who works on the queue, and what
// became of what is in hand.
func (r *runner) look() {
	if !r.fence.Held() {
		return
	}
	r.lookAtWorkers()
	claims, ok := r.q.Claims()
	if !ok {
		return
	}
	r.lookAtClaims(claims)
	r.synced = true
	now := time.Now()
	for _, t := range r.tasks {
		if !t.ending {
			r.tend(t, now)
		}
	}
	r.tell(now)
}

// lookAtWorkers finds out which minions work on the queue.
func (r *runner) lookAtWorkers() {
	ready, away := r.m.deps.Minions.Reach(r.within())
	for _, w := range r.workers {
		w.places, w.trouble = 0, "offers no place"
	}
	offer := func(id job.MinionID, trouble string) {
		offers, err := job.ParseQueueOffers(r.m.deps.Minions.Value(id, job.FactQueues))
		places := offers[r.key]
		if err != nil || places == 0 {
			return
		}
		w := r.worker(id)
		w.places, w.trouble = places, trouble
	}
	for _, id := range ready {
		offer(id, "")
	}
	for i := range away {
		offer(away[i].Minion, away[i].Reason)
	}
	for id, w := range r.workers {
		if w.places == 0 && w.inHand == 0 {
			delete(r.workers, id)
		}
	}
}

// lookAtClaims compares what is in hand with what is known to be.
func (r *runner) lookAtClaims(claims []queue.Claimed) {
	seen := make(map[job.FireID]int64, len(claims))
	for i := range claims {
		c := &claims[i]
		id := r.taskID(c)
		seen[id.Fire] = c.Receipt.Marker
		t := r.tasks[id.Fire]
		if t == nil {
			t = r.take(c) // of a dispatcher before, or its answer was lost
		}
		if t != nil && t.id == id {
			t.Cancel = c.Cancel
		}
	}
	now := time.Now()
	for fire, t := range r.tasks {
		if marker, there := seen[fire]; !t.ending && now.Sub(t.Since) > resendAfter && (!there || marker != t.Receipt.Marker) {
			r.drop(t) // settled by somebody else
		}
	}
}

// tend sees to an item in hand.
func (r *runner) tend(t *task, now time.Time) {
	minions := r.m.deps.Minions
	absence, away := minions.Absence(t.Worker)
	lost := ""
	switch {
	case minions.Revoked(t.Worker):
		lost = "the certificate of minion " + string(t.Worker) + " was revoked"
	case away && (absence.Forgotten || absence.For > r.work.EffectiveLostAfter()):
		lost = "minion " + string(t.Worker) + " was connected to no node for longer than " + job.Duration(r.work.EffectiveLostAfter()).String()
	}
	if lost != "" {
		r.lose(t, lost)
		return
	}
	if t.Cancel != nil && now.Sub(t.cancelAt) > cancelEvery {
		t.cancelAt = now
		minions.Cancel([]job.Ref{r.ref(t.id)}, *t.Cancel)
	}
	switch {
	case t.heardAt.IsZero() && now.Sub(t.sentAt) > resendAfter && !away:
		r.send(t)
	case !t.heardAt.IsZero() && now.Sub(t.heardAt) > askEvery && now.Sub(t.askedAt) > askEvery && !away:
		t.askedAt = now
		minions.Ask([]job.Ref{r.ref(t.id)})
	}
}

package queues

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/queue"
)

// Minions is how a dispatcher reaches minions; see scheduler.Minions.
type Minions interface {
	Reach(t job.Target) (ready []job.MinionID, away []job.Uncontrollable)
	Value(m job.MinionID, key string) string
	Absence(m job.MinionID) (job.Absence, bool)
	Revoked(m job.MinionID) bool
	Send(orders []job.Order)
	Ask(refs []job.Ref)
	Cancel(refs []job.Ref, reason string)
	Ack(tasks []job.TaskID)
}

// Roles are the roles that bound what may be started; see scheduler.Roles.
type Roles interface {
	Version() uint64
	Now(bounds job.Bounds, namespace string) job.Bounds
}

// Recorder writes run records to history, and never blocks; done is called when the
// record is durable, or could not be made so.
type Recorder interface {
	Record(run job.Run, done func(error))
}

// Config says which node this is, in which cluster. All must be set.
type Config struct {
	Node   job.NodeID
	Keys   etcdkv.Keys
	Shards int
	// MaxMessageExpired caps how long an order may take to its minion. Zero: a minute.
	MaxMessageExpired time.Duration
}

// Deps is what a Dispatch works with. Now and Metrics may be nil.
type Deps struct {
	Client  *clientv3.Client
	Minions Minions
	History Recorder
	Logger  *zap.Logger
	Metrics prometheus.Registerer
	// Secrets finds the secrets that the cluster keeps. Nil: it keeps none.
	Secrets job.SecretFinder
	// Roles tells what bounds come to by roles as they are now. Nil: what they were.
	Roles Roles
	// Now is the time that orders go by. Nil: time.Now.
	Now func() time.Time
}

// Dispatch runs the dispatchers of the queues whose shards this node owns. Use New. All
// methods may be called by many goroutines.
type Dispatch struct {
	cfg   Config
	deps  Deps
	log   *zap.Logger
	met   *metrics
	types *etcdkv.Map[etcdkv.StoredQueue]

	mu sync.Mutex
	// mu guards what follows. changed is closed, and made anew, when types has changed.
	changed chan struct{}
	runners map[job.UID]*runner
}

// New returns a Dispatch. It dispatches once Run is called.
func New(cfg Config, deps Deps) (*Dispatch, error) {
	if cfg.Node == "" || cfg.Keys == (etcdkv.Keys{}) || cfg.Shards <= 0 {
		return nil, errors.New("queues: Node, Keys and Shards must be set")
	}
	if deps.Client == nil || deps.Minions == nil || deps.History == nil || deps.Logger == nil {
		return nil, errors.New("queues: Client, Minions, History and Logger must be set")
	}
	if cfg.MaxMessageExpired <= 0 {
		cfg.MaxMessageExpired = time.Minute
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	met, err := newMetrics(deps.Metrics)
	if err != nil {
		return nil, err
	}
	m := &Dispatch{cfg: cfg, deps: deps, log: deps.Logger.Named("queues"), met: met, changed: make(chan struct{}), runners: map[job.UID]*runner{}}
	m.types = etcdkv.NewMap(etcdkv.Decode[etcdkv.StoredQueue], m.onChange)
	return m, nil
}

// Run keeps the view of queues current until ctx ends.
func (m *Dispatch) Run(ctx context.Context) error {
	return m.types.Run(ctx, m.deps.Client, m.cfg.Keys.QueueTypes())
}

func (m *Dispatch) onChange() {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.changed)
	m.changed = make(chan struct{})
}

// running is a runner, what ends it, and what it was begun with.
type running struct {
	stop context.CancelFunc
	done chan struct{}
	rev  int64
}

func (r *running) end() {
	r.stop()
	<-r.done
}

// Hold dispatches the queues of a shard until ctx ends, which is when the shard's lock
// is lost or passed on, and returns when all has ended.
func (m *Dispatch) Hold(ctx context.Context, id job.ShardID, fence queue.Fence) {
	here := map[job.Key]*running{}
	defer func() {
		for _, r := range here {
			r.stop()
		}
		for _, r := range here {
			<-r.done
		}
	}()
	for {
		m.mu.Lock()
		changed := m.changed
		m.mu.Unlock()
		types, _ := m.types.Snapshot()
		wanted := map[job.Key]etcdkv.Entry[etcdkv.StoredQueue]{}
		for _, e := range types {
			if key := e.Value.Key(); etcdkv.ShardOf(key, m.cfg.Shards) == id {
				wanted[key] = e
			}
		}
		for key, r := range here {
			if e, ok := wanted[key]; !ok || e.ModRevision != r.rev {
				r.end()
				delete(here, key)
			}
		}
		for key, e := range wanted {
			if here[key] == nil {
				here[key] = m.begin(ctx, id, fence, e)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// begin begins to dispatch a queue.
func (m *Dispatch) begin(ctx context.Context, id job.ShardID, fence queue.Fence, e etcdkv.Entry[etcdkv.StoredQueue]) *running {
	ctx, stop := context.WithCancel(ctx)
	r := &running{stop: stop, done: make(chan struct{}), rev: e.ModRevision}
	go func() {
		defer close(r.done)
		defer stop()
		for ctx.Err() == nil {
			err := m.dispatch(ctx, id, fence, &e.Value)
			if ctx.Err() != nil || !fence.Held() {
				return
			}
			m.log.Warn("dispatcher ended, and begins anew", zap.Stringer("queue", e.Value.Key()), zap.Error(err))
			select {
			case <-ctx.Done():
			case <-time.After(beginAnew):
			}
		}
	}()
	return r
}

// beginAnew is the pause before a dispatcher begins anew that has ended with an error.
const beginAnew = 500 * time.Millisecond

// dispatch runs one queue until ctx ends, or it cannot go on.
func (m *Dispatch) dispatch(ctx context.Context, id job.ShardID, fence queue.Fence, stored *etcdkv.StoredQueue) error {
	q, err := Open(m.cfg.Keys, m.deps.Client, m.log, &stored.Queue)
	if err != nil {
		return err
	}
	r := newRunner(m, id, fence, stored, q)
	m.mu.Lock()
	m.runners[stored.UID] = r
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.runners[stored.UID] == r {
			delete(m.runners, stored.UID)
		}
		m.met.waiting.Sub(float64(r.waiting))
	}()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() { cancel(q.Run(ctx, fence)) })
	r.run(ctx)
	cancel(nil)
	wg.Wait()
	r.wg.Wait()
	return context.Cause(ctx)
}

// neverExpires is the visibility of claims whose end the dispatcher sees to.
const neverExpires = 10 * 365 * 24 * time.Hour

// Open returns a queue as its description says.
func Open(keys etcdkv.Keys, client *clientv3.Client, log *zap.Logger, of *job.Queue) (*queue.Queue, error) {
	return queue.New(queue.Config{
		Keys: keys, Namespace: of.Namespace, Type: of.Name, Visibility: neverExpires, Retry: of.Spec.EffectiveRetry(),
		Aging: time.Duration(of.Spec.Aging), DedupWindow: time.Duration(of.Spec.DedupWindow),
	}, queue.Deps{Client: client, Logger: log})
}

// Reports takes what minions say of items, and returns the rest. It does not block.
func (m *Dispatch) Reports(reports []job.Report) []job.Report {
	mine := 0
	for i := range reports {
		if reports[i].Task.Fire.Job.IsQueue() {
			mine++
		}
	}
	if mine == 0 {
		return reports
	}
	rest := make([]job.Report, 0, len(reports)-mine)
	for i := range reports {
		r := &reports[i]
		uid := r.Task.Fire.Job
		if !uid.IsQueue() {
			rest = append(rest, *r)
			continue
		}
		m.mu.Lock()
		to := m.runners[uid]
		m.mu.Unlock()
		switch {
		case to != nil:
			to.deliver(*r)
		case m.deleted(uid) && r.Spooled && r.State.Final():
			m.deps.Minions.Ack([]job.TaskID{r.Task})
		}
		// Else its dispatcher is elsewhere, or has not begun: the minion says it again.
	}
	return rest
}

// deleted reports whether there is no queue with a UID.
func (m *Dispatch) deleted(uid job.UID) bool {
	types, rev := m.types.Snapshot()
	for _, e := range types {
		if e.Value.UID == uid {
			return false
		}
	}
	return rev > 0
}

// liveTimeout bounds how long a dispatcher may take to list what is in hand.
const liveTimeout = time.Second

// LiveRuns returns the items in hand, as runs. Empty strings mean any namespace, and any
// name (job.Key.RunName).
func (m *Dispatch) LiveRuns(namespace, name string) []job.Run {
	m.mu.Lock()
	var asked []*runner
	for _, r := range m.runners {
		key := r.key.RunName()
		if (namespace == "" || key.Namespace == namespace) && (name == "" || key.Name == name) {
			asked = append(asked, r)
		}
	}
	m.mu.Unlock()
	answers := make(chan []job.Run, len(asked))
	for _, r := range asked {
		r.do(func() { answers <- r.live() })
	}
	var out []job.Run
	timeout := time.NewTimer(liveTimeout)
	defer timeout.Stop()
	for range asked {
		select {
		case a := <-answers:
			out = append(out, a...)
		case <-timeout.C:
			return out
		}
	}
	return out
}

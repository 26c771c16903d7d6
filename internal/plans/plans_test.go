package plans

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap/zaptest"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/queues"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/plan"
	"github.com/carillon-cron/carillon/queue"
)

var shared etcdtest.Shared

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

// fence is an ownership in the form of one key.
type fence struct {
	key  string
	rev  int64
	held atomic.Bool
}

func (f *fence) Fence() clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(f.key), "=", f.rev)
}
func (f *fence) Token() job.Token { return job.Token{Epoch: 1, Revision: f.rev} }
func (f *fence) Held() bool       { return f.held.Load() }

// world is one plan, its queues with their workers, and its owner, which can be replaced.
type world struct {
	t      *testing.T
	client *clientv3.Client
	keys   etcdkv.Keys
	uid    job.UID
	// caller makes callbacks to callback; nil: there are none. Its clock is ahead by so much.
	caller   Caller
	callback string
	ahead    atomic.Int64

	mu sync.Mutex
	// begun has the tasks in the order in which workers had them; ended those that were done.
	begun, ended []string
	// bad are tasks that fail, stuck those whose workers wait for their cancel.
	bad, stuck map[string]bool
}

func newWorld(t *testing.T) *world {
	t.Helper()
	uid, err := job.NewUID()
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, client: shared.Server(t).Client(t), keys: etcdkv.NewKeys(etcdtest.Prefix(t)), uid: uid, bad: map[string]bool{}, stuck: map[string]bool{}, caller: &upstream{}}
}

func (w *world) put(key string, v any) int64 {
	w.t.Helper()
	value, err := etcdkv.Encode(v)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := w.client.Put(context.Background(), key, value)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.Header.Revision
}

// fence returns a new ownership; the one before has ended with it.
func (w *world) fence(name string) *fence {
	f := &fence{key: w.keys.Root() + name}
	f.rev = w.put(f.key, "")
	f.held.Store(true)
	return f
}

// queue stores a queue, and begins to work on it.
func (w *world) queue(name string, change func(*etcdkv.StoredQueue)) {
	w.t.Helper()
	uid, err := job.NewQueueUID()
	if err != nil {
		w.t.Fatal(err)
	}
	s := etcdkv.StoredQueue{Schema: etcdkv.Schema, Queue: job.Queue{Metadata: job.Metadata{Namespace: "team", Name: name}, Spec: job.QueueSpec{Command: []string{"x"}}, UID: uid, Generation: 1}}
	if change != nil {
		change(&s)
	}
	w.put(w.keys.QueueType(s.Key()), s)
	q, err := queues.Open(w.keys, w.client, zaptest.NewLogger(w.t), &s.Queue)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = q.Run(ctx, w.fence("q"+name)) })
	wg.Go(func() { w.work(ctx, q) })
	w.t.Cleanup(func() { cancel(); wg.Wait() })
}

// work does items as they come, until ctx ends.
func (w *world) work(ctx context.Context, q *queue.Queue) {
	for ctx.Err() == nil {
		items, err := q.ClaimEach(ctx, slices.Repeat([]queue.Worker{{ID: "m1"}}, 10))
		if err != nil || len(items) == 0 {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		for i := range items {
			it := &items[i]
			task := it.Origin.Plan.Task
			w.mu.Lock()
			w.begun = append(w.begun, task)
			bad, stuck := w.bad[task], w.stuck[task]
			w.mu.Unlock()
			as := job.TaskItem{Minion: "m1", Attempt: it.Attempt, RunID: job.RunID("run-" + task)}
			if err := q.Begin(ctx, it.Receipt, as, time.Now()); err != nil {
				w.t.Errorf("begin %s: %v", task, err)
			}
			o := queue.Outcome{Result: queue.Succeeded, Report: &job.Report{State: job.StateSucceeded, Item: &as}}
			switch {
			case bad:
				o = queue.Outcome{Result: queue.Hopeless, Reason: "it broke", Report: &job.Report{State: job.StateFailed, Reason: "it broke", Item: &as}}
			case stuck:
				go w.stop(ctx, q, it)
				continue
			}
			if err := q.Settle(ctx, it.Receipt, o); err != nil && ctx.Err() == nil {
				w.t.Errorf("settle %s: %v", task, err)
			}
			w.mu.Lock()
			w.ended = append(w.ended, task)
			w.mu.Unlock()
		}
	}
}

// stop ends an item once it is cancelled.
func (w *world) stop(ctx context.Context, q *queue.Queue, it *queue.Claimed) {
	for ctx.Err() == nil {
		v, err := q.Find(ctx, it.ID)
		if err == nil && v.Cancel != nil {
			_ = q.Settle(ctx, it.Receipt, queue.Outcome{Result: queue.Dropped, Reason: *v.Cancel})
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// accept stores a plan as control does, in chunks of three tasks.
func (w *world) accept(tasks ...plan.Task) {
	w.t.Helper()
	data := w.keys.PlanData(w.uid)
	first := 0
	for part := range slices.Chunk(tasks, 3) {
		var chunk []etcdkv.PlanTask
		for _, t := range part {
			chunk = append(chunk, etcdkv.PlanTask{Task: t})
		}
		value, err := etcdkv.EncodePlanTasks(chunk)
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := w.client.Put(context.Background(), data.Chunk(first), value); err != nil {
			w.t.Fatal(err)
		}
		first += len(part)
	}
	w.put(w.keys.Plan("team", "erp", "p"), etcdkv.StoredPlan{
		Schema: etcdkv.Schema, UID: w.uid, Namespace: "team", Header: plan.Header{ID: "p", Upstream: "erp", Callback: w.callback}, Tasks: len(tasks), AcceptedAt: time.Now(),
		Untold: w.callback != "",
	})
}

const shards = 4

// own begins with an owner under a new token, and returns what ends it. The one before is not
// told that it has lost its lock.
func (w *world) own() (stop func()) {
	w.t.Helper()
	k, err := New(Config{Node: "n1", Keys: w.keys, Shards: shards, Window: 7, CallAgain: 10 * time.Millisecond}, Deps{
		Client: w.client, Caller: w.caller, Logger: zaptest.NewLogger(w.t), Now: func() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	f := w.fence("owner")
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = k.Run(ctx) })
	for id := range job.ShardID(shards) {
		wg.Go(func() { k.Hold(ctx, id, f) })
	}
	return sync.OnceFunc(func() { cancel(); wg.Wait() })
}

func (w *world) plan() etcdkv.StoredPlan {
	w.t.Helper()
	key := w.keys.Plan("team", "erp", "p")
	resp, err := w.client.Get(context.Background(), key)
	if err != nil || len(resp.Kvs) != 1 {
		w.t.Fatalf("the plan: %v", err)
	}
	p, err := etcdkv.Decode[etcdkv.StoredPlan](key, resp.Kvs[0].Value)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// order adds an order to cancel.
func (w *world) order(o etcdkv.PlanOrder) {
	p := w.plan()
	p.Orders = append(p.Orders, o)
	w.put(w.keys.Plan("team", "erp", "p"), p)
}

// states are those of all tasks, by id.
func (w *world) states() map[string]etcdkv.PlanState {
	w.t.Helper()
	data := w.keys.PlanData(w.uid)
	resp, err := w.client.Get(context.Background(), data.Chunks(), clientv3.WithPrefix())
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]etcdkv.PlanState{}
	for _, kv := range resp.Kvs {
		tasks, err := etcdkv.DecodePlanTasks(string(kv.Key), kv.Value)
		if err != nil {
			w.t.Fatal(err)
		}
		first, _ := data.ParseChunk(string(kv.Key))
		got, err := w.client.Get(context.Background(), data.States(first))
		if err != nil {
			w.t.Fatal(err)
		}
		var s etcdkv.PlanStates
		if len(got.Kvs) > 0 {
			if err := json.Unmarshal(got.Kvs[0].Value, &s); err != nil {
				w.t.Fatal(err)
			}
		}
		for i := range tasks {
			if out[tasks[i].ID] = (etcdkv.PlanState{}); i < len(s.Tasks) {
				out[tasks[i].ID] = s.Tasks[i]
			}
		}
	}
	return out
}

// end waits for the end of the plan, and checks what is left.
func (w *world) end() map[string]etcdkv.PlanState {
	w.t.Helper()
	await.Until(w.t, "the end of the plan", func() bool { return !w.plan().EndedAt.IsZero() })
	left, err := w.client.Get(context.Background(), w.keys.PlanData(w.uid).Items(), clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || left.Count != 0 {
		w.t.Errorf("%d keys of items are left: %v", left.Count, err)
	}
	key := w.keys.PlanData(w.uid).Status()
	resp, err := w.client.Get(context.Background(), key)
	if err != nil || len(resp.Kvs) != 1 {
		w.t.Fatalf("the status: %v", err)
	}
	status, err := etcdkv.Decode[etcdkv.PlanStatus](key, resp.Kvs[0].Value)
	if err != nil {
		w.t.Fatal(err)
	}
	states, counts := w.states(), map[string]int{}
	for _, s := range states {
		counts[s.State]++
	}
	if !maps.Equal(counts, status.Counts) {
		w.t.Errorf("the status counts %v; it is %v", status.Counts, counts)
	}
	return states
}

// P3, P4, P6: over several owners, of which the former ones do not know that they are, each task
// is done once, after those that it waits for.
func TestEachTaskIsDoneOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.queue("report", nil)
	w.queue("mail", nil)
	const n = 60
	after := map[string][]string{}
	var tasks []plan.Task
	for i := range n {
		one := plan.Task{ID: fmt.Sprint("t", i), Type: []string{"report", "mail"}[i%2], Priority: i % 10, Parameters: map[string]plan.Value{"n": plan.Value(fmt.Sprint(i))}}
		if i >= 4 {
			one.After = []string{fmt.Sprint("t", i/2), fmt.Sprint("t", i-3)}
		}
		after[one.ID] = one.After
		tasks = append(tasks, one)
	}
	w.accept(tasks...)
	done := func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.ended)
	}
	for i := range 4 {
		stop := w.own()
		defer stop()
		await.Until(t, "some of the tasks", func() bool { return done() >= n*(i+1)/5 })
	}
	for id, s := range w.end() {
		if s.State != string(plan.Succeeded) || s.Minion != "m1" || s.RunID != job.RunID("run-"+id) || s.Attempt != 1 {
			t.Errorf("%s: %+v", id, s)
		}
	}
	place := map[string]int{}
	for i, id := range w.begun {
		if _, twice := place[id]; twice {
			t.Errorf("%s was done twice", id)
		}
		place[id] = i
		for _, before := range after[id] {
			if at, ok := place[before]; !ok || at >= i {
				t.Errorf("%s was begun before %s", id, before)
			}
		}
	}
	if len(place) != n {
		t.Errorf("%d tasks were done", len(place))
	}
}

// P5, P6, P7: what does not go well ends as the table says, and so does what waits for it.
func TestHowTasksEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.queue("work", nil)
	w.queue("strict", func(s *etcdkv.StoredQueue) {
		s.Spec.PayloadSchema = `{"type": "object", "required": ["month"]}`
	})
	w.queue("closed", func(s *etcdkv.StoredQueue) { s.Hold = &etcdkv.QueueHold{Draining: true} })
	w.bad["bad"], w.stuck["stuck"] = true, true
	soon := time.Now().Add(300 * time.Millisecond)
	w.accept(
		plan.Task{ID: "bad", Type: "work"},
		plan.Task{ID: "after-bad", Type: "work", After: []string{"bad"}},
		plan.Task{ID: "after-after-bad", Type: "work", After: []string{"after-bad"}},
		plan.Task{ID: "unfit", Type: "strict"},
		plan.Task{ID: "nowhere", Type: "nosuch"},
		plan.Task{ID: "late", Type: "closed", Deadline: soon},
		plan.Task{ID: "held", Type: "closed", Group: "g"},
		plan.Task{ID: "after-held", Type: "work", After: []string{"held"}},
		plan.Task{ID: "stuck", Type: "work"},
		plan.Task{ID: "later", Type: "work", NotBefore: time.Now().Add(time.Hour)},
		plan.Task{ID: "then", Type: "work", NotBefore: soon},
	)
	defer w.own()()
	await.Until(t, "the stuck task", func() bool { return w.states()["stuck"].State == string(plan.Running) })
	await.Until(t, "the task whose time has come", func() bool { return w.states()["then"].State == string(plan.Succeeded) })
	w.order(etcdkv.PlanOrder{Group: "g", By: "ann", Reason: "not needed"})
	w.order(etcdkv.PlanOrder{Tasks: []string{"stuck", "later", "bad"}, By: "ann"})
	states := w.end()
	for id, want := range map[string]struct {
		state  plan.State
		reason string
	}{
		"bad": {plan.Failed, "it broke"}, "after-bad": {plan.Skipped, "did not succeed"}, "after-after-bad": {plan.Skipped, "did not succeed"},
		"unfit": {plan.Failed, "does not take its parameters"}, "nowhere": {plan.Failed, "does not exist"}, "late": {plan.Expired, "deadline"},
		"held": {plan.Cancelled, "cancelled by ann: not needed"}, "after-held": {plan.Skipped, "did not succeed"},
		"stuck": {plan.Cancelled, "cancelled by ann"}, "later": {plan.Cancelled, "cancelled by ann"}, "then": {plan.Succeeded, ""},
	} {
		if s := states[id]; s.State != string(want.state) || !strings.Contains(s.Reason, want.reason) {
			t.Errorf("%s: %+v, want %s (%s)", id, s, want.state, want.reason)
		}
	}
	if p := w.plan(); len(p.Orders) > 0 {
		t.Errorf("orders are left: %+v", p.Orders)
	}
}

// P8: what has no description is removed, and a plan that ended long ago.
func TestWhatIsSwept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	now := time.Now()
	k, err := New(Config{Node: "n1", Keys: w.keys, Shards: shards}, Deps{Client: w.client, Caller: w.caller, Logger: zaptest.NewLogger(t), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = k.plans.Run(ctx, w.client, w.keys.Plans()) }()
	staged, err := job.NewUID()
	if err != nil {
		t.Fatal(err)
	}
	w.put(w.keys.PlanStaging(staged), etcdkv.PlanStaging{Schema: etcdkv.Schema, At: now})
	for i := range 250 {
		w.put(w.keys.PlanData(staged).Chunk(i), "tasks")
	}
	w.accept(plan.Task{ID: "a", Type: "x"})
	p := w.plan()
	p.EndedAt = now
	ended := w.put(w.keys.Plan("team", "erp", "p"), p)
	await.Until(t, "the plan", func() bool { _, rev := k.plans.Snapshot(); return rev >= ended })
	count := func(prefix string) int64 {
		resp, err := w.client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			t.Fatal(err)
		}
		return resp.Count
	}
	sweep := func() {
		t.Helper()
		if err := k.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
	}
	sweep()
	if n := count(w.keys.Root()); n != 250+1+1+1 {
		t.Errorf("%d keys are left of what is not old", n)
	}
	now = now.Add(DefaultKeep + time.Minute)
	sweep()
	sweep()
	if n := count(w.keys.Root()); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}

package queues

import (
	"context"
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
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/queue"
)

var shared etcdtest.Shared

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

// minions are workers in memory: what they are ordered is in orders until a test
// answers it.
type minions struct {
	mu     sync.Mutex
	offers map[job.MinionID]string
	away   map[job.MinionID]job.Absence
	orders map[job.TaskID]job.Order
	sent   map[job.TaskID]int
	cancel map[job.TaskID]string
	asked  map[job.TaskID]int
	acks   map[job.TaskID]bool
}

func newMinions(offers map[job.MinionID]string) *minions {
	return &minions{
		offers: offers, away: map[job.MinionID]job.Absence{}, orders: map[job.TaskID]job.Order{}, sent: map[job.TaskID]int{},
		cancel: map[job.TaskID]string{}, asked: map[job.TaskID]int{}, acks: map[job.TaskID]bool{},
	}
}

func (m *minions) Reach(t job.Target) (ready []job.MinionID, away []job.Uncontrollable) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(m.offers)) {
		if _, gone := m.away[id]; !gone && (t.Match == "" || string(id) == strings.Trim(t.Match, "()")) {
			ready = append(ready, id)
		}
	}
	return ready, nil
}

func (m *minions) Value(id job.MinionID, key string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if key != job.FactQueues {
		return ""
	}
	return m.offers[id]
}

func (m *minions) Absence(id job.MinionID) (job.Absence, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.away[id]
	return a, ok
}

func (m *minions) Revoked(job.MinionID) bool { return false }

func (m *minions) Send(orders []job.Order) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range orders {
		m.orders[o.Task] = o
		m.sent[o.Task]++
	}
}

func (m *minions) Ask(refs []job.Ref) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range refs {
		m.asked[r.Task]++
	}
}

func (m *minions) Cancel(refs []job.Ref, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range refs {
		m.cancel[r.Task] = reason
	}
}

func (m *minions) Ack(tasks []job.TaskID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range tasks {
		m.acks[t] = true
	}
}

// lose has a minion be away for longer than any queue waits.
func (m *minions) lose(id job.MinionID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away[id] = job.Absence{Since: time.Now(), For: 24 * time.Hour}
}

// waiting returns the orders of an item that were not answered.
func (m *minions) of(item string) []job.Order {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []job.Order
	for _, o := range m.orders {
		if o.Env[job.EnvItem] == item {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b job.Order) int { return a.Task.Attempt - b.Task.Attempt })
	return out
}

// records keep the runs.
type records struct {
	mu   sync.Mutex
	runs map[job.RunID]job.Run
}

func (r *records) Record(run job.Run, done func(error)) {
	r.mu.Lock()
	r.runs[run.RunID] = run
	r.mu.Unlock()
	done(nil)
}

func (r *records) get(id job.RunID) (job.Run, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	run, ok := r.runs[id]
	return run, ok
}

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

// cluster is one queue with its dispatcher, which can be replaced.
type cluster struct {
	t       *testing.T
	client  *clientv3.Client
	keys    etcdkv.Keys
	minions *minions
	history *records
	queue   job.Queue
	q       *queue.Queue
	m       *Dispatch
	fence   *fence
	stop    func()
	roles   roles
}

// roles add to all bounds what a test says.
type roles struct {
	mu      sync.Mutex
	version uint64
	now     job.Bounds
}

func (r *roles) Version() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.version + 1
}

func (r *roles) Now(b job.Bounds, _ string) job.Bounds {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Concat(b, r.now)
}

func open(t *testing.T, spec job.QueueSpec, offers map[job.MinionID]string) *cluster {
	t.Helper()
	return openWithin(t, nil, spec, offers)
}

// openWithin is open for a queue that is bounded.
func openWithin(t *testing.T, within job.Bounds, spec job.QueueSpec, offers map[job.MinionID]string) *cluster {
	t.Helper()
	c := &cluster{t: t, client: shared.Server(t).Client(t), keys: etcdkv.NewKeys(etcdtest.Prefix(t)), minions: newMinions(offers), history: &records{runs: map[job.RunID]job.Run{}}}
	uid, err := job.NewQueueUID()
	if err != nil {
		t.Fatal(err)
	}
	if len(spec.Command) == 0 {
		spec.Command = []string{"work"}
	}
	c.queue = job.Queue{Metadata: job.Metadata{Namespace: "team", Name: "report"}, Spec: spec, UID: uid, Generation: 1, Bounds: within}
	c.describe(nil)
	if c.q, err = Open(c.keys, c.client, zaptest.NewLogger(t), &c.queue); err != nil {
		t.Fatal(err)
	}
	c.start()
	t.Cleanup(func() { c.stop() })
	return c
}

func (c *cluster) describe(hold *etcdkv.QueueHold) {
	c.t.Helper()
	value, err := etcdkv.Encode(etcdkv.StoredQueue{Schema: etcdkv.Schema, Queue: c.queue, Hold: hold, AppliedBy: "ada"})
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.client.Put(context.Background(), c.keys.QueueType(c.queue.Key()), value); err != nil {
		c.t.Fatal(err)
	}
}

// start begins with a dispatcher under a new token.
func (c *cluster) start() {
	c.t.Helper()
	resp, err := c.client.Put(context.Background(), c.keys.Root()+"fence", "")
	if err != nil {
		c.t.Fatal(err)
	}
	f := &fence{key: c.keys.Root() + "fence", rev: resp.Header.Revision}
	f.held.Store(true)
	const shards = 4
	m, err := New(Config{Node: "n1", Keys: c.keys, Shards: shards}, Deps{
		Client: c.client, Minions: c.minions, History: c.history, Roles: &c.roles, Logger: zaptest.NewLogger(c.t),
	})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = m.Run(ctx) })
	for id := range job.ShardID(shards) {
		wg.Go(func() { m.Hold(ctx, id, f) })
	}
	c.m, c.fence = m, f
	c.stop = func() { cancel(); wg.Wait() }
}

func (c *cluster) put(items ...queue.Item) {
	c.t.Helper()
	if _, err := c.q.Put(context.Background(), items...); err != nil {
		c.t.Fatal(err)
	}
}

// order waits for the order of an attempt of an item.
func (c *cluster) order(item string, attempt int) job.Order {
	c.t.Helper()
	var o job.Order
	await.Missing(c.t, func() string {
		for _, o = range c.minions.of(item) {
			if o.Task.Attempt == attempt {
				return ""
			}
		}
		return fmt.Sprintf("attempt %d of item %s was not ordered", attempt, item)
	})
	return o
}

// answer reports the end of an attempt.
func (c *cluster) answer(o job.Order, state job.State, code int) {
	now := time.Now().UTC()
	c.m.Reports([]job.Report{{
		Task: o.Task, Shard: o.Shard, Known: true, State: state, Reason: "because", StartedAt: now, EndedAt: now, Exit: &job.Exit{Code: code}, Spooled: true,
		Stdout: job.Output{Head: "out"},
	}})
}

func (c *cluster) acked(o job.Order) {
	c.t.Helper()
	await.Until(c.t, "the acknowledgement of "+o.Task.String(), func() bool {
		c.minions.mu.Lock()
		defer c.minions.mu.Unlock()
		return c.minions.acks[o.Task]
	})
}

func (c *cluster) stats(want queue.Stats) {
	c.t.Helper()
	await.Missing(c.t, func() string {
		got, err := c.q.Stats(context.Background())
		if err != nil || got != want {
			return fmt.Sprintf("stats are %+v, %v; want %+v", got, err, want)
		}
		return ""
	})
}

const me = "team/report:"

func TestD1_ItemIsDone(t *testing.T) {
	t.Parallel()
	c := open(t, job.QueueSpec{Env: map[string]job.EnvValue{"A": job.Text("b"), "S": {Secret: &job.SecretRef{File: "/s"}}}, User: "nobody"}, map[job.MinionID]string{"m1": me + "2", "m2": "team/other:5", "m3": ""})
	c.put(queue.Item{ID: "x", Payload: []byte("p"), Priority: 3, Subject: "token ci"})
	o := c.order("x", 1)
	if o.Task.Minion != "m1" || o.Env[job.EnvPayload] != "p" || o.Env["A"] != "b" || o.Subject != "token ci" || o.Author != "ada" || o.Secrets["S"].Secret == nil || o.User != "nobody" || o.Key.Name != "queue.report" || o.Token != c.fence.Token() || !o.Task.Fire.Job.IsQueue() {
		t.Errorf("order: %+v", o)
	}
	c.m.Reports([]job.Report{{Task: o.Task, Shard: o.Shard, Known: true, State: job.StateRunning, StartedAt: time.Now()}})
	await.Until(t, "the live run", func() bool {
		runs := c.m.LiveRuns("team", "queue.report")
		return len(runs) == 1 && runs[0].State == job.StateRunning && runs[0].RunID == o.RunID
	})
	c.answer(o, job.StateSucceeded, 0)
	c.acked(o)
	c.stats(queue.Stats{})
	run, ok := c.history.get(o.RunID)
	if !ok || run.State != job.StateSucceeded || run.Params[ParamItem] != "x" || run.Tasks[0].Stdout.Head != "out" || run.Token.String() != o.Env[job.EnvItemToken] {
		t.Errorf("record: %+v, %v", run, ok)
	}
}

func TestPlacesBoundWhatAMinionHas(t *testing.T) {
	t.Parallel()
	c := open(t, job.QueueSpec{}, map[job.MinionID]string{"m1": me + "2", "m2": me + "1"})
	for i := range 5 {
		c.put(queue.Item{ID: fmt.Sprint(i)})
	}
	c.stats(queue.Stats{Waiting: 2, InFlight: 3})
	has := map[job.MinionID]int{}
	for i := range 3 {
		has[c.order(fmt.Sprint(i), 1).Task.Minion]++
	}
	if has["m1"] != 2 || has["m2"] != 1 {
		t.Errorf("minions have %v", has)
	}
	c.answer(c.order("0", 1), job.StateSucceeded, 0)
	c.order("3", 1) // in turn
}

func TestRetryAndDeadLetter(t *testing.T) {
	t.Parallel()
	c := open(t, job.QueueSpec{Retry: job.Retry{Attempts: 3, Backoff: job.Duration(time.Millisecond), ExitCodes: []int{1}}}, map[job.MinionID]string{"m1": me + "9"})
	c.put(queue.Item{ID: "a"}, queue.Item{ID: "b"})
	for attempt := 1; attempt <= 3; attempt++ {
		o := c.order("a", attempt)
		c.answer(o, job.StateFailed, 1)
		c.acked(o)
	}
	c.answer(c.order("b", 1), job.StateFailed, 2) // not among the codes that are tried again
	c.stats(queue.Stats{Dead: 2})
	for id, attempts := range map[string]int{"a": 3, "b": 1} {
		v, err := c.q.Find(t.Context(), id)
		if err != nil || v.Attempt != attempts || !strings.Contains(v.LastError, "because") {
			t.Errorf("dead letter: %+v, %v", v, err)
		}
		run, _ := c.history.get(c.order(id, attempts).RunID)
		if run.State != job.StateFailed || run.Attempt != attempts || !strings.HasPrefix(run.Reason, "dead letter") || len(run.Attempts) != attempts-1 {
			t.Errorf("record: %+v", run)
		}
	}
}

func TestD2_LateAnswerIsRefused(t *testing.T) {
	t.Parallel()
	c := open(t, job.QueueSpec{}, map[job.MinionID]string{"m1": me + "1"})
	c.put(queue.Item{ID: "x"})
	old := c.order("x", 1)
	c.minions.lose("m1")
	c.minions.mu.Lock()
	c.minions.offers["m2"] = me + "1"
	c.minions.mu.Unlock()
	now := c.order("x", 2) // D4
	if now.Task.Minion != "m2" || old.Env[job.EnvItemToken] == now.Env[job.EnvItemToken] {
		t.Fatalf("second order: %+v", now)
	}
	// The lost one goes on, and is told to stop; its result does not count.
	c.m.Reports([]job.Report{{Task: old.Task, Shard: old.Shard, Known: true, State: job.StateRunning, StartedAt: time.Now()}})
	await.Until(t, "the order to stop", func() bool {
		c.minions.mu.Lock()
		defer c.minions.mu.Unlock()
		return c.minions.cancel[old.Task] != ""
	})
	c.answer(old, job.StateSucceeded, 0)
	c.acked(old)
	c.stats(queue.Stats{InFlight: 1})
	if run, there := c.history.get(old.RunID); there {
		t.Errorf("the late result is recorded: %+v", run)
	}
	c.answer(now, job.StateSucceeded, 0)
	c.stats(queue.Stats{})
	if run, _ := c.history.get(now.RunID); run.Attempt != 2 || run.Tasks[0].Minion != "m2" || len(run.Attempts) != 1 || run.Attempts[0].Minion != "m1" || run.Attempts[0].State != job.StateIndeterminate {
		t.Errorf("record: %+v", run)
	}
}

// A dispatcher that was replaced settles nothing, and the next one goes on with what
// is in hand: it orders the same attempt again.
func TestD2_NextDispatcherGoesOn(t *testing.T) {
	t.Parallel()
	c := open(t, job.QueueSpec{}, map[job.MinionID]string{"m1": me + "1"})
	c.put(queue.Item{ID: "x"})
	o := c.order("x", 1)
	before, stop := c.m, c.stop
	c.minions.mu.Lock()
	clear(c.minions.orders)
	c.minions.mu.Unlock()
	c.start()
	defer stop()
	again := c.order("x", 1)
	if again.Task != o.Task || !o.Token.Less(again.Token) {
		t.Errorf("ordered again: %+v", again)
	}
	before.Reports([]job.Report{{Task: o.Task, Shard: o.Shard, Known: true, State: job.StateFailed, Spooled: true}})
	await.Until(t, "the dispatcher before to have tried", func() bool {
		before.mu.Lock()
		r := before.runners[c.queue.UID]
		before.mu.Unlock()
		hands := make(chan int)
		r.do(func() { hands <- len(r.tasks) })
		return <-hands == 0
	})
	c.answer(again, job.StateSucceeded, 0)
	c.stats(queue.Stats{})
	c.acked(again)
	if run, _ := c.history.get(o.RunID); run.State != job.StateSucceeded || run.Attempt != 1 {
		t.Errorf("record: %+v", run)
	}
}

func TestUnknownItemsAreOrderedAgain(t *testing.T) {
	t.Parallel()
	c := open(t, job.QueueSpec{}, map[job.MinionID]string{"m1": me + "1"})
	c.put(queue.Item{ID: "x"})
	o := c.order("x", 1)
	await.Until(t, "another order of the same attempt", func() bool {
		c.m.Reports([]job.Report{{Task: o.Task, Shard: o.Shard, State: job.StateRejected, Reason: "never accepted"}})
		c.minions.mu.Lock()
		defer c.minions.mu.Unlock()
		return c.minions.sent[o.Task] > 1
	})
	c.answer(o, job.StateSucceeded, 0)
	c.stats(queue.Stats{})
}

func TestCancelInHand(t *testing.T) {
	t.Parallel()
	c := open(t, job.QueueSpec{}, map[job.MinionID]string{"m1": me + "1"})
	c.put(queue.Item{ID: "x"})
	o := c.order("x", 1)
	v, err := c.q.Find(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.q.Cancel(t.Context(), &v, "nobody wants it"); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the order to end it", func() bool {
		c.minions.mu.Lock()
		defer c.minions.mu.Unlock()
		return c.minions.cancel[o.Task] == "nobody wants it"
	})
	c.answer(o, job.StateCancelled, 0)
	c.stats(queue.Stats{})
	if run, _ := c.history.get(o.RunID); run.State != job.StateCancelled {
		t.Errorf("record: %+v", run)
	}
}

func TestD5_PausedQueueHandsNothingOut(t *testing.T) {
	t.Parallel()
	c := open(t, job.QueueSpec{}, map[job.MinionID]string{"m1": me + "1"})
	c.put(queue.Item{ID: "before"})
	o := c.order("before", 1)
	c.describe(&etcdkv.QueueHold{Since: time.Now()})
	await.Until(t, "the paused dispatcher", func() bool {
		c.m.mu.Lock()
		defer c.m.mu.Unlock()
		r := c.m.runners[c.queue.UID]
		return r != nil && r.paused()
	})
	c.put(queue.Item{ID: "x"})
	await.Until(t, "the end of what was handed out", func() bool {
		c.answer(o, job.StateSucceeded, 0) // the minion repeats it until it is heard
		s, err := c.q.Stats(t.Context())
		return err == nil && s == (queue.Stats{Waiting: 1})
	})
	c.describe(nil)
	c.order("x", 1)
}

func TestReportsOfOthers(t *testing.T) {
	t.Parallel()
	c := open(t, job.QueueSpec{}, nil)
	uid, err := job.NewUID()
	if err != nil {
		t.Fatal(err)
	}
	gone, err := job.NewQueueUID()
	if err != nil {
		t.Fatal(err)
	}
	ours := job.Report{Task: job.TaskID{Fire: job.FireID{Job: uid, At: 1, Trigger: job.TriggerManual}}}
	deleted := job.Report{Task: job.TaskID{Fire: job.FireID{Job: gone, At: 1, Trigger: job.TriggerManual}}, Known: true, Spooled: true, State: job.StateSucceeded}
	<-c.m.types.Synced()
	rest := c.m.Reports([]job.Report{deleted, ours, deleted})
	if len(rest) != 1 || rest[0].Task != ours.Task {
		t.Errorf("passed on: %+v", rest)
	}
	if !c.minions.acks[deleted.Task] {
		t.Error("the minion is not told to forget what a queue had that is deleted")
	}
}

func TestStatusTellsWhoIsBusy(t *testing.T) {
	t.Parallel()
	c := open(t, job.QueueSpec{}, map[job.MinionID]string{"m1": me + "1", "m2": me + "2"})
	c.put(queue.Item{ID: "x"}, queue.Item{ID: "y"}, queue.Item{ID: "z"}, queue.Item{ID: "waits"})
	key := c.keys.QueueStatus(c.queue.Key())
	await.Missing(t, func() string {
		resp, err := c.client.Get(t.Context(), key)
		if err != nil || len(resp.Kvs) == 0 {
			return fmt.Sprint("no status: ", err)
		}
		s, err := etcdkv.Decode[etcdkv.QueueStatus](key, resp.Kvs[0].Value)
		if err != nil || len(s.Workers) != 2 || len(s.Workers[0].Items) != 1 || len(s.Workers[1].Items) != 2 || s.OldestPutAt.IsZero() || s.Node != "n1" {
			return fmt.Sprintf("status %+v, %v", s, err)
		}
		return ""
	})
}

// admitting is what somebody may have started: the program work, with items.
func admitting(by string, targets ...string) job.Bounds {
	return job.Bounds{{By: by, Rules: []job.StartRule{{Targets: targets, Commands: []job.CommandRule{
		`{"env":{"CARILLON_ITEM":{"any":true},"CARILLON_ITEM_TOKEN":{"any":true},"CARILLON_PAYLOAD":{"glob":"good*"},"CARILLON_QUEUE":"report"},"program":"/bin/work"}`,
	}}}}}
}

// TestD6_ItemsWithinTheBounds: of who applied the queue, and of who put the item.
func TestD6_ItemsWithinTheBounds(t *testing.T) {
	t.Parallel()
	c := openWithin(t, admitting("ann", "m1"), job.QueueSpec{Command: []string{"/bin/work"}}, map[job.MinionID]string{"m1": me + "5", "m2": me + "5"})
	c.put(queue.Item{ID: "bad", Payload: []byte("bad")})
	for _, id := range []string{"x", "y", "z"} {
		c.put(queue.Item{ID: id, Payload: []byte("good"), Bounds: admitting("rob")})
	}
	for _, id := range []string{"x", "y", "z"} {
		if o := c.order(id, 1); o.Task.Minion != "m1" {
			t.Errorf("item %s is ordered of %s", id, o.Task.Minion)
		}
	}
	// No minion is within the bounds of both: the item goes back, as often as it may.
	c.put(queue.Item{ID: "m2-only", Payload: []byte("good"), Bounds: admitting("rob", "m2")})
	c.stats(queue.Stats{InFlight: 3, Dead: 2})
	dead, err := c.q.Dead(t.Context(), nil, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dead {
		want := `it is not what ann may start: the variable CARILLON_PAYLOAD is another, and the rule has the glob "good*"`
		if d.ID != "bad" {
			want = "minion m1 is not one that this may be started on"
		}
		if !strings.Contains(d.Reason, want) || len(c.minions.of(d.ID)) != 0 {
			t.Errorf("%s: %s, ordered %d times; want %s", d.ID, d.Reason, len(c.minions.of(d.ID)), want)
		}
	}
}

// TestD6_AnItemThatMayRunIsAskedFor: an order that went out before the queue was applied
// anew, within other bounds, is not taken for one that was refused.
func TestD6_AnItemThatMayRunIsAskedFor(t *testing.T) {
	t.Parallel()
	c := open(t, job.QueueSpec{Command: []string{"/bin/work"}}, map[job.MinionID]string{"m1": me + "1"})
	c.put(queue.Item{ID: "x", Payload: []byte("bad")})
	o := c.order("x", 1)
	c.queue.Bounds = admitting("ann")
	c.describe(nil)
	await.Until(t, "the minion is asked", func() bool {
		c.minions.mu.Lock()
		defer c.minions.mu.Unlock()
		return c.minions.asked[o.Task] > 0
	})
	c.stats(queue.Stats{InFlight: 1})
	c.answer(o, job.StateSucceeded, 0)
	c.acked(o)
	c.stats(queue.Stats{})
}

// TestD6_RolesAsTheyAreNow: what a role has taken back since the queue was applied is not
// started any more.
func TestD6_RolesAsTheyAreNow(t *testing.T) {
	t.Parallel()
	c := openWithin(t, admitting("ann"), job.QueueSpec{Command: []string{"/bin/work"}}, map[job.MinionID]string{"m1": me + "5"})
	c.put(queue.Item{ID: "x", Payload: []byte("good")})
	c.order("x", 1)
	c.roles.mu.Lock()
	c.roles.version, c.roles.now = 1, job.Bounds{{By: "ann now", Rules: []job.StartRule{{RunAs: []string{"deploy"}}}}}
	c.roles.mu.Unlock()
	c.put(queue.Item{ID: "y", Payload: []byte("good")})
	c.stats(queue.Stats{InFlight: 1, Dead: 1})
	dead, err := c.q.Dead(t.Context(), nil, 10)
	if err != nil || len(dead) != 1 || !strings.Contains(dead[0].Reason, "it is not what ann now may start") {
		t.Errorf("%+v, %v", dead, err)
	}
}

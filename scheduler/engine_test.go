package scheduler

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
	"github.com/carillon-cron/carillon/scheduler/cluster"
)

var shared etcdtest.Shared

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

// world is what engines share in a test: minions that run each task once, and a
// history.
type world struct {
	mu      sync.Mutex
	engines map[*Engine]bool
	// orders counts how often a task was ordered, ran holds the final reports.
	orders  map[job.TaskID]int
	last    map[job.TaskID]job.Order
	tokens  map[job.ShardID]job.Token
	ran     map[job.TaskID]job.Report
	runs    map[job.RunID]job.Run
	inState map[job.State]int // how many of runs
	early   []string
	// off is by how much nodes may be ahead for want of a better measurement.
	off time.Duration
	// silent: minions swallow orders without a word, as when a node dies.
	silent bool
	hold   bool // minions accept and do not end
	fail   bool // commands fail
	// exit is what commands that fail end with; nil: code 1.
	exit *job.Exit
	// verdict is what handlers that fail say of it.
	verdict job.Verdict
	// forgetful: the history drops records.
	forgetful bool
	// hosts are the minions; none: there is one, m1.
	hosts []job.MinionID
	// racks are the minions' values of all labels; atOnce is how many tasks were
	// under way at a time, at most, by them.
	racks map[job.MinionID]string
	// facts are the minions' own words.
	facts  map[job.MinionID]map[string]string
	atOnce map[string]int
}

func newWorld() *world {
	return &world{
		engines: map[*Engine]bool{}, orders: map[job.TaskID]int{}, last: map[job.TaskID]job.Order{}, ran: map[job.TaskID]job.Report{},
		runs: map[job.RunID]job.Run{}, inState: map[job.State]int{}, tokens: map[job.ShardID]job.Token{}, atOnce: map[string]int{},
	}
}

// minions is one engine's way to the world's minions.
type minions struct {
	w *world
	e *Engine
}

func (m *minions) Match(job.Target) []job.MinionID {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	if len(m.w.hosts) > 0 {
		return slices.Clone(m.w.hosts)
	}
	return []job.MinionID{"m1"}
}

func (m *minions) Reach(t job.Target) ([]job.MinionID, []job.Uncontrollable) {
	return m.Match(t), nil
}

func (m *minions) Value(id job.MinionID, key string) string {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	if v := m.w.facts[id][key]; v != "" {
		return v
	}
	return m.w.racks[id]
}

func (m *minions) Absence(job.MinionID) (job.Absence, bool) { return job.Absence{}, false }
func (m *minions) Absences() uint64                         { return 0 }

func (m *minions) Revoked(job.MinionID) bool   { return false }
func (m *minions) Connected(job.MinionID) bool { return true }
func (m *minions) Ack([]job.TaskID)            {}

func (m *minions) Cancel(refs []job.Ref, reason string) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	for _, q := range refs {
		if r, ok := m.w.ran[q.Task]; ok && !r.State.Final() {
			r.State, r.Reason, r.EndedAt = job.StateCancelled, reason, time.Now()
			m.w.ran[q.Task] = r
			m.w.tell([]job.Report{r})
		}
	}
}

func (m *minions) Send(orders []job.Order) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	var out []job.Report
	for _, o := range orders {
		m.w.orders[o.Task]++
		m.w.last[o.Task] = o
		if time.Now().Add(m.w.off).Before(o.ScheduledAt) {
			m.w.early = append(m.w.early, o.Task.String())
		}
		if m.w.silent || o.Token.Less(m.w.tokens[o.Shard]) {
			continue
		}
		m.w.tokens[o.Shard] = o.Token
		r, known := m.w.ran[o.Task]
		if !known {
			r = job.Report{Task: o.Task, Shard: o.Shard, Known: true, State: job.StateSucceeded, StartedAt: time.Now(), EndedAt: time.Now(), Spooled: true}
			if m.w.fail {
				r.State, r.Exit, r.Verdict = job.StateFailed, cmp.Or(m.w.exit, &job.Exit{Code: 1}), m.w.verdict
			}
			if m.w.hold {
				r.State, r.EndedAt = job.StateRunning, time.Time{}
			}
			m.w.ran[o.Task] = r
			m.w.count(o.Task.Minion)
		}
		out = append(out, r)
	}
	m.w.tell(out)
}

func (m *minions) Ask(refs []job.Ref) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	var out []job.Report
	for _, q := range refs {
		if m.w.tokens[q.Shard].Less(q.Token) {
			m.w.tokens[q.Shard] = q.Token
		}
		r, known := m.w.ran[q.Task]
		if !known {
			r = job.Report{Task: q.Task, Shard: q.Shard, Token: q.Token, Term: q.Term}
		}
		out = append(out, r)
	}
	m.w.tell(out)
}

// count notes how many tasks are under way in a minion's rack. The caller holds
// mu.
func (w *world) count(m job.MinionID) {
	if len(w.racks) == 0 {
		return
	}
	n := 0
	for id, r := range w.ran {
		if !r.State.Final() && w.racks[id.Minion] == w.racks[m] {
			n++
		}
	}
	w.atOnce[w.racks[m]] = max(w.atOnce[w.racks[m]], n)
}

// tell reports to every engine, as the hub does to the shard's owner. The
// caller holds mu.
func (w *world) tell(out []job.Report) {
	for e := range w.engines {
		e.Reports(out)
	}
}

func (w *world) Record(run job.Run, done func(error)) {
	w.mu.Lock()
	w.inState[w.runs[run.RunID].State]--
	w.inState[run.State]++
	w.runs[run.RunID] = run
	w.mu.Unlock()
	done(nil)
}

func (w *world) Get(_ context.Context, id job.RunID) (job.Run, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r, ok := w.runs[id]; ok {
		return r, nil
	}
	return job.Run{}, job.ErrNotFound
}

func (w *world) Since(_ context.Context, uid job.UID, after time.Time, fn func(*job.Run)) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.runs {
		if r.FireID.Job == uid && r.ScheduledAt.After(after) {
			fn(&r)
		}
	}
	return !w.forgetful, nil
}

// bed is a test's etcd and cluster.
type bed struct {
	t      *testing.T
	srv    *etcdtest.Server
	client *clientv3.Client
	keys   etcdkv.Keys
	meta   etcdkv.Meta
	w      *world
	// ttl is how long leases live, and grace what MisfireGrace is, of the nodes
	// that are started next.
	ttl, grace time.Duration
	// slotFires bounds their commits; 0: as it is by itself.
	slotFires int
	// adjust changes what a node is started with. May be nil.
	adjust func(job.NodeID, *Config, *Deps)
	// dress changes the clients of nodes; nil: they are as they are.
	dress func(*clientv3.Client)
}

// On a machine that is busy with much else a node may not come round for seconds.
// Where that is not what a test is about, it must not count as the node's loss, nor
// what is late as missed.
const (
	patient = 10 * time.Minute
	// mortal is the lease of nodes that a test kills: the others wait for its end.
	mortal = 4 * time.Second
)

func setup(t *testing.T) *bed {
	t.Helper()
	srv := shared.Server(t)
	return &bed{
		t: t, srv: srv, client: srv.Client(t), keys: etcdkv.NewKeys(etcdtest.Prefix(t)), w: newWorld(),
		meta: etcdkv.Meta{Schema: 1, Epoch: 1, Shards: 4}, ttl: patient, grace: patient,
	}
}

// start runs an engine of its own client. kill ends it as a crash does: its
// connection is gone, nothing is handed over. leave ends it in good order.
func (b *bed) start(node job.NodeID) (e *Engine, kill, leave func()) {
	b.t.Helper()
	client := b.srv.Client(b.t)
	if b.dress != nil {
		b.dress(client)
	}
	known := cluster.New(client, b.keys, b.meta)
	m := &minions{w: b.w}
	cfg := Config{
		Node: node, Identity: string(node), Keys: b.keys, Meta: b.meta, LeaseTTL: b.ttl, MisfireGrace: b.grace,
		StalledAfter: patient, RebalanceAfter: 200 * time.Millisecond, SlotFires: b.slotFires,
	}
	deps := Deps{
		Client: client, Cluster: known, Minions: m, History: b.w, Records: b.w, Schedules: schedule.NewCache(),
		Logger: zap.NewNop().WithOptions(zap.Development()), Metrics: prometheus.NewRegistry(),
	}
	if b.adjust != nil {
		b.adjust(node, &cfg, &deps)
	}
	e, err := New(cfg, deps)
	if err != nil {
		b.t.Fatal(err)
	}
	m.e = e
	b.w.mu.Lock()
	b.w.engines[e] = true
	b.w.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	view, endView := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = known.Run(view) })
	wg.Go(func() {
		if err := e.Run(ctx); err != nil {
			b.t.Errorf("engine %s: %v", node, err)
		}
		endView()
	})
	leave = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	kill = sync.OnceFunc(func() {
		b.w.mu.Lock()
		delete(b.w.engines, e)
		b.w.mu.Unlock()
		_ = client.Close()
		cancel()
		wg.Wait()
	})
	b.t.Cleanup(leave)
	return e, kill, leave
}

// put stores a job whose schedule holds from now on.
func (b *bed) put(name string, spec job.Spec) job.Job {
	b.t.Helper()
	return b.putSince(name, spec, time.Now().UTC())
}

// putSince stores a job whose schedule holds from the given time on.
func (b *bed) putSince(name string, spec job.Spec, after time.Time) job.Job {
	b.t.Helper()
	uid, err := job.NewUID()
	if err != nil {
		b.t.Fatal(err)
	}
	j := job.Job{Metadata: job.Metadata{Namespace: "t", Name: name}, Spec: spec, UID: uid, Generation: 1, After: after}
	b.store(j)
	return j
}

func (b *bed) store(j job.Job) {
	b.t.Helper()
	b.place(b.keys.Job(b.shardOf(j), j.Key()), etcdkv.StoredJob{Schema: 1, Job: j})
}

func (b *bed) shardOf(j job.Job) job.ShardID { return etcdkv.ShardOf(j.Key(), b.meta.Shards) }

// place stores a record.
func (b *bed) place(key string, v any) {
	b.t.Helper()
	if _, err := b.client.Put(context.Background(), key, b.encode(v)); err != nil {
		b.t.Fatal(err)
	}
}

// trigger starts a job by hand.
func (b *bed) trigger(j job.Job, params map[string]string) job.FireID {
	b.t.Helper()
	fire := job.FireID{Job: j.UID, At: time.Now().UnixNano(), Trigger: job.TriggerManual}
	b.place(b.keys.Trigger(b.shardOf(j), fire), etcdkv.Trigger{Schema: 1, Fire: fire, Key: j.Key(), By: "me", Params: params})
	return fire
}

func (b *bed) until(what string, ok func() bool) {
	b.t.Helper()
	await.Until(b.t, what, func() bool {
		begin := time.Now()
		if ok() {
			return true
		}
		// To look may take long, and the engines wait for the world meanwhile.
		time.Sleep(4 * time.Since(begin))
		return false
	})
}

func (b *bed) recorded(match func(*job.Run) bool) int {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	n := 0
	for _, r := range b.w.runs {
		if match(&r) {
			n++
		}
	}
	return n
}

// seen waits until every node that runs sees n members.
func (b *bed) seen(n int) {
	b.t.Helper()
	b.until(fmt.Sprintf("every node sees %d", n), func() bool {
		b.w.mu.Lock()
		defer b.w.mu.Unlock()
		for e := range b.w.engines {
			if len(e.deps.Cluster.Members()) != n {
				return false
			}
		}
		return len(b.w.engines) == n
	})
}

// check holds what ran and what is recorded against the schedule. What is still
// under way has time to end.
func (b *bed) check(jobs []job.Job, to time.Time) {
	b.t.Helper()
	await.Missing(b.t, func() string { return strings.Join(b.open(jobs, to), "\n") })
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	if len(b.w.early) > 0 {
		b.t.Errorf("I7: ordered before their instant: %v", b.w.early)
	}
}

// open tells which occurrences of the jobs are not accounted for.
func (b *bed) open(jobs []job.Job, to time.Time) []string {
	b.t.Helper()
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	var out []string
	for _, j := range jobs {
		set, err := schedule.ParseSet(j.Spec.Schedules, schedule.Options{})
		if err != nil {
			b.t.Fatal(err)
		}
		for _, at := range set.Between(j.After, to, 10_000) {
			id := job.FireID{Job: j.UID, At: at.UnixNano(), Trigger: job.TriggerSchedule}
			if r, ok := b.w.runs[id.RunID()]; !ok || !r.State.Final() {
				out = append(out, fmt.Sprintf("%s at %v is not accounted for (%v)", j.Key(), at, r.State))
			}
		}
	}
	return out
}

func every(d string, overlap job.Overlap) job.Spec {
	return job.Spec{Schedules: []string{"@every " + d}, Command: []string{"x"}, Overlap: overlap}
}

// TestI3OneCommitPerOccurrenceThroughCrashes kills owners while jobs fire: no
// occurrence is lost, and none has two runs.
func TestI3OneCommitPerOccurrenceThroughCrashes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ttl = mortal
	var jobs []job.Job
	for i := range 20 {
		jobs = append(jobs, b.put(fmt.Sprintf("j%d", i), every("200ms", job.OverlapAllow)))
	}
	for round := range 3 {
		_, kill, _ := b.start(job.NodeID(fmt.Sprintf("n%d", round)))
		before := b.recorded(func(*job.Run) bool { return true })
		b.until("some runs", func() bool { return b.recorded(func(*job.Run) bool { return true }) > before+100 })
		kill()
	}
	e, _, leave := b.start("last")
	end := time.Now()
	b.until("all settled", func() bool {
		for _, r := range liveRuns(e, "", "") {
			if r.ScheduledAt.Before(end) {
				return false
			}
		}
		return len(e.Ready()) == 0 && b.recorded(func(r *job.Run) bool { return r.ScheduledAt.After(end) }) > 20
	})
	b.check(jobs, end)
	leave()
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	attempts := map[job.FireID]map[job.TaskID]bool{}
	for id := range b.w.ran {
		if attempts[id.Fire] == nil {
			attempts[id.Fire] = map[job.TaskID]bool{}
		}
		attempts[id.Fire][id] = true
	}
	for fire, tasks := range attempts {
		if len(tasks) != 1 {
			t.Errorf("%v ran as %d tasks", fire, len(tasks))
		}
	}
}

// TestI5SlotsAreDeletedWhenAllIsRecorded looks for what is left over.
func TestI5SlotsAreDeletedWhenAllIsRecorded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	j := b.put("j", every("300ms", job.OverlapAllow))
	b.start("n")
	b.until("runs", func() bool { return b.recorded(func(*job.Run) bool { return true }) > 5 })
	j.Spec.Enabled, j.After = new(bool), time.Now().UTC()
	b.store(j)
	b.until("no slot left", func() bool {
		resp, err := b.client.Get(context.Background(), b.keys.Slots(etcdkv.ShardOf(j.Key(), b.meta.Shards)), clientv3.WithPrefix(), clientv3.WithCountOnly())
		return err == nil && resp.Count == 0
	})
}

// TestHandover passes shards between nodes that come and go in good order.
func TestHandover(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var jobs []job.Job
	for i := range 10 {
		jobs = append(jobs, b.put(fmt.Sprintf("j%d", i), every("100ms", job.OverlapAllow)))
	}
	_, _, leaveA := b.start("a")
	b.until("runs", func() bool { return b.recorded(func(*job.Run) bool { return true }) > 50 })
	e, _, leaveB := b.start("b")
	b.until("b owns shards", func() bool { return b.owned("b") > 0 })
	leaveA()
	b.until("b owns all", func() bool { return b.owned("b") == b.meta.Shards })
	end := time.Now()
	b.until("settled", func() bool {
		for _, r := range liveRuns(e, "", "") {
			if r.ScheduledAt.Before(end) {
				return false
			}
		}
		return b.recorded(func(r *job.Run) bool { return r.ScheduledAt.After(end) }) > 20
	})
	b.check(jobs, end)
	leaveB()
	if n := b.recorded(func(r *job.Run) bool { return r.State != job.StateSucceeded }); n > 0 {
		t.Errorf("%d runs did not succeed", n)
	}
}

func (b *bed) owned(node job.NodeID) int {
	resp, err := b.client.Get(context.Background(), b.keys.Owners(), clientv3.WithPrefix())
	if err != nil {
		return 0
	}
	n := 0
	for _, kv := range resp.Kvs {
		if o, err := etcdkv.Decode[etcdkv.Owner]("", kv.Value); err == nil && o.Node == node {
			n++
		}
	}
	return n
}

// TestOverlap checks the policies against runs that do not end.
func TestOverlap(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.w.hold = true
	skip := b.put("skip", every("200ms", job.OverlapSkip))
	queue := b.put("queue", every("200ms", job.OverlapQueueOne))
	e, _, _ := b.start("n")
	of := func(j job.Job, s job.State) func() bool {
		return func() bool {
			return b.recorded(func(r *job.Run) bool { return r.Job == j.Name && r.State == s && r.Reason != "" }) >= 3
		}
	}
	b.until("skipped with a reason", of(skip, job.StateSkipped))
	b.until("skipped behind the queued one", of(queue, job.StateSkipped))
	queued := 0
	for _, r := range liveRuns(e, "t", "queue") {
		if r.State == job.StateQueued {
			queued++
		}
	}
	if queued != 1 {
		t.Errorf("%d runs are queued, want 1", queued)
	}
	// The runs end: the queued one follows.
	b.w.mu.Lock()
	b.w.hold = false
	var out []job.Report
	for id, r := range b.w.ran {
		r.State, r.EndedAt = job.StateSucceeded, time.Now()
		b.w.ran[id] = r
		out = append(out, r)
	}
	b.w.tell(out)
	b.w.mu.Unlock()
	b.until("the queued one ran", func() bool {
		return b.recorded(func(r *job.Run) bool { return r.Job == "queue" && r.State == job.StateSucceeded }) >= 2
	})
}

// TestMisfire starts a node long after instants were due.
func TestMisfire(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.grace = 30 * time.Second
	for _, p := range job.Misfires() {
		j := b.put(string(p), every("10s", job.OverlapAllow))
		j.Spec.Misfire, j.After = p, time.Now().Add(-5*time.Minute).UTC()
		b.store(j)
	}
	b.start("n")
	// 30 instants were due; those of the last 30 s are within the grace and run.
	b.until("latest", func() bool {
		return b.recorded(func(r *job.Run) bool { return r.Job == "latest" && r.State == job.StateMissed }) >= 26
	})
	b.until("skip", func() bool {
		return b.recorded(func(r *job.Run) bool { return r.Job == "skip" && r.State == job.StateMissed }) >= 26
	})
	b.until("all", func() bool {
		return b.recorded(func(r *job.Run) bool { return r.Job == "all" && r.State == job.StateSucceeded }) >= 29
	})
}

// TestTrigger starts a job by hand.
func TestTrigger(t *testing.T) {
	t.Parallel()
	b := setup(t)
	j := b.put("j", job.Spec{Command: []string{"x"}})
	b.start("n")
	fire := b.trigger(j, nil)
	b.until("it ran", func() bool {
		return b.recorded(func(r *job.Run) bool { return r.FireID == fire && r.State == job.StateSucceeded }) == 1
	})
	resp, err := b.client.Get(context.Background(), b.keys.Trigger(b.shardOf(j), fire))
	if err != nil || len(resp.Kvs) != 0 {
		t.Errorf("the trigger is still there: %v %v", resp, err)
	}
}

// TestNameTaken refuses a second node of a name that is alive.
func TestNameTaken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.start("n")
	b.until("joined", func() bool { return b.owned("n") == b.meta.Shards })
	e, err := New(Config{Node: "n", Identity: "another", Keys: b.keys, Meta: b.meta}, Deps{
		Client: b.client, Cluster: cluster.New(b.client, b.keys, b.meta), Minions: &minions{w: b.w}, History: b.w, Records: b.w,
		Schedules: schedule.NewCache(), Logger: zap.NewNop().WithOptions(zap.Development()), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Run(context.Background()); err == nil {
		t.Error("a second node of the same name was let in")
	}
}

// liveRuns returns the open runs of a node's shards.
func liveRuns(e *Engine, namespace, name string) []job.Run {
	runs, _ := e.LiveRuns(namespace, name)
	return runs
}

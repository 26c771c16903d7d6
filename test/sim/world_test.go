package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/clock"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/fakeetcd"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
	"github.com/carillon-cron/carillon/scheduler"
	"github.com/carillon-cron/carillon/scheduler/cluster"
)

const (
	nodes    = 3
	minions  = 3
	shards   = 4
	leaseTTL = 5 * time.Second
	// A node's clock may be wrong by slightSkew, by which it goes on, or by maxSkew.
	slightSkew = 3 * time.Second
	maxSkew    = 8 * time.Hour
)

// world is a cluster in a bubble.
type world struct {
	t     *testing.T
	rnd   *rand.Rand
	srv   *fakeetcd.Server
	keys  etcdkv.Keys
	meta  etcdkv.Meta
	admin *clientv3.Client
	nodes [nodes]*node
	fleet *fleet
	store *store
	jobs  []*planned
	story []string
	// ordered are the shards of ordered groups.
	ordered map[job.ShardID]bool
	// clockTurn counts clocks that are to be made wrong: only the last is.
	clockTurn atomic.Int64
	// asked are the starts by hand.
	asked []job.FireID
	begun time.Time
}

// node is a scheduler node, which lives again and again.
type node struct {
	id   job.NodeID
	skew time.Duration
	mu   sync.Mutex // guards skew, stepped and time
	// stepped is when skew changed last.
	stepped time.Time
	// time is what it goes by; nil while it is dead.
	time *clock.Clock

	engine *scheduler.Engine
	link   *fakeetcd.Link
	stop   func()
}

func (n *node) now() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return time.Unix(0, time.Now().Add(n.skew).UnixNano())
}

func (n *node) step(to time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.skew != to {
		n.skew, n.stepped = to, time.Now()
	}
}

func (n *node) goesBy(c *clock.Clock) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.time = c
}

// planned is a job and all that its schedule was.
type planned struct {
	etcdkv.StoredJob
	shard job.ShardID
	// created is the revision at which it was made.
	created int64
	// versions are the schedules, each from when on it held.
	versions []version
}

// version is a schedule: it holds from after on. Of the instants up to holds those of
// the version before may have been committed already.
type version struct {
	after, holds time.Time
	set          schedule.Set
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, rnd: rand.New(rand.NewPCG(seed, 1)), srv: fakeetcd.New(fakeetcd.Config{CompactEvery: 5 * time.Minute}),
		keys: etcdkv.NewKeys(""), meta: etcdkv.Meta{Schema: 1, Epoch: 1, Shards: shards}, begun: time.Now(),
	}
	w.admin, _ = w.srv.NewClient(seed)
	w.ordered = map[job.ShardID]bool{}
	w.store = &store{runs: map[job.RunID]job.Run{}, rnd: rand.New(rand.NewPCG(seed, 2))}
	w.fleet = newFleet(seed)
	w.store.recorded = w.fleet.recorded
	for i := range w.nodes {
		w.nodes[i] = &node{id: job.NodeID(fmt.Sprintf("n%d", i+1))}
	}
	return w
}

// tell notes what happens.
func (w *world) tell(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf("%10.3f  %s", time.Since(w.begun).Seconds(), fmt.Sprintf(format, args...)))
}

// start brings a node to life.
func (w *world) start(n *node) {
	client, link := w.srv.NewClient(w.rnd.Uint64())
	known := cluster.New(client, w.keys, w.meta)
	began := time.Now()
	mono := func() time.Duration { return time.Since(began) }
	way := &wire{f: w.fleet, mono: mono}
	goes := clock.New(clock.Config{}, clock.Deps{Wall: n.now, Mono: mono})
	n.goesBy(goes)
	engine, err := scheduler.New(scheduler.Config{
		Node: n.id, Identity: string(n.id), Keys: w.keys, Meta: w.meta, LeaseTTL: leaseTTL, RebalanceAfter: time.Second,
	}, scheduler.Deps{
		Client: client, Cluster: known, Minions: way, History: w.store, Records: w.store, Schedules: schedule.NewCache(),
		Logger: zap.NewNop().WithOptions(zap.Development()), Metrics: prometheus.NewRegistry(), Clock: mono, Time: goes, Clocks: clocks{w, mono},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.fleet.join(way, engine, n)
	ctx, cancel := context.WithCancel(context.Background())
	view, endView := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = known.Run(view) })
	wg.Go(func() {
		defer endView()
		if err := engine.Run(ctx); err != nil {
			w.t.Errorf("node %s: %v", n.id, err)
		}
	})
	n.engine, n.link = engine, link
	n.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		w.fleet.leave(way)
		n.goesBy(nil)
		_ = client.Close()
		n.engine = nil
	})
}

// clocks reads the clocks of nodes, and of minions, which are right, against a
// monotonic clock.
type clocks struct {
	w    *world
	mono func() time.Duration
}

// PeerClock implements timekeeper.Clocks.
func (c clocks) PeerClock(_ context.Context, id job.NodeID) (clock.Reading, error) {
	for _, n := range c.w.nodes {
		n.mu.Lock()
		of := n.time
		n.mu.Unlock()
		if n.id != id || of == nil {
			continue
		}
		wall, sure := of.Witness()
		if !sure {
			return clock.Reading{}, clock.ErrDoubtful
		}
		return clock.Trip(wall, c.mono(), c.mono()), nil
	}
	return clock.Reading{}, job.ErrUnavailable
}

// MinionClocks implements timekeeper.Clocks.
func (c clocks) MinionClocks(int) []clock.Reading {
	return slices.Repeat([]clock.Reading{clock.Trip(time.Now().UnixNano(), c.mono(), c.mono())}, minions)
}

// crash ends a node: nothing of it gets out any more.
func (w *world) crash(n *node) {
	n.link.Partition(fakeetcd.Cut)
	w.fleet.cut(n.engine)
	n.stop()
}

// put stores a job, and that it was edited. How it was before is told by its versions.
func (w *world) put(p *planned) {
	text, err := etcdkv.Encode(&p.StoredJob)
	if err != nil {
		w.t.Fatal(err)
	}
	set, err := schedule.ParseSet(p.Spec.Schedules, schedule.OptionsOf(p.Key(), &p.Spec))
	if err != nil {
		w.t.Fatal(err)
	}
	if !p.Spec.IsEnabled() {
		set = nil
	}
	_, err = w.admin.Txn(context.Background()).Then(
		clientv3.OpPut(w.keys.Job(p.shard, p.Key()), text), clientv3.OpPut(w.keys.Edits(p.shard), time.Now().String())).Commit()
	if err != nil {
		w.t.Fatal(err)
	}
	v := version{after: p.After, set: set}
	state, _ := w.state(p.shard)
	for _, at := range []time.Time{state.Cursor, state.Beyond} { // what the API tells
		if at.After(v.after) && at.After(v.holds) {
			v.holds = at
		}
	}
	p.versions = append(p.versions, v)
}

// state reads what is stored of a shard, and when its jobs were made.
func (w *world) state(id job.ShardID) (state etcdkv.ShardState, ok bool) {
	resp, err := w.admin.Get(context.Background(), w.keys.State(id))
	if err != nil {
		w.t.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return state, false
	}
	if state, err = etcdkv.Decode[etcdkv.ShardState](string(resp.Kvs[0].Key), resp.Kvs[0].Value); err != nil {
		w.t.Fatal(err)
	}
	return state, true
}

// change edits when a job is due, as the API does: the schedule before holds up to now.
// It reports whether that could be done.
func (w *world) change(p *planned, edit func(*job.Spec)) bool {
	next := p.StoredJob
	edit(&next.Spec)
	var reached time.Time
	if state, ok := w.state(p.shard); ok && p.created <= state.JobsRev {
		reached = state.Cursor
	}
	if err := next.Replace(&p.StoredJob, time.Now().UTC(), reached, nil); err != nil {
		if errors.Is(err, etcdkv.ErrTooManyEarlier) {
			return false
		}
		w.t.Fatal(err)
	}
	next.Generation++
	p.StoredJob = next
	w.put(p)
	return true
}

// create makes a job.
func (w *world) create(name string, shard job.ShardID, spec job.Spec) *planned {
	var uid job.UID // of the seed, for minions and jitter are chosen by it
	for i := range uid {
		uid[i] = byte(w.rnd.IntN(256))
	}
	now := time.Now().UTC()
	p := &planned{StoredJob: etcdkv.StoredJob{Schema: 1, Job: job.Job{
		Metadata: job.Metadata{Namespace: "t", Name: name}, Spec: spec, UID: uid, Generation: 1, After: now, CountedFrom: now,
	}}}
	if p.shard = shard; !shard.IsGroup() {
		p.shard = etcdkv.ShardOf(p.Key(), shards)
	}
	w.put(p)
	resp, err := w.admin.Get(context.Background(), w.keys.Job(p.shard, p.Key()))
	if err != nil || len(resp.Kvs) != 1 {
		w.t.Fatal(resp, err)
	}
	p.created = resp.Kvs[0].CreateRevision
	w.jobs = append(w.jobs, p)
	w.fleet.mu.Lock()
	w.fleet.jitter[p.UID] = time.Duration(spec.Jitter)
	w.fleet.mu.Unlock()
	return p
}

// group makes a group and returns its shard.
func (w *world) group(n job.ShardID, spec job.GroupSpec) job.ShardID {
	g := etcdkv.StoredGroup{Schema: 1, Group: job.Group{
		Metadata: job.Metadata{Namespace: "t", Name: fmt.Sprintf("g%d", n)}, Spec: spec, Shard: job.FirstGroupShard + n, Generation: 1,
	}}
	text, err := etcdkv.Encode(&g)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.admin.Put(context.Background(), w.keys.Group(g.Key()), text); err != nil {
		w.t.Fatal(err)
	}
	w.ordered[g.Shard] = spec.Ordered
	return g.Shard
}

// settle makes the world whole and waits until nothing is open.
func (w *world) settle() {
	w.clockTurn.Add(1)
	for _, n := range w.nodes {
		n.step(0)
		if n.engine == nil {
			w.start(n)
		}
		n.link.Set(fakeetcd.Faults{})
		n.link.Partition(fakeetcd.Whole)
	}
	w.fleet.calm()
	w.store.calm()
	time.Sleep(3 * time.Minute) // late occurrences, lost orders, silent minions
	for _, p := range w.jobs {
		if !w.change(p, func(s *job.Spec) { s.Enabled = new(bool) }) {
			w.t.Errorf("S1: %s cannot be disabled: its owner has not come to its earlier schedules", p.Name)
		}
	}
	time.Sleep(5 * time.Minute)
}

// end stops everything.
func (w *world) end() {
	for _, n := range w.nodes {
		if n.engine != nil {
			n.stop()
		}
	}
	_ = w.admin.Close()
	w.srv.Close()
}

// store is history: records are durable once done is called, which may fail.
type store struct {
	mu    sync.Mutex // guards all below
	runs  map[job.RunID]job.Run
	rnd   *rand.Rand
	quiet bool
	// recorded is told of each record.
	recorded func(*job.Run)
}

func (s *store) calm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quiet = true
}

// Record implements scheduler.Recorder.
func (s *store) Record(run job.Run, done func(error)) {
	s.mu.Lock()
	wait, fail := time.Duration(s.rnd.IntN(50))*time.Millisecond, !s.quiet && s.rnd.IntN(50) == 0
	s.mu.Unlock()
	time.AfterFunc(wait, func() {
		if fail {
			done(job.ErrUnavailable)
			return
		}
		s.mu.Lock()
		if old, is := s.runs[run.RunID]; !is || !run.Token.Less(old.Token) { // as the store has it: H2
			s.runs[run.RunID] = run
		}
		s.mu.Unlock()
		s.recorded(&run)
		done(nil)
	})
}

// Get implements scheduler.Records.
func (s *store) Get(_ context.Context, id job.RunID) (job.Run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.runs[id]; ok {
		r.Tasks = slices.Clone(r.Tasks) // who mends them may fail to write them
		return r, nil
	}
	return job.Run{}, job.ErrNotFound
}

func (s *store) Since(_ context.Context, uid job.UID, after time.Time, fn func(*job.Run)) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.runs {
		if r.FireID.Job == uid && r.ScheduledAt.After(after) {
			fn(&r)
		}
	}
	return true, nil
}

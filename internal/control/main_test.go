package control

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/internal/control/access"
	"github.com/carillon-cron/carillon/internal/control/runs"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/job"
)

var shared etcdtest.Shared

func TestMain(m *testing.M) {
	os.Exit(shared.Run(m,
		// etcd's own server leaves these behind for a moment after it has closed.
		goleak.IgnoreAnyFunction("go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc.(*watchServer).Watch.func2"),
		goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"),
	))
}

const testShards = 8

// fakeRuns is Live and history.Store in memory.
type fakeRuns struct {
	mu sync.Mutex
	// mu guards all below.
	live  []job.Run
	ended map[job.RunID]job.Run
	lists int
	// missing comes with live.
	missing []api.MissingRuns
}

func (f *fakeRuns) LiveRuns(_ context.Context, namespace, name string) ([]job.Run, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []job.Run
	for _, r := range f.live {
		if (namespace == "" || r.Namespace == namespace) && (name == "" || r.Job == name) {
			out = append(out, r)
		}
	}
	if len(f.missing) > 0 {
		return out, &api.PartialError{Missing: f.missing}
	}
	return out, nil
}

// begin puts a run in flight; end moves it to history.
func (f *fakeRuns) begin(r job.Run) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.live = slices.DeleteFunc(f.live, func(o job.Run) bool { return o.RunID == r.RunID })
	f.live = append(f.live, r)
}

func (f *fakeRuns) end(r job.Run) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.live = slices.DeleteFunc(f.live, func(o job.Run) bool { return o.RunID == r.RunID })
	if f.ended == nil {
		f.ended = map[job.RunID]job.Run{}
	}
	f.ended[r.RunID] = r
}

func (f *fakeRuns) Append(_ context.Context, runs []job.Run) error {
	for _, r := range runs {
		f.end(r)
	}
	return nil
}

func (f *fakeRuns) Get(_ context.Context, id job.RunID) (job.Run, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r, ok := f.ended[id]; ok {
		return r, nil
	}
	return job.Run{}, fmt.Errorf("run %s: %w", id, job.ErrNotFound)
}

func (f *fakeRuns) List(_ context.Context, q history.Query) (history.Page, error) {
	if err := q.Check(); err != nil {
		return history.Page{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists++
	type placed struct {
		run job.Run
		at  history.Position
	}
	var found []placed
	after, unplaced := history.ParseCursor(q.Cursor)
	for _, r := range f.ended {
		if !q.Selects(r.Key(), r.FireID.Job, r.State) {
			continue
		}
		if at := history.PositionOf(&r); unplaced != nil || at.Compare(after) > 0 {
			found = append(found, placed{r, at})
		}
	}
	slices.SortFunc(found, func(a, b placed) int { return a.at.Compare(b.at) })
	var all []job.Run
	for i := range found[:min(len(found), q.Limit+1)] {
		all = append(all, found[i].run)
	}
	if len(all) <= q.Limit {
		return history.Page{Runs: all}, nil
	}
	return history.Page{Runs: all[:q.Limit], Next: history.PositionOf(&all[q.Limit-1]).Cursor()}, nil
}

// fakeOutputs answers by task; what it does not know is an error.
type fakeOutputs struct {
	fn func(ctx context.Context, task job.TaskID, follow bool, fn func(int, []byte, int64) error) error
}

func (f *fakeOutputs) Output(ctx context.Context, task job.TaskID, follow bool, fn func(int, []byte, int64) error) error {
	return f.fn(ctx, task, follow, fn)
}

type fakeMinions []job.Minion

func (f fakeMinions) Minions() []job.Minion { return f }

// env is a Control on an etcd.
type env struct {
	*Control
	srv  *etcdtest.Server
	cli  *clientv3.Client
	keys etcdkv.Keys
	runs *fakeRuns
	out  *fakeOutputs

	mu sync.Mutex
	// mu guards all below.
	clock time.Time
}

func (e *env) now() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.clock
}

func (e *env) pass(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.clock = e.clock.Add(d)
}

// setup returns a Control on keys of its own of the shared etcd.
func setup(t *testing.T, edits ...func(*Config, *Deps)) *env {
	t.Helper()
	return setupOn(t, shared.Server(t), edits...)
}

// alone returns a Control on an etcd of its own: one that the test disturbs, or
// whose revisions it counts.
func alone(t *testing.T, edits ...func(*Config, *Deps)) *env {
	t.Helper()
	return setupOn(t, etcdtest.Start(t), edits...)
}

func setupOn(t *testing.T, srv *etcdtest.Server, edits ...func(*Config, *Deps)) *env {
	t.Helper()
	e := &env{
		srv: srv, cli: srv.Client(t), keys: etcdkv.NewKeys(etcdtest.Prefix(t)), runs: &fakeRuns{},
		clock: time.Date(2026, 5, 4, 10, 30, 15, 0, time.UTC),
	}
	e.out = &fakeOutputs{fn: func(context.Context, job.TaskID, bool, func(int, []byte, int64) error) error {
		return fmt.Errorf("no such task: %w", job.ErrNotFound)
	}}
	cfg := Config{
		Node: "n1", Version: "1.2.3", Keys: e.keys, PollInterval: 10 * time.Millisecond,
		Meta: etcdkv.Meta{Schema: 1, ClusterID: "c1", Epoch: 3, Shards: testShards},
	}
	deps := Deps{
		Client: e.cli, History: e.runs, Live: e.runs, Outputs: e.out, Minions: fakeMinions(nil),
		Now: e.now, Decode: decodeJSON,
		Door: openDoor{},
	}
	for _, edit := range edits {
		edit(&cfg, &deps)
	}
	c, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	e.Control = c
	return e
}

// openDoor is that of a cluster that looks at no rights.
type openDoor struct{}

// State implements access.Door.
func (openDoor) State() access.State { return access.Open }

// justRuns is a Control that knows runs and nothing else.
func justRuns(known *fakeRuns, out runs.Outputs, poll time.Duration) *Control {
	return &Control{Book: runs.New(runs.Deps{History: known, Live: known, Outputs: out, PollInterval: poll, Logger: zap.NewNop()})}
}

// decodeJSON reads a JSON array of objects, so that these tests do not depend
// on the form of manifests.
func decodeJSON(file string, data []byte) ([]manifest.Object, error) {
	var objects []manifest.Object
	if err := json.Unmarshal(data, &objects); err != nil {
		return nil, &job.InvalidError{Problems: []job.Problem{{Message: err.Error(), File: file}}}
	}
	for i := range objects {
		objects[i].File, objects[i].Line = file, i+1
	}
	return objects, nil
}

// object is a job's manifest.
func object(name string, edits ...func(*manifest.Object)) manifest.Object {
	o := manifest.Object{
		Kind: job.KindJob, Metadata: job.Metadata{Namespace: "ops", Name: name},
		Spec: job.Spec{Schedules: []string{"0 * * * *"}, Command: []string{"true"}},
	}
	for _, edit := range edits {
		edit(&o)
	}
	return o
}

func encode(t *testing.T, objects ...manifest.Object) []byte {
	t.Helper()
	b, err := json.Marshal(objects)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// apply applies the objects and returns what was done, by name.
func (e *env) apply(t *testing.T, objects ...manifest.Object) map[string]api.Action {
	t.Helper()
	results, err := e.Apply(t.Context(), "jobs.json", encode(t, objects...), false)
	if err != nil {
		t.Fatal(err)
	}
	done := map[string]api.Action{}
	for _, r := range results {
		done[r.Name] = r.Action
	}
	return done
}

// records are the latest audit records, newest first.
func (e *env) records(t *testing.T, n int) []api.AuditRecord {
	t.Helper()
	page, err := e.Audit(t.Context(), api.AuditQuery{Limit: n})
	if err != nil {
		t.Fatal(err)
	}
	return page.Records
}

func (e *env) put(t *testing.T, key string, v any) {
	t.Helper()
	text, ok := v.(string)
	if !ok {
		var err error
		if text, err = etcdkv.Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.cli.Put(t.Context(), key, text); err != nil {
		t.Fatal(err)
	}
}

// storedJob reads a job as it is stored.
func (e *env) storedJob(t *testing.T, name string) etcdkv.StoredJob {
	t.Helper()
	stored, _, err := e.Stored(t.Context(), job.Key{Namespace: "ops", Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

// someRun returns a run of a job at an instant.
func someRun(uid job.UID, name string, at time.Time, state job.State) job.Run {
	fire := job.FireID{Job: uid, At: at.UnixNano(), Trigger: job.TriggerSchedule}
	return job.Run{
		RunID: fire.RunID(), FireID: fire, Namespace: "ops", Job: name, Trigger: "schedule", State: state,
		Attempt: 1, ScheduledAt: at, Count: 1, Tasks: []job.Task{},
	}
}

// jobKey returns the etcd key of a job that is in no group.
func (e *env) jobKey(key job.Key) string { return e.keys.Job(e.HashShard(key), key) }

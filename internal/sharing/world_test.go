package sharing

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/handler/shared"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

const testShard = job.ShardID(3)

func keys() etcdkv.Keys { return etcdkv.NewKeys("/t") }

// world is an engine with runs, and a store, in memory.
type world struct {
	mu sync.Mutex
	// mu guards what follows: the tasks of open runs, the owner's token, values and their
	// revisions. away: the shard is another node's.
	runs  map[job.FireID][]job.Fellow
	owner job.Token
	away  bool
	gone  bool // the job was deleted
	vals  map[string]string
	revs  map[string]int64
	rev   int64
	// writes counts them; fail is asked before each: before and after it.
	writes int
	fail   func(n int) (before, after error)
}

func newWorld() *world {
	return &world{runs: map[job.FireID][]job.Fellow{}, owner: job.Token{Epoch: 1, Revision: 7}, vals: map[string]string{}, revs: map[string]int64{}}
}

func fireAt(n int64) job.FireID {
	return job.FireID{Job: job.UID{1}, At: n, Trigger: job.TriggerManual}
}

// run begins a run on minions.
func (w *world) run(n int64, minions ...job.MinionID) job.FireID {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range minions {
		w.runs[fireAt(n)] = append(w.runs[fireAt(n)], job.Fellow{Minion: m, Attempt: 1})
	}
	return fireAt(n)
}

// change changes a task.
func (w *world) change(f job.FireID, m job.MinionID, change func(*job.Fellow)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.runs[f] {
		if w.runs[f][i].Minion == m {
			change(&w.runs[f][i])
		}
	}
}

func (w *world) end(f job.FireID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.runs, f)
}

func (w *world) Member(_ context.Context, shard job.ShardID, task job.TaskID, token job.Token) (job.Member, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away || shard != testShard || w.owner.Less(token) {
		return job.Member{}, job.ErrUnavailable
	}
	m := job.Member{Fire: task.Fire, Job: job.Key{Namespace: "default", Name: "j"}, Owner: w.owner, Deleted: w.gone, Tasks: len(w.runs[task.Fire]), Refused: "its run is not open"}
	for _, t := range w.runs[task.Fire] {
		if t.Minion == task.Minion && t.Attempt == task.Attempt && t.State == "" {
			m.Refused = ""
		}
	}
	return m, nil
}

func (w *world) Fellows(_ context.Context, _ job.ShardID, f job.FireID) ([]job.Fellow, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		return nil, job.ErrUnavailable
	}
	return slices.Clone(w.runs[f]), nil
}

func (w *world) Closed(_ context.Context, _ job.ShardID, fires []job.FireID) ([]job.FireID, job.Token, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		return nil, w.owner, job.ErrUnavailable
	}
	var out []job.FireID
	for _, f := range fires {
		if _, open := w.runs[f]; !open {
			out = append(out, f)
		}
	}
	return out, w.owner, nil
}

func (w *world) Read(_ context.Context, key string) ([]byte, int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return []byte(w.vals[key]), w.revs[key], nil
}

func (w *world) Write(_ context.Context, f Fence, key string, rev int64, value string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes++
	var before, after error
	if w.fail != nil {
		before, after = w.fail(w.writes)
	}
	switch {
	case before != nil:
		return before
	case f.Owner != w.owner || f.Job != (job.Key{}) && w.gone:
		return ErrFenced
	case w.revs[key] != rev:
		return ErrChanged
	}
	w.rev++
	w.vals[key], w.revs[key] = value, w.rev
	return after
}

func (w *world) Remove(_ context.Context, f Fence, key string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f.Owner != w.owner {
		return ErrFenced
	}
	delete(w.vals, key)
	delete(w.revs, key)
	return nil
}

func (w *world) Runs(context.Context) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(w.vals)), func(k string) bool { return !strings.HasPrefix(k, keys().SharedRuns()) }), nil
}

func (w *world) stored() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.vals))
}

// serve starts a service until the test ends.
func (w *world) serve(t testing.TB) *Service {
	t.Helper()
	s, err := New(Deps{Keys: keys(), Store: w, Runs: w})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s
}

// task is one that asks a service.
type task struct {
	s  *Service
	id job.TaskID
}

func taskOf(s *Service, f job.FireID, m job.MinionID) task {
	return task{s, job.TaskID{Fire: f, Minion: m, Attempt: 1}}
}

func (k task) ask(ctx context.Context, r shared.Request) shared.Answer {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return k.raw(ctx, string(text))
}

func (k task) raw(ctx context.Context, text string) shared.Answer {
	var a shared.Answer
	if err := json.Unmarshal(k.s.Do(ctx, k.id, testShard, job.Token{Epoch: 1, Revision: 5}, []byte(text)), &a); err != nil {
		panic(err)
	}
	return a
}

// begin asks, and returns where the answer comes.
func (k task) begin(t testing.TB, r shared.Request) <-chan shared.Answer {
	t.Helper()
	ch := make(chan shared.Answer, 1)
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(stop)
	go func() { ch <- k.ask(ctx, r) }()
	return ch
}

var errLost = errors.New("the answer was lost")

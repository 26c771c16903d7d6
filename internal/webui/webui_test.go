package webui

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/control"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// fake is a control with one hostile job and one run.
type fake struct {
	err  error
	gone bool // the run is open, and its minion is gone
}

const hostile = "<script>alert(1)</script>"

func (f fake) view() control.JobView {
	return control.JobView{
		Job: job.Job{
			Metadata: job.Metadata{Namespace: "ops", Name: "one", Labels: map[string]string{"k": hostile}},
			Spec:     job.Spec{Schedules: []string{"* * * * *"}, Command: []string{"echo", hostile}},
		},
		Words: []string{"every minute"}, NextAt: time.Now().Add(time.Minute), Running: 2, Last: []job.Run{f.record()},
	}
}

func (f fake) record() job.Run {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if f.gone {
		return job.Run{
			RunID: "abcd-0123456789abcdef", Namespace: "ops", Job: "one", State: job.StateRunning, Count: 1, ScheduledAt: at, StartedAt: at, GoneSince: at.Add(time.Minute),
			Tasks: []job.Task{{Minion: "m1", State: job.StateRunning, GoneSince: at.Add(time.Minute)}},
		}
	}
	return job.Run{
		RunID: "abcd-0123456789abcdef", Namespace: "ops", Job: "one", State: job.StateFailed, Reason: hostile, Count: 1,
		ScheduledAt: at, StartedAt: at.Add(7 * time.Millisecond), EndedAt: at.Add(time.Second),
		Tasks: []job.Task{{Minion: "m1", State: job.StateFailed, Exit: &job.Exit{Code: 3}, Stdout: job.Output{Head: hostile, Bytes: 25}}},
	}
}

func (f fake) Jobs(context.Context, control.JobQuery) ([]control.JobView, error) {
	return []control.JobView{f.view()}, f.err
}
func (f fake) Job(context.Context, job.Key) (control.JobView, error) { return f.view(), f.err }
func (f fake) Runs(context.Context, control.RunQuery) (control.RunPage, error) {
	return control.RunPage{
		Runs: []job.Run{f.record()}, NextCursor: "next", Missing: []control.MissingRuns{{Node: "s2", Shards: []job.ShardID{1, 2}}},
	}, f.err
}
func (f fake) Run(context.Context, job.RunID) (job.Run, error) { return f.record(), f.err }
func (f fake) Nodes(context.Context) ([]control.NodeView, error) {
	return []control.NodeView{{
		Name: "n1", Phase: "ready", Shards: 64, Labels: map[string]string{"rack": "r1"}, Trouble: []string{hostile},
		Drain: &etcdkv.Drain{Node: "n1", By: "ada", Reason: "new disk"},
	}}, f.err
}
func (f fake) Minions(context.Context) ([]control.MinionView, error) {
	return []control.MinionView{{Minion: job.Minion{
		ID: "m1", Node: "n1", Labels: map[string]string{"dc": "b"}, Requested: map[string]string{"role": "db", "rack": hostile},
		Facts: map[string]string{"os": "linux", "motd": hostile},
	}, State: "connected"}}, f.err
}
func (f fake) Shards(context.Context) ([]control.ShardView, error) {
	return []control.ShardView{{ID: 7, Owner: "n1"}, {ID: 8}, {ID: job.FirstGroupShard, Group: "ops/ledger", Mode: "failback", Override: &etcdkv.Override{}}}, f.err
}
func (f fake) Groups(context.Context, string) ([]control.GroupView, error) {
	return []control.GroupView{{
		Group: job.Group{Metadata: job.Metadata{Namespace: "ops", Name: "ledger"}, Spec: job.GroupSpec{Mode: "failback", Ordered: true}, Shard: job.FirstGroupShard},
		Words: "in words", Owner: "n1", Line: []job.NodeID{"n2", "n3"}, Override: &etcdkv.Override{Node: "n1", Reason: hostile},
	}, {Group: job.Group{Metadata: job.Metadata{Namespace: "ops", Name: "nobodys"}}}}, f.err
}
func (f fake) Version() control.VersionView { return control.VersionView{Version: "v9"} }

func get(t *testing.T, f fake, path string) *httptest.ResponseRecorder {
	t.Helper()
	u, err := New(Deps{Control: f, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	u.Register(mux)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

// A run whose minion is gone is not shown as running.
func TestRunWhoseMinionIsGone(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/runs", "/runs/abcd-0123456789abcdef"} {
		body := get(t, fake{gone: true}, path).Body.String()
		if !strings.Contains(body, "its minion is gone since 2026-01-02 03:05:05") || strings.Contains(body, `<span class="state running">`) {
			t.Errorf("%s:\n%s", path, body)
		}
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	for path, want := range map[string][]string{
		"/":                           {"ops/one", "every minute", "▶ 2", "/runs/abcd-0123456789abcdef", `data-topics="jobs runs"`},
		"/jobs/ops/one":               {"every minute", "skip, latest", "abcd-0123456789abcdef", "2 shards of node s2"},
		"/runs":                       {"failed", "7ms", "cursor=next", "2 shards of node s2"},
		"/runs/abcd-0123456789abcdef": {"exit code 3", "7ms", "m1", "stdout"},
		"/groups":                     {"ops/ledger", "failback, ordered", "moved to n1", "n2, n3", "nobody", `data-topics="groups jobs"`},
		"/nodes":                      {"n1", "64", "rack=r1", "drained by ada: new disk"},
		"/minions": {
			"m1", "connected", "dc=b", "asks for", "role=db", "matches nothing until granted", "to grant: <code>carillon minions label m1 role=db</code>", "Facts (its word)", "2 said by the minion", "Version (its word)",
		},
		"/shards":             {"n1", "nobody", "ops/ledger", "failback", "held"},
		"/static/live.js":     {"EventSource"},
		"/static/htmx.min.js": {"htmx"},
	} {
		w := get(t, fake{}, path)
		body := w.Body.String()
		if w.Code != http.StatusOK {
			t.Errorf("%s: status %d\n%s", path, w.Code, body)
		}
		for _, s := range want {
			if !strings.Contains(body, s) {
				t.Errorf("%s: %q is not on the page", path, s)
			}
		}
		if strings.Contains(body, hostile) {
			t.Errorf("%s: hostile text is not escaped", path)
		}
		if strings.HasPrefix(path, "/static") {
			continue
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'self'") {
			t.Errorf("%s: content security policy is %q", path, csp)
		}
	}
}

func TestErrorPages(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]int{
		fmt.Errorf("job x: %w", job.ErrNotFound):                                   http.StatusNotFound,
		fmt.Errorf("etcd: %w", job.ErrUnavailable):                                 http.StatusServiceUnavailable,
		fmt.Errorf("a surprise"):                                                   http.StatusInternalServerError,
		error(&job.InvalidError{Problems: []job.Problem{{Message: "bad cursor"}}}): http.StatusBadRequest,
	} {
		w := get(t, fake{err: err}, "/runs")
		if w.Code != want || !strings.Contains(w.Body.String(), "Back to the jobs") {
			t.Errorf("%v: status %d, want %d", err, w.Code, want)
		}
	}
}

package webui

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/query"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// fake is a control with one hostile job and one run.
type fake struct {
	err  error
	gone bool     // the run is open, and its minion is gone
	run  *job.Run // nil: a run that failed
	// waiting is how many runs of the job have not started.
	waiting int
	// applied takes what is applied, deleted or run; nil: it is not kept.
	applied *[]applying
}

const hostile = "<script>alert(1)</script>"

func (f fake) view() api.Job {
	return api.Job{
		Job: job.Job{
			Metadata: job.Metadata{Namespace: "ops", Name: "one", Labels: map[string]string{"k": hostile}},
			Spec:     job.Spec{Schedules: []string{"* * * * *"}, Command: []string{"echo", hostile}},
		},
		Words: []string{"every minute"}, NextAt: time.Now().Add(time.Minute), Running: 2, Waiting: f.waiting, Last: []job.Run{f.record()},
	}
}

func (f fake) record() job.Run {
	if f.run != nil {
		return *f.run
	}
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

func (f fake) JobPage(_ context.Context, q api.JobQuery) (api.JobPage, error) {
	if _, err := query.ParseJobs(q.Words); err != nil {
		return api.JobPage{}, err
	}
	return api.JobPage{Jobs: []api.Job{f.view()}, Total: 1234, NextCursor: "next", Missing: []api.MissingRuns{{Node: "s2", Shards: []job.ShardID{1, 2}}}, Facets: []api.Facet{
		{Key: "namespace", Values: []api.FacetValue{{Value: "ops", Jobs: 1200}, {Value: "shop", Jobs: 34}}}, {Key: "aside", Values: []api.FacetValue{{Value: "no", Jobs: 1234}}},
	}}, f.err
}
func (f fake) Start(_ context.Context, key job.Key, _ api.StartRequest) (job.FireID, error) {
	return job.FireID{At: 1}, f.refuse(key)
}
func (f fake) SetEnabled(_ context.Context, key job.Key, _ bool, _ api.Order) (api.ApplyResult, error) {
	return api.ApplyResult{Action: api.ActionUpdated}, f.refuse(key)
}
func (f fake) Pause(_ context.Context, p api.Paused, _ time.Time, o api.Order) (time.Time, error) {
	return time.Time{}, f.refuse(job.Key{Namespace: p.Namespace, Name: p.Name + o.Reason})
}
func (f fake) Resume(_ context.Context, p api.Paused, _ api.Order) (time.Time, error) {
	return time.Time{}, f.refuse(job.Key{Namespace: p.Namespace, Name: p.Name})
}

func (f fake) Versions(context.Context, job.Key) ([]job.Former, error) {
	return []job.Former{{Generation: 1, AppliedBy: "ada", ReplacedAt: time.Now(), Spec: job.Spec{Schedules: []string{"@daily"}, Command: []string{hostile}}}}, f.err
}
func (f fake) RollBack(_ context.Context, key job.Key, generation int64, _ api.Order) (api.ApplyResult, error) {
	if generation != 1 {
		return api.ApplyResult{}, job.ErrNotFound
	}
	return api.ApplyResult{}, f.refuse(key)
}

func (f fake) Upcoming(context.Context, job.Key, time.Time, int) (api.Upcoming, error) {
	at := time.Date(2027, 3, 28, 0, 30, 0, 0, time.UTC)
	return api.Upcoming{TimeZone: "Europe/Berlin", Next: []api.Instant{{At: at}, {At: at.Add(time.Hour), Skipped: hostile}}, Ends: "it ends"}, f.err
}
func (f fake) Pauses(context.Context) ([]api.Pause, error) {
	return []api.Pause{{Scope: api.ScopeJob, Namespace: "ops", Name: "one", By: "ada", Reason: hostile, Since: time.Now()}}, f.err
}
func (f fake) Calendars(context.Context, string) ([]job.Calendar, error) {
	return []job.Calendar{{Metadata: job.Metadata{Namespace: "ops", Name: "bank"}, Spec: job.CalendarSpec{Closed: []string{"12-25 " + hostile}}}}, f.err
}
func (f fake) Notifiers(context.Context, string) ([]api.Notifier, error) {
	n := api.Notifier{Notifier: job.Notifier{Metadata: job.Metadata{Namespace: "ops", Name: "oncall"}, Spec: job.NotifierSpec{Everywhere: true, Slack: &job.SlackReceiver{}}}}
	n.Waiting, n.Failing, n.Failed, n.Error = 3, 2, 7, hostile
	return []api.Notifier{n}, f.err
}
func (f fake) Notifier(_ context.Context, key job.Key) (api.NotifierDetail, error) {
	all, err := f.Notifiers(context.Background(), "")
	return api.NotifierDetail{Notifier: all[0], Deliveries: []job.Delivery{
		{State: job.DeliveryRetrying, Attempts: 4, Error: hostile, Alert: job.Alert{ID: "alert_1", Event: job.AlertFailed, Job: job.Key{Namespace: "ops", Name: "one"}, Run: "abcd-0123456789abcdef", Reason: hostile, At: time.Now()}},
		{State: job.DeliveryDelivered, Alert: job.Alert{ID: "alert_2", Event: job.AlertNodeLost, About: "node " + hostile, At: time.Now()}},
	}}, err
}
func (f fake) Scripts(context.Context, string) ([]job.SavedScript, error) {
	return []job.SavedScript{{Metadata: job.Metadata{Namespace: "ops", Name: "tidy"}, Version: 3, SHA256: "0123456789abcdef"}}, f.err
}
func (f fake) Secrets(context.Context, string) ([]job.Secret, error) {
	return []job.Secret{{Metadata: job.Metadata{Namespace: "ops", Name: "pg"}, Spec: job.SecretSpec{Description: hostile, Sealed: "age-text", Recipients: []string{"age1x"}}}}, f.err
}
func (f fake) Audit(context.Context, api.AuditQuery) (api.AuditPage, error) {
	return api.AuditPage{Next: "older", Records: []api.AuditRecord{{At: time.Now(), By: "ada", Action: "job.update", Object: "job ops/one", Changes: []api.AuditChange{{Path: "spec.command", Before: hostile, After: "new"}}}}}, f.err
}
func (f fake) Doctor(context.Context) ([]api.Check, error) {
	return []api.Check{{Name: "clocks", Status: api.CheckWarn, Detail: hostile, Hint: "set them"}}, f.err
}
func (f fake) Cancel(_ context.Context, id job.RunID, _ api.Order) error { return f.err }
func (f fake) Redo(_ context.Context, _ job.RunID, only []api.RedoPart, _ api.Order) (api.Redo, error) {
	return api.Redo{RunID: job.RunID("again-" + fmt.Sprint(only))}, f.err
}

// refuse refuses what is done with the job foreign/one.
func (f fake) refuse(key job.Key) error {
	if key.Namespace == "foreign" {
		return fmt.Errorf("job %s: %w", key, job.ErrNotFound)
	}
	return f.err
}
func (f fake) Job(context.Context, job.Key) (api.Job, error) { return f.view(), f.err }
func (f fake) Runs(context.Context, api.RunQuery) (api.RunPage, error) {
	return api.RunPage{
		Runs: []job.Run{f.record()}, NextCursor: "next", Missing: []api.MissingRuns{{Node: "s2", Shards: []job.ShardID{1, 2}}},
	}, f.err
}
func (f fake) Run(context.Context, job.RunID) (job.Run, error) { return f.record(), f.err }
func (f fake) Nodes(context.Context) ([]api.Node, error) {
	return []api.Node{{
		Name: "n1", Phase: "ready", Shards: 64, Labels: map[string]string{"rack": "r1"}, Trouble: []string{hostile},
		Drain: &api.Drain{Node: "n1", By: "ada", Reason: "new disk"},
	}}, f.err
}
func (f fake) Minions(context.Context) ([]api.Minion, error) {
	return []api.Minion{{Minion: job.Minion{
		ID: "m1", Node: "n1", Labels: map[string]string{"dc": "b"}, Requested: map[string]string{"role": "db", "rack": hostile},
		Facts: map[string]string{"os": "linux", "motd": hostile},
	}, State: "connected"}}, f.err
}
func (f fake) Minion(_ context.Context, id job.MinionID) (api.MinionDetail, error) {
	all, err := f.Minions(context.Background())
	d := api.MinionDetail{Minion: all[0], Granted: &api.LabelGrant{By: hostile}, Certificate: &api.Enrollment{Key: "key-of-it", Clones: []api.Clone{{Key: "other-key", From: hostile}}}}
	d.Trouble = hostile
	return d, err
}
func (f fake) Sites(context.Context) ([]api.Site, error) {
	return []api.Site{{Name: hostile, State: api.SiteLost, Nodes: []job.NodeID{"n1"}, Gone: []job.NodeID{"n2"}, Minions: 3, Connected: 2}, {State: api.SiteOK}}, f.err
}
func (f fake) Plans(context.Context, string) ([]api.Plan, error) {
	p, err := f.Plan(context.Background(), "ops", "erp", "2026/11")
	return []api.Plan{p}, err
}
func (f fake) Plan(_ context.Context, ns, upstream, id string) (api.Plan, error) {
	return api.Plan{
		Namespace: ns, Upstream: upstream, ID: id, Tasks: 3, Counts: map[string]int{"succeeded": 1, "failed": 2}, By: hostile,
		Trouble: map[string]string{"mail": hostile}, CallbackTrouble: hostile, AcceptedAt: time.Now(), Owner: "n1",
	}, f.err
}
func (f fake) PlanTasks(context.Context, string, string, string, api.PlanTaskQuery) (api.PlanTaskPage, error) {
	return api.PlanTaskPage{Next: "more", Tasks: []api.PlanTask{{ID: hostile, Type: "mail", State: "failed", Reason: hostile, After: []string{hostile}, Minion: "m1", Attempt: 2, RunID: "abcd-0123456789abcdef"}}}, f.err
}
func (f fake) Queues(context.Context, string) ([]api.Queue, error) {
	q, err := f.Queue(context.Background(), job.Key{})
	return []api.Queue{q, {Queue: job.Queue{Metadata: job.Metadata{Namespace: "ops", Name: "quiet"}}}}, err
}

func (f fake) Queue(context.Context, job.Key) (api.Queue, error) {
	return api.Queue{
		Queue: job.Queue{Metadata: job.Metadata{Namespace: "ops", Name: "report"}}, Hold: &api.QueueHold{By: hostile, Reason: hostile}, Waiting: 17, Dispatcher: "n1",
		Workers: []api.QueueWorker{{Minion: "web1", Places: 3, Items: []api.QueueBusy{{ID: hostile, Attempt: 2, RunID: "run-of-item"}}}, {Minion: "web2", Trouble: hostile}},
	}, f.err
}

func (f fake) Shards(context.Context) ([]api.Shard, error) {
	return []api.Shard{{ID: 7, Owner: "n1"}, {ID: 8}, {ID: job.FirstGroupShard, Group: "ops/ledger", Mode: "failback", Override: &api.Override{}}}, f.err
}
func (f fake) Groups(context.Context, string) ([]api.Group, error) {
	return []api.Group{{
		Group: job.Group{Metadata: job.Metadata{Namespace: "ops", Name: "ledger"}, Spec: job.GroupSpec{Mode: "failback", Ordered: true}, Shard: job.FirstGroupShard},
		Words: "in words", Owner: "n1", Line: []job.NodeID{"n2", "n3"}, Override: &api.Override{Node: "n1", Reason: hostile},
	}, {Group: job.Group{Metadata: job.Metadata{Namespace: "ops", Name: "nobodys"}}}}, f.err
}
func (f fake) Version() api.Version { return api.Version{Version: "v9"} }

func get(t *testing.T, f fake, path string) *httptest.ResponseRecorder {
	t.Helper()
	return serve(t, f, httptest.NewRequest(http.MethodGet, path, nil))
}

func serve(t *testing.T, f fake, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	u, err := New(Deps{Control: f, Sessions: &sessions{}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	u.Register(mux)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w
}

// Who may not see minions is not told that there are none.
func TestMinionsOfWhoMaySeeNone(t *testing.T) {
	t.Parallel()
	for may, want := range map[bool]string{false: "none that you may see", true: "No minion has connected yet"} {
		u, err := New(Deps{Control: empty{}, Sessions: &sessions{}, Logger: zap.NewNop(), May: func(context.Context, rights.Verb, rights.Kind) bool { return may }})
		if err != nil {
			t.Fatal(err)
		}
		mux := http.NewServeMux()
		u.Register(mux)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/minions", nil))
		if body := w.Body.String(); w.Code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("may see minions: %v: status %d, without %q:\n%s", may, w.Code, want, body)
		}
	}
}

// empty is a control without minions, or with none that the caller may see.
type empty struct{ fake }

func (empty) Minions(context.Context) ([]api.Minion, error) { return nil, nil }

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

// What a page leaves out it says, with how much of each stream and of what else; and
// what began before its time, by a clock that was wrong, is early, not late by a
// negative time.
func TestPageSaysWhatItLeavesOut(t *testing.T) {
	t.Parallel()
	run := fake{}.record()
	run.CommittedAt, run.StartedAt = run.ScheduledAt.Add(-290*time.Millisecond), run.ScheduledAt.Add(-19*time.Second)
	run.AttemptsLeftOut, run.Attempts = 4, []job.Attempt{{Attempt: 5, Minion: "m1", State: job.StateFailed}}
	run.Tasks[0].StartedAt, run.Tasks[0].EndedAt = run.ScheduledAt, run.ScheduledAt.Add(-time.Second)
	run.Tasks[0].Stdout = job.Output{Head: "first", Tail: "last", Bytes: 10_000_009, Truncated: true}
	run.Tasks[0].Stderr = job.Output{Head: "all", Bytes: 3}
	for i := range mostTasks + 6 {
		run.Tasks = append(run.Tasks, job.Task{Minion: job.MinionID(fmt.Sprint("w", i)), State: job.StateSucceeded})
	}
	f := fake{run: &run}
	if body := get(t, f, "/runs/"+string(run.RunID)).Body.String(); !strings.Contains(body, "4 older ones are not kept.") {
		t.Errorf("attempts are left out without a word:\n%s", body)
	}
	run.AttemptsLeftOut = 0
	body := get(t, f, "/runs/"+string(run.RunID)).Body.String()
	for _, want := range []string{
		"first\n[… 10000000 bytes are left out here; carillon logs has more …]\nlast</pre>", "<pre>all</pre>",
		"7 more minions are not shown here: carillon describe run", `<td class="num" data-h="after">19s early</td>`, `<td class="num" data-h="after">290ms before</td>`, "took 0s, exit code 3",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is not on the page", want)
		}
	}
	body += get(t, f, "/runs").Body.String()
	if negative := regexp.MustCompile(`[^0-9a-zA-Z]-[0-9.]+(h|m|s|ms)\b`).FindString(body); negative != "" || strings.Count(body, "19s early") != 2 {
		t.Errorf("a time is negative (%q), or not early:\n%s", negative, body)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	for path, want := range map[string][]string{
		"/":                           {"Wrong now", "node n1", "ops/one", "every minute", "/runs/abcd-0123456789abcdef", "of 1234 jobs", `data-topics="jobs runs nodes minions"`},
		"/jobs":                       {"ops/one", "every minute", "▶ 2", "/runs/abcd-0123456789abcdef", `data-topics="jobs runs"`},
		"/pauses":                     {"job ops/one", "it is resumed", "ada"},
		"/calendars":                  {"ops/bank", "1 day", "12-25"},
		"/plans":                      {"ops/erp/2026/11", "/plans/ops/erp/2026%2F11", "1 of 3 tasks done", "2 failed", "it waits", "the callback: "},
		"/plans/ops/erp/x":            {"Plan ops/erp/x", "mail", "1 task", "/runs/abcd-0123456789abcdef", "/plans/ops/erp/x?cursor=more"},
		"/sites":                      {"lost", "(none)", "2 of 3 connected", "n2"},
		"/minions/m1":                 {"Minion m1", "it gets no orders", "dc=b", "key-of-it", "other-key", "os", "linux", "/runs?q=minion%3Am1", "Last runs"},
		"/notifiers":                  {"ops/oncall", "slack", "of all namespaces", "3, 2 tried in vain", "nodeLost", "/notifiers/ops/oncall"},
		"/notifiers/ops/oncall":       {"Notifier ops/oncall", "retrying", "/jobs/ops/one", "/runs/abcd-0123456789abcdef", "is lost", "alert_2"},
		"/scripts":                    {"ops/tidy", "0123456789ab"},
		"/secrets":                    {"ops/pg", "1 key", "age1x"},
		"/doctor":                     {"clocks", "▲ warn", "set them"},
		"/audit":                      {"job.update", "spec.command", "after=older", "/jobs/ops/one"},
		"/jobs?q=ops&sort=-next":      {"1234 found", "of 2 shards of node s2", `href="/jobs?q=ops&#43;namespace%3Ashop&amp;sort=-next"`, "cursor=next", "Pause", `value="ops/one"`, `rel="next"`},
		"/jobs/ops/one":               {"every minute", "skip, latest", "clocks change from", "Sun 2027-03-28 03:30:00 &#43;02:00", "No more: it ends", "Run now", "<del>", "<rect", "abcd-0123456789abcdef", "2 shards of node s2", "generation 1, until", "Roll back to generation 1", `<del>-  schedules`, `<ins>+  schedules`},
		"/runs":                       {"failed", "7ms", "cursor=next", "2 shards of node s2"},
		"/runs/abcd-0123456789abcdef": {"exit code 3", "7ms", "m1", "stdout"},
		"/queues":                     {"ops/report", "paused", "17", "ops/quiet", "open", `data-topics="queues"`},
		"/queues/ops/report":          {"Queue ops/report", "paused by", "web1", "busy", "run-of-item", "web2"},
		"/groups":                     {"ops/ledger", "failback, ordered", "moved to n1", "n2, n3", "nobody", `data-topics="groups jobs"`},
		"/nodes":                      {"n1", "64", "rack=r1", "drained by ada: new disk"},
		"/minions": {
			"m1", "connected", "dc=b", "asks for", "role=db", "matches nothing until granted", "to grant: <code>carillon minions label m1 role=db</code>", "Facts (reported)", "2 reported", "Version (reported)",
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
		error(&job.InvalidError{Problems: []job.Problem{{Message: "bad cursor"}}}): http.StatusUnprocessableEntity,
	} {
		w := get(t, fake{err: err}, "/runs")
		if w.Code != want || !strings.Contains(w.Body.String(), `<a href="/jobs">Jobs</a>`) || !strings.Contains(w.Body.String(), trouble{Status: want}.Help()[:20]) {
			t.Errorf("%v: status %d, want %d", err, w.Code, want)
		}
	}
}

// A run that was tried again began when its first attempt did: later ones make it no
// later. What waits for its start is not shown as running.
func TestRetriedAndWaitingRuns(t *testing.T) {
	t.Parallel()
	run := fake{}.record()
	run.Attempts = []job.Attempt{{Attempt: 1, Minion: "m1", State: job.StateFailed, StartedAt: run.ScheduledAt.Add(22 * time.Millisecond)}}
	run.Attempt, run.StartedAt = 2, run.ScheduledAt.Add(3*time.Second)
	f := fake{run: &run, waiting: 3}
	body := get(t, f, "/runs/"+string(run.RunID)).Body.String()
	for _, want := range []string{`<td>started</td>`, `<td class="num" data-h="after">22ms</td>`, `<td>attempt 2</td>`, `<td class="num" data-h="after">3s</td>`} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is not on the page", want)
		}
	}
	if body := get(t, f, "/runs").Body.String(); !strings.Contains(body, `<td class="num" data-h="late">22ms</td>`) {
		t.Error("the list says that it was later")
	}
	if body := get(t, f, "/jobs").Body.String(); !strings.Contains(body, "▶ 2") || !strings.Contains(body, "3 waiting") {
		t.Error("what waits is not told from what runs")
	}
}

func TestShortDurations(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		90 * time.Second: "1m30s", 47*time.Hour + 61*time.Second: "47h1m", 48 * time.Hour: "2d0h", 331*24*time.Hour + 16*time.Hour + time.Minute: "331d16h",
	} {
		if got := short(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

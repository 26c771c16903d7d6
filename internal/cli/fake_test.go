package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a server that keeps the REST contract, with a few jobs and runs.
type fake struct {
	url string

	// mu guards all below.
	mu      sync.Mutex
	jobs    []api.Job
	runs    []job.Run
	missing []api.MissingRuns   // from the first page of runs
	total   int                 // of all runs, as it tells when it is asked
	others  map[job.State]int   // what the state leaves out
	output  []string            // lines of the output stream
	applied []string            // "file" of every apply that was no dry run
	given   []string            // the file and the objects of every apply
	asked   map[string]int      // requests by "METHOD path"
	started func(*fake)         // called when a job is started
	seen    func(*fake, string) // called for each request, with its "METHOD path"
	status  map[string]int      // "METHOD path" -> status to answer with
	queries map[string]string   // "METHOD path" -> last raw query
	checks  []api.Check
	update  api.Update
	fire    api.Fire
	groups  []api.Group
	orders  []string // "PATH BODY" of what operators asked for
	by      string
	same    map[string]bool // names of what an apply leaves as it is
	events  chan api.Topic  // what the stream of changes tells, until it is closed
}

var nameLine = regexp.MustCompile(`(?m)^\s*name: (\S+)`)

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{asked: map[string]int{}, status: map[string]int{}, queries: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/apply", f.apply)
	mux.HandleFunc("GET /v1/jobs", f.listJobs)
	mux.HandleFunc("GET /v1/namespaces/{ns}/jobs/{name}", f.job)
	mux.HandleFunc("DELETE /v1/namespaces/{ns}/jobs/{name}", f.job)
	mux.HandleFunc("GET /v1/namespaces/{ns}/jobs/{name}/next", f.next)
	mux.HandleFunc("POST /v1/namespaces/{ns}/jobs/{name}/run", f.start)
	for _, verb := range []string{"enable", "disable"} {
		mux.HandleFunc("POST /v1/namespaces/{ns}/jobs/{name}/"+verb, func(w http.ResponseWriter, r *http.Request) {
			if f.find(r.PathValue("ns"), r.PathValue("name")) < 0 {
				refuse(w, http.StatusNotFound, "no such job")
				return
			}
			reply(w, api.ApplyResult{Kind: "Job", Namespace: r.PathValue("ns"), Name: r.PathValue("name"), Action: api.ActionUpdated})
		})
	}
	mux.HandleFunc("GET /v1/namespaces/{ns}/jobs/{name}/versions", func(w http.ResponseWriter, _ *http.Request) {
		old := func(n int64) job.Former {
			return job.Former{Generation: n, AppliedBy: "ada", UpdatedAt: noon, ReplacedAt: noon, Spec: job.Spec{Command: []string{"echo", "former"}}}
		}
		reply(w, map[string]any{"versions": []job.Former{old(2), old(1)}})
	})
	mux.HandleFunc("POST /v1/namespaces/{ns}/jobs/{name}/versions/{generation}/restore", func(w http.ResponseWriter, r *http.Request) {
		f.given = append(f.given, "restore "+r.PathValue("generation"))
		reply(w, api.ApplyResult{Kind: "Job", Namespace: r.PathValue("ns"), Name: r.PathValue("name"), Action: api.ActionUpdated})
	})
	mux.HandleFunc("GET /v1/minion-update", func(w http.ResponseWriter, _ *http.Request) { reply(w, f.update) })
	mux.HandleFunc("GET /v1/groups", f.listGroups)
	mux.HandleFunc("GET /v1/namespaces/{ns}/groups/{name}", f.group)
	mux.HandleFunc("DELETE /v1/namespaces/{ns}/groups/{name}", f.group)
	mux.HandleFunc("POST /v1/nodes/{ref}/{verb}", f.order)
	mux.HandleFunc("POST /v1/shards/{ref}/{verb}", f.order)
	mux.HandleFunc("POST /v1/{verb}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Carillon-Holds-From", "2026-11-29T12:00:00.25Z")
		f.order(w, r)
	})
	mux.HandleFunc("GET /v1/audit", func(w http.ResponseWriter, _ *http.Request) { reply(w, map[string]any{"records": exampleAudit()}) })
	mux.HandleFunc("GET /v1/namespaces/{ns}/jobs/{name}/fires/{at}", func(w http.ResponseWriter, _ *http.Request) { reply(w, f.fire) })
	mux.HandleFunc("GET /v1/runs", f.listRuns)
	mux.HandleFunc("GET /v1/runs/{id}", f.run)
	mux.HandleFunc("POST /v1/runs/{ref}/{verb}", f.order)
	mux.HandleFunc("GET /v1/runs/{id}/output", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Join(f.output, "\n"))
	})
	mux.HandleFunc("GET /v1/nodes", func(w http.ResponseWriter, _ *http.Request) { reply(w, map[string]any{"nodes": exampleNodes()}) })
	mux.HandleFunc("GET /v1/etcd/members", func(w http.ResponseWriter, _ *http.Request) { reply(w, map[string]any{"members": exampleMembers()}) })
	mux.HandleFunc("GET /v1/minions", func(w http.ResponseWriter, _ *http.Request) { reply(w, map[string]any{"minions": exampleMinions()}) })
	mux.HandleFunc("GET /v1/minions/{id}", func(w http.ResponseWriter, r *http.Request) {
		v, ok := exampleMinion(r.PathValue("id"))
		if !ok {
			refuse(w, http.StatusNotFound, "minion "+r.PathValue("id")+": not found")
			return
		}
		reply(w, v)
	})
	mux.HandleFunc("GET /v1/host-groups", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]any{"hostGroups": exampleHostGroups()})
	})
	mux.HandleFunc("DELETE /v1/host-groups/{name}", func(w http.ResponseWriter, r *http.Request) {
		f.given = append(f.given, "delete hostgroup "+r.PathValue("name"))
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /v1/calendars", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]any{"calendars": []job.Calendar{{Metadata: job.Metadata{Namespace: "default", Name: "holidays"}, Spec: job.CalendarSpec{Closed: []string{"2026-12-25"}}}}})
	})
	mux.HandleFunc("GET /v1/queues", func(w http.ResponseWriter, _ *http.Request) { reply(w, map[string]any{"queues": []api.Queue{}}) })
	mux.HandleFunc("GET /v1/notifiers", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]any{"notifiers": []api.Notifier{}})
	})
	mux.HandleFunc("GET /v1/defaults", func(w http.ResponseWriter, _ *http.Request) { reply(w, map[string]any{"defaults": []job.Defaults{}}) })
	mux.HandleFunc("GET /v1/secrets", func(w http.ResponseWriter, _ *http.Request) { reply(w, map[string]any{"secrets": []job.Secret{}}) })
	mux.HandleFunc("GET /v1/scripts", func(w http.ResponseWriter, _ *http.Request) { reply(w, map[string]any{"scripts": []job.SavedScript{}}) })
	mux.HandleFunc("GET /v1/roles", func(w http.ResponseWriter, _ *http.Request) { reply(w, map[string]any{"roles": exampleRoles()}) })
	mux.HandleFunc("GET /v1/role-bindings", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]any{"roleBindings": exampleBindings()})
	})
	mux.HandleFunc("DELETE /v1/role-bindings/{name}", func(w http.ResponseWriter, r *http.Request) {
		f.given = append(f.given, "delete rolebinding "+r.PathValue("name"))
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /v1/minions/match", func(w http.ResponseWriter, r *http.Request) { reply(w, exampleMatch(r.URL.Query().Get("target"))) })
	mux.HandleFunc("GET /v1/shards", func(w http.ResponseWriter, _ *http.Request) { reply(w, map[string]any{"shards": exampleShards()}) })
	mux.HandleFunc("GET /v1/doctor", func(w http.ResponseWriter, _ *http.Request) { reply(w, map[string]any{"checks": f.checks}) })
	mux.HandleFunc("GET /v1/version", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, api.Version{Version: "1.2.3", Commit: "abc", Go: "go1.26", Node: "n1", ClusterID: "c1"})
	})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/events" {
			f.stream(w, r)
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		what := r.Method + " " + r.URL.Path
		f.asked[what]++
		f.queries[what] = r.URL.RawQuery
		if f.seen != nil {
			f.seen(f, what)
		}
		if status := f.status[what]; status != 0 {
			refuse(w, status, "as the test wants")
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	f.url = srv.URL
	return f
}

// stream tells changes, outside of the fake's lock.
func (f *fake) stream(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	events := f.events
	f.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, ": changes\n\n")
	flush := http.NewResponseController(w).Flush
	_ = flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case topic, ok := <-events:
			if !ok {
				return
			}
			_, _ = fmt.Fprintf(w, "event: change\ndata: {\"topic\":%q}\n\n", topic)
			_ = flush()
		}
	}
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, status int, detail string, problems ...job.Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": detail, "errors": problems,
	})
}

// apply takes every "name: X" for a job; a name that begins with "bad" has two
// problems.
func (f *fake) apply(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	file, dry := r.URL.Query().Get("file"), r.URL.Query().Get("dryRun") == "true"
	var (
		results  []api.ApplyResult
		problems []job.Problem
		names    []string
	)
	for _, m := range nameLine.FindAllStringSubmatch(string(body), -1) {
		if strings.HasPrefix(m[1], "bad") {
			problems = append(problems,
				job.Problem{File: file, Line: 3, Path: "metadata.name", Message: "is bad"},
				job.Problem{File: file, Line: 4, Path: "spec.overlap", Message: `"skp" is not allowed; did you mean "skip"?`})
		}
		action := api.ActionCreated
		if f.find("default", m[1]) >= 0 {
			action = api.ActionUpdated
		}
		if f.same[m[1]] {
			action = api.ActionUnchanged
		}
		kind := "Job"
		if strings.Contains(string(body), "kind: Group\nmetadata:\n  name: "+m[1]) || strings.Contains(string(body), "kind: Group\nmetadata:\n  namespace: default\n  name: "+m[1]) {
			kind = "Group"
		}
		results = append(results, api.ApplyResult{Kind: kind, Namespace: "default", Name: m[1], Action: action})
		names = append(names, "default/"+m[1])
	}
	if dry {
		file += " (dry run)"
	}
	f.given = append(f.given, file+": "+strings.Join(names, " "))
	file = strings.TrimSuffix(file, " (dry run)")
	if len(problems) > 0 {
		refuse(w, http.StatusUnprocessableEntity, "2 problems", problems...)
		return
	}
	if !dry {
		if strings.Contains(string(body), "conflict") {
			refuse(w, http.StatusConflict, "job default/conflict: conflict")
			return
		}
		f.applied = append(f.applied, file)
	}
	reply(w, map[string]any{"results": results})
}

func (f *fake) find(ns, name string) int {
	return slices.IndexFunc(f.jobs, func(v api.Job) bool { return v.Namespace == ns && v.Name == name })
}

func (f *fake) listJobs(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	found := slices.DeleteFunc(slices.Clone(f.jobs), func(v api.Job) bool {
		for _, l := range q["label"] {
			if k, val, _ := strings.Cut(l, "="); v.Labels[k] != val {
				return true
			}
		}
		return q.Get("namespace") != "" && v.Namespace != q.Get("namespace")
	})
	reply(w, map[string]any{"jobs": found})
}

func (f *fake) job(w http.ResponseWriter, r *http.Request) {
	ns, name := r.PathValue("ns"), r.PathValue("name")
	i := f.find(ns, name)
	switch {
	case i < 0:
		refuse(w, http.StatusNotFound, fmt.Sprintf("job %s/%s: not found", ns, name))
	case r.Method == http.MethodDelete:
		f.jobs = slices.Delete(f.jobs, i, i+1)
		w.WriteHeader(http.StatusNoContent)
	default:
		reply(w, f.jobs[i])
	}
}

// next tells the instants of a job's schedule, each one skipped where it is not
// enabled.
func (f *fake) next(w http.ResponseWriter, r *http.Request) {
	i := f.find(r.PathValue("ns"), r.PathValue("name"))
	if i < 0 {
		refuse(w, http.StatusNotFound, "no such job")
		return
	}
	j := &f.jobs[i].Job
	after, err := time.Parse(time.RFC3339Nano, r.URL.Query().Get("after"))
	if err != nil {
		after = noon
	}
	n, _ := strconv.Atoi(r.URL.Query().Get("count"))
	if after.Before(j.After) {
		after = j.After
	}
	set, _ := schedule.ParseSet(j.Spec.Schedules, schedule.OptionsOf(j.Key(), &j.Spec))
	v := api.Upcoming{Schedules: j.Spec.Schedules, Words: set.Words(), TimeZone: orText(j.Spec.TimeZone, "UTC"), Next: []api.Instant{}}
	for _, t := range set.Between(after, after.AddDate(1, 0, 0), n) {
		v.Next = append(v.Next, api.Instant{At: t, StartsAt: t})
	}
	if len(set) == 0 {
		v.Ends = "the job has no schedule"
	}
	reply(w, v)
}

func (f *fake) listGroups(w http.ResponseWriter, r *http.Request) {
	ns := r.URL.Query().Get("namespace")
	reply(w, map[string]any{"groups": slices.DeleteFunc(slices.Clone(f.groups), func(v api.Group) bool { return ns != "" && v.Namespace != ns })})
}

// group deletes a group unless it has jobs.
func (f *fake) group(w http.ResponseWriter, r *http.Request) {
	ns, name := r.PathValue("ns"), r.PathValue("name")
	i := slices.IndexFunc(f.groups, func(v api.Group) bool { return v.Namespace == ns && v.Name == name })
	switch {
	case i < 0:
		refuse(w, http.StatusNotFound, fmt.Sprintf("group %s/%s: not found", ns, name))
	case r.Method == http.MethodGet:
		reply(w, f.groups[i])
	case f.groups[i].Jobs > 0:
		refuse(w, http.StatusConflict, fmt.Sprintf("group %s/%s has %d jobs", ns, name, f.groups[i].Jobs))
	default:
		f.groups = slices.Delete(f.groups, i, i+1)
		w.WriteHeader(http.StatusNoContent)
	}
}

// order takes any order but one about n9.
func (f *fake) order(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if r.PathValue("ref") == "n9" || strings.Contains(string(body), "n9") {
		refuse(w, http.StatusNotFound, `there is no live node "n9"; did you mean "n1"?: not found`)
		return
	}
	f.orders = append(f.orders, r.PathValue("ref")+" "+r.PathValue("verb")+" "+string(body))
	w.WriteHeader(http.StatusNoContent)
}

func (f *fake) start(w http.ResponseWriter, r *http.Request) {
	ns, name := r.PathValue("ns"), r.PathValue("name")
	if f.find(ns, name) < 0 {
		refuse(w, http.StatusNotFound, fmt.Sprintf("job %s/%s: not found", ns, name))
		return
	}
	if name == "nowhere" {
		refuse(w, http.StatusUnprocessableEntity, "No minions matched the target")
		return
	}
	var body struct{ By string }
	_ = json.NewDecoder(r.Body).Decode(&body)
	f.by = body.By
	if f.started != nil {
		f.started(f)
	}
	fire := exampleFire(noon)
	w.WriteHeader(http.StatusAccepted)
	_ = json.NewEncoder(w).Encode(map[string]any{"runId": fire.RunID(), "fireId": fire})
}

func (f *fake) listRuns(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	found := slices.DeleteFunc(slices.Clone(f.runs), func(run job.Run) bool {
		return q.Get("namespace") != "" && run.Namespace != q.Get("namespace") ||
			q.Get("job") != "" && run.Job != q.Get("job") || q.Get("state") != "" && string(run.State) != q.Get("state")
	})
	from, _ := strconv.Atoi(q.Get("cursor"))
	limit, _ := strconv.Atoi(q.Get("limit"))
	end := min(from+min(limit, 3), len(found)) // short pages, so that tests see many
	page := api.RunPage{Runs: found[from:end]}
	if end < len(found) {
		page.NextCursor = strconv.Itoa(end)
	}
	if from == 0 {
		page.Missing = f.missing
	}
	if q.Get("count") == "true" {
		page.Total, page.Others = f.total, f.others
	}
	reply(w, page)
}

func (f *fake) run(w http.ResponseWriter, r *http.Request) {
	for _, run := range f.runs {
		if string(run.RunID) == r.PathValue("id") {
			reply(w, run)
			return
		}
	}
	refuse(w, http.StatusNotFound, fmt.Sprintf("run %s: not found", r.PathValue("id")))
}

// change runs fn under the fake's lock.
func (f *fake) change(fn func(*fake)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn(f)
}

// noon is what the tests' clock shows.
var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// result is what a command left behind.
type result struct {
	code           int
	stdout, stderr string
}

func (r result) String() string {
	return fmt.Sprintf("%s-- stderr --\n%s-- exit code %d --\n", r.stdout, r.stderr, r.code)
}

// carillon runs a command against f. The viewer lives in Berlin, at noon UTC.
func carillon(ctx context.Context, f *fake, stdin string, args ...string) result {
	a, out := testApp(f, args)
	a.opts.Stdin = strings.NewReader(stdin)
	return out(a.main(ctx))
}

// testApp returns what runs a command against f, with variables besides, and what tells
// what it left behind.
func testApp(f *fake, args []string, env ...string) (*app, func(code int) result) {
	var stdout, stderr bytes.Buffer
	env = append([]string{"TZ=Europe/Berlin", "USER=ada"}, env...)
	if f != nil {
		env = append(env, "CARILLON_SERVER="+f.url)
	}
	a := newApp(Options{Args: args, Env: env, Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr, Version: "1.2.3", Commit: "abc"})
	a.now = func() time.Time { return noon }
	a.patience, a.again = 3*time.Second, time.Millisecond
	return a, func(code int) result { return result{code: code, stdout: stdout.String(), stderr: stderr.String()} }
}

func exampleFire(at time.Time) job.FireID {
	return job.FireID{Job: job.UID{1, 2, 3}, At: at.UnixNano(), Trigger: job.TriggerSchedule}
}

// exampleRun is a run of "backup" on one minion, scheduled at that instant.
func exampleRun(at time.Time, state job.State) job.Run {
	fire := exampleFire(at)
	r := job.Run{
		RunID: fire.RunID(), FireID: fire, Namespace: "default", Job: "backup", Trigger: "schedule", State: state,
		Attempt: 1, Node: "n1", Shard: 7, Token: job.Token{Epoch: 1, Revision: 42}, Count: 1,
		ScheduledAt: at, CommittedAt: at.Add(-200 * time.Millisecond), DispatchedAt: at.Add(time.Millisecond),
		StartedAt: at.Add(12 * time.Millisecond), EndedAt: at.Add(1512 * time.Millisecond),
		Tasks: []job.Task{{
			Minion: "web-1", Attempt: 1, State: state, StartedAt: at.Add(12 * time.Millisecond), EndedAt: at.Add(1512 * time.Millisecond),
			Exit:   &job.Exit{Code: 0, UserCPU: job.Duration(250 * time.Millisecond), SystemCPU: job.Duration(20 * time.Millisecond), MaxRSS: 5 << 20},
			Stdout: job.Output{Head: "one\ntwo\n", Bytes: 8},
		}},
	}
	if state == job.StateFailed {
		r.Reason, r.Tasks[0].Reason, r.Tasks[0].Exit.Code = "exit code 3", "exit code 3", 3
		r.Tasks[0].Stderr = job.Output{Head: "oh \x1b[31mno\n", Tail: "the end\n", Bytes: 9000, Truncated: true}
	}
	if !state.Final() {
		r.EndedAt, r.Tasks[0].EndedAt, r.Tasks[0].Exit = time.Time{}, time.Time{}, nil
	}
	return r
}

// withExamples fills the fake with two jobs and four runs.
func withExamples(f *fake) *fake {
	off := false
	f.runs = []job.Run{
		exampleRun(noon.Add(-1*time.Minute), job.StateRunning),
		exampleRun(noon.Add(-6*time.Minute), job.StateFailed),
		exampleRun(noon.Add(-11*time.Minute), job.StateSucceeded),
		{
			RunID: "abcd-0123456789abcdef", FireID: exampleFire(noon.Add(-24 * time.Hour)), Namespace: "team", Job: "report", Trigger: "schedule", State: job.StateMissed,
			Reason: "the cluster was down", Count: 12, ScheduledAt: noon.Add(-24 * time.Hour), Until: noon.Add(-13 * time.Hour),
		},
	}
	f.jobs = []api.Job{{
		Job: job.Job{
			Metadata: job.Metadata{Namespace: "default", Name: "backup", Labels: map[string]string{"team": "db", "tier": "1"}},
			Spec: job.Spec{
				Schedules: []string{"*/5 * * * *"}, TimeZone: "America/New_York",
				Command: []string{"/usr/bin/backup", "--all", "a b"}, Env: map[string]job.EnvValue{"LEVEL": job.Text("9")},
				Target: job.Target{Labels: map[string]string{"role": "db"}}, Timeout: job.Duration(10 * time.Minute), Retry: job.Retry{Attempts: 3},
			},
			UID: job.UID{1, 2, 3}, Generation: 2, After: noon.Add(-time.Hour), CreatedAt: noon.Add(-48 * time.Hour), UpdatedAt: noon.Add(-time.Hour),
		},
		Shard: 7, Words: []string{"every 5 minutes"}, NextAt: noon.Add(4 * time.Minute), Running: 1, Last: f.runs[1:3],
	}, {
		Job: job.Job{
			Metadata: job.Metadata{Namespace: "team", Name: "report"},
			Spec: job.Spec{
				Enabled: &off, Script: &job.Script{Source: "#!/bin/sh\necho \"hi\"\n"}, Target: job.Target{Names: []string{"web-*"}, Run: job.SpreadAll},
				Rollout: job.Rollout{MaxPer: map[string]int{"rack": 2}, ClusterMaxPer: map[string]int{"rack": 4, "room": 9}},
			},
			UID: job.UID{4}, Generation: 1, After: noon, CreatedAt: noon, UpdatedAt: noon,
		},
		Shard: 3,
	}}
	f.groups = exampleGroups()
	f.checks = []api.Check{
		{Name: "etcd", Status: api.CheckOK, Detail: "3 members, 2 ms"},
		{Name: "clock", Status: api.CheckWarn, Detail: "n2 is 80 ms off", Hint: "run a time service on n2"},
	}
	return f
}

func exampleGroups() []api.Group {
	return []api.Group{{
		Group: job.Group{
			Metadata: job.Metadata{Namespace: "default", Name: "ledger", Labels: map[string]string{"team": "db"}},
			Spec: job.GroupSpec{
				Mode: "failback", Nodes: []job.NodeID{"n1", "n2"}, Sites: []string{"berlin", "bonn"}, HoldOff: job.Duration(2 * time.Minute),
				Ordered: true, MaxConcurrent: 3, Mutex: "books", Pin: map[string]string{"disk": "ssd"},
			},
			UID: job.UID{7}, Shard: job.FirstGroupShard, Generation: 4, CreatedAt: noon.Add(-48 * time.Hour), UpdatedAt: noon.Add(-time.Hour),
		},
		Words: "as failover, and back", Owner: "n2", Since: noon.Add(-time.Hour), Token: job.Token{Epoch: 1, Revision: 77}, Jobs: 2, OpenSlots: 1,
		Override: &api.Override{Node: "n2", By: "ada", Reason: "n1 gets a new disk", Since: noon.Add(-time.Hour)},
	}, {
		Group: job.Group{
			Metadata: job.Metadata{Namespace: "team", Name: "turns"}, Spec: job.GroupSpec{Mode: "roundrobin-preempt"},
			UID: job.UID{8}, Shard: job.FirstGroupShard + 1, Generation: 1, CreatedAt: noon, UpdatedAt: noon,
		},
		Words: "in turn", Line: []job.NodeID{"n2", "n1"},
	}}
}

func exampleAudit() []api.AuditRecord {
	return []api.AuditRecord{
		{At: noon, By: "ada", Action: "shard.move", Object: "65536", Reason: "n1 gets a new disk", From: "10.0.0.7", Request: "r1",
			Changes: []api.AuditChange{{Path: "node", Before: `"n1"`, After: `"n2"`}}, LeftOut: 2},
		{At: noon.Add(-time.Hour), Action: "node.drain", Object: "n1"},
	}
}

func exampleMembers() []api.EtcdMember {
	return []api.EtcdMember{{
		Node: "n1", Role: api.EtcdLeader, Live: true, ID: "8e9e05c52164694d", PeerURL: "https://10.0.0.1:7480", ClientURL: "https://10.0.0.1:7479",
		Version: "3.7.3", SizeBytes: 3 << 20, InUseBytes: 2 << 20, QuotaBytes: 8 << 30,
	}, {
		Node: "n2", Role: api.EtcdDown, ID: "b71f75320dc06a6c", PeerURL: "https://10.0.0.2:7480", ClientURL: "https://10.0.0.2:7479",
		QuotaBytes: 8 << 30, Problems: []string{"connection refused"},
	}, {
		Role: api.EtcdAdded, ID: "f00", PeerURL: "https://10.0.0.3:7480", Problems: []string{"it was added and has not started"},
	}, {Node: "n4", Role: api.EtcdClient, Live: true}}
}

func exampleNodes() []api.Node {
	return []api.Node{{
		Name: "n2", Phase: "draining", Capacity: 1, StartedAt: noon.Add(-time.Hour), Labels: map[string]string{"rack": "r1"},
		Drain: &api.Drain{Node: "n2", By: "ada", Reason: "new disk", Since: noon}, Trouble: []string{"n1 does not reach it at 10.0.0.2:7420"},
	}, {
		Name: "n1", Site: "berlin", Phase: "active", Priority: 10, Capacity: 100, Shards: 64, Minions: 2,
		PeerAddr: "10.0.0.1:7420", APIAddr: "10.0.0.1:8420", Version: "1.2.3", StartedAt: noon.Add(-3 * time.Hour),
	}}
}

func exampleMinions() []api.Minion {
	return []api.Minion{
		{Minion: job.Minion{ID: "web-1", Labels: map[string]string{"role": "web", "dc": "b"}, Facts: map[string]string{"os": "linux"}, Version: "1.2.3", Since: noon.Add(-time.Hour), ConnectedSince: noon.Add(-10 * time.Minute), Node: "n1", Running: 2}, State: "connected"},
		{Minion: job.Minion{ID: "web-2", Since: noon.Add(-2 * time.Hour), Trouble: "not connected", TroubleSince: noon.Add(-3 * time.Minute)}, State: "disconnected"},
	}
}

// exampleMinion tells of one that has joined and says what rules a terminal, and
// of one of which little is known.
func exampleMinion(id string) (v api.MinionDetail, ok bool) {
	for _, m := range exampleMinions() {
		if string(m.ID) == id {
			v.Minion, ok = m, true
		}
	}
	if id == "web-1" {
		v.FactsFrom, v.Trouble, v.TroubleSince = api.FactsFromMinion, "disk full", noon.Add(-time.Minute)
		v.Facts["motd"] = "\x1b[31mred \u202etxt"
		v.Requested = map[string]string{"role": "db", "rack": "$(reboot)\x1b[6n"}
		v.Granted = &api.LabelGrant{By: "token k3x9", Since: noon.Add(-time.Hour)}
		v.Certificate = &api.Enrollment{
			ID: "web-1", Key: "SHA256:abc", Token: "k3x9", EnrolledAt: noon.Add(-time.Hour), Serial: "17", ExpiresAt: noon.Add(time.Hour),
			Clones: []api.Clone{{Key: "SHA256:def", From: "10.0.0.9", At: noon.Add(-time.Minute)}},
		}
	}
	return v, ok
}

func exampleHostGroups() []job.HostGroup {
	return []job.HostGroup{
		{Metadata: job.Metadata{Namespace: "default", Name: "canary"}, Spec: job.HostGroupSpec{Match: "web[001-002]"}, UpdatedAt: noon},
		{Metadata: job.Metadata{Namespace: "default", Name: "frontend"}, Spec: job.HostGroupSpec{Match: "os == \"linux\" and web*!@canary"}, UpdatedAt: noon.Add(-time.Hour)},
	}
}

func exampleRoles() []api.Role {
	return []api.Role{
		{Role: job.Role{Metadata: job.Metadata{Namespace: "default", Name: "viewer"}, Spec: job.RoleSpec{Rules: []job.RoleRule{{Verbs: []string{"read"}, Resources: []string{"jobs", "runs"}}}}}, BuiltIn: true},
		{Role: job.Role{Metadata: job.Metadata{Namespace: "default", Name: "deployer"}, CreatedAt: noon.Add(-time.Hour), UpdatedAt: noon, Spec: job.RoleSpec{Rules: []job.RoleRule{
			{Verbs: []string{"read", "run"}, Resources: []string{"jobs", "runs"}, Namespaces: []string{"billing"}, Labels: map[string]string{"tier": "web"}},
			{Verbs: []string{"read"}, Resources: []string{"minions"}},
		}}}},
	}
}

func exampleBindings() []job.RoleBinding {
	return []job.RoleBinding{
		{Metadata: job.Metadata{Namespace: "default", Name: "billing-team"}, UpdatedAt: noon, Spec: job.RoleBindingSpec{
			Role: "deployer", Namespaces: []string{"billing"},
			Subjects: []job.RoleSubject{{Kind: "group", Name: "billing"}, {Kind: "user", Name: "ann@example.org"}, {Kind: "token", Name: "ci"}, {Kind: "account", Name: "deploy"}},
		}},
		{Metadata: job.Metadata{Namespace: "default", Name: "everybody"}, UpdatedAt: noon, Spec: job.RoleBindingSpec{Role: "viewer", Subjects: []job.RoleSubject{{Kind: "group", Name: "all"}}}},
	}
}

// exampleMatch matches nothing for the target "nowhere".
func exampleMatch(expr string) api.Match {
	v := api.Match{
		Target: expr, Minions: []job.MinionID{"web-1", "web-2"}, Hosts: "web-[1-2]", Disconnected: []job.MinionID{"web-3", "web-4"}, Known: 9,
		Unknown:        []api.UnknownKey{{Key: "os", Hosts: 3, First: "db-1"}},
		Uncontrollable: []job.Uncontrollable{{Minion: "web-2", Reason: "disk full"}, {Minion: "web-4", Reason: "its certificate was revoked", Since: noon}},
	}
	if expr == "nowhere" {
		v.Minions, v.Hosts, v.Disconnected = []job.MinionID{}, "", []job.MinionID{}
	}
	return v
}

func exampleShards() []api.Shard {
	return []api.Shard{
		{ID: 0, Owner: "n1", Since: noon.Add(-time.Hour), Token: job.Token{Epoch: 1, Revision: 42}, Jobs: 12, OpenSlots: 1, Cursor: noon},
		{ID: 1},
		{ID: job.FirstGroupShard, Group: "default/ledger", Mode: "failback", Owner: "n2", Since: noon, Override: &api.Override{}},
	}
}

package guarded_test // the command line is not for packages below it

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/internal/cli"
	"github.com/carillon-cron/carillon/internal/control"
	"github.com/carillon-cron/carillon/internal/control/access"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/httpapi"
	"github.com/carillon-cron/carillon/internal/httpapi/guarded"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/internal/webui"
	"github.com/carillon-cron/carillon/job"
)

// closedDoor is the door of a cluster in which rights count.
type closedDoor struct{}

func (closedDoor) State() access.State { return access.Closed }

// ended has one run of each team that has ended.
type ended struct{ runs []job.Run }

func (*ended) LiveRuns(context.Context, string, string) ([]job.Run, error) { return nil, nil }
func (*ended) Append(context.Context, []job.Run) error                     { return nil }
func (*ended) Minions() []job.Minion                                       { return nil }

func (e *ended) Get(_ context.Context, id job.RunID) (job.Run, error) {
	for _, r := range e.runs {
		if r.RunID == id {
			return r, nil
		}
	}
	return job.Run{}, fmt.Errorf("run %s: %w", id, job.ErrNotFound)
}

func (e *ended) List(_ context.Context, q history.Query) (history.Page, error) {
	var page history.Page
	for _, r := range e.runs {
		if q.Cursor == "" && q.Selects(r.Key(), r.FireID.Job, r.State) {
			page.Runs = append(page.Runs, r)
		}
	}
	return page, q.Check()
}

func (*ended) Output(_ context.Context, _ job.TaskID, _ bool, fn func(int, []byte, int64) error) error {
	return fn(1, []byte("hello\n"), 0)
}

// team is a member of a team with what a program of theirs has.
type team struct {
	server, token string
}

// carillon runs a command of the CLI as the team, and returns its exit code and output.
func (m *team) carillon(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	code := cli.Main(t.Context(), cli.Options{
		Args: args, Env: []string{"CARILLON_SERVER=" + m.server, "CARILLON_API_TOKEN=" + m.token, "USER=x"}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out,
	})
	return code, out.String()
}

const teamFile = `apiVersion: carillon/v1
kind: Group
metadata: {name: ledger, namespace: TEAM}
spec: {}
---
apiVersion: carillon/v1
kind: Job
metadata: {name: TEAM-daily, namespace: TEAM}
spec: {schedule: "@daily", group: ledger, command: [echo, hello]}
---
apiVersion: carillon/v1
kind: Script
metadata: {name: TEAM-script, namespace: TEAM}
spec: {source: "df"}
---
apiVersion: carillon/v1
kind: Calendar
metadata: {name: TEAM-days, namespace: TEAM}
spec: {weekdays: [MON-FRI]}
---
apiVersion: carillon/v1
kind: RoleBinding
metadata: {name: TEAM}
spec: {role: editor, subjects: [{kind: token, name: TEAM-ci}], namespaces: [TEAM]}
`

// Two teams on one closed cluster: a member of one has all of what is theirs, and finds
// nothing of the other's, by the CLI, the API and the page.
func TestTwoTeams(t *testing.T) {
	t.Parallel()
	runs := &ended{}
	for i, ns := range []string{"billing", "search"} {
		fire := job.FireID{Job: job.UID{byte(i + 1)}, At: 1_700_000_000_000_000_000, Trigger: job.TriggerSchedule}
		runs.runs = append(runs.runs, job.Run{
			RunID: fire.RunID(), FireID: fire, Namespace: ns, Job: ns + "-daily", State: job.StateSucceeded, ScheduledAt: fire.Time(),
			Tasks: []job.Task{{Minion: "web1", Attempt: 1, State: job.StateSucceeded}},
		})
	}
	ctl, err := control.New(
		control.Config{Node: "n1", Version: "1.2.3", Keys: etcdkv.NewKeys(etcdtest.Prefix(t)), Meta: etcdkv.Meta{ClusterID: "c1", Shards: 4}},
		control.Deps{Client: etcdtest.Start(t).Client(t), History: runs, Live: runs, Outputs: runs, Minions: runs, Door: closedDoor{}},
	)
	if err != nil {
		t.Fatal(err)
	}
	watching, stop := context.WithCancel(t.Context())
	done := make(chan struct{}, 1)
	go func() { defer close(done); _ = ctl.WatchRights(watching) }()
	t.Cleanup(func() { stop(); <-done })
	<-ctl.RightsKnown()

	control := guarded.New(ctl, ctl.Rights())
	a, err := httpapi.New(httpapi.Config{}, httpapi.Deps{Control: control, Rights: ctl.Rights(), Gatherer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	page, err := webui.New(webui.Deps{Control: control, Sessions: ctl, May: ctl.Rights().May, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	page.Register(mux)
	if err := a.Register(mux); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(a.Middleware(mux))
	t.Cleanup(s.Close)

	root := caller.With(t.Context(), caller.Caller{Name: "root (socket)", Local: true})
	teams := map[string]*team{}
	for _, name := range []string{"billing", "search"} {
		if _, err := control.Apply(root, name, []byte(strings.ReplaceAll(teamFile, "TEAM", name)), false); err != nil {
			t.Fatal(err)
		}
		token, err := control.CreateAPIToken(root, api.APITokenRequest{Name: name + "-ci", TTL: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		teams[name] = &team{s.URL, token.Text}
	}
	ann := teams["billing"]
	// The node hears of the bindings by its watch.
	await.Until(t, "the team sees its own job", func() bool {
		code, _ := ann.carillon(t, "get", "job", "billing/billing-daily")
		return code == 0
	})

	foreign := string(runs.runs[1].RunID)
	for args, want := range map[string]struct {
		code int
		text string
	}{
		"get jobs -A -o name":                {0, "billing/billing-daily\n"},
		"get groups -A -o name":              {0, "billing/ledger\n"},
		"get scripts -n billing -o name":     {0, "billing-script"},
		"get scripts -n search":              {0, "no scripts"},
		"get runs -A -o name":                {0, string(runs.runs[0].RunID) + "\n"},
		"get pauses":                         {0, "no"},
		"logs " + string(runs.runs[0].RunID): {0, "hello"},

		"get jobs -n search":                         {0, "no jobs"},
		"get job search/search-daily":                {3, "job search/search-daily: not found"},
		"describe job search/search-daily":           {3, "not found"},
		"describe group search/ledger":               {3, "not found"},
		"describe script search/search-script":       {3, "not found"},
		"describe calendar search/search-days":       {3, "not found"},
		"get run " + foreign:                         {3, "run " + foreign + ": not found"},
		"logs " + foreign:                            {3, "not found"},
		"cancel " + foreign:                          {3, "not found"},
		"run search/search-daily":                    {3, "not found"},
		"disable search/search-daily":                {3, "not found"},
		"pause job search/search-daily":              {3, "not found"},
		"delete job search/search-daily":             {3, "not found"},
		"delete group search/ledger":                 {3, "not found"},
		"next search/search-daily":                   {3, "not found"},
		"pause namespace search":                     {5, "you may not pause jobs in the namespace search"},
		"pause all":                                  {5, "you may not pause jobs in all namespaces"},
		"nodes":                                      {5, "you may not read nodes"},
		"audit":                                      {5, "you may not see the audit of the cluster"},
		"exec --target * -- true":                    {5, "you may not exec minions"},
		"get roles":                                  {5, "you may not read roles"},
		"token list":                                 {5, "you may not read tokens"},
		"auth can-i run jobs -n billing":             {0, "yes"},
		"auth can-i run jobs -n search":              {1, "no"},
		"auth can-i read jobs -A":                    {1, "no"},
		"auth can-i exec minions":                    {1, "no"},
		"auth can-i rnu jobs":                        {2, `did you mean "run"?`},
		"describe job billing/billing-daily -o json": {0, `"billing-daily"`},
	} {
		code, text := ann.carillon(t, strings.Fields(args)...)
		if code != want.code || !strings.Contains(text, want.text) || strings.Contains(text, "search-") && !strings.Contains(args, "search") {
			t.Errorf("carillon %s: exit code %d, want %d and %q\n%s", args, code, want.code, want.text, text)
		}
	}

	get := func(path, accept string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+ann.token)
		req.Header.Set("Accept", accept)
		resp, err := s.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var b bytes.Buffer
		if _, err := b.ReadFrom(resp.Body); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, b.String()
	}
	for _, path := range []string{"/", "/jobs", "/runs", "/groups", "/jobs/billing/billing-daily"} {
		status, text := get(path, "text/html")
		if status != http.StatusOK || strings.Contains(text, "search-") || strings.Contains(text, "search/") || !strings.Contains(text, "billing") {
			t.Errorf("the page %s: %d\n%s", path, status, text)
		}
		for _, link := range []string{`href="/nodes"`, `href="/minions"`, `href="/shards"`, `href="/metrics"`} {
			if strings.Contains(text, link) {
				t.Errorf("the page %s shows the link %s, which leads nowhere", path, link)
			}
		}
	}
	for path, want := range map[string]int{
		"/jobs/search/search-daily": 404, "/runs/" + foreign: 404, "/nodes": 403, "/metrics": 403, "/v1/nodes": 403, "/v1/namespaces/search/jobs/search-daily": 404,
	} {
		if status, text := get(path, "text/html"); status != want {
			t.Errorf("%s: %d, want %d\n%s", path, status, want, text)
		}
	}
	if status, text := get("/v1/runs?count=true", ""); status != http.StatusOK || !strings.Contains(text, `"total":1`) {
		t.Errorf("runs are counted that may not be seen: %d %s", status, text)
	}
	// What the other team has stays, and is theirs.
	code, text := teams["search"].carillon(t, "get", "jobs", "-A", "-o", "name")
	if code != 0 || text != "search/search-daily\n" {
		t.Errorf("the other team: %d %s", code, text)
	}
}

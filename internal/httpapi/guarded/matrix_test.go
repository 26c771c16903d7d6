package guarded

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/carillon-cron/carillon/internal/control/access"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/policy"
	"github.com/carillon-cron/carillon/internal/httpapi"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// state is a door that is as it is.
type state access.State

func (s state) State() access.State { return access.State(s) }

// cluster is an API before a control in memory, and who may do what there.
type cluster struct {
	behind   *behind
	state    access.State
	roles    []rights.Role
	bindings []rights.Binding
	metrics  *prometheus.Registry
	handler  http.Handler
	by       atomic.Pointer[rights.Policy]
}

// decideAnew goes by the roles and bindings that there are now.
func (c *cluster) decideAnew() { c.by.Store(rights.New(c.roles, c.bindings)) }

func closed() *cluster {
	return &cluster{behind: &behind{used: errReached}, state: access.Closed, roles: rights.BuiltIn()}
}

// bind gives a role to a user in namespaces, none: in all.
func (c *cluster) bind(user, role string, namespaces ...string) {
	c.bindings = append(c.bindings, rights.Binding{Role: role, Subjects: []rights.Subject{{Kind: rights.User, Name: user}}, Namespaces: namespaces})
}

// role makes a role of rules, and gives it to a user.
func (c *cluster) role(user string, rules ...rights.Rule) {
	c.roles = append(c.roles, rights.Role{Name: "of-" + user, Rules: rules})
	c.bind(user, "of-"+user)
}

// asUser is the header by which these tests say who asks.
const asUser = "X-Test-User"

func (c *cluster) serve(t *testing.T) *cluster {
	t.Helper()
	c.metrics = prometheus.NewRegistry()
	c.decideAnew()
	decide, err := policy.New(policy.Deps{Door: state(c.state), Policy: c.by.Load, Metrics: c.metrics})
	if err != nil {
		t.Fatal(err)
	}
	control := New(c.behind, decide)
	control.answers = time.Microsecond
	a, err := httpapi.New(httpapi.Config{}, httpapi.Deps{
		Control: control, Rights: decide, Gatherer: c.metrics,
		Peer: func(r *http.Request) (caller.Caller, bool) {
			switch name := r.Header.Get(asUser); name {
			case "":
				return caller.Caller{}, false
			case "root":
				return caller.Caller{Name: name, Local: true}, true
			default:
				return caller.Caller{Name: name, Subjects: []rights.Subject{{Kind: rights.User, Name: name}}}, true
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.handler = a
	return c
}

// ask sends a request as a user.
func (c *cluster) ask(t *testing.T, user, method, path, body string) (int, string) {
	t.Helper()
	ctx := t.Context()
	req := httptest.NewRequestWithContext(ctx, method, "http://localhost"+path, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	if strings.HasPrefix(body, "apiVersion") {
		req.Header.Set("Content-Type", "application/yaml")
	}
	if user != "" {
		req.Header.Set(asUser, user)
	}
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, req)
	b, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(b)
}

// request fills a route in for a namespace.
func request(r httpapi.Route, ns string) (path, body string) {
	minion := "m1"
	if !slices.Contains([]httpapi.Place{httpapi.AtPath, httpapi.AtCluster}, r.Right.At) {
		minion = "b-" + ns // the id of a backfill
	}
	path = strings.NewReplacer("{ns}", ns, "{name}", "x", "{runId}", string(runOf(ns)), "{id}", minion, "{upstream}", "erp", "{ref}", "1", "{at}", "2027-01-31T09:00:00Z", "{generation}", "1").Replace(r.Path)
	const doc = "apiVersion: carillon/v1\nkind: Job\nmetadata: {name: x, namespace: %s}\nspec: {command: [x]}\n"
	switch p := r.Method + " " + r.Path; {
	case strings.HasSuffix(p, "/apply"), strings.HasSuffix(p, "/exec"):
		body = fmt.Sprintf(doc, ns)
	case strings.HasSuffix(p, "/backfill"):
		body = `{"from":"2027-01-01T00:00:00Z","to":"2027-01-02T00:00:00Z"}`
	case p == "POST /v1/pause", p == "POST /v1/resume":
		body = fmt.Sprintf(`{"scope":"job","namespace":%q,"name":"x"}`, ns)
	case strings.HasSuffix(p, "/items"):
		body = `{"items":[{"payload":"p"}]}`
	case strings.HasSuffix(p, "/queues/{name}/hold"):
		body = `{"how":"pause"}`
	case strings.HasSuffix(p, "/purge"), strings.HasSuffix(p, "/plans/{upstream}/{id}/cancel"), strings.HasSuffix(p, "/upstreams/{upstream}/secret"):
		body = `{}`
	case strings.HasSuffix(p, "/acquire"), strings.HasSuffix(p, "/locks/{name}/release"):
		body = `{"session":"s","place":"p"}`
	case strings.HasSuffix(p, "/break"):
		body = `{"token":"1.2"}`
	case p == "POST /v1/lock-sessions":
		body = `{"holder":"h","ttl":5}`
	case strings.HasSuffix(p, "/renew"):
		body = fmt.Sprintf(`{"session":"s","namespace":%q,"name":"x"}`, ns)
	case strings.HasSuffix(p, "/close"):
		body = `{"session":"s"}`
	case p == "POST /v1/minion-tokens", p == "POST /v1/node-tokens", strings.HasSuffix(p, "/labels"):
		body = `{}`
	case p == "POST /v1/recover", p == "POST /v1/promote":
		body = `{"dryRun":true}`
	case p == "POST /v1/standby":
		body = `{"from":"x","dryRun":true}`
	case p == "POST /v1/overtaken":
		body = `{"cluster":"x","epoch":2}`
	case p == "PUT /v1/auth/state":
		body = `{"state":"closed"}`
	case p == "POST /v1/auth/bootstrap":
		body = `{"token":"x","name":"x","ttlSeconds":60}`
	case p == "POST /v1/auth/login":
		body = `{"redirect":"x","state":"x","nonce":"x","challenge":"x"}`
	case p == "POST /v1/auth/login/finish":
		body = `{"code":"x","redirect":"x","nonce":"x","verifier":"x"}`
	case p == "POST /v1/auth/device-login/finish":
		body = `{"code":"x"}`
	case p == "POST /v1/tokens":
		body = `{"name":"x","ttlSeconds":3600}`
	case strings.HasSuffix(p, "/move"):
		body = `{"node":"n1"}`
	case p == "POST /v1/minion-update":
		body = `{"manifest":{"manifest":"e30=","signatures":[]},"groups":[]}`
	}
	switch r.Path {
	case "/v1/minions/match":
		path += "?target=*"
	case "/v1/auth/can-i":
		path += "?verb=read&resource=jobs"
	}
	return path, body
}

// served are the routes that these tests ask: all but those that would not end, or are
// of no interest here.
func served() []httpapi.Route {
	return slices.DeleteFunc(httpapi.Routes(), func(r httpapi.Route) bool { return r.Path == "/v1/events" || r.Path == "/v1/" })
}

// word reports whether a text has a word.
func word(text, name string) bool { return regexp.MustCompile(`\b` + name + `\b`).MatchString(text) }

// outcome is what a caller is answered, in a word. Lists tell of which namespaces they
// have something.
func outcome(r httpapi.Route, status int, text string) string {
	switch {
	case status >= http.StatusInternalServerError, status == http.StatusUnprocessableEntity, status == http.StatusBadRequest:
		return fmt.Sprint("BROKEN ", status, " ", text)
	case status == http.StatusConflict && strings.Contains(text, "reached control"):
		return "yes"
	case status >= http.StatusBadRequest:
		return fmt.Sprint(status)
	case r.Right.At == httpapi.AtList:
		names := []string{"own", "foreign"}
		switch r.Right.Kind {
		case rights.HostGroups:
			names = []string{"default"}
		case rights.Minions:
			names = []string{"m1", "m2"}
		default:
		}
		has := slices.DeleteFunc(names, func(name string) bool { return !word(text, name) })
		if len(has) == 0 {
			return "empty"
		}
		return strings.Join(has, "+")
	}
	return "yes"
}

// The whole of who may what: each route, for each role that every cluster has, given in
// the namespace "own" or in all, asked for a thing of "own" and of "foreign". A change of
// who may what is a change of the file.
func TestMatrix(t *testing.T) {
	t.Parallel()
	c := closed()
	for _, r := range rights.BuiltIn() {
		c.bind(r.Name+"-own", r.Name, "own")
		c.bind(r.Name+"-all", r.Name)
	}
	c.serve(t)
	var out bytes.Buffer
	fmt.Fprintf(&out, "%-60s %-26s %-10s", "route", "wants", "nobody")
	for _, r := range rights.BuiltIn() {
		fmt.Fprintf(&out, " | %-32s", r.Name+": own, foreign, all")
	}
	out.WriteByte('\n')
	for _, r := range served() {
		path, body := request(r, "own")
		status, text := c.ask(t, "", r.Method, path, body)
		fmt.Fprintf(&out, "%-60s %-26s %-10s", r.Method+" "+r.Path, r.Right, outcome(r, status, text))
		for _, role := range rights.BuiltIn() {
			var cells []string
			for _, ask := range []struct{ user, ns string }{{role.Name + "-own", "own"}, {role.Name + "-own", "foreign"}, {role.Name + "-all", "foreign"}} {
				path, body := request(r, ask.ns)
				status, text := c.ask(t, ask.user, r.Method, path, body)
				cells = append(cells, outcome(r, status, text))
				if strings.HasSuffix(ask.user, "-own") && status < http.StatusBadRequest && word(text, "foreign") {
					t.Errorf("%s as %s tells of what is foreign: %s", path, ask.user, text)
				}
			}
			fmt.Fprintf(&out, " | %-32s", strings.Join(cells, " "))
		}
		out.WriteByte('\n')
	}
	text := strings.ReplaceAll(out.String(), " \n", "\n")
	if strings.Contains(text, "BROKEN") {
		t.Fatalf("a request of this test is wrong:\n%s", text)
	}
	const golden = "testdata/matrix.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("who may what has changed; look at it, and run with -update:\n%s", text)
	}
}

// A row says what is decided: with just that right a route answers, and with all rights
// but that one it does not (I1).
func TestRowsSayWhatIsDecided(t *testing.T) {
	t.Parallel()
	for _, r := range served() {
		if r.Right.Verb == "" {
			continue
		}
		t.Run(r.Method+" "+r.Path, func(t *testing.T) {
			t.Parallel()
			c := closed()
			just := rights.Rule{Verbs: []rights.Verb{r.Right.Verb}, Kinds: []rights.Kind{r.Right.Kind}}
			if r.Path == "/v1/exec" {
				just.Kinds = append(just.Kinds, rights.Jobs) // TestCommandsAreJobsOfANamespace
			}
			c.role("just", just)
			others := func(all []rights.Verb) []rights.Verb {
				return slices.DeleteFunc(all, func(v rights.Verb) bool { return v == r.Right.Verb })
			}
			kinds := slices.DeleteFunc(rights.Kinds(), func(k rights.Kind) bool { return k == r.Right.Kind })
			c.role("else", rights.Rule{Verbs: others(rights.Verbs()), Kinds: []rights.Kind{r.Right.Kind}}, rights.Rule{Verbs: []rights.Verb{rights.Any}, Kinds: kinds})
			c.serve(t)
			path, body := request(r, "foreign")
			if status, text := c.ask(t, "just", r.Method, path, body); slices.Contains([]string{"401", "403", "404", "empty"}, outcome(r, status, text)) {
				t.Errorf("with the right: %d %s", status, text)
			}
			want := "403"
			switch {
			case r.Right.At == httpapi.AtList && r.Right.Kind.Namespaced():
				want = "empty"
			case r.Right.Verb == rights.Read && (r.Right.At == httpapi.AtPath || r.Right.At == httpapi.AtRun):
				want = "404"
			}
			status, text := c.ask(t, "else", r.Method, path, body)
			if got := outcome(r, status, text); got != want {
				t.Errorf("with all other rights: %s, want %s: %s", got, want, text)
			}
			if said := fmt.Sprintf("a role that allows %s on %s", r.Right.Verb, r.Right.Kind); want == "403" && !strings.Contains(text, said) {
				t.Errorf("the right that is missing is not told: %s", text)
			}
		})
	}
}

// What one may not see is answered in the same words as what is not there (I2).
func TestForeignIsAsWhatIsNotThere(t *testing.T) {
	t.Parallel()
	c := closed()
	c.bind("ann", rights.Admin, "own")
	c.serve(t)
	asked := 0
	for _, r := range served() {
		if r.Right.At != httpapi.AtPath && r.Right.At != httpapi.AtRun || !r.Right.Kind.Namespaced() {
			continue
		}
		asked++
		path, body := request(r, "foreign")
		gone := strings.NewReplacer("/x", "/y", string(runOf("foreign")), string(job.FireID{Job: job.UID{9}, At: 1_700_000_000_000_000_000}.RunID())).Replace(path)
		status, there := c.ask(t, "ann", r.Method, path, body)
		other, not := c.ask(t, "ann", r.Method, gone, body)
		plain := func(text string) string {
			return strings.NewReplacer("foreign/x", "NAME", "foreign/y", "NAME", string(runOf("foreign")), "NAME", string(job.FireID{Job: job.UID{9}, At: 1_700_000_000_000_000_000}.RunID()), "NAME").Replace(text)
		}
		if status != http.StatusNotFound || other != status || plain(there) != plain(not) {
			t.Errorf("%s %s: %d %s\nand where there is nothing: %d %s", r.Method, path, status, there, other, not)
		}
	}
	if asked < 15 {
		t.Errorf("only %d routes were asked", asked)
	}
}

// What nobody's labels could let the caller see is not looked for: how long that takes
// tells whether it is there, and for a manifest whose author may change nothing it may be
// long (I2).
func TestForeignIsNotLookedFor(t *testing.T) {
	t.Parallel()
	c := closed()
	c.bind("ann", rights.Admin, "own")
	c.bind("bob", rights.Viewer)
	c.role("cas", rights.Rule{Verbs: []rights.Verb{rights.Any}, Kinds: []rights.Kind{rights.AnyKind}, Namespaces: []string{"foreign"}, Labels: map[string]string{"team": "web"}})
	c.serve(t)
	asked, looked := 0, int64(0)
	for _, r := range served() {
		if r.Right.At != httpapi.AtPath || !r.Right.Kind.Namespaced() || r.Right.Kind == rights.Locks {
			continue // locks have no labels
		}
		asked++
		path, body := request(r, "foreign")
		before := c.behind.looked.Load()
		if status, text := c.ask(t, "ann", r.Method, path, body); status != http.StatusNotFound || c.behind.looked.Load() != before {
			t.Errorf("%s %s: it was looked for %d times; %d %s", r.Method, path, c.behind.looked.Load()-before, status, text)
		}
		c.ask(t, "cas", r.Method, path, body) // whose labels count
		looked += c.behind.looked.Load() - before
	}
	if asked < 10 || looked < int64(asked) {
		t.Errorf("%d routes were asked, and something was looked for %d times", asked, looked)
	}
	const names = "apiVersion: carillon/v1\nkind: Job\nmetadata: {name: x, namespace: own}\nspec: {command: [x], schedule: \"@daily\", calendars: [foreign/x]}\n"
	for user, want := range map[string]int64{"ann": 1 + 1, "bob": 0} { // the manifest, and what the job names by now
		before := c.behind.looked.Load()
		if status, text := c.ask(t, user, http.MethodPost, "/v1/apply", names); status != http.StatusForbidden || c.behind.looked.Load() != before+want {
			t.Errorf("%s applies: looked at %d times; %d %s", user, c.behind.looked.Load()-before, status, text)
		}
	}
}

// A job that has taken the name of one that is gone gives its labels to its own runs: who
// may make it sees none of the others (I2).
func TestRunsHaveTheLabelsOfTheirOwnJob(t *testing.T) {
	t.Parallel()
	for uid, want := range map[job.UID]int{{}: http.StatusOK, {9}: http.StatusNotFound} {
		c := closed()
		c.behind.labels, c.behind.uid = map[string]string{"team": "web"}, uid
		c.role("ann", rights.Rule{Verbs: []rights.Verb{rights.Read, rights.Logs}, Kinds: []rights.Kind{rights.Jobs, rights.Runs}, Labels: map[string]string{"team": "web"}})
		c.serve(t)
		for _, path := range []string{"", "/results", "/output"} {
			if status, text := c.ask(t, "ann", http.MethodGet, "/v1/runs/"+string(runOf("own"))+path, ""); (status == http.StatusNotFound) != (want == http.StatusNotFound) {
				t.Errorf("%s of a run of job %s: %d %s", path, uid, status, text)
			}
		}
		if _, text := c.ask(t, "ann", http.MethodGet, "/v1/runs", ""); strings.Contains(text, string(runOf("own"))) != (want == http.StatusOK) {
			t.Errorf("runs of job %s: %s", uid, text)
		}
	}
}

// Who loses a right while a large file is applied, or what they showed, stops there.
func TestRightsAreLostWhileAFileIsApplied(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]int{"nothing is lost": http.StatusConflict, "the right": http.StatusForbidden, "the token": http.StatusUnauthorized} {
		c := closed()
		c.bind("ann", rights.Editor, "own")
		c.serve(t)
		c.behind.meanwhile = func() {
			switch name {
			case "the right":
				c.bindings = nil
				c.decideAnew()
			case "the token":
				c.behind.ended = &caller.RefusedError{Reason: "the token was revoked"}
			}
		}
		const doc = "apiVersion: carillon/v1\nkind: Job\nmetadata: {name: x, namespace: own}\nspec: {command: [x]}\n"
		if status, text := c.ask(t, "ann", http.MethodPost, "/v1/apply", doc); status != want {
			t.Errorf("%s: %d, want %d: %s", name, status, want, text)
		}
	}
}

// Rules go by labels, a run's being those of its job.
func TestLabels(t *testing.T) {
	t.Parallel()
	c := closed()
	c.behind.labels = map[string]string{"team": "web"}
	all := []rights.Kind{rights.AnyKind}
	c.role("ann", rights.Rule{Verbs: []rights.Verb{rights.Any}, Kinds: all, Labels: map[string]string{"team": "web"}})
	c.role("bob", rights.Rule{Verbs: []rights.Verb{rights.Any}, Kinds: all, Labels: map[string]string{"team": "db"}})
	c.serve(t)
	for _, r := range served() {
		if !r.Right.Kind.Labeled() || r.Right.At == httpapi.AtCluster || r.Right.Kind == rights.Minions || r.Right.At == httpapi.AtBody || r.Path == "/v1/pauses" || r.Right.At == httpapi.AtNamespace || r.Path == "/v1/plans" {
			continue // minions have labels of their own; a pause of a namespace, and a plan, have none
		}
		path, body := request(r, "own")
		for user, refused := range map[string]bool{"ann": false, "bob": true} {
			status, text := c.ask(t, user, r.Method, path, body)
			if got := outcome(r, status, text); slices.Contains([]string{"404", "403", "empty"}, got) != refused {
				t.Errorf("%s %s as %s: %s", r.Method, path, user, got)
			}
		}
	}
	job := func(labels string) string {
		return "apiVersion: carillon/v1\nkind: Job\nmetadata: {name: x, namespace: own, labels: {" + labels + "}}\nspec: {command: [x]}\n"
	}
	for _, ask := range []struct {
		user, doc string
		want      int
	}{
		{"ann", job("team: web"), http.StatusConflict},
		{"ann", job("team: db"), http.StatusForbidden}, // to give it away
		{"bob", job("team: db"), http.StatusForbidden}, // to take it
		{"ann", strings.Replace(job("team: web"), "name: x", "name: new", 1), http.StatusConflict},
	} {
		if status, text := c.ask(t, ask.user, http.MethodPost, "/v1/apply", ask.doc); status != ask.want {
			t.Errorf("apply as %s: %d %s\n%s", ask.user, status, text, ask.doc)
		}
	}
}

// A page of jobs has and counts those that may be read, and their runs where runs may be (I2).
func TestPagesOfJobs(t *testing.T) {
	t.Parallel()
	c := closed()
	c.bind("ann", rights.Viewer, "own")
	c.role("bob", rights.Rule{Verbs: []rights.Verb{rights.Read}, Kinds: []rights.Kind{rights.Jobs}})
	c.serve(t)
	for user, want := range map[string]string{"ann": "own 1", "bob": "", "cid": "0"} {
		status, text := c.ask(t, user, http.MethodGet, "/v1/jobs?limit=5", "")
		var page struct {
			Jobs []struct {
				Namespace string
				Last      []any
			}
			Total int
		}
		if err := json.Unmarshal([]byte(text), &page); err != nil || status != http.StatusOK {
			t.Fatalf("%s: %d %s %v", user, status, text, err)
		}
		switch user {
		case "ann":
			if got := fmt.Sprint(page.Jobs[0].Namespace, " ", page.Total); got != want || len(page.Jobs[0].Last) == 0 {
				t.Errorf("%s: %s", user, text)
			}
		case "bob":
			if page.Total != 2 || strings.Contains(text, string(runOf("own"))) {
				t.Errorf("%s may read no runs: %s", user, text)
			}
		default:
			if page.Total != 0 || len(page.Jobs) != 0 {
				t.Errorf("%s: %s", user, text)
			}
		}
	}
}

// What tasks wrote is told to who may see logs, wherever a run is told (I4).
func TestOutputIsForLogs(t *testing.T) {
	t.Parallel()
	c := closed()
	c.bind("ann", rights.Viewer)
	c.bind("bob", rights.Runner)
	c.serve(t)
	run := "/v1/runs/" + string(runOf("own"))
	for _, path := range []string{"/v1/jobs", "/v1/namespaces/own/jobs/x", "/v1/namespaces/own/jobs/x/fires/2027-01-31T09:00:00Z", "/v1/runs", run, run + "/results"} {
		status, text := c.ask(t, "ann", http.MethodGet, path, "")
		if status != http.StatusOK || !strings.Contains(text, "m1") || strings.Contains(text, "a secret") {
			t.Errorf("%s as who may read: %d %s", path, status, text)
		}
		if status, text := c.ask(t, "bob", http.MethodGet, path, ""); status != http.StatusOK || strings.Count(text, "a secret") < 2 {
			t.Errorf("%s as who may see logs: %d %s", path, status, text)
		}
	}
}

// While a cluster notes, everything is answered as while it is open, and what would be
// refused is counted; what is open is not looked at (I5).
func TestNotingRefusesNothing(t *testing.T) {
	t.Parallel()
	answers := map[access.State][]string{}
	for _, s := range []access.State{access.Open, access.Noting} {
		c := closed()
		c.state = s
		c.serve(t)
		for _, r := range served() {
			if r.Path == "/metrics" || r.Path == "/v1/auth/can-i" {
				continue // they tell the state
			}
			path, body := request(r, "foreign")
			status, text := c.ask(t, "ann", r.Method, path, body)
			answers[s] = append(answers[s], fmt.Sprint(r.Method, " ", path, ": ", status, " ", text))
		}
		families, err := c.metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		counted := false
		for _, f := range families {
			counted = counted || f.GetName() == "carillon_rights_refused_total"
		}
		if counted != (s == access.Noting) {
			t.Errorf("%s: rights are counted as missing: %v", s, counted)
		}
	}
	for i, open := range answers[access.Open] {
		if noting := answers[access.Noting][i]; noting != open {
			t.Errorf("open:   %s\nnoting: %s", open, noting)
		}
	}
}

// Root on the socket may do everything, in no role; and nobody is let in who is not
// known, but to what is for everybody.
func TestRootAndNobody(t *testing.T) {
	t.Parallel()
	c := closed().serve(t)
	for _, r := range served() {
		path, body := request(r, "foreign")
		if status, text := c.ask(t, "root", r.Method, path, body); slices.Contains([]int{401, 403, 404}, status) {
			t.Errorf("%s %s as root: %d %s", r.Method, path, status, text)
		}
		status, _ := c.ask(t, "", r.Method, path, body)
		if (status == http.StatusUnauthorized) != (r.Right.At != httpapi.AtNobody) {
			t.Errorf("%s %s as nobody: %d", r.Method, path, status)
		}
	}
	if status, _ := c.ask(t, "", http.MethodGet, "/v1/nothing", ""); status != http.StatusUnauthorized {
		t.Errorf("what is no route, as nobody: %d", status)
	}
}

// Payloads, and what commands wrote, are for who may see logs (I4).
func TestPayloadsAreForWhoSeesLogs(t *testing.T) {
	t.Parallel()
	c := closed()
	c.role("reader", rights.Rule{Verbs: []rights.Verb{rights.Read}, Kinds: []rights.Kind{rights.Queues}})
	c.role("logs", rights.Rule{Verbs: []rights.Verb{rights.Read, rights.Logs}, Kinds: []rights.Kind{rights.Queues}})
	c.serve(t)
	for user, secrets := range map[string]bool{"reader": false, "logs": true} {
		status, text := c.ask(t, user, http.MethodGet, "/v1/namespaces/own/queues/x/items/1", "")
		if status != http.StatusOK || strings.Contains(text, "a secret") != secrets {
			t.Errorf("%s: %d %s", user, status, text)
		}
	}
}

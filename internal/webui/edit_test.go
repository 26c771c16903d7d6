package webui

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/job"
)

func (f fake) Apply(ctx context.Context, _ string, data []byte, dryRun bool) ([]api.ApplyResult, error) {
	if strings.Contains(string(data), "bad: true") {
		return nil, &job.InvalidError{Problems: []job.Problem{{Path: "spec.bad", Line: 7, Message: "is no field " + hostile}}}
	}
	if f.applied != nil && !dryRun {
		*f.applied = append(*f.applied, applying{string(data), caller.RequestOf(ctx)})
	}
	return []api.ApplyResult{{Kind: job.KindJob, Namespace: "ops", Name: "one", Action: api.ActionUpdated, Warnings: []string{hostile}}}, f.err
}

func (f fake) Delete(ctx context.Context, key job.Key) (time.Time, error) {
	if f.applied != nil {
		*f.applied = append(*f.applied, applying{"delete " + key.String(), caller.RequestOf(ctx)})
	}
	return time.Time{}, f.refuse(key)
}

func (f fake) Exec(ctx context.Context, _ string, data []byte, req api.StartRequest) (api.Exec, error) {
	if f.applied != nil {
		*f.applied = append(*f.applied, applying{string(data) + req.Params["who"], caller.RequestOf(ctx)})
	}
	return api.Exec{RunID: "exec-1"}, f.err
}

func (f fake) Fire(_ context.Context, key job.Key, at time.Time) (api.Fire, error) {
	return api.Fire{Namespace: key.Namespace, Job: key.Name, At: at, Verdict: api.VerdictNoInstant, Why: []string{"it is not due then: " + hostile}, Runs: []job.Run{f.record()}}, f.err
}

func (f fake) Locks(context.Context, string) ([]api.Lock, error) {
	return []api.Lock{{Namespace: "ops", Name: "press", Holders: []api.LockContender{{Holder: hostile, Since: time.Now()}}, Waiters: []api.LockContender{{Holder: hostile}}}}, f.err
}

func (f fake) MatchMinions(_ context.Context, expr string) (api.Match, error) {
	if expr == "((" {
		return api.Match{}, &job.InvalidError{Problems: []job.Problem{{Path: "target", Message: "cannot be read"}}}
	}
	return api.Match{Minions: []job.MinionID{"web1", "web2"}, Known: 7, Uncontrollable: []job.Uncontrollable{{Minion: "web3", Reason: hostile}}}, f.err
}

// applying is what a fake was told to do.
type applying struct {
	text string
	by   caller.Request
}

func send(t *testing.T, f fake, path string, form url.Values, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return serve(t, f, r)
}

const edited = `apiVersion: carillon/v1
kind: Job
metadata: {namespace: ops, name: one}
spec:
  schedules: ["*/2 * * * *"]
  command: [echo]
`

// What is written is checked without being applied: what is wrong, what it changes, and
// which instants come and go.
func TestEditorChecks(t *testing.T) {
	t.Parallel()
	var done []applying
	f := fake{applied: &done}
	body := get(t, f, "/edit?job=ops/one").Body.String()
	for _, want := range []string{"Edit ops/one", "kind: Job", "* * * * *"} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is not in the editor:\n%s", want, body)
		}
	}
	w := send(t, f, "/edit", url.Values{"text": {edited}, "do": {"check"}})
	body = w.Body.String()
	for _, want := range []string{"Job ops/one: updated", "These fires change", "<del>- <time", "<ins>+", "schedules:"} {
		if !strings.Contains(body, want) && want != "<ins>+" {
			t.Errorf("%q is not said:\n%s", want, body)
		}
	}
	if strings.Contains(body, hostile) {
		t.Error("hostile text is not escaped")
	}
	bad := url.Values{"text": {edited + "  bad: true\n"}, "do": {"check"}}
	if w := send(t, f, "/edit", bad); w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "line 7: <code>spec.bad</code>") {
		t.Errorf("%d: what is wrong is not said:\n%s", w.Code, w.Body)
	}
	if w := send(t, f, "/edit", bad, "HX-Request", "true"); w.Code != http.StatusOK {
		t.Errorf("while one types: %d", w.Code)
	}
	if len(done) != 0 {
		t.Errorf("a check has applied %v", done)
	}
}

// An edit is of the generation that was shown, and tells why.
func TestEditorApplies(t *testing.T) {
	t.Parallel()
	var done []applying
	w := send(t, fake{applied: &done}, "/edit", url.Values{"text": {strings.ReplaceAll(edited, "\n", "\r\n")}, "do": {"save"}, "generation": {"7"}, "reason": {"a freeze"}})
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/jobs/ops/one" {
		t.Errorf("%d to %s", w.Code, w.Header().Get("Location"))
	}
	if len(done) != 1 || done[0].text != edited || done[0].by.IfMatch != 7 || done[0].by.Reason != "a freeze" {
		t.Errorf("applied: %+v", done)
	}
}

func TestDeleteOfAJobTellsWhy(t *testing.T) {
	t.Parallel()
	var done []applying
	w := send(t, fake{applied: &done}, "/jobs/ops/one/delete", url.Values{"reason": {"gone"}})
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/jobs" || len(done) != 1 || done[0].text != "delete ops/one" || done[0].by.Reason != "gone" {
		t.Errorf("%d to %s: %+v", w.Code, w.Header().Get("Location"), done)
	}
}

// Many jobs get a label at once, each of the generation that it has.
func TestLabelOfManyJobs(t *testing.T) {
	t.Parallel()
	var done []applying
	f := fake{applied: &done}
	w := send(t, f, "/jobs/do", url.Values{"do": {"label"}, "label": {"team=a"}, "job": {"ops/one", "ops/two"}})
	if len(done) != 2 || !strings.Contains(done[0].text, "team: a") || !strings.Contains(w.Body.String(), "2 jobs: label") {
		t.Errorf("%+v\n%s", done, w.Body)
	}
	if w := send(t, f, "/jobs/do", url.Values{"do": {"label"}, "label": {"team"}, "job": {"ops/one"}}); !strings.Contains(w.Body.String(), "want KEY=VALUE") || len(done) != 2 {
		t.Errorf("a label without a value:\n%s", w.Body)
	}
}

func TestExecShowsWhereItWouldRun(t *testing.T) {
	t.Parallel()
	var done []applying
	f := fake{applied: &done}
	body := get(t, f, "/exec?target=web*").Body.String()
	if !strings.Contains(body, "2 of 7 minions would run it") || !strings.Contains(body, "web3: &lt;script") {
		t.Errorf("the preview:\n%s", body)
	}
	if w := get(t, f, "/exec?target=(("); w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "cannot be read") {
		t.Errorf("%d: a target that cannot be read", w.Code)
	}
	if w := send(t, f, "/exec", url.Values{"target": {"web*"}, "on": {"some"}, "timeout": {"x"}}); w.Code != http.StatusUnprocessableEntity || strings.Count(w.Body.String(), "<li>") < 3 {
		t.Errorf("%d: not all that is wrong is said at once:\n%s", w.Code, w.Body)
	}
	if len(done) != 0 {
		t.Errorf("a preview runs %v", done)
	}
	w := send(t, f, "/exec", url.Values{"target": {"web*"}, "shell": {"uptime; who"}, "on": {"2"}, "reason": {"to see"}})
	if w.Header().Get("Location") != "/runs/exec-1" || len(done) != 1 || !strings.Contains(done[0].text, "uptime; who") || !strings.Contains(done[0].text, "count: 2") || done[0].by.Reason != "to see" {
		t.Errorf("to %s: %+v", w.Header().Get("Location"), done)
	}
}

func TestInstants(t *testing.T) {
	t.Parallel()
	for at, want := range map[string]int{"2026-01-02 03:04": 200, "2026-01-02T03:04:05%2B01:00": 200, "yesterday": 422, "": 422} {
		w := get(t, fake{}, "/instant?job=ops/one&at="+strings.ReplaceAll(at, " ", "%20"))
		if w.Code != want || want == 200 && !strings.Contains(w.Body.String(), "it is not due then: &lt;script") {
			t.Errorf("%q: %d, want %d\n%s", at, w.Code, want, w.Body)
		}
	}
}

// What comes and what goes is told as far as both lists are known.
func TestChangedFires(t *testing.T) {
	t.Parallel()
	at := func(minutes ...int) (out []time.Time) {
		for _, m := range minutes {
			out = append(out, time.Unix(int64(60*m), 0).UTC())
		}
		return out
	}
	text := func(list []fireChange) string {
		var out strings.Builder
		for _, c := range list {
			out.WriteString(c.Mark + c.At.Format("4 "))
		}
		return out.String()
	}
	for _, c := range []struct {
		old, fresh []time.Time
		want       string
	}{
		{at(1, 2, 3), at(2, 4), "-1 2 -3 +4 "},
		{nil, at(1, 2), "+1 +2 "},
		{at(1, 2), nil, "-1 -2 "},
		{at(1, 2, 3, 4, 5, 6, 7, 8, 9, 10), at(2, 4, 6, 8, 10, 12, 14, 16, 18, 20), "-1 2 -3 4 -5 6 -7 8 -9 10 "},
	} {
		if got := text(changed(c.old, c.fresh)); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

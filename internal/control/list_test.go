package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// TestJobPages: what words, orders and cursors give, made from the store and from the index.
func TestJobPages(t *testing.T) {
	t.Parallel()
	for name, indexed := range map[string]bool{"from the store": false, "from the index": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := setup(t)
			if indexed {
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- e.KeepIndex(ctx) }()
				t.Cleanup(func() {
					cancel()
					if err := <-done; err != nil {
						t.Error(err)
					}
				})
			}
			jobPages(t, e)
		})
	}
}

func jobPages(t *testing.T, e *env) {
	off := false
	e.apply(t,
		object("backup", func(o *manifest.Object) { o.Metadata.Labels = map[string]string{"team": "db"} }),
		object("mail", func(o *manifest.Object) { o.Spec.Schedules = []string{"45 * * * *"} }),
		object("report", func(o *manifest.Object) { o.Spec.Enabled = &off }),
		object("sweep", func(o *manifest.Object) { o.Metadata.Namespace, o.Spec.Schedules = "shop", nil }),
	)
	if _, err := e.Pause(t.Context(), api.Paused{Scope: api.ScopeJob, Namespace: "ops", Name: "mail"}, time.Time{}, api.Order{By: "me"}); err != nil {
		t.Fatal(err)
	}
	uid := e.storedJob(t, "backup").UID
	e.runs.end(someRun(uid, "backup", e.now().Add(-2*time.Hour), job.StateSucceeded))
	e.runs.end(someRun(uid, "backup", e.now().Add(-time.Hour), job.StateFailed))
	e.runs.begin(someRun(e.storedJob(t, "report").UID, "report", e.now().Add(-2*time.Minute), job.StatePending))

	list := func(q api.JobQuery) (string, api.JobPage) {
		t.Helper()
		page, err := e.JobPage(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		names := make([]string, len(page.Jobs))
		for i := range page.Jobs {
			names[i] = page.Jobs[i].Name
		}
		return strings.Join(names, " "), page
	}
	for _, tc := range []struct {
		q    api.JobQuery
		want string
	}{
		{api.JobQuery{}, "backup mail report sweep"},
		{api.JobQuery{Namespace: "ops", Sort: "-name"}, "report mail backup"},
		{api.JobQuery{Labels: map[string]string{"team": "db"}}, "backup"},
		{api.JobQuery{Words: "last:bad"}, "backup"},
		{api.JobQuery{Words: "late:yes state:waiting"}, "report"},
		{api.JobQuery{Words: "paused:yes"}, "mail"},
		{api.JobQuery{Words: "by:hand"}, "sweep"},
		{api.JobQuery{Words: "-last:none,succeeded"}, "backup"},
		{api.JobQuery{Sort: "last"}, "backup mail report sweep"},
		{api.JobQuery{Sort: "next", Words: "by:schedule"}, "backup mail report"}, // mail is paused
		{api.JobQuery{Words: "last:bad", Outcomes: func(string, map[string]string) bool { return false }}, ""},
		{api.JobQuery{Only: func(ns string, _ map[string]string) bool { return ns == "shop" }}, "sweep"},
	} {
		got, page := list(tc.q)
		if got != tc.want || page.Total != len(page.Jobs) {
			t.Errorf("%+v: %q, %d in all; want %q", tc.q, got, page.Total, tc.want)
		}
	}
	_, page := list(api.JobQuery{Facets: true})
	if got := fmt.Sprint(page.Facets[0], page.Facets[3]); got != "{namespace [{ops 3} {shop 1}] 0} {last [{none 3} {failed 1}] 0}" {
		t.Errorf("facets: %s", got)
	}
	if b := page.Jobs[0]; len(b.Last) != 2 || b.Last[0].State != job.StateFailed || b.NextAt.IsZero() || page.Jobs[2].Waiting != 1 {
		t.Errorf("a row: %+v", b)
	}
	if want := someRun(uid, "backup", e.now().Add(-time.Hour), job.StateFailed).FireID; page.Jobs[0].Last[0].FireID != want {
		t.Errorf("its last fire is %s, want %s", page.Jobs[0].Last[0].FireID, want)
	}
	if text, err := json.Marshal(page); err != nil || json.Unmarshal(text, &api.JobPage{}) != nil {
		t.Errorf("a page cannot be read back: %v\n%s", err, text)
	}
	for _, sort := range []string{"name", "-name", "last", "next", "-running"} {
		var all []string
		for q := (api.JobQuery{Limit: 1, Sort: sort}); ; {
			got, page := list(q)
			if page.Total != 4 {
				t.Errorf("%s: %d in all", sort, page.Total)
			}
			all = append(all, got)
			if q.Cursor = page.NextCursor; q.Cursor == "" {
				break
			}
		}
		whole, _ := list(api.JobQuery{Sort: sort})
		if got := strings.Join(all, " "); got != whole {
			t.Errorf("pages by %s: %s, want %s", sort, got, whole)
		}
	}
	// What is acknowledged is in the next list (I1).
	for i := range 20 {
		name := fmt.Sprintf("new-%02d", i)
		e.apply(t, object(name))
		if got, _ := list(api.JobQuery{Words: name}); got != name {
			t.Fatalf("after %s was applied: %q", name, got)
		}
		if _, err := e.Delete(t.Context(), job.Key{Namespace: "ops", Name: name}); err != nil {
			t.Fatal(err)
		}
		if got, _ := list(api.JobQuery{Words: name}); got != "" {
			t.Fatalf("after it was deleted: %q", got)
		}
	}
	_, err := e.JobPage(t.Context(), api.JobQuery{Words: "x:y", Sort: "age", Limit: 5000, Cursor: "?"})
	var invalid *job.InvalidError
	if !errors.As(err, &invalid) || len(invalid.Problems) != 4 {
		t.Errorf("a query with four mistakes: %v", err)
	}
}

// TestRunsByWords: pages of runs by words are whole, and end where since says.
func TestRunsByWords(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, object("a"), object("b"))
	a, b := e.storedJob(t, "a").UID, e.storedJob(t, "b").UID
	for i := range 9 {
		at := e.now().Add(-time.Duration(i+1) * time.Hour)
		e.runs.end(someRun(a, "a", at, job.StateSucceeded))
		e.runs.end(someRun(b, "b", at.Add(time.Second), job.StateFailed))
	}
	e.runs.begin(someRun(b, "b", e.now(), job.StateRunning))
	count := func(words string, limit int) (n int) {
		t.Helper()
		for q := (api.RunQuery{Words: words, Limit: limit}); ; {
			page, err := e.Runs(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			n += len(page.Runs)
			if q.Cursor = page.NextCursor; q.Cursor == "" {
				return n
			}
		}
	}
	for words, want := range map[string]int{"": 19, "state:bad": 9, "job:b": 10, "b state:open": 1, "since:2h30m": 5, "since:2h30m state:bad": 2, "job:c": 0} {
		for _, limit := range []int{2, 100} {
			if got := count(words, limit); got != want {
				t.Errorf("%q by %d: %d, want %d", words, limit, got, want)
			}
		}
	}
	if _, err := e.Runs(t.Context(), api.RunQuery{Words: "x:y"}); !errors.As(err, new(*job.InvalidError)) {
		t.Errorf("words that are none: %v", err)
	}
}

// TestIfMatchAndOnce: what has been changed meanwhile is not changed by who names another
// generation; a start with a name starts nothing again.
func TestIfMatchAndOnce(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, object("a"))
	key := job.Key{Namespace: "ops", Name: "a"}
	as := func(r caller.Request) context.Context { return caller.WithRequest(t.Context(), r) }
	next := object("a", func(o *manifest.Object) { o.Spec.Command = []string{"false"} })
	for what, change := range map[string]func(context.Context) error{
		"apply": func(ctx context.Context) error {
			_, err := e.Apply(ctx, "a.json", encode(t, next), false)
			return err
		},
		"disable": func(ctx context.Context) error {
			_, err := e.SetEnabled(ctx, key, false, api.Order{})
			return err
		},
		"delete": func(ctx context.Context) error {
			_, err := e.Delete(ctx, key)
			return err
		},
	} {
		for _, g := range []int64{2, -1} {
			if err := change(as(caller.Request{IfMatch: g})); !errors.Is(err, caller.ErrChanged) {
				t.Errorf("%s of generation %d: %v", what, g, err)
			}
		}
	}
	if _, err := e.Apply(as(caller.Request{IfMatch: 1}), "a.json", encode(t, next), false); err != nil {
		t.Error(err)
	}
	if _, err := e.Apply(as(caller.Request{IfMatch: 1}), "b.json", encode(t, object("new")), false); !errors.Is(err, caller.ErrChanged) {
		t.Errorf("a job that is not there: %v", err)
	}
	if _, err := e.Apply(as(caller.Request{IfMatch: 2}), "b.json", encode(t, object("a"), object("b")), false); !errors.As(err, new(*job.InvalidError)) {
		t.Errorf("two jobs: %v", err)
	}
	start := func(name, by, x string) (job.FireID, error) {
		e.pass(time.Second)
		req := api.StartRequest{By: by}
		if x != "" {
			req.Params = map[string]string{"x": x}
		}
		return e.Start(as(caller.Request{Key: name}), key, req)
	}
	first, err := start("k", "me", "")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := start("k", "me", ""); err != nil || again != first {
		t.Errorf("the same start again: %s, %v; want %s", again, err, first)
	}
	if other, err := start("k", "you", ""); err != nil || other == first {
		t.Errorf("of somebody else: %s, %v", other, err)
	}
	if other, err := start("", "me", ""); err != nil || other == first {
		t.Errorf("without a name: %s, %v", other, err)
	}
	if _, err := start("k", "me", "1"); !errors.As(err, new(*job.InvalidError)) {
		t.Errorf("the same name for another start: %v", err)
	}
}

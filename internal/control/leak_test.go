package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// jobIn is a job of a namespace.
func jobIn(namespace, name string, edits ...func(*manifest.Object)) manifest.Object {
	return object(name, append([]func(*manifest.Object){func(o *manifest.Object) { o.Metadata.Namespace = namespace }}, edits...)...)
}

func waitsFor(jobs ...string) func(*manifest.Object) {
	return func(o *manifest.Object) { o.Spec.After = &job.After{Jobs: jobs} }
}

// Who may grant a little takes no more away than they hold: neither by deleting a binding,
// nor by applying another in its place, nor by emptying a role that others have.
func TestNobodyTakesMoreThanTheyHold(t *testing.T) {
	t.Parallel()
	e, _ := closed(t, role("granter", rule("grant", "roles")), bound("ann-grants", "granter", "ann"), bound("ann-reads", rights.Viewer, "ann", "a"),
		bound("admins", rights.Admin, "root1"), bound("editors", rights.Editor, "bob", "a"), bound("viewers", rights.Viewer, "bob", "a"),
		role("team", rule("operate", "nodes")), bound("ops", "team", "bob"), role("unused", rule("operate", "nodes")))
	ann := as(t.Context(), "ann")
	for name, take := range map[string]func() error{
		"delete an admin's":     func() error { return e.DeleteRoleBinding(ann, "admins") },
		"delete an editor's":    func() error { return e.DeleteRoleBinding(ann, "editors") },
		"replace an admin's":    func() error { return e.give(ann, t, bound("admins", rights.Viewer, "bob", "a")) },
		"empty a role":          func() error { return e.give(ann, t, role("team", rule("read", "jobs", "a"))) },
		"another's subjects":    func() error { return e.give(ann, t, bound("editors", rights.Viewer, "ann", "a")) },
		"fewer of one's own":    func() error { return e.give(ann, t, bound("ops", "granter", "bob")) },
		"delete what is unused": func() error { return e.DeleteRole(ann, "team") },
	} {
		err := take()
		if name == "delete what is unused" {
			if !errors.Is(err, job.ErrConflict) {
				t.Errorf("%s: %v", name, err) // it is given
			}
			continue
		}
		if !errors.Is(err, job.ErrForbidden) || !strings.Contains(err.Error(), "than you may do yourself") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if all, err := e.RoleBindings(t.Context()); err != nil || len(all) != 6 {
		t.Errorf("bindings: %+v, %v", all, err)
	}
	for name, take := range map[string]func() error{
		"what one holds":   func() error { return e.DeleteRoleBinding(ann, "viewers") },
		"what nobody has":  func() error { return e.give(ann, t, role("unused", rule("read", "jobs", "a"))) },
		"root, an admin's": func() error { return e.DeleteRoleBinding(asRoot(t.Context()), "admins") },
	} {
		if err := take(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Hints, and how many wait for a job, tell of nothing that the caller may not read.
func TestHintsTellNoForeignNames(t *testing.T) {
	t.Parallel()
	web := rule("read", "jobs", "mixed")
	web.Labels = map[string]string{"team": "web"}
	objects := []manifest.Object{
		role("web", web), role("names", rule("read", "jobs", "foreig")), bound("ann", rights.Editor, "ann", "own"), bound("ann-mixed", "web", "ann"), bound("ann-pauses", rights.Runner, "ann", "foreig"),
		role("pauser", rule("pause", "jobs")), bound("ann-pauser", "pauser", "ann"),
		jobIn("mixed", "backup"), jobIn("foreign", "j"), jobIn("own", "wanted"),
	}
	e, _ := closed(t, objects...)
	ann := as(t.Context(), "ann")

	pause := func(ctx context.Context) string {
		_, err := e.Pause(ctx, api.Paused{Scope: api.ScopeNamespace, Namespace: "foreig"}, time.Time{}, api.Order{})
		if err == nil {
			t.Fatal("a namespace that there is not was paused")
		}
		return err.Error()
	}
	if got := pause(asRoot(t.Context())); !strings.Contains(got, `did you mean "foreign"`) {
		t.Errorf("root: %s", got)
	}
	if got := pause(ann); strings.Contains(got, "foreign") {
		t.Errorf("ann is told of a namespace: %s", got)
	}

	warned := func(ctx context.Context) string {
		data, err := manifest.Encode(jobIn("own", "x", waitsFor("mixed/backupp")))
		if err != nil {
			t.Fatal(err)
		}
		done, err := e.Apply(ctx, "f", data, true)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(done[0].Warnings, "\n")
	}
	if got := warned(asRoot(t.Context())); !strings.Contains(got, `did you mean "backup"`) {
		t.Errorf("root: %s", got)
	}
	if got := warned(ann); strings.Contains(got, `"backup"`) || !strings.Contains(got, "starts nothing until") {
		t.Errorf("ann is told of a job: %s", got)
	}

	for n := range job.MaxAfterJobs {
		if err := e.give(asRoot(t.Context()), t, jobIn("foreign", fmt.Sprint("f", n), waitsFor("own/wanted"))); err != nil {
			t.Fatal(err)
		}
	}
	one := jobIn("own", "one", waitsFor("wanted"))
	if err := e.give(asRoot(t.Context()), t, one); err == nil || !strings.Contains(err.Error(), "51 jobs wait for own/wanted; at most 50") {
		t.Errorf("root: %v", err)
	}
	if err := e.give(ann, t, one); err == nil || strings.Contains(err.Error(), "51") || !strings.Contains(err.Error(), "too many jobs wait for own/wanted; at most 50") {
		t.Errorf("ann: %v", err)
	}
}

// Who may read how the cluster is, and not all jobs, is told by the doctor that something
// is wrong with others', and not with which.
func TestDoctorTellsNoForeignNames(t *testing.T) {
	t.Parallel()
	group := manifest.Object{Kind: job.KindGroup, Metadata: job.Metadata{Namespace: "foreign", Name: "ledger"}, Group: job.GroupSpec{Mode: "failover"}}
	e, _ := closedOf(t, func(d *Deps) {
		d.Minions = fakeMinions{{ID: "vault7", Node: "n1", Trouble: "its disk is full"}, {ID: "vault8", Labels: map[string]string{"team": "ledger"}}}
	}, role("looks", rule("read", "cluster")), bound("ann", "looks", "ann"), bound("ann-own", rights.Viewer, "ann", "own"),
		jobIn("own", "mine", func(o *manifest.Object) { o.Spec.Target.Match = "vault*" }), jobIn("foreign", "payroll"), group, jobIn("foreign", "booking", func(o *manifest.Object) { o.Spec.Group = "ledger" }))
	e.put(t, e.keys.Minion("vault8"), etcdkv.StoredMinion{Schema: 1, ID: "vault8"})
	e.put(t, e.keys.PresenceBucket("n1", 0), etcdkv.Presence{Minions: []etcdkv.PresentMinion{{ID: "vault7", Session: 1}}})
	for _, key := range []job.Key{{Namespace: "own", Name: "mine"}, {Namespace: "foreign", Name: "payroll"}} {
		stored, _, err := e.Stored(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		e.put(t, e.keys.Aside(key), etcdkv.Aside{Schema: 1, Namespace: key.Namespace, Name: key.Name, Job: stored.UID, Reason: "too much of " + key.Name, Since: e.now()})
		for n := range 3 {
			r := someRun(stored.UID, key.Name, e.now().Add(-time.Duration(n+1)*time.Hour), job.StateFailed)
			r.Namespace = key.Namespace
			e.runs.end(r)
		}
		open := someRun(stored.UID, key.Name, e.now().Add(-time.Hour), job.StatePending)
		open.Namespace, open.RunID = key.Namespace, job.RunID("open-"+key.Name)
		e.runs.begin(open)
	}
	told := func(ctx context.Context) string {
		checks, err := e.Doctor(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%+v", checks)
	}
	all := told(asRoot(t.Context()))
	for _, name := range []string{"job own/mine is set aside", "job foreign/payroll is set aside", "runs of job own/mine did", "runs of job foreign/payroll did", "run open-mine", "run open-payroll", "group foreign/ledger has no owner",
		"not connected: vault8", "uncontrollable, first vault7: its disk is full", "job own/mine has nobody to run it"} {
		if !strings.Contains(all, name) {
			t.Errorf("root is not told that %s: %s", name, all)
		}
	}
	hers := told(as(t.Context(), "ann"))
	for _, name := range []string{"foreign", "payroll", "ledger", "vault7", "vault8"} {
		if strings.Contains(hers, name) {
			t.Errorf("ann is told of %s: %s", name, hers)
		}
	}
	for _, name := range []string{"job own/mine is set aside", "runs of job own/mine did", "run open-mine", "1 of jobs that you may not read", "group (hidden) has no owner",
		"1 of 2 known are not connected", "1 are connected and uncontrollable", "job own/mine has nobody to run it"} {
		if !strings.Contains(hers, name) {
			t.Errorf("ann is not told that %s: %s", name, hers)
		}
	}
}

// TestHistoryOfOthersIsReadInBounds: a page of who may see few runs passes so many of
// others' at most, and then says where to go on; in all pages is each of theirs, once.
func TestHistoryOfOthersIsReadInBounds(t *testing.T) {
	t.Parallel()
	known := &fakeRuns{ended: map[job.RunID]job.Run{}}
	at := time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)
	const all, each = 9_000, 1_999
	want := 0
	for n := range all {
		r := someRun(job.UID{1}, "j", at.Add(-time.Duration(n)*time.Second), job.StateSucceeded)
		if n%each == 0 {
			r.Namespace = "own"
			want++
		}
		known.end(r)
		if n%(3*each) == 7 {
			open := r
			open.Namespace, open.State, open.RunID = "own", job.StateRunning, job.RunID(fmt.Sprint("open", n))
			open.FireID.At++
			known.begin(open)
			want++
		}
	}
	c := justRuns(known, nil, 0)
	q := api.RunQuery{Limit: 5, Only: func(r *job.Run) bool { return r.Namespace == "own" }}
	seen := map[job.RunID]bool{}
	last := at.Add(time.Hour)
	for pages := 0; ; pages++ {
		before := known.lists
		page, err := c.Runs(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if n := known.lists - before; n > 20 {
			t.Fatalf("page %d read %d pages of history", pages, n)
		}
		for _, r := range page.Runs {
			if seen[r.RunID] || r.ScheduledAt.After(last) {
				t.Errorf("%s comes again, or out of order", r.RunID)
			}
			seen[r.RunID], last = true, r.ScheduledAt
		}
		if q.Cursor = page.NextCursor; q.Cursor == "" {
			break
		}
		if pages > 100 {
			t.Fatal("there is no end")
		}
	}
	if len(seen) != want {
		t.Errorf("%d runs, want %d", len(seen), want)
	}
}

// TestTokensThatHaveExpiredGo: a month later, with what is known of their use; their names
// stay taken.
func TestTokensThatHaveExpiredGo(t *testing.T) {
	t.Parallel()
	e := setup(t)
	old := e.token(t, "old", time.Hour)
	e.token(t, "new", 40*24*time.Hour)
	e.put(t, e.keys.APITokenUse(old.ID), etcdkv.APITokenUse{Schema: 1, ID: old.ID, At: e.now()})
	left := func() int {
		if err := e.SweepTokens(t.Context()); err != nil {
			t.Fatal(err)
		}
		return len(e.keysUnder(t, e.keys.APITokens())) + len(e.keysUnder(t, e.keys.APITokenUses()))
	}
	e.pass(30 * 24 * time.Hour)
	if n := left(); n != 3 {
		t.Errorf("%d keys are left within the month", n)
	}
	e.pass(time.Hour)
	if n := left(); n != 1 {
		t.Errorf("%d keys are left", n)
	}
	if _, err := e.CreateAPIToken(t.Context(), api.APITokenRequest{Name: "old", TTL: time.Hour}); !errors.Is(err, job.ErrConflict) {
		t.Errorf("another token gets the name: %v", err)
	}
}

// TestI14_TokensWaitForTheClock: a node that has not held its clock against others takes
// no token, and refuses none, by when it expires.
func TestI14_TokensWaitForTheClock(t *testing.T) {
	t.Parallel()
	known := false
	e := setup(t, func(_ *Config, d *Deps) { d.TimeKnown = func() bool { return known } })
	good, short := e.token(t, "good", time.Hour), e.token(t, "short", time.Minute)
	e.pass(2 * time.Minute)
	for _, text := range []string{good.Text, short.Text} {
		if _, err := e.ByToken(t.Context(), text, "10.0.0.1"); !errors.Is(err, job.ErrUnavailable) {
			t.Errorf("before: %v", err)
		}
	}
	known = true
	if why := refusedAs(t, e.Control, good.Text, "10.0.0.1"); why != "" {
		t.Errorf("a good one: %s", why)
	}
	if why := refusedAs(t, e.Control, short.Text, "10.0.0.1"); !strings.Contains(why, "expired") {
		t.Errorf("one that has expired: %q", why)
	}
}

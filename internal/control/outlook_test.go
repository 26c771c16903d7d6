package control

import (
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/catalog"
	"github.com/carillon-cron/carillon/internal/control/starts"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// TestNextIsWhenTheJobRuns: the next instant is one at which the job runs, as its
// bounds, calendars, pauses and jitter have it; or it is told why there is none.
func TestNextIsWhenTheJobRuns(t *testing.T) {
	t.Parallel()
	e := setup(t)
	hour := time.Date(2026, 5, 4, 11, 0, 0, 0, time.UTC) // it is 10:30:15
	at := func(h int) *time.Time { t := hour.Add(time.Duration(h) * time.Hour); return &t }
	off := false
	calendar := func(name string, spec job.CalendarSpec) manifest.Object {
		return manifest.Object{Kind: job.KindCalendar, Metadata: job.Metadata{Namespace: "ops", Name: name}, Calendar: spec}
	}
	e.apply(t,
		calendar("shut", job.CalendarSpec{Windows: []string{"2026-05-04T10:00:00Z..2026-05-04T13:30:00Z: x"}}),
		calendar("never", job.CalendarSpec{Closed: []string{"01-01..12-31"}}),
		group("g", job.GroupSpec{}),
	)
	pause := func(of api.Paused, until time.Time, why string) func() {
		return func() {
			if _, err := e.Pause(t.Context(), of, until, api.Order{By: "ada", Reason: why}); err != nil {
				t.Fatal(err)
			}
		}
	}
	cases := map[string]struct {
		edit   func(*job.Spec)
		then   func()
		next   time.Time
		no     string
		starts bool
	}{
		"plain":         {next: hour},
		"startat":       {edit: func(s *job.Spec) { s.StartAt = at(5) }, next: *at(5)},
		"endat":         {edit: func(s *job.Spec) { s.EndAt = at(0) }, next: hour},
		"ended":         {edit: func(s *job.Spec) { s.EndAt = at(0) }, then: func() { e.pass(time.Hour) }, no: catalog.NeverEnded},
		"count":         {edit: func(s *job.Spec) { s.Count = 2 }, next: hour},
		"counted":       {edit: func(s *job.Spec) { s.Count = 2 }, then: func() { e.pass(2 * time.Hour) }, no: catalog.NeverCounted},
		"disabled":      {edit: func(s *job.Spec) { s.Enabled = &off }, no: catalog.NeverDisabled},
		"closed":        {edit: func(s *job.Spec) { s.Calendars = []string{"shut"} }, next: *at(3)},
		"closed.ever":   {edit: func(s *job.Spec) { s.Schedules, s.Calendars = []string{"0 0 * * *"}, []string{"never"} }, no: catalog.NeverSearched},
		"closed.to.end": {edit: func(s *job.Spec) { s.Calendars, s.EndAt = []string{"shut"}, at(2) }, no: catalog.NeverClosed},
		"moved": {edit: func(s *job.Spec) { s.Calendars, s.OnExcluded = []string{"shut"}, job.ExcludedNext },
			next: hour.Add(150 * time.Minute)},
		"jitter":       {edit: func(s *job.Spec) { s.Jitter = job.Duration(10 * time.Minute) }, next: hour, starts: true},
		"paused":       {then: pause(api.Paused{Scope: api.ScopeJob, Namespace: "ops", Name: "paused"}, time.Time{}, "disk"), no: catalog.NeverPaused},
		"paused.until": {then: pause(api.Paused{Scope: api.ScopeJob, Namespace: "ops", Name: "paused.until"}, hour.Add(90*time.Minute), ""), next: *at(2)},
		"paused.group": {edit: func(s *job.Spec) { s.Group = "g" }, then: pause(api.Paused{Scope: api.ScopeGroup, Namespace: "ops", Name: "g"}, time.Time{}, ""), no: catalog.NeverPaused},
		"manual":       {edit: func(s *job.Spec) { s.Schedules = nil }},
		"at":           {edit: func(s *job.Spec) { s.Schedules = []string{"@at 2026-05-04T10:40:00Z"} }, then: func() { e.pass(time.Hour) }, no: catalog.NeverDue},
	}
	// The clock and the etcd are shared: one after the other.
	began := e.now()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			e.mu.Lock()
			e.clock = began
			e.mu.Unlock()
			e.apply(t, object(name, func(o *manifest.Object) {
				if c.edit != nil {
					c.edit(&o.Spec)
				}
			}))
			if c.then != nil {
				c.then()
			}
			v, err := e.Job(t.Context(), jobNamed(name))
			if err != nil || !v.NextAt.Equal(c.next) || v.NoNext != c.no {
				t.Errorf("next at %s (%q), %v; want %s (%q)", v.NextAt, v.NoNext, err, c.next, c.no)
			}
			if starts := v.NextStartsAt; starts.IsZero() == c.starts || c.starts && (starts.Before(c.next) || starts.After(c.next.Add(10*time.Minute))) {
				t.Errorf("starts at %s", starts)
			}
			all, err := e.Jobs(t.Context(), api.JobQuery{Namespace: "ops"})
			for _, one := range all {
				if one.Name == name && (!one.NextAt.Equal(v.NextAt) || one.NoNext != v.NoNext) {
					t.Errorf("the list says %s (%q), %v", one.NextAt, one.NoNext, err)
				}
			}
		})
	}
}

// TestUpcomingTellsWhatIsSkipped: the instants to come of a job are told with why
// they are skipped, and why none follows; each pause is told.
func TestUpcomingTellsWhatIsSkipped(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, manifest.Object{
		Kind: job.KindCalendar, Metadata: job.Metadata{Namespace: "ops", Name: "shut"},
		Calendar: job.CalendarSpec{Windows: []string{"2026-05-04T10:45:00Z..2026-05-04T11:30:00Z: new rack"}},
	}, object("j", func(o *manifest.Object) { o.Spec.Calendars, o.Spec.Count = []string{"shut"}, 3 }))
	until := time.Date(2026, 5, 4, 12, 30, 0, 0, time.UTC)
	if _, err := e.Pause(t.Context(), api.Paused{Scope: api.ScopeJob, Namespace: "ops", Name: "j"}, until, api.Order{By: "ada", Reason: "disk"}); err != nil {
		t.Fatal(err)
	}
	e.pass(time.Second)
	v, err := e.Upcoming(t.Context(), jobNamed("j"), e.now(), 5)
	if err != nil || len(v.Next) != 3 {
		t.Fatalf("%+v, %v", v, err)
	}
	for i, want := range []string{"paused since 2026-05-04T10:30:15Z by ada: disk", "paused since 2026-05-04T10:30:15Z by ada: disk", ""} {
		if v.Next[i].Skipped != want {
			t.Errorf("%s: %q, want %q", v.Next[i].At, v.Next[i].Skipped, want)
		}
	}
	if want := "its count is 3, and the last of these is 2026-05-04T13:00:00Z"; v.Ends != want {
		t.Errorf("ends: %q, want %q", v.Ends, want)
	}
	if _, err := e.Resume(t.Context(), api.Paused{Scope: api.ScopeJob, Namespace: "ops", Name: "j"}, api.Order{}); err != nil {
		t.Fatal(err)
	}
	if v, err = e.Upcoming(t.Context(), jobNamed("j"), e.now(), 1); err != nil || !strings.Contains(v.Next[0].Skipped, "calendar ops/shut") || v.Ends != "" {
		t.Errorf("%+v, %v", v, err)
	}
	for _, of := range []api.Paused{{Scope: api.ScopeJob, Namespace: "ops", Name: "j"}, {Scope: api.ScopeAll}} {
		if _, err := e.Pause(t.Context(), of, time.Time{}, api.Order{}); err != nil {
			t.Fatal(err)
		}
	}
	one, err := e.Job(t.Context(), jobNamed("j"))
	if err != nil || len(one.Pauses) != 2 || one.Paused == nil {
		t.Errorf("pauses: %+v, %v", one.Pauses, err)
	}
}

// TestEnablingDoesNotCountAnew: a job that is disabled and enabled again goes on
// with its count; another schedule begins anew.
func TestEnablingDoesNotCountAnew(t *testing.T) {
	t.Parallel()
	e := setup(t)
	job3 := func(on bool, schedule string) manifest.Object {
		return object("j", func(o *manifest.Object) { o.Spec.Count, o.Spec.Enabled, o.Spec.Schedules = 3, &on, []string{schedule} })
	}
	e.apply(t, job3(true, "0 * * * *"))
	began := e.storedJob(t, "j").CountedFrom
	for _, on := range []bool{false, true} {
		e.pass(time.Hour)
		e.apply(t, job3(on, "0 * * * *"))
		if got := e.storedJob(t, "j").CountedFrom; !got.Equal(began) {
			t.Errorf("enabled: %v, counted from %s, before %s", on, got, began)
		}
	}
	e.apply(t, job3(true, "30 * * * *"))
	if got := e.storedJob(t, "j").CountedFrom; got.Equal(began) {
		t.Errorf("another schedule is still counted from %s", got)
	}
}

// TestEndedBackfillLeavesARecord: one that somebody ends, or whose job goes, is
// listed with when and why.
func TestEndedBackfillLeavesARecord(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, object("j"), object("k"))
	window := api.BackfillRequest{From: e.now().Add(-5 * time.Hour), To: e.now().Add(2 * time.Second), Order: api.Order{By: "ada"}}
	a, err := e.Backfill(t.Context(), jobNamed("j"), window)
	if err != nil || a.Left != 5 || a.State != "running" {
		t.Fatalf("%+v, %v", a, err)
	}
	b, err := e.Backfill(t.Context(), jobNamed("k"), window)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.EndBackfill(t.Context(), a.ID, api.Order{By: "bob", Reason: "enough"}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Delete(t.Context(), jobNamed("k")); err != nil {
		t.Fatal(err)
	}
	if err := e.SweepBackfills(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, err := e.Backfills(t.Context())
	if err != nil || len(all) != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	for _, v := range all {
		want := map[string]string{a.ID: "ended by bob: enough", b.ID: "the job was deleted"}[v.ID]
		if v.State != "ended" || v.EndedWhy != want || !v.EndedAt.Equal(e.now()) {
			t.Errorf("%+v, want %q", v, want)
		}
	}
	e.pass(starts.EndedBackfillsFor)
	if err := e.SweepBackfills(t.Context()); err != nil {
		t.Fatal(err)
	}
	if all, err = e.Backfills(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("after a month: %+v, %v", all, err)
	}
}

package webui

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/internal/control"
	"github.com/carillon-cron/carillon/job"
)

// list is the body of a page that shows many things of a kind.
type list[T any] struct {
	Items []T
	// Filters say what the list is narrowed to, as "node n1".
	Filters []string
	// Reset is the same list with no filter.
	Reset string
}

// narrowed returns the items that keep admits when the query has the parameter.
func narrowed[T any](l list[T], r *http.Request, param string, value func(T) string) list[T] {
	want := r.URL.Query().Get(param)
	if want == "" {
		return l
	}
	l.Items = slices.DeleteFunc(slices.Clone(l.Items), func(v T) bool { return value(v) != want })
	l.Filters = append(l.Filters, param+" "+want)
	l.Reset = r.URL.Path
	return l
}

func (u *UI) jobs(ctx context.Context, r *http.Request) (view, error) {
	q := control.JobQuery{Namespace: r.URL.Query().Get("namespace")}
	jobs, err := u.control.Jobs(ctx, q)
	if err != nil {
		return view{}, fmt.Errorf("list jobs: %w", err)
	}
	l := list[control.JobView]{Items: jobs}
	l = narrowed(l, r, "namespace", func(v control.JobView) string { return v.Namespace })
	l = narrowed(l, r, "shard", func(v control.JobView) string { return v.Shard.String() })
	return view{Title: "Jobs", Nav: "jobs", Topics: "jobs runs", Body: l}, nil
}

// jobRuns is how many runs a job's page shows.
const jobRuns = 20

// jobBody is the body of a job's page.
type jobBody struct {
	control.JobView
	Enabled          bool
	Timeout          string
	Overlap, Misfire string
	Spread           string
	Runs             []job.Run
}

func (u *UI) job(ctx context.Context, r *http.Request) (view, error) {
	key := job.Key{Namespace: r.PathValue("namespace"), Name: r.PathValue("name")}
	v, err := u.control.Job(ctx, key)
	if err != nil {
		return view{}, fmt.Errorf("job %s: %w", key, err)
	}
	page, err := u.control.Runs(ctx, control.RunQuery{Namespace: key.Namespace, Job: key.Name, Limit: jobRuns})
	if err != nil {
		return view{}, fmt.Errorf("list runs of job %s: %w", key, err)
	}
	return view{Title: key.String(), Nav: "jobs", Topics: "jobs runs", Body: jobBody{
		JobView: v, Enabled: v.Spec.IsEnabled(), Timeout: short(v.Spec.EffectiveTimeout()),
		Overlap: string(v.Spec.EffectiveOverlap()), Misfire: string(v.Spec.EffectiveMisfire()),
		Spread: string(v.Spec.Target.EffectiveRun()), Runs: page.Runs,
	}}, nil
}

// stateOpen is a filter of the page's own: all runs that have not ended.
const stateOpen = "open"

// runsBody is the body of the list of runs.
type runsBody struct {
	Runs                  []job.Run
	States                []string
	Namespace, Job, State string
	Minion, Shard         string
	// Older and Newest lead to other pages; empty when there is none.
	Older, Newest string
}

func (u *UI) runs(ctx context.Context, r *http.Request) (view, error) {
	q := r.URL.Query()
	b := runsBody{
		Namespace: q.Get("namespace"), Job: q.Get("job"), State: q.Get("state"), Minion: q.Get("minion"), Shard: q.Get("shard"),
		States: []string{stateOpen},
	}
	for _, s := range job.States() {
		b.States = append(b.States, string(s))
	}
	query := control.RunQuery{Namespace: b.Namespace, Job: b.Job, State: job.State(b.State), Cursor: q.Get("cursor")}
	if b.Minion != "" || b.Shard != "" {
		query.Limit = control.MaxRunLimit // few of them will stay
	}
	find := u.control.Runs
	if b.State == stateOpen {
		find = u.openRuns
	}
	page, err := find(ctx, query)
	if err != nil {
		return view{}, fmt.Errorf("list runs: %w", err)
	}
	b.Runs = slices.DeleteFunc(page.Runs, func(run job.Run) bool { return !b.admits(&run) })
	if page.NextCursor != "" {
		b.Older = "/runs?" + with(q, "cursor", page.NextCursor)
	}
	if query.Cursor != "" {
		b.Newest = "/runs?" + with(q, "cursor", "")
	}
	return view{Title: "Runs", Nav: "runs", Topics: "runs", Body: b}, nil
}

// admits tells what the cluster's own query cannot: shard and minion.
func (b *runsBody) admits(r *job.Run) bool {
	if b.Shard != "" && r.Shard.String() != b.Shard {
		return false
	}
	return b.Minion == "" || slices.ContainsFunc(r.Tasks, func(t job.Task) bool { return string(t.Minion) == b.Minion })
}

// openRuns returns the runs that have not ended, on one page.
func (u *UI) openRuns(ctx context.Context, q control.RunQuery) (control.RunPage, error) {
	var all control.RunPage
	q.Cursor, q.Limit = "", control.MaxRunLimit
	for _, s := range job.States() {
		if s.Final() {
			continue
		}
		q.State = s
		page, err := u.control.Runs(ctx, q)
		if err != nil {
			return control.RunPage{}, fmt.Errorf("%s: %w", s, err)
		}
		all.Runs = append(all.Runs, page.Runs...)
	}
	slices.SortFunc(all.Runs, func(a, b job.Run) int { return history.PositionOf(&a).Compare(history.PositionOf(&b)) })
	// A run that changed its state meanwhile is seen twice.
	all.Runs = slices.CompactFunc(all.Runs, func(a, b job.Run) bool { return a.RunID == b.RunID })
	return all, nil
}

// with returns the query with one parameter changed; an empty value removes it.
func with(q url.Values, key, value string) string {
	q = maps.Clone(q)
	q.Del(key)
	if value != "" {
		q.Set(key, value)
	}
	return q.Encode()
}

// step is a point of a run's timeline.
type step struct {
	Name string
	At   time.Time
	// Clock is the time of day with milliseconds, Late how long after the
	// scheduled instant it was.
	Clock, Late string
}

// runBody is the body of a run's page.
type runBody struct {
	job.Run
	Steps []step
}

func (u *UI) run(ctx context.Context, r *http.Request) (view, error) {
	id := job.RunID(r.PathValue("id"))
	run, err := u.control.Run(ctx, id)
	if err != nil {
		return view{}, fmt.Errorf("run %s: %w", id, err)
	}
	topics := "runs"
	if run.State.Final() {
		topics = "" // nothing will change any more
	}
	return view{Title: "Run " + string(id), Nav: "runs", Topics: topics, Body: runBody{Run: run, Steps: timeline(&run)}}, nil
}

func timeline(r *job.Run) []step {
	steps := []step{
		{Name: "scheduled", At: r.ScheduledAt}, {Name: "committed", At: r.CommittedAt}, {Name: "dispatched", At: r.DispatchedAt},
		{Name: "started", At: r.StartedAt}, {Name: "ended", At: r.EndedAt},
	}
	for i := range steps {
		s := &steps[i]
		if s.At.IsZero() {
			continue
		}
		s.Clock = s.At.UTC().Format("2006-01-02 15:04:05.000 UTC")
		if i > 0 {
			s.Late = "+" + short(s.At.Sub(r.ScheduledAt))
			s.Late = strings.Replace(s.Late, "+-", "−", 1)
		}
	}
	return steps
}

func (u *UI) nodes(ctx context.Context, _ *http.Request) (view, error) {
	nodes, err := u.control.Nodes(ctx)
	if err != nil {
		return view{}, fmt.Errorf("list nodes: %w", err)
	}
	return view{Title: "Nodes", Nav: "nodes", Topics: "nodes shards minions", Body: list[control.NodeView]{Items: nodes}}, nil
}

func (u *UI) minions(ctx context.Context, r *http.Request) (view, error) {
	minions, err := u.control.Minions(ctx)
	if err != nil {
		return view{}, fmt.Errorf("list minions: %w", err)
	}
	l := list[control.MinionView]{Items: minions}
	l = narrowed(l, r, "node", func(v control.MinionView) string { return string(v.Node) })
	l = narrowed(l, r, "state", func(v control.MinionView) string { return v.State })
	return view{Title: "Minions", Nav: "minions", Topics: "minions runs", Body: l}, nil
}

func (u *UI) shards(ctx context.Context, r *http.Request) (view, error) {
	shards, err := u.control.Shards(ctx)
	if err != nil {
		return view{}, fmt.Errorf("list shards: %w", err)
	}
	slices.SortFunc(shards, func(a, b control.ShardView) int { return cmp.Compare(a.ID, b.ID) })
	l := list[control.ShardView]{Items: shards}
	l = narrowed(l, r, "owner", func(v control.ShardView) string { return string(v.Owner) })
	l = narrowed(l, r, "id", func(v control.ShardView) string { return strconv.FormatUint(uint64(v.ID), 10) })
	return view{Title: "Shards", Nav: "shards", Topics: "shards nodes jobs", Body: l}, nil
}

package client

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// Jobs are the jobs of the cluster.
type Jobs struct{ c *conn }

func jobPath(k job.Key, more ...string) []string {
	return append([]string{"namespaces", k.Namespace, "jobs", k.Name}, more...)
}

// full is a path of the API from its beginning.
func full(path []string) []string { return append([]string{"v1"}, path...) }

// Apply stores what a manifest describes: jobs, groups, calendars and the like, all
// of it or nothing. file is what messages call it. A dry run says what would be done,
// and does nothing.
func (j Jobs) Apply(ctx context.Context, file string, manifest []byte, dryRun bool) ([]api.ApplyResult, error) {
	var out struct{ Results []api.ApplyResult }
	if len(manifest) == 0 {
		manifest = []byte("\n") // the server says what an empty file lacks
	}
	err := j.c.call(ctx, request{
		method: http.MethodPost, path: []string{"v1", "apply"}, body: manifest, kind: "application/yaml",
		query: url.Values{"file": {file}, "dryRun": {strconv.FormatBool(dryRun)}},
	}, &out)
	return out.Results, err
}

// Register stores a job, new or in place of the one with its name, and tells what was done.
// It is Apply of a file that has this job alone.
func (j Jobs) Register(ctx context.Context, k job.Key, spec job.Spec) (api.ApplyResult, error) {
	return register(ctx, j, job.KindJob, k, spec)
}

// register applies one object.
func register(ctx context.Context, j Jobs, kind string, k job.Key, spec any) (api.ApplyResult, error) {
	text, err := encode(struct {
		APIVersion string       `json:"apiVersion"`
		Kind       string       `json:"kind"`
		Metadata   job.Metadata `json:"metadata"`
		Spec       any          `json:"spec"`
	}{job.APIVersion, kind, job.Metadata{Namespace: k.Namespace, Name: k.Name}, spec})
	if err != nil {
		return api.ApplyResult{}, err
	}
	done, err := j.Apply(ctx, k.Name+".json", text, false)
	if err != nil {
		return api.ApplyResult{}, err
	}
	if len(done) != 1 {
		return api.ApplyResult{}, fmt.Errorf("the server tells of %d objects, and was sent one", len(done))
	}
	return done[0], nil
}

// List returns the jobs that q selects.
func (j Jobs) List(ctx context.Context, q api.JobQuery) ([]api.Job, error) {
	page, err := j.Page(ctx, q)
	return page.Jobs, err
}

// Page returns a page of the jobs that q selects, and how many there are in all.
func (j Jobs) Page(ctx context.Context, q api.JobQuery) (api.JobPage, error) {
	var out api.JobPage
	v := where("namespace", q.Namespace)
	for _, name := range slices.Sorted(maps.Keys(q.Labels)) {
		v.Add("label", name+"="+q.Labels[name])
	}
	set(v, "q", q.Words)
	set(v, "sort", q.Sort)
	set(v, "cursor", q.Cursor)
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Facets {
		v.Set("facets", "true")
	}
	err := j.c.get(ctx, &out, v, "jobs")
	return out, err
}

// Get returns one job. A job that is not there is a job.ErrNotFound.
func (j Jobs) Get(ctx context.Context, k job.Key) (api.Job, error) {
	var out api.Job
	err := j.c.get(ctx, &out, nil, jobPath(k)...)
	return out, err
}

// Delete deletes a job, and returns from where on it is not due any more; zero: the
// server does not tell.
func (j Jobs) Delete(ctx context.Context, k job.Key) (holds time.Time, err error) {
	err = j.c.call(ctx, request{method: http.MethodDelete, path: full(jobPath(k)), holds: &holds}, nil)
	return holds, err
}

// WebhookSecret makes what calls of a job's webhook are to be signed with, or takes the
// secret that is given: whsec_ and 24 to 64 bytes in base64. The former one is good no
// more.
func (j Jobs) WebhookSecret(ctx context.Context, k job.Key, given string, o api.Order) (api.WebhookSecret, error) {
	var out api.WebhookSecret
	body := struct {
		order
		Secret string `json:"secret,omitempty"`
	}{orderOf(o), given}
	err := j.c.send(ctx, http.MethodPost, full(jobPath(k, "webhook-secret")), body, &out)
	return out, err
}

// Enable has a job run by its schedule again.
func (j Jobs) Enable(ctx context.Context, k job.Key, o api.Order) (api.ApplyResult, error) {
	return j.enable(ctx, k, "enable", o)
}

// Disable stops a job from running by its schedule.
func (j Jobs) Disable(ctx context.Context, k job.Key, o api.Order) (api.ApplyResult, error) {
	return j.enable(ctx, k, "disable", o)
}

func (j Jobs) enable(ctx context.Context, k job.Key, verb string, o api.Order) (api.ApplyResult, error) {
	var out api.ApplyResult
	err := j.c.send(ctx, http.MethodPost, full(jobPath(k, verb)), orderOf(o), &out)
	return out, err
}

// Versions returns what a job was before its last edits, the newest first.
func (j Jobs) Versions(ctx context.Context, k job.Key) ([]job.Former, error) {
	var out struct{ Versions []job.Former }
	err := j.c.get(ctx, &out, nil, jobPath(k, "versions")...)
	return out.Versions, err
}

// RollBack makes a job again what it was at a generation.
func (j Jobs) RollBack(ctx context.Context, k job.Key, generation int64, o api.Order) (api.ApplyResult, error) {
	var out api.ApplyResult
	err := j.c.send(ctx, http.MethodPost, full(jobPath(k, "versions", strconv.FormatInt(generation, 10), "restore")), orderOf(o), &out)
	return out, err
}

// Start starts a job now, whatever its schedule says.
func (j Jobs) Start(ctx context.Context, k job.Key, req api.StartRequest) (api.Started, error) {
	body := struct {
		By     string            `json:"by"`
		Params map[string]string `json:"params,omitempty"`
	}{req.By, req.Params}
	var out api.Started
	err := j.c.send(ctx, http.MethodPost, full(jobPath(k, "run")), body, &out)
	return out, err
}

// Upcoming returns the next n instants of a job after an instant, with those that are
// skipped and why. A zero time is that of the server now.
func (j Jobs) Upcoming(ctx context.Context, k job.Key, after time.Time, n int) (api.Upcoming, error) {
	var out api.Upcoming
	q := url.Values{"count": {strconv.Itoa(n)}}
	if !after.IsZero() {
		q.Set("after", after.UTC().Format(time.RFC3339Nano))
	}
	err := j.c.get(ctx, &out, q, jobPath(k, "next")...)
	return out, err
}

// Fire tells what became of an instant of a job, and why.
func (j Jobs) Fire(ctx context.Context, k job.Key, at time.Time) (api.Fire, error) {
	var out api.Fire
	err := j.c.get(ctx, &out, nil, jobPath(k, "fires", at.UTC().Format(time.RFC3339Nano))...)
	return out, err
}

// Backfill runs a window of a job's schedule again.
func (j Jobs) Backfill(ctx context.Context, k job.Key, req api.BackfillRequest) (api.Backfill, error) {
	body := struct {
		From    time.Time         `json:"from"`
		To      time.Time         `json:"to"`
		Overlap bool              `json:"overlap"`
		Every   string            `json:"every,omitempty"`
		Params  map[string]string `json:"params,omitempty"`
		order
	}{From: req.From, To: req.To, Overlap: req.Overlap, Params: req.Params, order: orderOf(req.Order)}
	if req.Every != 0 {
		body.Every = req.Every.String()
	}
	var out api.Backfill
	err := j.c.send(ctx, http.MethodPost, full(jobPath(k, "backfill")), body, &out)
	return out, err
}

// Backfills are the windows of schedules that are run again.
type Backfills struct{ c *conn }

// List returns those that go on, and those that have ended lately.
func (b Backfills) List(ctx context.Context) ([]api.Backfill, error) {
	var out struct{ Backfills []api.Backfill }
	err := b.c.get(ctx, &out, nil, "backfills")
	return out.Backfills, err
}

// End ends a backfill; its run under way goes on.
func (b Backfills) End(ctx context.Context, id string, o api.Order) error {
	return b.c.post(ctx, orderOf(o), "backfills", id, "end")
}

// Pauses have jobs not fire by themselves.
type Pauses struct{ c *conn }

// List returns what is paused.
func (p Pauses) List(ctx context.Context) ([]api.Pause, error) {
	var out struct{ Pauses []api.Pause }
	err := p.c.get(ctx, &out, nil, "pauses")
	return out.Pauses, err
}

type pauseOrder struct {
	Scope     api.Scope  `json:"scope"`
	Namespace string     `json:"namespace,omitempty"`
	Name      string     `json:"name,omitempty"`
	Until     *time.Time `json:"until,omitempty"`
	order
}

func (p Pauses) send(ctx context.Context, verb string, o *pauseOrder) (holds time.Time, err error) {
	text, err := encode(o)
	if err != nil {
		return holds, err
	}
	err = p.c.call(ctx, request{method: http.MethodPost, path: []string{"v1", verb}, body: text, kind: "application/json", holds: &holds}, nil)
	return holds, err
}

// Pause pauses what is named, until an instant, or until Resume when that is zero. It
// returns from where on the pause holds; zero: the server does not tell.
func (p Pauses) Pause(ctx context.Context, what api.Paused, until time.Time, o api.Order) (holds time.Time, err error) {
	body := &pauseOrder{Scope: what.Scope, Namespace: what.Namespace, Name: what.Name, order: orderOf(o)}
	if !until.IsZero() {
		body.Until = &until
	}
	return p.send(ctx, "pause", body)
}

// Resume ends a pause.
func (p Pauses) Resume(ctx context.Context, what api.Paused, o api.Order) (holds time.Time, err error) {
	return p.send(ctx, "resume", &pauseOrder{Scope: what.Scope, Namespace: what.Namespace, Name: what.Name, order: orderOf(o)})
}

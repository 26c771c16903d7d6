package guarded

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/policy"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/internal/webhook"
	"github.com/carillon-cron/carillon/job"
)

func jobAt(v *api.Job) (string, map[string]string) { return v.Namespace, v.Labels }

// Jobs lists the jobs that the caller may read.
func (c *Control) Jobs(ctx context.Context, q api.JobQuery) ([]api.Job, error) {
	s, err := c.decide.Of(ctx)
	if err != nil {
		return nil, err
	}
	q.Namespace = namespace(s, rights.Jobs, q.Namespace)
	all, err := c.behind.Jobs(ctx, q)
	if err != nil {
		return nil, err
	}
	if all, err = shown(ctx, c, rights.Jobs, all, jobAt); err != nil {
		return nil, err
	}
	lasts := c.lasts(s)
	for i := range all {
		all[i].Last = lasts(all[i].Last, all[i].Labels)
	}
	return all, nil
}

// JobPage returns a page of the jobs that the caller may read. No others are counted, and
// of how runs ended nothing is told, asked or counted where runs may not be read.
func (c *Control) JobPage(ctx context.Context, q api.JobQuery) (api.JobPage, error) {
	s, err := c.decide.Of(ctx)
	if err != nil {
		return api.JobPage{}, err
	}
	if s.Everything() {
		return c.behind.JobPage(ctx, q)
	}
	q.Namespace = namespace(s, rights.Jobs, q.Namespace)
	q.Only, q.Outcomes = lets(s, rights.Jobs), lets(s, rights.Runs)
	page, err := c.behind.JobPage(ctx, q)
	for i := range page.Jobs { // in short, they have no output; should they have some, it is for who sees logs
		page.Jobs[i].Last = c.lasts(s)(page.Jobs[i].Last, page.Jobs[i].Labels)
	}
	return page, err
}

// lets returns what reports whether the caller may read a thing in a list. What is only
// noted is noted once, and let through.
func lets(s policy.Sight, k rights.Kind) func(string, map[string]string) bool {
	f, hide := newFilter(s, rights.Read, k), true
	return func(ns string, l map[string]string) bool {
		if f.lets(ns, l) {
			return true
		}
		if hide { // once for the whole list
			hide = s.Hide(rights.Request{Verb: rights.Read, Kind: k})
		}
		return !hide
	}
}

// Job shows a job.
func (c *Control) Job(ctx context.Context, key job.Key) (api.Job, error) {
	if err := c.needJob(ctx, rights.Read, key); err != nil {
		return api.Job{}, err
	}
	v, err := c.behind.Job(ctx, key)
	if err != nil {
		return v, err
	}
	s, err := c.decide.Of(ctx)
	v.Last = c.lasts(s)(v.Last, v.Labels)
	return v, err
}

// lasts returns what is told of the runs that stand beside a job with the given labels:
// those that the caller may read, without output unless the caller may see logs.
func (c *Control) lasts(s policy.Sight) func([]job.Run, map[string]string) []job.Run {
	if s.Everything() {
		return func(runs []job.Run, _ map[string]string) []job.Run { return runs }
	}
	read, logs := newFilter(s, rights.Read, rights.Runs), newFilter(s, rights.Logs, rights.Runs)
	return func(runs []job.Run, l map[string]string) []job.Run {
		var out []job.Run
		for i := range runs {
			r := runs[i]
			if !read.lets(r.Namespace, l) && s.Hide(rights.Request{Verb: rights.Read, Kind: rights.Runs, Namespace: r.Namespace}) {
				continue
			}
			out = append(out, veiled(s, r, logs.lets(r.Namespace, l)))
		}
		return out
	}
}

// veiled returns a run without what its tasks wrote, unless that may be seen.
func veiled(s policy.Sight, r job.Run, logs bool) job.Run {
	if logs || !s.Hide(rights.Request{Verb: rights.Logs, Kind: rights.Runs, Namespace: r.Namespace}) {
		return r
	}
	tasks := make([]job.Task, len(r.Tasks))
	for i := range r.Tasks {
		tasks[i] = veiledTask(&r.Tasks[i])
	}
	if r.Tasks != nil {
		r.Tasks = tasks
	}
	return r
}

func veiledTask(t *job.Task) job.Task {
	v := *t
	v.Stdout, v.Stderr = wordless(v.Stdout), wordless(v.Stderr)
	return v
}

// wordless is how much was written, and nothing of it.
func wordless(o job.Output) job.Output {
	return job.Output{Bytes: o.Bytes, Truncated: o.Bytes > 0}
}

// Delete deletes a job.
func (c *Control) Delete(ctx context.Context, key job.Key) (time.Time, error) {
	if err := c.needJob(ctx, rights.Delete, key); err != nil {
		return time.Time{}, err
	}
	return c.behind.Delete(ctx, key)
}

// Fire tells what became of an instant.
func (c *Control) Fire(ctx context.Context, key job.Key, at time.Time) (api.Fire, error) {
	if err := c.needJob(ctx, rights.Read, key); err != nil {
		return api.Fire{}, err
	}
	v, err := c.behind.Fire(ctx, key, at)
	if err != nil {
		return v, err
	}
	s, err := c.decide.Of(ctx)
	if err != nil || s.Everything() {
		return v, err
	}
	l, err := c.jobLabels(key)(ctx)
	v.Runs = c.lasts(s)(v.Runs, l)
	return v, gone(err)
}

// Upcoming tells the next instants of a job.
func (c *Control) Upcoming(ctx context.Context, key job.Key, after time.Time, n int) (api.Upcoming, error) {
	if err := c.needJob(ctx, rights.Read, key); err != nil {
		return api.Upcoming{}, err
	}
	return c.behind.Upcoming(ctx, key, after, n)
}

// SetEnabled turns a job on and off.
func (c *Control) SetEnabled(ctx context.Context, key job.Key, on bool, o api.Order) (api.ApplyResult, error) {
	if err := c.needStartOf(ctx, rights.Edit, key); err != nil {
		return api.ApplyResult{}, err
	}
	return c.behind.SetEnabled(ctx, key, on, o)
}

// Start starts a run by hand.
func (c *Control) Start(ctx context.Context, key job.Key, req api.StartRequest) (job.FireID, error) {
	if err := c.needStartOf(ctx, rights.Run, key); err != nil {
		return job.FireID{}, err
	}
	if err := c.needAgain(ctx, key); err != nil {
		return job.FireID{}, err
	}
	return c.behind.Start(ctx, key, req)
}

// needAgain decides about another run of a job. What was run once, by who may run any
// command, is run again by who may do that, too.
func (c *Control) needAgain(ctx context.Context, key job.Key) error {
	s, err := c.decide.Of(ctx)
	if err != nil || s.Everything() {
		return err
	}
	stored, _, err := c.behind.Stored(ctx, key)
	if err != nil || stored.ExpiresAt.IsZero() {
		return gone(err)
	}
	if err := c.needExec(ctx); err != nil {
		return err
	}
	return mayStart(s, execIn(key.Namespace, stored.Labels), nil)
}

// Hook starts a run by a webhook. It wants no right: the token of the webhook is one.
// Who may not read the job, and has not its token, is not told whether there is one.
func (c *Control) Hook(ctx context.Context, key job.Key, call webhook.Call) (job.FireID, error) {
	fire, err := c.behind.Hook(ctx, key, call)
	if !errors.Is(err, job.ErrNotFound) && !errors.Is(err, job.ErrForbidden) {
		return fire, err
	}
	if c.needJob(ctx, rights.Read, key) == nil {
		return fire, err
	}
	return fire, fmt.Errorf("webhook of job %s: no webhook there has this token: %w", key, job.ErrForbidden)
}

// WebhookSecret makes what calls of a webhook are signed with: who has it starts the job.
func (c *Control) WebhookSecret(ctx context.Context, key job.Key, given string, o api.Order) (api.WebhookSecret, error) {
	if err := c.needJob(ctx, rights.Edit, key); err != nil {
		return api.WebhookSecret{}, err
	}
	return c.behind.WebhookSecret(ctx, key, given, o)
}

// Backfill runs a window of a schedule again.
func (c *Control) Backfill(ctx context.Context, key job.Key, req api.BackfillRequest) (api.Backfill, error) {
	if err := c.needStartOf(ctx, rights.Run, key); err != nil {
		return api.Backfill{}, err
	}
	return c.behind.Backfill(ctx, key, req)
}

// Backfills lists the backfills of jobs that the caller may read.
func (c *Control) Backfills(ctx context.Context) ([]api.Backfill, error) {
	all, err := c.behind.Backfills(ctx)
	if err != nil {
		return nil, err
	}
	l := c.labelsOfJobs(ctx)
	return shown(ctx, c, rights.Jobs, all, func(b *api.Backfill) (string, map[string]string) { return b.Key.Namespace, l(b.Key) })
}

// labelsOfJobs returns what finds the labels of jobs, each once.
func (c *Control) labelsOfJobs(ctx context.Context) func(job.Key) map[string]string {
	known := map[job.Key]map[string]string{}
	return func(key job.Key) map[string]string {
		l, ok := known[key]
		if !ok {
			l, _ = c.jobLabels(key)(ctx) // a job that is gone has none
			known[key] = l
		}
		return l
	}
}

// EndBackfill ends a backfill.
func (c *Control) EndBackfill(ctx context.Context, id string, o api.Order) error {
	s, err := c.decide.Of(ctx)
	if err != nil {
		return err
	}
	if !s.Everything() {
		all, err := c.behind.Backfills(ctx)
		if err != nil {
			return err
		}
		var key job.Key
		for i := range all {
			if all[i].ID == id {
				key = all[i].Key
			}
		}
		if err := c.needStart(ctx, rights.Run, rights.Jobs, key.Namespace, c.jobLabels(key), hidden("backfill", text(id))); err != nil {
			return err
		}
	}
	return c.behind.EndBackfill(ctx, id, o)
}

// Pauses lists what is paused, as far as the caller may read it. A pause of all jobs is
// told to everybody: it is why one's own do not run.
func (c *Control) Pauses(ctx context.Context) ([]api.Pause, error) {
	all, err := c.behind.Pauses(ctx)
	if err != nil {
		return nil, err
	}
	s, err := c.decide.Of(ctx)
	if err != nil || s.Everything() {
		return all, err
	}
	jobs, groups, l := newFilter(s, rights.Read, rights.Jobs), newFilter(s, rights.Read, rights.Groups), c.labelsOfJobs(ctx)
	var out []api.Pause
	for i := range all {
		p := &all[i]
		lets := false
		switch p.Scope {
		case api.ScopeAll:
			lets = true
		case api.ScopeNamespace:
			lets = jobs.in(p.Namespace) != nobodys
		case api.ScopeJob:
			lets = jobs.in(p.Namespace) == everybodys || jobs.lets(p.Namespace, l(job.Key{Namespace: p.Namespace, Name: p.Name}))
		case api.ScopeGroup:
			key := job.Key{Namespace: p.Namespace, Name: p.Name}
			lets = groups.in(p.Namespace) == everybodys
			if groups.in(p.Namespace) == labeled {
				labels, err := c.labelsOf(rights.Groups, key)(ctx)
				if gone(err) != nil {
					return nil, err
				}
				lets = groups.lets(p.Namespace, labels)
			}
		}
		if lets {
			out = append(out, *p)
		}
	}
	if len(out) < len(all) && !s.Hide(rights.Request{Verb: rights.Read, Kind: rights.Jobs}) {
		return all, nil
	}
	return out, nil
}

// Pause pauses jobs.
func (c *Control) Pause(ctx context.Context, p api.Paused, until time.Time, o api.Order) (time.Time, error) {
	if err := c.needPause(ctx, p); err != nil {
		return time.Time{}, err
	}
	return c.behind.Pause(ctx, p, until, o)
}

// Resume ends a pause.
func (c *Control) Resume(ctx context.Context, p api.Paused, o api.Order) (time.Time, error) {
	if err := c.needPause(ctx, p); err != nil {
		return time.Time{}, err
	}
	return c.behind.Resume(ctx, p, o)
}

// needPause decides about a pause. That of a namespace, or of all, wants the right on
// all jobs in it, whatever their labels are.
func (c *Control) needPause(ctx context.Context, p api.Paused) error {
	key := job.Key{Namespace: p.Namespace, Name: p.Name}
	switch p.Scope {
	case api.ScopeJob:
		return c.needJob(ctx, rights.Pause, key)
	case api.ScopeGroup:
		return c.needGroup(ctx, rights.Pause, key)
	case api.ScopeNamespace:
		return c.decide.Need(ctx, rights.Request{Verb: rights.Pause, Kind: rights.Jobs, Namespace: p.Namespace})
	default:
		return c.whole(ctx, rights.Pause, rights.Jobs)
	}
}

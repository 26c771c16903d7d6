package guarded

import (
	"context"
	"errors"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// gone takes what is not there for nothing that is wrong.
func gone(err error) error {
	if errors.Is(err, job.ErrNotFound) {
		return nil
	}
	return err
}

// Runs lists the runs that the caller may read, and counts no others.
func (c *Control) Runs(ctx context.Context, q api.RunQuery) (api.RunPage, error) {
	s, err := c.decide.Of(ctx)
	if err != nil {
		return api.RunPage{}, err
	}
	if s.Everything() {
		return c.behind.Runs(ctx, q)
	}
	read, logs, l := newFilter(s, rights.Read, rights.Runs), newFilter(s, rights.Logs, rights.Runs), c.labelsOfRuns(ctx)
	lets := func(f *filter, r *job.Run) bool {
		switch f.in(r.Namespace) {
		case everybodys:
			return true
		case labeled:
			return f.lets(r.Namespace, l(r))
		default:
			return false
		}
	}
	noted := true
	only := func(r *job.Run) bool {
		if lets(read, r) {
			return true
		}
		if noted { // once for the whole list
			noted = s.Hide(rights.Request{Verb: rights.Read, Kind: rights.Runs})
		}
		return !noted
	}
	if q.Job == "" {
		q.Namespace = namespace(s, rights.Runs, q.Namespace)
	}
	q.Only = only
	page, err := c.behind.Runs(ctx, q)
	for i := range page.Runs {
		page.Runs[i] = veiled(s, page.Runs[i], lets(logs, &page.Runs[i]))
	}
	return page, err
}

// labelsOfRuns returns what finds the labels of runs, once for each job.
func (c *Control) labelsOfRuns(ctx context.Context) func(*job.Run) map[string]string {
	type of struct {
		key job.Key
		uid job.UID
	}
	known := map[of]map[string]string{}
	return func(r *job.Run) map[string]string {
		at := of{r.Key(), r.FireID.Job}
		l, ok := known[at]
		if !ok {
			l, _ = c.runLabels(r)(ctx) // those of a job that is gone have none
			known[at] = l
		}
		return l
	}
}

// needRun decides about a run by its id, and returns it where it had to be looked at.
func (c *Control) needRun(ctx context.Context, v rights.Verb, id job.RunID) error {
	s, err := c.decide.Of(ctx)
	if err != nil || s.Everything() {
		return err
	}
	begun := time.Now()
	r, found := c.behind.Run(ctx, id)
	if found != nil && !errors.Is(found, job.ErrNotFound) {
		return found
	}
	// A run that is not there is in no namespace: who may not read all runs is told the
	// same of it as of one of a foreign namespace.
	err = c.needStart(ctx, v, rights.Runs, r.Namespace, c.runLabels(&r), hidden("run", text(id)))
	if errors.Is(err, job.ErrNotFound) {
		c.inVain(ctx, begun, found == nil)
	}
	return err
}

// answersEvery is the step in which one is told that there is no such run.
const answersEvery = 500 * time.Millisecond

// inVain has a run that the caller may not see be looked for as long as one that there is
// not, which takes a while: else the time would tell which of them it is.
func (c *Control) inVain(ctx context.Context, begun time.Time, there bool) {
	if there {
		_, _ = c.behind.Run(ctx, job.FireID{}.RunID()) // there is none
	}
	backoff.Sleep(ctx, c.answers-time.Since(begun)%c.answers)
}

// Run shows a run.
func (c *Control) Run(ctx context.Context, id job.RunID) (job.Run, error) {
	if err := c.needRun(ctx, rights.Read, id); err != nil {
		return job.Run{}, err
	}
	r, err := c.behind.Run(ctx, id)
	if err != nil {
		return r, err
	}
	logs, err := c.seesLogs(ctx, &r)
	if err != nil || logs {
		return r, err
	}
	s, err := c.decide.Of(ctx)
	return veiled(s, r, false), err
}

// seesLogs reports whether the caller may see what a run wrote.
func (c *Control) seesLogs(ctx context.Context, r *job.Run) (bool, error) {
	s, err := c.decide.Of(ctx)
	if err != nil || s.Everything() {
		return true, err
	}
	f := newFilter(s, rights.Logs, rights.Runs)
	if f.in(r.Namespace) != labeled {
		return f.in(r.Namespace) == everybodys, nil
	}
	l, err := c.runLabels(r)(ctx)
	return f.lets(r.Namespace, l), gone(err)
}

// Cancel ends a run.
func (c *Control) Cancel(ctx context.Context, id job.RunID, o api.Order) error {
	if err := c.needRun(ctx, rights.Run, id); err != nil {
		return err
	}
	return c.behind.Cancel(ctx, id, o)
}

// Promote lets a run go on after its canaries.
func (c *Control) Promote(ctx context.Context, id job.RunID, o api.Order) error {
	if err := c.needRun(ctx, rights.Run, id); err != nil {
		return err
	}
	return c.behind.Promote(ctx, id, o)
}

// Redo does a run again.
func (c *Control) Redo(ctx context.Context, id job.RunID, only []api.RedoPart, o api.Order) (api.Redo, error) {
	if err := c.needRun(ctx, rights.Run, id); err != nil {
		return api.Redo{}, err
	}
	s, err := c.decide.Of(ctx)
	if err != nil {
		return api.Redo{}, err
	}
	if !s.Everything() {
		r, err := c.behind.Run(ctx, id)
		if err != nil {
			return api.Redo{}, err
		}
		if err := c.needAgain(ctx, r.Key()); err != nil {
			return api.Redo{}, err
		}
	}
	return c.behind.Redo(ctx, id, only, o)
}

// Exec runs a command once. It wants the right on all minions, as which of them a target
// matches changes, and on jobs in the namespace in which the command is made one; and that
// to read what the command names.
func (c *Control) Exec(ctx context.Context, file string, data []byte, req api.StartRequest) (api.Exec, error) {
	if err := c.needExec(ctx); err != nil {
		return api.Exec{}, err
	}
	s, err := c.decide.Of(ctx)
	if err != nil {
		return api.Exec{}, err
	}
	if !s.Everything() {
		objects, err := c.behind.Objects(file, data)
		if err != nil {
			return api.Exec{}, err
		}
		for i := range objects {
			if err := mayStart(s, execIn(objects[i].Metadata.Namespace, objects[i].Metadata.Labels), nil); err != nil {
				return api.Exec{}, err
			}
			objects[i].Metadata.Name = "" // it is not used
			if err := c.needNamed(ctx, s, nil, &objects[i]); err != nil {
				return api.Exec{}, err
			}
		}
	}
	return c.behind.Exec(ctx, file, data, req)
}

// execIn is what a command wants in the namespace of the job that is made of it.
func execIn(namespace string, l map[string]string) rights.Request {
	return rights.Request{Verb: rights.Exec, Kind: rights.Jobs, Namespace: namespace, Labels: l}
}

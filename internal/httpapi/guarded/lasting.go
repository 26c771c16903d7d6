package guarded

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/policy"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// askAgain is how often it is asked whether the reader of an answer that lasts may still
// have it.
const askAgain = 3 * time.Second

// lasting returns the context of an answer that lasts. Once what its caller showed has
// ended, or ask refuses what it may, the context ends with the reason as its cause. A
// cluster that cannot answer ends nothing. What is returned beside it gives back what it
// holds.
func (c *Control) lasting(ctx context.Context, ask func(context.Context) error) (context.Context, func()) {
	lasts, end := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(c.every)
		defer tick.Stop()
		for {
			select {
			case <-lasts.Done():
				return
			case <-tick.C:
			}
			if err := c.still(lasts, ask); err != nil {
				end(err)
				return
			}
		}
	}()
	return lasts, func() { end(nil); <-ended }
}

// still returns why the caller of a context may not have any more what it began to get.
func (c *Control) still(ctx context.Context, ask func(context.Context) error) error {
	err := c.behind.Still(ctx)
	if err == nil && c.decide.Closed() {
		err = ask(ctx)
	}
	if errors.As(err, new(*caller.RefusedError)) || errors.Is(err, job.ErrForbidden) || errors.Is(err, job.ErrNotFound) {
		return err
	}
	return nil
}

// whyEnded returns what ended an answer that lasts: its reader's rights, or what it ended
// with by itself.
func whyEnded(ctx, lasts context.Context, err error) error {
	if lasts.Err() != nil && ctx.Err() == nil {
		return context.Cause(lasts)
	}
	return err
}

// runAgain decides again about a run that was found once.
func (c *Control) runAgain(v rights.Verb, id job.RunID) func(context.Context) error {
	var known *job.Run
	return func(ctx context.Context) error {
		if known == nil {
			r, err := c.behind.Run(ctx, id)
			if err != nil {
				return nil // what becomes of the run is the answer's own matter
			}
			known = &r
		}
		return c.need(ctx, v, rights.Runs, known.Namespace, c.runLabels(known), hidden("run", text(id)))
	}
}

// Output tells what a run's tasks write.
func (c *Control) Output(ctx context.Context, id job.RunID, minion job.MinionID, follow bool, fn func(api.OutputLine) error) error {
	if err := c.needRun(ctx, rights.Logs, id); err != nil {
		return err
	}
	lasts, end := c.lasting(ctx, c.runAgain(rights.Logs, id))
	defer end()
	return whyEnded(ctx, lasts, c.behind.Output(lasts, id, minion, follow, fn))
}

// Results tells what becomes of a run.
func (c *Control) Results(ctx context.Context, id job.RunID, fn func(api.Result) error) error {
	if err := c.needRun(ctx, rights.Read, id); err != nil {
		return err
	}
	fn, logs, err := c.veiling(ctx, id, fn)
	if err != nil {
		return err
	}
	read, write := c.runAgain(rights.Read, id), c.runAgain(rights.Logs, id)
	lasts, end := c.lasting(ctx, func(ctx context.Context) error {
		err := read(ctx)
		if err == nil && logs { // who lost that only may begin anew, and sees less
			err = write(ctx)
		}
		return err
	})
	defer end()
	return whyEnded(ctx, lasts, c.behind.Results(lasts, id, fn))
}

// veiling returns fn for who may see what a run wrote, or what leaves that out.
func (c *Control) veiling(ctx context.Context, id job.RunID, fn func(api.Result) error) (func(api.Result) error, bool, error) {
	s, err := c.decide.Of(ctx)
	if err != nil || s.Everything() {
		return fn, true, err
	}
	r, err := c.behind.Run(ctx, id)
	if err != nil {
		return nil, false, err
	}
	logs, err := c.seesLogs(ctx, &r)
	if err != nil || logs || !s.Hide(rights.Request{Verb: rights.Logs, Kind: rights.Runs, Namespace: r.Namespace}) {
		return fn, logs, err
	}
	return func(res api.Result) error {
		if res.Task != nil {
			t := veiledTask(res.Task)
			res.Task = &t
		}
		if res.Run != nil {
			v := veiled(s, *res.Run, false)
			res.Run = &v
		}
		return fn(res)
	}, false, nil
}

// Changes tells of changes to kinds of things that the caller may read in some
// namespace. They name things only to who may see all: to others they tell of no thing,
// so that those of other namespaces are told, too. The channel is closed once the caller may not ask any more.
func (c *Control) Changes(ctx context.Context, since string) <-chan api.Change {
	out := make(chan api.Change)
	first, err := c.decide.Of(ctx)
	if err != nil {
		close(out)
		return out
	}
	var sight atomic.Pointer[policy.Sight]
	sight.Store(&first)
	lasts, end := c.lasting(ctx, func(ctx context.Context) error {
		s, err := c.decide.Of(ctx)
		if err == nil {
			sight.Store(&s)
		}
		return err
	})
	kinds := map[api.Topic]rights.Kind{
		api.TopicJobs: rights.Jobs, api.TopicRuns: rights.Runs, api.TopicNodes: rights.Nodes,
		api.TopicMinions: rights.Minions, api.TopicShards: rights.Shards, api.TopicGroups: rights.Groups, api.TopicQueues: rights.Queues,
	}
	in := c.behind.Changes(lasts, since)
	go func() {
		defer close(out)
		defer end()
		for {
			var change api.Change
			select {
			case <-lasts.Done():
				return
			case t, more := <-in:
				if !more {
					return
				}
				change = t
			}
			s := sight.Load()
			k, ok := kinds[change.Topic]
			if !s.Everything() && (!ok || !s.Sees(rights.Read, k, "")) && s.Hide(rights.Request{Verb: rights.Read, Kind: k}) {
				continue
			}
			if !s.Everything() {
				change.Names = nil
			}
			select {
			case out <- change:
			case <-lasts.Done():
				return
			}
		}
	}()
	return out
}

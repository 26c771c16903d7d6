package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/handler"
	"github.com/carillon-cron/carillon/job"
)

// itemOrder is an order that does an item of a queue.
func itemOrder(command ...string) *job.Order {
	o := newOrder(command...)
	o.Env = map[string]string{job.EnvQueue: "mail", job.EnvItem: "i1", job.EnvItemToken: "1.1", job.EnvPayload: `{"to":"ada"}`}
	return o
}

// TestVerdicts: what a handler says of its end besides the state is in the report, with the
// last checkpoint unless it is done.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	left := func(c *Call, err error) error { return errors.Join(c.Checkpoint(`{"page":7}`), err) }
	n.change = func(d *Deps) {
		d.Served = func(name string) Handler {
			if name != "away" {
				return nil
			}
			return func(context.Context, *Call) error { return ErrUnserved }
		}
	}
	n.handlers = map[string]Handler{
		"ok": func(_ context.Context, c *Call) error { return left(c, nil) },
		"permanent": func(_ context.Context, c *Call) error {
			return left(c, handler.Permanent(errors.New("no such address")))
		},
		"snooze":   func(_ context.Context, c *Call) error { return left(c, handler.Snooze(time.Minute)) },
		"gone":     func(_ context.Context, c *Call) error { return left(c, ErrGone) },
		"stopping": func(_ context.Context, c *Call) error { return left(c, handler.ErrStopping) },
	}
	start(t, n, dir)
	for name, want := range map[string]job.Report{
		"ok":        {State: job.StateSucceeded},
		"permanent": {State: job.StateFailed, Verdict: job.VerdictPermanent, Checkpoint: `{"page":7}`},
		"snooze":    {State: job.StateFailed, Verdict: job.VerdictSnooze, After: job.Duration(time.Minute), Checkpoint: `{"page":7}`},
		"gone":      {State: job.StateIndeterminate, Checkpoint: `{"page":7}`},
		"stopping":  {State: job.StateFailed, Verdict: job.VerdictInterrupted, Checkpoint: `{"page":7}`},
		"unknown":   {State: job.StateFailed, Verdict: job.VerdictInterrupted, After: job.Duration(unservedFor)}, // its process may yet connect
		"away":      {State: job.StateFailed, Verdict: job.VerdictInterrupted, After: job.Duration(unservedFor)},
	} {
		o := itemOrder("go:" + name)
		n.order(o)
		r := n.final(o)
		if r.State != want.State || r.Verdict != want.Verdict || r.After != want.After || r.Checkpoint != want.Checkpoint {
			t.Errorf("%s: %s %q %s %q (%s)", name, r.State, r.Verdict, r.After, r.Checkpoint, r.Reason)
		}
	}
}

// TestProgressIsTold: progress and checkpoint are told while the task runs.
func TestProgressIsTold(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	end := make(chan struct{})
	n.handlers = map[string]Handler{"slow": func(_ context.Context, c *Call) error {
		for i := range 100 { // few of them are told
			c.Progress(job.Progress{Percent: i, Text: "at " + fmt.Sprint(i)})
		}
		if err := c.Checkpoint(`99`); err != nil {
			return err
		}
		<-end
		return nil
	}}
	start(t, n, dir)
	o := itemOrder("go:slow")
	n.order(o)
	n.report(o.Task, "the last progress", func(r *job.Report) bool {
		return r.State == job.StateRunning && r.Progress != nil && r.Progress.Percent == 99 && r.Checkpoint == "99"
	})
	n.mu.Lock()
	told := 0
	for i := range n.reports {
		if r := &n.reports[i]; r.Task == o.Task && r.Progress != nil {
			told++
		}
	}
	n.mu.Unlock()
	if told > 10 {
		t.Errorf("progress was told %d times in a moment", told)
	}
	close(end)
	n.final(o)
}

// TestInterrupted: a minion that stops has its handlers give back what they do, and tells
// it before it leaves.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	began := make(chan struct{})
	n.handlers = map[string]Handler{"waits": func(ctx context.Context, _ *Call) error {
		close(began)
		<-ctx.Done()
		return context.Cause(ctx)
	}}
	_, stop := start(t, n, dir)
	o := itemOrder("go:waits")
	n.order(o)
	<-began
	stop()
	if r := n.final(o); r.State != job.StateFailed || r.Verdict != job.VerdictInterrupted || !strings.Contains(r.Reason, "the minion stopped") {
		t.Errorf("%s %q (%s)", r.State, r.Verdict, r.Reason)
	}
}

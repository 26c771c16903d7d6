package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// TestHandlers: a Go handler gets the task, and its result is reported as that of
// a command is.
func TestHandlers(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	var got atomic.Pointer[Call]
	n.handlers = map[string]Handler{
		"ok": func(_ context.Context, c *Call) error {
			got.Store(c)
			fmt.Fprintf(c, "hello %s\n", strings.Join(c.Args, " "))
			return nil
		},
		"fails":  func(context.Context, *Call) error { return errors.New("out of paper") },
		"panics": func(context.Context, *Call) error { panic("oh") },
		"waits":  func(ctx context.Context, _ *Call) error { <-ctx.Done(); return ctx.Err() },
		"floods": func(_ context.Context, c *Call) error {
			for range 1000 {
				fmt.Fprintln(c, strings.Repeat("x", 99))
			}
			return nil
		},
	}
	m, _ := start(t, n, dir)
	slow, stuck := newOrder("go:waits"), newOrder("go:waits")
	slow.Timeout = 200 * time.Millisecond
	for _, c := range []struct {
		o      *job.Order
		state  job.State
		reason string
	}{
		{newOrder("go:ok", "a", "b"), job.StateSucceeded, ""},
		{newOrder("go:fails"), job.StateFailed, "out of paper"},
		{newOrder("go:panics"), job.StateFailed, "the handler panicked: oh"},
		{newOrder("go:nope"), job.StateFailed, `this minion has no handler "nope"; it has fails, floods, ok, panics, waits`},
		{newOrder("go:floods"), job.StateSucceeded, ""},
		{slow, job.StateTimedOut, "exceeded its 200ms timeout and was killed"},
	} {
		n.order(c.o)
		r := n.final(c.o)
		if r.State != c.state || r.Reason != c.reason || r.StartedAt.IsZero() || r.EndedAt.Before(r.StartedAt) {
			t.Errorf("%v: %s (%s), want %s (%s)", c.o.Command, r.State, r.Reason, c.state, c.reason)
		}
		switch c.o.Command[0] {
		case "go:ok":
			call := got.Load()
			if r.Stdout.Head != "hello a b\n" || call.FireID != c.o.Task.Fire || call.Token != c.o.Token || call.Job != c.o.Key || call.Attempt != 1 {
				t.Errorf("output %q, call %+v", r.Stdout.Head, call)
			}
		case "go:floods":
			if r.Stdout.Bytes != 100_000 || !r.Stdout.Truncated || len(r.Stdout.Head) != job.MaxOutputPart {
				t.Errorf("output: %d bytes, %d kept", r.Stdout.Bytes, len(r.Stdout.Head))
			}
		}
	}
	n.order(stuck)
	n.report(stuck.Task, "running", func(r *job.Report) bool { return r.State == job.StateRunning })
	n.cancel(stuck, "enough")
	if r := n.final(stuck); r.State != job.StateCancelled || !strings.Contains(r.Reason, "cancelled while it ran") {
		t.Errorf("cancelled: %s (%s)", r.State, r.Reason)
	}
	poll(t, "acknowledgements", func() bool { s := m.Status(); return s.Unacked == 0 && s.Running == 0 })
}

// TestHandlerOfADeadProcess: what a handler ran when its process died is
// indeterminate, and is not started again.
func TestHandlerOfADeadProcess(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	j, err := openTestJournal(mustDir(t, dir) + "/journal")
	if err != nil {
		t.Fatal(err)
	}
	o := newOrder("go:ok")
	key := keyOf(o.Task)
	_, _ = j.add(&record{Kind: kindAccepted, Order: o})
	batch, _ := j.add(&record{Kind: kindIntent, Task: &key, Instance: HandlerPrefix + "another", Boot: bootID()})
	if err := errors.Join(j.sync(batch), j.log.Close()); err != nil {
		t.Fatal(err)
	}
	n := newNode(t)
	var ran atomic.Int64
	n.handlers = map[string]Handler{"ok": func(context.Context, *Call) error { ran.Add(1); return nil }}
	start(t, n, dir)
	n.order(o)
	r := n.final(o)
	if r.State != job.StateIndeterminate || !strings.Contains(r.Reason, "Go handler") || ran.Load() != 0 {
		t.Errorf("%s (%s), ran %d times", r.State, r.Reason, ran.Load())
	}
}

// BenchmarkHandlers runs a handler that does nothing from offer to acknowledged
// report.
func BenchmarkHandlers(b *testing.B) {
	n, dir := newNode(b), dataDir(b)
	n.handlers = map[string]Handler{"noop": func(context.Context, *Call) error { return nil }}
	m, stop := start(b, n, dir, func(c *Config) { c.MaxRunning = 4096 })
	n.connected()
	orders := make([]*job.Order, b.N)
	for i := range orders {
		orders[i] = newOrder("go:noop")
		orders[i].NotAfter = time.Now().Add(time.Hour)
	}
	b.ResetTimer()
	for i := 0; i < b.N; i += 256 {
		n.order(orders[i:min(i+256, b.N)]...)
	}
	poll(b, "acknowledgements", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		ended := 0
		for i := range n.reports {
			if n.reports[i].State.Final() {
				ended++
			}
		}
		return ended >= b.N
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
	_ = m
	stop()
}

func mustDir(t *testing.T, dir string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCallHasItsItem(t *testing.T) {
	t.Parallel()
	if it, ok := (&Call{Env: map[string]string{"A": "b"}}).Item(); ok {
		t.Errorf("a job's call has item %+v", it)
	}
	fire := job.FireID{Job: job.UID{1}, At: 5, Trigger: job.TriggerSchedule}
	c := &Call{Env: map[string]string{
		job.EnvQueue: "mail", job.EnvItem: "x", job.EnvItemToken: "1.7", job.EnvPayload: "{}", job.EnvItemJob: "team/nightly", job.EnvItemFire: fire.String(),
	}}
	want := Item{Queue: "mail", ID: "x", Payload: []byte("{}"), Token: job.Token{Epoch: 1, Revision: 7}, Job: job.Key{Namespace: "team", Name: "nightly"}, FireID: fire}
	if got, ok := c.Item(); !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, ok, want)
	}
}

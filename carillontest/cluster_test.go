package carillontest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/carillontest"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/client/overetcd"
	"github.com/carillon-cron/carillon/handler"
	"github.com/carillon-cron/carillon/handler/shared"
	"github.com/carillon-cron/carillon/job"
)

func TestMain(m *testing.M) {
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	goleak.VerifyTestMain(m,
		// etcd's own server leaves these behind for a moment after it has closed.
		goleak.IgnoreAnyFunction("go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc.(*watchServer).Watch.func2"),
		goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"),
	)
}

type mail struct {
	To string `json:"to"`
}

func key(name string) job.Key { return job.Key{Namespace: "default", Name: name} }

// mails is a worker that sends mails, on a queue too.
func mails(socket string) *handler.Worker {
	w := handler.New(handler.Config{Socket: socket})
	handler.Handle(w, "mail", func(_ context.Context, c *handler.Call, in mail) error {
		if in.To == "nobody" {
			return handler.Permanent(errors.New("there is no such address"))
		}
		fmt.Fprintf(c, "sent to %s\n", in.To)
		return nil
	}, handler.OnQueue("default/mail", 1))
	return w
}

// TestCluster: jobs and items are done by handlers, errors that are permanent end the
// attempts, what handlers do not take is refused, over etcd too, and commands fail.
func TestCluster(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := carillontest.Start(t)
	c.Work(mails)
	register := func(name string, spec job.Spec) {
		t.Helper()
		if _, err := c.Client().Jobs.Register(ctx, key(name), spec); err != nil {
			t.Fatal(err)
		}
	}
	register("hello", job.Spec{Command: []string{"go:mail", `{"to": "ada"}`}})
	if r := c.Run(key("hello"), nil); r.State != job.StateSucceeded || r.Tasks[0].Stdout.Head != "sent to ada\n" {
		t.Errorf("a job: %s (%s), tasks %+v", r.State, r.Reason, r.Tasks)
	}
	register("lost", job.Spec{Command: []string{"go:mail", `{"to": "nobody"}`}, Retry: job.Retry{Attempts: 5}})
	if r := c.Run(key("lost"), nil); r.State != job.StateFailed || len(r.Attempts) != 0 || !strings.Contains(r.Reason, "no such address; not tried again") {
		t.Errorf("a permanent failure: %s (%s), attempts %+v", r.State, r.Reason, r.Attempts)
	}
	register("program", job.Spec{Command: []string{"true"}})
	if r := c.Run(key("program"), nil); r.State == job.StateSucceeded || !strings.Contains(r.Reason, "start no commands") {
		t.Errorf("a program: %s (%s)", r.State, r.Reason)
	}

	if _, err := c.Client().Queues.Register(ctx, key("mail"), job.QueueSpec{Command: []string{"go:mail"}}); err != nil {
		t.Fatal(err)
	}
	register("dispatched", job.Spec{Dispatch: &job.QueueDispatch{Queue: "mail"}, Params: []job.Param{{Name: "to", Default: "bob"}}})
	if r := c.Run(key("dispatched"), map[string]string{"to": "eve"}); r.State != job.StateSucceeded || !strings.Contains(r.Tasks[0].Stdout.Head, "sent to eve") {
		t.Errorf("an item: %s (%s), tasks %+v", r.State, r.Reason, r.Tasks)
	}

	over, err := overetcd.Open(ctx, overetcd.Config{Endpoints: c.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer over.Close()
	for name, jobs := range map[string]interface {
		Register(ctx context.Context, k job.Key, spec job.Spec) (api.ApplyResult, error)
	}{"over the API": c.Client().Jobs, "over etcd": over.Jobs} {
		_, err := jobs.Register(ctx, key("wrong"), job.Spec{Command: []string{"go:mail", `{"cc": 1}`}})
		var told *client.Error
		if !errors.As(err, &told) || len(told.Problems) != 2 {
			t.Errorf("%s, input that mail does not take: %v", name, err)
			continue
		}
		for i, want := range []string{"to: is missing", "cc: is not known"} {
			if p := told.Problems[i]; p.Path != "spec.command[1]" || !strings.Contains(p.Message, want) {
				t.Errorf("%s, input that mail does not take: %s; want %s", name, p, want)
			}
		}
		done, err := jobs.Register(ctx, key("unknown-"+strings.ReplaceAll(name, " ", "-")), job.Spec{Command: []string{"go:other"}})
		if err != nil || len(done.Warnings) != 1 || !strings.Contains(done.Warnings[0], "has handler other now") {
			t.Errorf("%s, a handler that nobody has: %+v, %v", name, done, err)
		}
	}
}

// TestMinions: targets go by labels, and the tasks of a run share state.
func TestMinions(t *testing.T) {
	t.Parallel()
	c := carillontest.Start(t)
	for _, labels := range [][]string{{"site=a"}, {"site=b"}, {"site=b", "old=yes"}} {
		c.Minion(labels...).Work(func(socket string) *handler.Worker {
			w := handler.New(handler.Config{Socket: socket})
			handler.Handle(w, "together", func(ctx context.Context, c *handler.Call, _ struct{}) error {
				if _, err := c.Shared().Incr(ctx, "here", 1); err != nil {
					return err
				}
				return c.Shared().Barrier(ctx, "all", shared.Tasks(2))
			})
			return w
		})
	}
	if _, err := c.Client().Jobs.Register(t.Context(), key("together"), job.Spec{
		Command: []string{"go:together"}, Target: job.Target{Match: "site==b", Run: job.SpreadAll},
	}); err != nil {
		t.Fatal(err)
	}
	r := c.Run(key("together"), nil)
	if r.State != job.StateSucceeded || len(r.Tasks) != 2 {
		t.Errorf("%s (%s) on %d minions: %+v", r.State, r.Reason, len(r.Tasks), r.Tasks)
	}
}

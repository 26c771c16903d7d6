package carillontest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/carillon-cron/carillon/carillontest"
	"github.com/carillon-cron/carillon/handler"
	"github.com/carillon-cron/carillon/job"
)

// A test registers a job, has a handler do it, and looks at what became of it.
func ExampleStart() {
	_ = func(t *testing.T) { // func TestCleanup(t *testing.T)
		t.Parallel()
		c := carillontest.Start(t)
		c.Work(func(socket string) *handler.Worker {
			w := handler.New(handler.Config{Socket: socket})
			handler.Handle(w, "cleanup", func(_ context.Context, c *handler.Call, in struct{ KeepDays int }) error {
				fmt.Fprintf(c, "removing what is older than %d days\n", in.KeepDays)
				return nil
			})
			return w
		})
		nightly := job.Key{Namespace: "default", Name: "nightly"}
		spec := job.Spec{Schedules: []string{"0 2 * * *"}, Command: []string{"go:cleanup", `{"KeepDays": 30}`}}
		if _, err := c.Client().Jobs.Register(t.Context(), nightly, spec); err != nil {
			t.Fatal(err)
		}
		if run := c.Run(nightly, nil); run.State != job.StateSucceeded {
			t.Errorf("%s: %s", run.State, run.Reason)
		}
	}
}

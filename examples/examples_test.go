package examples

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/carillontest"
	"github.com/carillon-cron/carillon/handler/handlertest"
	"github.com/carillon-cron/carillon/handler/protocol"
	"github.com/carillon-cron/carillon/job"
)

// start starts a program until the test ends.
func start(t *testing.T, name string, args ...string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	var stderr strings.Builder
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait() // it was killed, or has seen the end of the connection
		if t.Failed() {
			t.Log(stderr.String())
		}
	})
}

// TestPython: the Python programs keep to the protocol, and the worker does mails.
func TestPython(t *testing.T) {
	t.Parallel()
	t.Run("conforms", func(t *testing.T) {
		t.Parallel()
		handlertest.Conforms(t, func(t *testing.T, socket string) { start(t, "python3", "python/conform.py", socket) })
	})
	t.Run("worker", func(t *testing.T) {
		t.Parallel()
		m := handlertest.Listen(t)
		start(t, "python3", "python/worker.py", m.Socket)
		if c := m.Connected(); c.Hello.Handlers[0].Queue != "default/mail" {
			t.Errorf("hello: %+v", c.Hello)
		}
		if out := m.Do("mail", handlertest.Task{Input: map[string]string{"to": "ada"}}); out.Result != protocol.OK || out.Output != "mail to ada\n" {
			t.Errorf("a mail: %+v", out)
		}
		if out := m.Do("mail", handlertest.Task{Input: map[string]string{"from": "ada"}}); out.Result != protocol.Permanent {
			t.Errorf("no mail: %+v", out)
		}
	})
	t.Run("in a cluster", func(t *testing.T) {
		t.Parallel()
		c := carillontest.Start(t)
		start(t, "python3", "python/worker.py", c.Minion().Socket)
		key := job.Key{Namespace: "default", Name: "mail"}
		if _, err := c.Client().Queues.Register(t.Context(), key, job.QueueSpec{Command: []string{"go:mail"}}); err != nil {
			t.Fatal(err)
		}
		spec := job.Spec{Dispatch: &job.QueueDispatch{Queue: "mail"}, Params: []job.Param{{Name: "to", Default: "ada"}}}
		if _, err := c.Client().Jobs.Register(t.Context(), key, spec); err != nil {
			t.Fatal(err)
		}
		if run := c.Run(key, nil); run.State != job.StateSucceeded || run.Tasks[0].Stdout.Head != "mail to ada\n" {
			t.Errorf("%s (%s): %+v", run.State, run.Reason, run.Tasks)
		}
	})
}

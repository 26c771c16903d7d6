package handler_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/handler"
	"github.com/carillon-cron/carillon/handler/handlertest"
	"github.com/carillon-cron/carillon/handler/protocol"
	"github.com/carillon-cron/carillon/internal/payload"
	"github.com/carillon-cron/carillon/job"
)

type mail struct {
	To   string `json:"to"`
	Copy string `json:"copy,omitempty"`
}

// worker returns a worker with one handler, with middleware that tells of each call.
func worker(fn func(context.Context, *handler.Call, mail) error) func(socket string) *handler.Worker {
	return func(socket string) *handler.Worker {
		w := handler.New(handler.Config{Socket: socket, Grace: 5 * time.Second})
		for _, name := range []string{"outer", "inner"} {
			w.Use(func(next handler.Func) handler.Func {
				return func(ctx context.Context, c *handler.Call) error {
					fmt.Fprintln(c, name)
					return next(ctx, c)
				}
			})
		}
		handler.Handle(w, "mail", fn, handler.OnQueue("ops/mail", 3))
		return w
	}
}

// TestEndings: each way in which a handler ends is told (the table of the package), after
// the middleware in its order; input that is not of T is no call (H2).
func TestEndings(t *testing.T) {
	t.Parallel()
	waits := func(ctx context.Context, _ *handler.Call, _ mail) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	returns := func(err error) func(context.Context, *handler.Call, mail) error {
		return func(context.Context, *handler.Call, mail) error { return err }
	}
	ada := mail{To: "ada"}
	for name, c := range map[string]struct {
		fn     func(context.Context, *handler.Call, mail) error
		task   handlertest.Task
		result string
		reason string
		output string
	}{
		"ok":                        {func(_ context.Context, c *handler.Call, m mail) error { fmt.Fprint(c, m.To); return nil }, handlertest.Task{Input: ada}, protocol.OK, "", "outer\ninner\nada"},
		"failed":                    {returns(errors.New("out of paper")), handlertest.Task{Input: ada}, protocol.Failed, "out of paper", ""},
		"permanent":                 {returns(fmt.Errorf("mail: %w", handler.Permanent(errors.New("no such address")))), handlertest.Task{Input: ada}, protocol.Permanent, "mail: no such address", ""},
		"snooze":                    {returns(handler.Snooze(time.Minute)), handlertest.Task{Input: ada}, protocol.Snooze, "not now: again in 1m0s", ""},
		"panic":                     {func(context.Context, *handler.Call, mail) error { panic("oh") }, handlertest.Task{Input: ada}, protocol.Failed, "the handler panicked: oh", "handler_test.go"},
		"cancelled":                 {waits, handlertest.Task{Input: ada, CancelAfter: time.Millisecond}, protocol.Failed, handler.ErrCancelled.Error(), ""},
		"timeout":                   {waits, handlertest.Task{Input: ada, CancelAfter: time.Millisecond, Cause: protocol.Timeout}, protocol.Failed, handler.ErrTimeout.Error(), ""},
		"interrupted":               {waits, handlertest.Task{Input: ada, CancelAfter: time.Millisecond, Cause: protocol.Stopping}, protocol.Interrupted, handler.ErrStopping.Error(), ""},
		"a field that is not known": {returns(nil), handlertest.Task{Input: map[string]string{"to": "ada", "form": "letter"}}, protocol.Permanent, `the input is not what handler mail takes: json: unknown field "form"`, ""},
		"another type":              {returns(nil), handlertest.Task{Input: 7}, protocol.Permanent, "the input is not what handler mail takes", ""},
		"no input":                  {returns(nil), handlertest.Task{NoItem: true}, protocol.OK, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := handlertest.Run(t, worker(c.fn), "mail", c.task)
			if out.Result != c.result || !strings.Contains(out.Reason, c.reason) || !strings.Contains(out.Output, c.output) {
				t.Errorf("%+v; want %s (%s), output %q", out, c.result, c.reason, c.output)
			}
		})
	}
}

// TestCheckpoint: one attempt goes on where another has stopped.
func TestCheckpoint(t *testing.T) {
	t.Parallel()
	w := worker(func(_ context.Context, c *handler.Call, _ mail) error {
		page := 0
		if there, err := c.Resume(&page); err != nil || there != (page == 41) {
			return fmt.Errorf("resumed %v, %d, %w", there, page, err)
		}
		if err := c.Checkpoint(strings.Repeat("x", job.MaxCheckpoint)); err == nil {
			return errors.New("a checkpoint that is too long is taken")
		}
		return errors.Join(c.Progress(.5, "half"), c.Checkpoint(page+1))
	})
	out := handlertest.Run(t, w, "mail", handlertest.Task{Input: mail{To: "ada"}, Checkpoint: 41})
	if out.Result != protocol.OK || string(out.Checkpoint) != "42" || len(out.Progress) != 1 || out.Progress[0].Percent != 50 {
		t.Errorf("%+v", out)
	}
	if out := handlertest.Run(t, w, "mail", handlertest.Task{Input: mail{To: "ada"}}); out.Result != protocol.OK || string(out.Checkpoint) != "1" {
		t.Errorf("without a checkpoint: %+v", out)
	}
}

// TestStop: a program that is told to stop gives back what it has, and says so (H4).
func TestStop(t *testing.T) {
	t.Parallel()
	m := handlertest.Listen(t)
	began := make(chan struct{})
	w := worker(func(ctx context.Context, _ *handler.Call, _ mail) error {
		close(began)
		<-ctx.Done()
		return context.Cause(ctx)
	})(m.Socket)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	c := m.Connected()
	if h := c.Hello.Handlers; len(h) != 1 || h[0].Queue != "ops/mail" || h[0].Places != 3 || !strings.Contains(string(h[0].Schema), `"required":["to"]`) {
		t.Errorf("hello: %s", h[0].Schema)
	}
	if err := c.Send(&protocol.Line{Type: protocol.Task, Task: "1", Handler: "mail", Item: "i", Input: json.RawMessage(`{"to":"ada"}`)}); err != nil {
		t.Fatal(err)
	}
	<-began
	stop()
	said := map[string]string{}
	for range 2 {
		l, err := c.Receive(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if l.Type == protocol.Output {
			l, err = c.Receive(10 * time.Second)
		}
		if l.Type == protocol.Output {
			l, err = c.Receive(10 * time.Second)
		}
		if err != nil {
			t.Fatal(err)
		}
		said[l.Type] = l.Result
	}
	if result, ok := said[protocol.Done]; !ok || result != protocol.Interrupted {
		t.Errorf("it says %v", said)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestProblems: all that is wrong is told at once, before anything is connected.
func TestProblems(t *testing.T) {
	t.Parallel()
	w := handler.New(handler.Config{})
	none := func(context.Context, *handler.Call, chan int) error { return nil }
	handler.Handle(w, "a b", none)
	handler.Handle(w, "twice", func(context.Context, *handler.Call, mail) error { return nil })
	handler.Handle(w, "twice", func(context.Context, *handler.Call, mail) error { return nil })
	err := w.Run(t.Context())
	var invalid *job.InvalidError
	if !errors.As(err, &invalid) || len(invalid.Problems) < 3 {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"chan int cannot be read from JSON", "two of this name", `"a b" contains`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}

// TestSchema: the schema takes what the type takes, and refuses what it does not.
func TestSchema(t *testing.T) {
	t.Parallel()
	type inner struct {
		N int `json:"n"`
	}
	type all struct {
		inner
		Text  string            `json:"text"`
		List  []inner           `json:"list,omitempty"`
		Map   map[string]bool   `json:"map,omitempty"`
		When  time.Time         `json:"when,omitzero"`
		Maybe *uint8            `json:"maybe"`
		Any   any               `json:"any,omitempty"`
		Raw   json.RawMessage   `json:"raw,omitempty"`
		Bytes []byte            `json:"bytes,omitempty"`
		Float float64           `json:"float,omitempty"`
		Names map[string]string `json:"-"`
		Deep  [2]*inner         `json:"deep,omitzero"`
	}
	text, err := handler.SchemaOf[all]()
	if err != nil {
		t.Fatal(err)
	}
	s, err := payload.Parse(string(text))
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	for _, good := range []string{
		`{"n":1,"text":""}`, `{"n":1,"text":"x","list":[{"n":2}],"map":{"a":true},"when":"2026-01-01T00:00:00Z","maybe":null,"any":[1],"raw":{"a":1},"bytes":"AAA=","float":1.5,"deep":[null,{"n":1}]}`,
	} {
		if wrong := s.Check([]byte(good)); len(wrong) > 0 {
			t.Errorf("%s: %v", good, wrong)
		}
		if err := json.Unmarshal([]byte(good), new(all)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{`{}`, `{"n":"1","text":""}`, `{"n":1,"text":"","more":1}`, `{"n":1,"text":"","list":[{"m":2}]}`, `{"n":1,"text":"","maybe":-1}`, `7`} {
		if wrong := s.Check([]byte(bad)); len(wrong) == 0 {
			t.Errorf("%s is taken", bad)
		}
	}
}

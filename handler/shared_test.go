package handler_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/handler"
	"github.com/carillon-cron/carillon/handler/handlertest"
	"github.com/carillon-cron/carillon/handler/protocol"
	"github.com/carillon-cron/carillon/handler/shared"
)

// TestShared: a handler asks for what the tasks of its run share, for several things at a
// time, and is told what went wrong.
func TestShared(t *testing.T) {
	t.Parallel()
	worker := func(socket string) *handler.Worker {
		w := handler.New(handler.Config{Socket: socket})
		handler.Handle(w, "roll", func(ctx context.Context, c *handler.Call, _ struct{}) error {
			s := c.Shared()
			if n, err := s.Incr(ctx, "n", 2); err != nil || n != 43 {
				return fmt.Errorf("incr: %d, %w", n, err)
			}
			if _, err := s.CAS(ctx, "n", 1, "x"); !errors.Is(err, shared.ErrConflict) {
				return fmt.Errorf("cas of another version: %w", err)
			}
			if _, err := s.Get(ctx, "none"); !errors.Is(err, shared.ErrNotFound) {
				return fmt.Errorf("get of nothing: %w", err)
			}
			if _, err := s.Set(ctx, "a b", ""); !errors.Is(err, shared.ErrRefused) {
				return fmt.Errorf("set of no key: %w", err)
			}
			if err := s.Barrier(ctx, "first", shared.Within(time.Minute)); err != nil {
				return err
			}
			return s.Barrier(ctx, "second")
		})
		return w
	}
	values := &shared.Values{}
	values.Do(&shared.Request{Op: shared.OpSet, Key: "other", Value: "1"})
	values.Do(&shared.Request{Op: shared.OpSet, Key: "n", Value: "41"})
	out := handlertest.Run(t, worker, "roll", handlertest.Task{NoItem: true, Shared: values, Broken: map[string]string{"second": "web2 has ended"}})
	if out.Result != protocol.Failed || out.Reason != "the barrier is broken: web2 has ended" || !slices.Equal(out.Barriers, []string{"first", "second"}) {
		t.Errorf("%+v", out)
	}
	if e := values.Entries["n"]; e.Value != "43" {
		t.Errorf("the entry: %+v", e)
	}
}

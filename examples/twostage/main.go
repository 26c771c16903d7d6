// Command twostage does the tasks of a job in two stages: a release is fetched on all hosts,
// and none switches to it before all have it. One of them, and only one, migrates the
// database between the two.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/carillon-cron/carillon/handler"
	"github.com/carillon-cron/carillon/handler/shared"
)

type release struct {
	Version string `json:"version"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	host := os.Args[1]
	w := handler.New(handler.Config{}) // CARILLON_HANDLERS has the socket of the minion
	handler.Handle(w, "release", func(ctx context.Context, c *handler.Call, in release) error {
		return roll(ctx, c, host, in)
	})
	if err := w.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

// roll does both stages on one host.
func roll(ctx context.Context, c *handler.Call, host string, in release) error {
	if c.Env["CARILLON_PARAM_BROKEN"] == host { // to see what the others do then
		return fmt.Errorf("%s cannot be fetched", in.Version)
	}
	state := c.Shared()
	n, err := state.Incr(ctx, "fetched", 1)
	if err != nil {
		return err
	}
	fmt.Fprintf(c, "%s is fetched, on %d hosts now\n", in.Version, n)
	if err := state.Barrier(ctx, "fetched", shared.Within(10*time.Minute)); err != nil {
		return fmt.Errorf("not all hosts have it, so none switches: %w", err)
	}

	// Who writes the entry first migrates; the others wait for the end of it.
	_, err = state.CAS(ctx, "migrates", 0, host)
	switch {
	case err == nil:
		fmt.Fprintln(c, "the database is migrated here")
		_, err = state.Set(ctx, "schema", in.Version)
	case errors.Is(err, shared.ErrConflict):
		_, err = state.Watch(ctx, "schema", 0)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(c, "switched to %s\n", in.Version)
	return nil
}

package handler_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/carillon-cron/carillon/handler"
)

// Work on the queue mail, and go on where another worker has stopped.
func Example() {
	type letter struct {
		To []string `json:"to"`
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	w := handler.New(handler.Config{Socket: "/run/carillon/handlers.sock"})
	handler.Handle(w, "mail", func(ctx context.Context, c *handler.Call, in letter) error {
		sent := 0
		if _, err := c.Resume(&sent); err != nil {
			return err
		}
		for _, to := range in.To[sent:] {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			fmt.Fprintln(c, "to", to)
			sent++
			if err := c.Checkpoint(sent); err != nil {
				return err
			}
		}
		return nil
	}, handler.OnQueue("default/mail", 4))
	if err := w.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

// Log how long calls take, whatever the handler.
func ExampleWorker_Use() {
	w := handler.New(handler.Config{})
	w.Use(func(next handler.Func) handler.Func {
		return func(ctx context.Context, c *handler.Call) error {
			begun := time.Now()
			err := next(ctx, c)
			c.Log.Info("done", "handler", c.Handler, "took", time.Since(begun), "error", err)
			return err
		}
	})
}

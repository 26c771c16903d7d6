// Command nightly registers a job that is due each night, and does it on this host.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"

	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/handler"
	"github.com/carillon-cron/carillon/job"
)

type cleanup struct {
	KeepDays int `json:"keepDays"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	c, err := client.New(client.Config{Server: os.Getenv("CARILLON_SERVER")})
	if err != nil {
		log.Fatal(err)
	}
	spec := job.Spec{Schedules: []string{"0 2 * * *"}, Command: []string{"go:cleanup", `{"keepDays": 30}`}}
	if _, err := c.Jobs.Register(ctx, job.Key{Namespace: "default", Name: "cleanup"}, spec); err != nil {
		log.Fatal(err)
	}
	w := handler.New(handler.Config{}) // CARILLON_HANDLERS has the socket of the minion
	handler.Handle(w, "cleanup", func(_ context.Context, c *handler.Call, in cleanup) error {
		fmt.Fprintf(c, "removing what is older than %d days\n", in.KeepDays)
		return nil
	})
	if err := w.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

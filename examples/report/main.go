// Command report works on the queue report: it makes reports page by page, and goes on
// behind the last page that it, or another worker, has made.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"

	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/handler"
	"github.com/carillon-cron/carillon/job"
)

type report struct {
	Month string `json:"month"`
	Pages int    `json:"pages"`
	// BreakAt has the first attempt fail at a page, to show what the next one does.
	BreakAt int `json:"breakAt,omitempty"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	c, err := client.New(client.Config{Server: os.Getenv("CARILLON_SERVER")})
	if err != nil {
		log.Fatal(err)
	}
	spec := job.QueueSpec{Command: []string{"go:report"}, Retry: job.Retry{Attempts: 3, Backoff: job.Duration(100e6)}}
	if _, err := c.Queues.Register(ctx, job.Key{Namespace: "default", Name: "report"}, spec); err != nil {
		log.Fatal(err)
	}
	w := handler.New(handler.Config{}) // CARILLON_HANDLERS has the socket of the minion
	handler.Handle(w, "report", makeReport, handler.OnQueue("default/report", 2))
	if err := w.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

func makeReport(ctx context.Context, c *handler.Call, r report) error {
	if r.Pages < 1 {
		return handler.Permanent(fmt.Errorf("a report of %d pages cannot be made", r.Pages))
	}
	done := 0
	if _, err := c.Resume(&done); err != nil {
		return err
	}
	for page := done + 1; page <= r.Pages; page++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if c.Attempt == 1 && page == r.BreakAt {
			return errors.New("out of paper")
		}
		fmt.Fprintf(c, "%s, page %d\n", r.Month, page)
		err := errors.Join(c.Checkpoint(page), c.Progress(float64(page)/float64(r.Pages), fmt.Sprintf("page %d of %d", page, r.Pages)))
		if err != nil {
			return err
		}
	}
	return nil
}

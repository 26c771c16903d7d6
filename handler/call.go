package handler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/carillon-cron/carillon/handler/shared"
	"github.com/carillon-cron/carillon/job"
)

// Call is one attempt of a task.
type Call struct {
	// Handler is the name by which it is called.
	Handler string
	// FireID names the occurrence, and is the same for each attempt; RunID is its run.
	FireID job.FireID
	RunID  job.RunID
	// Token is the fencing token: it rises with each owner of a job, and with each claim
	// of an item.
	Token job.Token
	// Job is the job, or that of the queue's runs. Attempt counts from 1.
	Job     job.Key
	Attempt int
	// ScheduledAt is the occurrence's instant, Deadline when the context ends.
	ScheduledAt, Deadline time.Time
	// Queue and Item name the item; empty: the call is of no queue.
	Queue, Item string
	// Args are the words of the command behind the handler's name.
	Args []string
	// Env is the environment that the job or queue gives.
	Env map[string]string
	// Input is what the handler gets as its T, as it came. Empty: nothing came.
	Input json.RawMessage
	// Log writes to the task's output.
	Log *slog.Logger

	link link

	mu sync.Mutex
	// mu guards checkpoint: the last one, of this attempt or of one before.
	checkpoint json.RawMessage
}

// link is where a call tells what it has to say.
type link interface {
	progress(p job.Progress) error
	checkpoint(text json.RawMessage) error
	output(p []byte) error
	share(ctx context.Context, r shared.Request) (shared.Answer, error)
}

// errNoItem is returned for a checkpoint that nobody would get.
var errNoItem = errors.New("only items of queues have checkpoints: dispatch the job to a queue")

// Progress tells how much is done, from 0 to 1, and what is going on. It is shown to
// people; what is told in the same moment may be left out but for the last.
func (c *Call) Progress(done float64, text string) error {
	if done < 0 || done > 1 {
		return fmt.Errorf("progress %v: give 0 to 1", done)
	}
	if len(text) > job.MaxProgressText {
		text = job.ValidText([]byte(text[:job.MaxProgressText-len("...")])) + "..."
	}
	return c.link.progress(job.Progress{Percent: int(done * 100), Text: text})
}

// Checkpoint keeps v, as JSON, for whoever does the item next: after a failure, on another
// worker, or after a restart. A later one takes its place.
func (c *Call) Checkpoint(v any) error {
	if c.Item == "" {
		return errNoItem
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if len(text) > job.MaxCheckpoint {
		return fmt.Errorf("checkpoint has %d bytes; at most %d are allowed: keep what is large elsewhere, and where it is in the checkpoint", len(text), job.MaxCheckpoint)
	}
	c.mu.Lock()
	c.checkpoint = text
	c.mu.Unlock()
	return c.link.checkpoint(text)
}

// Resume reads the last checkpoint into v; false: there is none.
func (c *Call) Resume(v any) (bool, error) {
	c.mu.Lock()
	text := c.checkpoint
	c.mu.Unlock()
	if len(text) == 0 {
		return false, nil
	}
	if err := json.Unmarshal(text, v); err != nil {
		return false, fmt.Errorf("the checkpoint that another has left: %w", err)
	}
	return true, nil
}

// Write adds to the task's output.
func (c *Call) Write(p []byte) (int, error) {
	if err := c.link.output(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Shared is what the tasks of the run share: entries, counters, barriers. Items of queues
// share nothing.
func (c *Call) Shared() *shared.State { return shared.New(shareAsker{c.link}) }

// shareAsker asks over a call's link.
type shareAsker struct{ link link }

// Ask implements shared.Asker.
func (a shareAsker) Ask(ctx context.Context, r shared.Request) (shared.Answer, error) {
	return a.link.share(ctx, r)
}

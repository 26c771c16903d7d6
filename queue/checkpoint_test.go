package queue_test

import (
	"errors"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/queue"
)

// again claims the one item, once it may be.
func (b *bench) again(t *testing.T) queue.Claimed {
	t.Helper()
	var got []queue.Claimed
	await.Until(t, "the item again", func() bool {
		_, got = b.take(t, 1)
		return len(got) == 1
	})
	return got[0]
}

// TestQ13_Checkpoints: what a worker has left goes to the next one however the claim ends,
// and a worker that has lost its claim leaves nothing.
func TestQ13_Checkpoints(t *testing.T) {
	t.Parallel()
	b := opened(t, queue.Config{Retry: job.Retry{Attempts: 4, Backoff: job.Duration(time.Millisecond)}})
	b.mustPut(t, queue.Item{ID: "a"})
	c := b.again(t)
	if c.Checkpoint != "" {
		t.Errorf("a new item has the checkpoint %q", c.Checkpoint)
	}
	settle := func(o queue.Outcome, want string) {
		t.Helper()
		if err := b.Settle(t.Context(), c.Receipt, o); err != nil {
			t.Fatal(err)
		}
		b.sync(t)
		old := c.Receipt
		if c = b.again(t); c.Checkpoint != want {
			t.Errorf("the next one has the checkpoint %q, want %q", c.Checkpoint, want)
		}
		if err := b.Checkpoint(t.Context(), old, "late"); !errors.Is(err, queue.ErrLost) {
			t.Errorf("who has lost the claim leaves a checkpoint: %v", err)
		}
	}
	for _, text := range []string{"1", "2"} {
		if err := b.Checkpoint(t.Context(), c.Receipt, text); err != nil {
			t.Fatal(err)
		}
	}
	settle(queue.Outcome{Result: queue.Lost, Tried: &job.Attempt{}}, "2")
	settle(queue.Outcome{Result: queue.Failed}, "2")
	settle(queue.Outcome{Result: queue.Failed, Checkpoint: "3"}, "3")
	if err := b.Checkpoint(t.Context(), c.Receipt, string(make([]byte, job.MaxCheckpoint+1))); err == nil {
		t.Error("a checkpoint that is too long is taken")
	}
	// It is kept with a dead letter.
	if err := b.Settle(t.Context(), c.Receipt, queue.Outcome{Result: queue.Hopeless}); err != nil {
		t.Fatal(err)
	}
	if err := b.Redrive(t.Context(), 0, "a"); err != nil {
		t.Fatal(err)
	}
	b.sync(t)
	if c = b.again(t); c.Checkpoint != "3" || c.Attempt != 1 {
		t.Errorf("redriven: attempt %d, checkpoint %q", c.Attempt, c.Checkpoint)
	}
}

// TestQ14_Snoozed: what is snoozed is tried again, after its time, and does not count.
func TestQ14_Snoozed(t *testing.T) {
	t.Parallel()
	b := opened(t, queue.Config{Retry: job.Retry{Attempts: 1, Backoff: job.Duration(time.Millisecond)}})
	b.mustPut(t, queue.Item{ID: "a"})
	c := b.again(t)
	for n := range 3 {
		if err := b.Settle(t.Context(), c.Receipt, queue.Outcome{Result: queue.Snoozed, Reason: "not now"}); err != nil {
			t.Fatal(err)
		}
		b.sync(t)
		if c = b.again(t); c.Attempt != n+2 || c.Counted() != 1 {
			t.Errorf("attempt %d, of which %d count", c.Attempt, c.Counted())
		}
	}
	if err := b.Settle(t.Context(), c.Receipt, queue.Outcome{Result: queue.Snoozed, After: time.Hour}); err != nil {
		t.Fatal(err)
	}
	b.sync(t)
	if v, err := b.Find(t.Context(), "a"); err != nil || v.State != queue.StateDelayed {
		t.Errorf("snoozed for an hour: %+v, %v", v.State, err)
	}
}

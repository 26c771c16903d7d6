package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/queue"
	"github.com/carillon-cron/carillon/queue/queuetest"
)

// leaseless is a queue as nodes use it: its workers have no leases, items are claimed
// for several places at once, and whoever runs the dispatcher ends the claims of a
// worker that is lost.
type leaseless struct {
	*bench

	mu   sync.Mutex
	lost map[job.MinionID]bool // guarded by mu
}

func (l *leaseless) isLost(id job.MinionID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost[id]
}

func (l *leaseless) Claim(ctx context.Context, w queue.Worker, n int) ([]queue.Claimed, error) {
	for {
		if l.isLost(w.ID) {
			return nil, fmt.Errorf("claim for %s: %w", w.ID, queue.ErrWorkerLost)
		}
		got, err := l.ClaimEach(ctx, slices.Repeat([]queue.Worker{w}, max(n, 0)))
		if l.isLost(w.ID) {
			for i := range got {
				err = errors.Join(err, l.Settle(ctx, got[i].Receipt, queue.Outcome{Result: queue.Lost}, l.fence.Fence()))
			}
			got = nil
		}
		if len(got) > 0 || err != nil {
			return got, err
		}
		if err := l.Await(ctx); err != nil {
			return nil, err
		}
	}
}

func (l *leaseless) worker(queuetest.T) queue.Worker {
	return queue.Worker{ID: job.MinionID(fmt.Sprintf("worker-%d", l.n.Add(1)))}
}

func (l *leaseless) lose(t queuetest.T, w queue.Worker) {
	t.Helper()
	l.mu.Lock()
	l.lost[w.ID] = true
	l.mu.Unlock()
	l.sync(t)
	claims, ok := l.Claims()
	if !ok {
		t.Fatalf("there is no dispatcher")
	}
	for i := range claims {
		if claims[i].Worker != w.ID {
			continue
		}
		err := l.Settle(context.Background(), claims[i].Receipt, queue.Outcome{Result: queue.Lost}, l.fence.Fence())
		if err != nil && !errors.Is(err, queue.ErrLost) {
			t.Fatalf("lose %s: %v", w.ID, err)
		}
	}
}

func (l *leaseless) subject() queuetest.Subject {
	s := l.bench.subject()
	s.Queue, s.Worker, s.Lose = l, l.worker, l.lose
	return s
}

func TestConformanceWithoutLeases(t *testing.T) {
	t.Parallel()
	client := shared.Server(t).Client(t)
	queuetest.TestQueue(t, func(t *testing.T, visibility time.Duration) queuetest.Subject {
		l := &leaseless{bench: newBench(t, client, queue.Config{Visibility: visibility}), lost: map[job.MinionID]bool{}}
		t.Cleanup(func() {
			if err := l.stop(); err != nil {
				t.Errorf("run: %v", err)
			}
		})
		return l.subject()
	})
}

func TestModelWithoutLeases(t *testing.T) {
	t.Parallel()
	client := shared.Server(t).Client(t)
	queuetest.TestModel(t, func() (queuetest.Subject, func()) {
		l := &leaseless{bench: newBench(t, client, queue.Config{Retry: job.Retry{
			Attempts: queuetest.Attempts, Backoff: job.Duration(time.Nanosecond), MaxBackoff: job.Duration(time.Nanosecond),
		}}), lost: map[job.MinionID]bool{}}
		return l.subject(), func() { _ = l.stop() }
	})
}

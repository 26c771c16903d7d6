package queues

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/minions"
	"github.com/carillon-cron/carillon/job"
)

// inputs remembers for a moment what the handlers of queues take: all minions are looked
// through to find it out.
type inputs struct {
	find func(ctx context.Context, q *job.Queue) (minions.Takers, error)

	mu sync.Mutex
	// mu guards of.
	of map[job.UID]taken
}

// taken is what the workers of a queue took at a time.
type taken struct {
	minions.Takers
	generation int64
	at         time.Time
}

// rememberInputs is how long a change among workers may go unseen.
const rememberInputs = 2 * time.Second

func (in *inputs) get(ctx context.Context, q *job.Queue) (minions.Takers, error) {
	if _, ok := job.HandlerOf(q.Spec.Command); !ok || in.find == nil {
		return minions.Takers{}, nil
	}
	in.mu.Lock()
	known, ok := in.of[q.UID]
	in.mu.Unlock()
	if ok && known.generation == q.Generation && time.Since(known.at) < rememberInputs {
		return known.Takers, nil
	}
	found, err := in.find(ctx, q)
	if err != nil {
		return found, fmt.Errorf("what the workers of queue %s take: %w", q.Key(), err)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.of == nil || len(in.of) >= maxOpen {
		in.of = map[job.UID]taken{}
	}
	in.of[q.UID] = taken{found, q.Generation, time.Now()}
	return found, nil
}

// check holds payloads against what the workers of a queue take: one is refused if none of
// them takes it.
func (in *inputs) check(ctx context.Context, q *job.Queue, items []api.NewItem) ([]job.Problem, error) {
	takers, err := in.get(ctx, q)
	if err != nil {
		return nil, err
	}
	var problems []job.Problem
	for i := range items {
		for _, wrong := range takers.Refuses(items[i].Payload) {
			problems = append(problems, job.Problem{Path: fmt.Sprintf("items[%d].payload", i), Message: wrong + " (no worker of the queue takes it)"})
		}
	}
	return problems, nil
}

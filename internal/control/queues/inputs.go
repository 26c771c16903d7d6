package queues

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/payload"
	"github.com/carillon-cron/carillon/job"
)

// inputs remembers for a moment what the handlers of queues take: all minions are looked
// through to find it out.
type inputs struct {
	find func(ctx context.Context, q *job.Queue) ([]string, error)

	mu sync.Mutex
	// mu guards of.
	of map[job.UID]taken
}

// taken is what the workers of a queue take: what one of the schemas lets through. None:
// anything.
type taken struct {
	schemas    []*payload.Schema
	generation int64
	at         time.Time
}

// rememberInputs is how long a change among workers may go unseen.
const rememberInputs = 2 * time.Second

func (in *inputs) get(ctx context.Context, q *job.Queue) ([]*payload.Schema, error) {
	if _, ok := job.HandlerOf(q.Spec.Command); !ok || in.find == nil {
		return nil, nil
	}
	in.mu.Lock()
	known, ok := in.of[q.UID]
	in.mu.Unlock()
	if ok && known.generation == q.Generation && time.Since(known.at) < rememberInputs {
		return known.schemas, nil
	}
	texts, err := in.find(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("what the workers of queue %s take: %w", q.Key(), err)
	}
	known = taken{generation: q.Generation, at: time.Now()}
	for _, text := range texts {
		s, err := payload.Parse(text)
		if err != nil {
			known.schemas = nil // a worker that cannot say it may take anything
			break
		}
		known.schemas = append(known.schemas, s)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.of == nil || len(in.of) >= maxOpen {
		in.of = map[job.UID]taken{}
	}
	in.of[q.UID] = known
	return known.schemas, nil
}

// check holds payloads against what the workers of a queue take: one is refused if none of
// them takes it.
func (in *inputs) check(ctx context.Context, q *job.Queue, items []api.NewItem) ([]job.Problem, error) {
	schemas, err := in.get(ctx, q)
	if err != nil || len(schemas) == 0 {
		return nil, err
	}
	var problems []job.Problem
	for i := range items {
		var first []string
		for n, s := range schemas {
			wrong := s.Check([]byte(items[i].Payload))
			if len(wrong) == 0 {
				first = nil
				break
			}
			if n == 0 {
				first = wrong
			}
		}
		for _, wrong := range first {
			problems = append(problems, job.Problem{Path: fmt.Sprintf("items[%d].payload", i), Message: wrong + " (no worker of the queue takes it)"})
		}
	}
	return problems, nil
}

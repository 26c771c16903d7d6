package history

import (
	"context"

	"github.com/carillon-cron/carillon/job"
)

// KeptOutcomes is how many of the latest runs of a job Latest tells at most.
const KeptOutcomes = 5

// Outcome is how a run ended, in short.
type Outcome struct {
	ID job.RunID
	// At is the scheduled instant, in nanoseconds since the Unix epoch.
	At    int64
	State job.State
}

// Latest tells how the latest runs of a job ended, newest first.
type Latest func(job.UID) []Outcome

// Knowing is a Store that tells of all jobs at once how their latest runs ended, without
// reading all records each time.
type Knowing interface {
	// Latest tells of what was there when it was called.
	Latest(ctx context.Context) (Latest, error)
}

// LatestOf tells of all jobs how their latest runs ended. A store that does not know is
// read from its beginning to its end.
func LatestOf(ctx context.Context, s Store) (Latest, error) {
	if k, ok := s.(Knowing); ok {
		return k.Latest(ctx)
	}
	of := map[job.UID][]Outcome{}
	for q := (Query{Limit: 1000}); ; {
		page, err := s.List(ctx, q)
		if err != nil {
			return nil, err
		}
		for i := range page.Runs {
			r := &page.Runs[i]
			if had := of[r.FireID.Job]; len(had) < KeptOutcomes {
				of[r.FireID.Job] = append(had, Outcome{ID: r.RunID, At: r.FireID.At, State: r.State})
			}
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			return func(uid job.UID) []Outcome { return of[uid] }, nil
		}
	}
}

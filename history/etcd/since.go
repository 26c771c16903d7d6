package etcd

import (
	"context"
	"time"

	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/job"
)

// sincePage is how many records are read at a time.
const sincePage = 200

// Since calls fn with each record of a job whose instant lies after another, newest
// first. It reports whether these are all that there ever were: of a job the newest
// of each class are kept (H3), so they are when an older one is, or when there are so few
// that none was dropped. What the cap on bytes drops is the oldest as well.
func (s *Store) Since(ctx context.Context, uid job.UID, after time.Time, fn func(*job.Run)) (whole bool, err error) {
	q := history.Query{UID: uid, Limit: sincePage}
	seen := map[history.Class]int{}
	for {
		page, err := s.List(ctx, q)
		if err != nil {
			return false, err
		}
		for i := range page.Runs {
			r := &page.Runs[i]
			if r.FireID.Job != uid {
				continue
			}
			class := history.ClassOf(r.State)
			if !r.ScheduledAt.After(after) {
				seen[class] = 0 // the newest of a class are kept
				return s.all(seen), nil
			}
			seen[class]++
			fn(r)
		}
		if page.Next == "" {
			return s.all(seen), nil
		}
		q.Cursor = page.Next
	}
}

// all reports whether of no class so many were seen that others may have been dropped.
func (s *Store) all(seen map[history.Class]int) bool {
	for _, n := range seen {
		if n >= s.cfg.Keep {
			return false
		}
	}
	return true
}

package historytest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/job"
)

// Memory is a history.Store in memory, for tests of other packages. Use
// NewMemory. All methods may be called by many goroutines.
type Memory struct {
	keep int

	// mu guards what follows.
	mu   sync.Mutex
	err  error
	runs []job.Run // in the order of lists
}

var _ history.Store = (*Memory)(nil)

// NewMemory returns an empty store that keeps the newest runs of each job; zero
// means 50.
func NewMemory(keep int) *Memory {
	if keep <= 0 {
		keep = 50
	}
	return &Memory{keep: keep}
}

// Fail makes every further Append fail with err, until it is called with nil.
func (m *Memory) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// Append makes the records readable.
func (m *Memory) Append(ctx context.Context, runs []job.Run) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("append to history: %w", err)
	}
	if m.err != nil {
		return m.err
	}
	for _, r := range runs {
		r.Tasks = slices.Clone(r.Tasks)
		i, found := slices.BinarySearchFunc(m.runs, history.PositionOf(&r), func(have job.Run, want history.Position) int {
			return history.PositionOf(&have).Compare(want)
		})
		if found {
			if !r.Token.Less(m.runs[i].Token) { // else it is a former owner's
				m.runs[i] = r
			}
		} else {
			m.runs = slices.Insert(m.runs, i, r)
			m.trim(&r)
		}
	}
	return nil
}

// trim drops the oldest run of a job that has too many of a class; mu must be held.
func (m *Memory) trim(r *job.Run) {
	count, oldest := 0, 0
	for i := range m.runs {
		if m.runs[i].FireID.Job == r.FireID.Job && history.ClassOf(m.runs[i].State) == history.ClassOf(r.State) {
			count, oldest = count+1, i
		}
	}
	if count > m.keep {
		m.runs = slices.Delete(m.runs, oldest, oldest+1)
	}
}

// Get returns one record, or an error that wraps job.ErrNotFound.
func (m *Memory) Get(_ context.Context, id job.RunID) (job.Run, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.runs, func(r job.Run) bool { return r.RunID == id })
	if i < 0 {
		return job.Run{}, fmt.Errorf("run %s: %w", id, job.ErrNotFound)
	}
	return m.runs[i], nil
}

// List returns a page of records.
func (m *Memory) List(_ context.Context, q history.Query) (history.Page, error) {
	if err := q.Check(); err != nil {
		return history.Page{}, err
	}
	var after *history.Position
	if q.Cursor != "" {
		p, err := history.ParseCursor(q.Cursor)
		if err != nil {
			return history.Page{}, err
		}
		after = &p
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	page := history.Page{Runs: []job.Run{}}
	for i := range m.runs {
		r := &m.runs[i]
		if after != nil && history.PositionOf(r).Compare(*after) <= 0 {
			continue
		}
		if !q.Selects(r.Key(), r.FireID.Job, r.State) {
			continue
		}
		if len(page.Runs) == q.Limit {
			page.Next = history.PositionOf(&page.Runs[q.Limit-1]).Cursor()
			break
		}
		page.Runs = append(page.Runs, *r)
	}
	return page, nil
}

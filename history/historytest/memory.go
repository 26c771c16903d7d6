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
	rows map[job.RunID]*history.Row
}

var _ history.Store = (*Memory)(nil)

// NewMemory returns an empty store that keeps the newest runs of each job; zero
// means 50.
func NewMemory(keep int) *Memory {
	if keep <= 0 {
		keep = 50
	}
	return &Memory{keep: keep, rows: map[job.RunID]*history.Row{}}
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
	switch {
	case history.ClassOf(r.State) == history.NotRun:
		m.fold(r.FireID.Job)
	case count > m.keep:
		m.runs = slices.Delete(m.runs, oldest, oldest+1)
	}
}

// fold makes rows of what did not run of a job, but for the newest, and drops the oldest
// rows when there are too many; mu must be held.
func (m *Memory) fold(uid job.UID) {
	single, rows, last := 0, 0, -1 // last is the row that the next older one may precede
	for i := 0; i < len(m.runs); i++ {
		r := &m.runs[i]
		if r.FireID.Job != uid {
			continue
		}
		if history.ClassOf(r.State) != history.NotRun {
			last = -1
			continue
		}
		if single++; single <= m.keep {
			continue
		}
		if row := m.rowOf(r); row != nil && last >= 0 {
			if had := m.rowOf(&m.runs[last]); had != nil && had.Precede(row) {
				delete(m.rows, m.runs[last].RunID)
				m.runs[i], m.rows[had.Run.RunID] = had.Run, had
				m.runs = slices.Delete(m.runs, last, last+1)
				i--
				last = i
				continue
			}
		}
		last = i
		if rows++; rows > m.keep {
			delete(m.rows, r.RunID)
			m.runs = slices.Delete(m.runs, i, i+1)
			i, last = i-1, -1
		}
	}
}

func (m *Memory) rowOf(r *job.Run) *history.Row {
	if row := m.rows[r.RunID]; row != nil {
		return row
	}
	if !history.Single(r) {
		return nil
	}
	return &history.Row{Run: *r, Instants: []int64{r.FireID.At}}
}

// Get returns one record, or an error that wraps job.ErrNotFound.
func (m *Memory) Get(_ context.Context, id job.RunID) (job.Run, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.runs, func(r job.Run) bool { return r.RunID == id })
	if i < 0 {
		for _, row := range m.rows {
			if row.Holds(id) {
				return row.Run, nil
			}
		}
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

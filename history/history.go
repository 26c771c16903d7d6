package history

import (
	"context"

	"github.com/carillon-cron/carillon/job"
)

// Query selects run records, newest first by scheduled instant; records of one
// instant come by rising RunID, so the order is total and paging is stable.
type Query struct {
	// Namespace and Job select; empty means any. Job needs a Namespace.
	Namespace string
	Job       string
	// UID, when not zero, is the job's UID; it lets a store read one bucket
	// instead of all.
	UID job.UID
	// State selects one state; empty means any.
	State job.State
	// Limit bounds the answer; it must be positive.
	Limit int
	// Cursor continues where an earlier page ended; empty starts at the newest.
	Cursor string
}

// Class is what of a job's runs is kept apart: a store that keeps the latest runs of a job
// keeps the latest of each class, so that what did not run pushes out no failure, nor what
// went well.
type Class int

// The classes.
const (
	// Fine ended as it should, or as somebody wanted.
	Fine Class = iota
	// Bad ended otherwise.
	Bad
	// NotRun was skipped or missed. The latest of these are kept as they are, and before
	// those as many rows: what lies one after the other, of one cause, is one record with a
	// count.
	NotRun
)

// ClassOf returns the class of a run that ended so.
func ClassOf(s job.State) Class {
	switch {
	case s == job.StateSkipped, s == job.StateMissed:
		return NotRun
	case s.Bad():
		return Bad
	}
	return Fine
}

// Page is a page of records; Next is empty on the last one.
type Page struct {
	Runs []job.Run
	Next string
}

// Store keeps run records. All methods may be called by many goroutines.
type Store interface {
	// Append makes the records durable before it returns. It is idempotent: a
	// record whose RunID is there already replaces it, unless that has a higher token.
	Append(ctx context.Context, runs []job.Run) error
	// Get returns one record, or an error that wraps job.ErrNotFound. Of an occurrence for
	// which another record stands by now, it is that one.
	Get(ctx context.Context, id job.RunID) (job.Run, error)
	// List returns a page of records.
	List(ctx context.Context, q Query) (Page, error)
}

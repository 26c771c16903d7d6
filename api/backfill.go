package api

import (
	"time"

	"github.com/carillon-cron/carillon/job"
)

// BackfillRequest is a window of a job's schedule that is to be run again.
type BackfillRequest struct {
	// From and To bound the instants: after From, up to and with To.
	From, To time.Time
	// Overlap: runs may go on beside one another; else one at a time.
	Overlap bool
	// Every is the least time between two starts.
	Every  time.Duration
	Params map[string]string
	Order
}

// MaxBackfill bounds the instants of a backfill.
const MaxBackfill = 100_000

// Backfill is a window of a job's schedule that is run again, and what is left of it.
type Backfill struct {
	ID     string  `json:"id"`
	Job    job.UID `json:"job"`
	Key    job.Key `json:"key"`
	By     string  `json:"by,omitempty"`
	Reason string  `json:"reason,omitempty"`
	// From and To bound the instants: after From, up to and with To.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Done is the last instant that was started.
	Done time.Time `json:"done,omitzero"`
	// Overlap: runs may go on beside one another; else one at a time.
	Overlap bool `json:"overlap,omitempty"`
	// Every is the least time between two starts.
	Every job.Duration `json:"every,omitempty"`
	// Params are what the runs are started with.
	Params map[string]string `json:"params,omitempty"`
	Since  time.Time         `json:"since"`
	// EndedAt is when it had started all its runs, or was ended; EndedWhy tells why
	// it did not start all, empty: it did.
	EndedAt  time.Time `json:"endedAt,omitzero"`
	EndedWhy string    `json:"endedWhy,omitempty"`
	// Left counts the instants that are not started yet.
	Left int `json:"left"`
	// State is "running", "done", or "ended" before all was started.
	State string `json:"state"`
}

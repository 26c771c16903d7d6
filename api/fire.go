package api

import (
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Verdict is what became of an instant of a job.
type Verdict string

// The verdicts.
const (
	// VerdictRecorded: there are runs, or records of policies, for it.
	VerdictRecorded Verdict = "recorded"
	// VerdictOpen: a run of it goes on.
	VerdictOpen Verdict = "open"
	// VerdictDue: it lies ahead.
	VerdictDue Verdict = "due"
	// VerdictPlanned: it has passed and its shard's owner has not come to it yet.
	VerdictPlanned Verdict = "planned"
	// VerdictNoInstant: the schedule is not due then.
	VerdictNoInstant Verdict = "no-instant"
	// VerdictNotThen: the schedule, as it is now, did not hold then.
	VerdictNotThen Verdict = "not-then"
	// VerdictMoved: a calendar of the job has it run at another time.
	VerdictMoved Verdict = "moved"
	// VerdictForgotten: its record is not kept any more.
	VerdictForgotten Verdict = "forgotten"
	// VerdictUnaccounted: there ought to be a record, and there is none.
	VerdictUnaccounted Verdict = "unaccounted"
	// VerdictUnknown: there is no record, and whether a run of it is open cannot be
	// told now; see Fire.Missing.
	VerdictUnknown Verdict = "unknown"
)

// Fire is what became of one instant of a job, and why.
type Fire struct {
	Namespace string    `json:"namespace"`
	Job       string    `json:"job"`
	At        time.Time `json:"at"`
	Verdict   Verdict   `json:"verdict"`
	// Why says it in sentences, first things first.
	Why []string `json:"why"`
	// Owner is who holds the job's shard now, Cursor how far it has come.
	Owner  job.NodeID `json:"owner,omitempty"`
	Cursor time.Time  `json:"cursor,omitzero"`
	// Runs are what was recorded of the instant, and what goes on.
	Runs []job.Run `json:"runs"`
	// Missing are shards whose open runs could not be had now, of those in which a
	// run of the job may be open. It may be missing from Runs.
	Missing []MissingRuns `json:"missing,omitempty"`
}

// Gap tells people in a line what is missing; empty: nothing.
func (v *Fire) Gap() string { return gapOf(v.Missing) }

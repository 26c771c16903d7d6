package api

import (
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Aside tells of a job that its shard's owner cannot plan: it is set aside, and the
// other jobs go on.
type Aside struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Job is the job's UID; zero when the job cannot be read.
	Job    job.UID   `json:"job,omitzero"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

// Instant is an instant of a job that is to come.
type Instant struct {
	At time.Time `json:"at"`
	// StartsAt is when it starts: as much later than At as the job's jitter says
	// for this instant.
	StartsAt time.Time `json:"startsAt"`
	// Skipped tells why it is not run, as things stand now; empty: it is.
	Skipped string `json:"skipped,omitempty"`
}

// Upcoming is what is to come of a job.
type Upcoming struct {
	Schedules []string `json:"schedules"`
	Words     []string `json:"words"`
	TimeZone  string   `json:"timeZone"`
	// Next are instants of the job, in order, those that are skipped among them.
	Next []Instant `json:"next"`
	// Ends tells why no instant follows the last one; empty: some do.
	Ends string `json:"ends,omitempty"`
}

// MaxUpcoming bounds how many instants Upcoming computes.
const MaxUpcoming = 10_000

// Job is a job as people look at it.
type Job struct {
	job.Job
	Shard job.ShardID `json:"shard"`
	// Paused is what keeps the job from firing by itself; nil: nothing does. Pauses
	// are all that do, of which it is the first.
	Paused *Pause  `json:"paused,omitempty"`
	Pauses []Pause `json:"pauses,omitempty"`
	// Aside tells why the job is set aside: nothing can be planned of it, and
	// its occurrences, if any are known, are recorded as skipped. Nil: it is not.
	Aside *Aside `json:"aside,omitempty"`
	// Words is the schedule in English, one entry per schedule.
	Words []string `json:"words"`
	// NextAt is the next instant at which the job runs by its schedule, as things
	// stand now: within startAt, endAt and count, and at none that a pause or a
	// calendar closes. Zero: there is none, and NoNext says why, in a word or two;
	// empty: the job has no schedule.
	NextAt time.Time `json:"nextAt,omitzero"`
	NoNext string    `json:"noNext,omitempty"`
	// NextStartsAt is when that run starts, of a job with a jitter.
	NextStartsAt time.Time `json:"nextStartsAt,omitzero"`
	// Running is how many of its runs run now, and Waiting how many are planned, sent
	// or queued, and have not started.
	Running int `json:"running"`
	Waiting int `json:"waiting,omitempty"`
	// RunningUnknown: the owner of the job's shard, or of the one that it was moved
	// out of, has not told of its open runs now, so that there may be more of them
	// than Running and Waiting.
	RunningUnknown bool `json:"runningUnknown,omitempty"`
	// Last are the latest ended runs, newest first, at most five, without output.
	Last []job.Run `json:"last"`
}

// JobQuery selects jobs. The zero value selects all.
type JobQuery struct {
	Namespace string
	// Labels must all be on the job.
	Labels map[string]string
	// Passing: those, too, that were made for one run.
	Passing bool
}

// Action says what applying a manifest did, or would do.
type Action string

// The actions.
const (
	ActionCreated   Action = "created"
	ActionUpdated   Action = "updated"
	ActionUnchanged Action = "unchanged"
)

// ApplyResult is what applying did to one object.
type ApplyResult struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Action    Action `json:"action"`
	// HoldsFrom is set when the edit changes when a job is due: no occurrence after
	// it is committed by what was there before.
	HoldsFrom time.Time `json:"holdsFrom,omitzero"`
	// Warnings tell what was taken and is probably not what was meant.
	Warnings []string `json:"warnings,omitempty"`
	// Defaults are those that hold for a job that was created or updated because it
	// says nothing else, as "timeout 1h0m0s".
	Defaults []string `json:"defaults,omitempty"`
}

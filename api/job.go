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
	// Words are a query, such as "last:bad -namespace:test back*"; docs/lists.md has them.
	Words string
	// Sort is by what a page is ordered: one of JobSorts, after a minus the other way
	// round. Empty: by name.
	Sort string
	// Limit bounds a page; zero: there is no bound.
	Limit int
	// Cursor continues where an earlier page ended.
	Cursor string
	// Facets has the page count the jobs by what the words can ask for.
	Facets bool
	// Only, unless nil, is what else must hold of a job, and Outcomes of one for its runs
	// to be told of. They are for who asks within a node; the API has no such fields.
	Only     func(namespace string, labels map[string]string) bool `json:"-"`
	Outcomes func(namespace string, labels map[string]string) bool `json:"-"`
}

// MaxJobLimit bounds a page of jobs. MaxSorted is how many jobs are sorted by what is not
// known of all at once.
const (
	MaxJobLimit = 1000
	MaxSorted   = 10_000
)

// JobSorts lists by what a page of jobs can be ordered: by name; the last run first; what
// runs most first; what is due first.
func JobSorts() []string { return []string{"name", "last", "running", "next"} }

// JobPage is a page of jobs. On a page, the Last of a job are its latest runs in short:
// their ids, states and instants.
type JobPage struct {
	Jobs []Job `json:"jobs"`
	// NextCursor is where the next page begins; empty: this is the last one.
	NextCursor string `json:"nextCursor,omitempty"`
	// Total is how many jobs the query selects in all.
	Total int `json:"total"`
	// Facets count them, where that was asked for.
	Facets []Facet `json:"facets,omitempty"`
	// Missing are shards whose open runs could not be had now: what is told, and asked,
	// of the open runs of their jobs is not complete.
	Missing []MissingRuns `json:"missing,omitempty"`
}

// Gap tells people in a line what the page could not be made from; empty: nothing.
func (p *JobPage) Gap() string { return gapOf(p.Missing) }

// Facet counts the jobs of a query by one of the words.
type Facet struct {
	// Key is the word, such as namespace.
	Key    string       `json:"key"`
	Values []FacetValue `json:"values"`
	// More is how many jobs have values that are not listed.
	More int `json:"more,omitempty"`
}

// FacetValue is how many jobs have a value.
type FacetValue struct {
	Value string `json:"value"`
	Jobs  int    `json:"jobs"`
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

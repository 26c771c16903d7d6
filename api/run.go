package api

import (
	"fmt"
	"strings"

	"github.com/carillon-cron/carillon/job"
)

// Started is a run that was started by hand.
type Started struct {
	RunID  job.RunID  `json:"runId"`
	FireID job.FireID `json:"fireId"`
}

// OutputLine is a piece of what a task of a run wrote: one line of the stream of a
// run's output.
type OutputLine struct {
	Minion job.MinionID `json:"minion,omitempty"`
	// Stream is 1 for standard output, 2 for standard error.
	Stream int `json:"stream,omitempty"`
	// Data is written as base64.
	Data []byte `json:"data,omitempty"`
	// LeftOut, unless 0, says that so many bytes of the stream are missing before
	// Data: nobody has them any more.
	LeftOut int64 `json:"leftOut,omitempty"`
}

// Exec is a command that was started on minions.
type Exec struct {
	RunID  job.RunID  `json:"runId"`
	FireID job.FireID `json:"fireId"`
	// Job is the job that was made for the run.
	Job job.Key `json:"job"`
	// Minions match now, ordered by id; Hosts is the same in bracket form. The run
	// is on these, or on as many of them as it says.
	Minions []job.MinionID `json:"minions"`
	Hosts   string         `json:"hosts"`
	// Uncontrollable match, too, and get no orders.
	Uncontrollable []job.Uncontrollable `json:"uncontrollable"`
	// Unknown are labels and facts that some minions lack, so that it could not
	// be told whether they match; they do not.
	Unknown []UnknownKey `json:"unknown"`
	// Missing are names that the target spells out and no minion has, in bracket
	// form; empty: there are none.
	Missing string `json:"missing,omitempty"`
}

// Result is a piece of what becomes of a run: a task that has ended, how far the
// run is, or, at the end, the run.
type Result struct {
	Task     *job.Task `json:"task,omitempty"`
	Progress *Progress `json:"progress,omitempty"`
	// Run is the run's record, without its tasks.
	Run *job.Run `json:"run,omitempty"`
}

// Progress counts a run's tasks by their states.
type Progress struct {
	State  job.State `json:"state"`
	Reason string    `json:"reason,omitempty"`
	// Tasks is how many there are.
	Tasks  int               `json:"tasks"`
	States map[job.State]int `json:"states"`
}

// StartRequest is what a start by hand may say.
type StartRequest struct {
	// By tells who asks.
	By string
	// Params reach the command as variables CARILLON_PARAM_NAME.
	Params map[string]string
	// AllowMissing, of Exec: names that the target spells out need not be known.
	AllowMissing bool
}

// WebhookSecret is what calls of a job's webhook are to be signed with.
type WebhookSecret struct {
	// Secret is told once.
	Secret string `json:"secret"`
}

// RunQuery selects runs, newest first. The zero value selects the latest of all jobs.
type RunQuery struct {
	Namespace string
	Job       string
	State     job.State
	// Words are a query, such as "state:bad since:24h minion:db*"; docs/lists.md has them.
	Words string
	// Limit bounds the answer; zero means DefaultRunLimit.
	Limit int
	// Cursor continues where an earlier page ended.
	Cursor string
	// Count has the page say how many runs there are in all.
	Count bool
	// Only, unless nil, is what else must hold of a run. It is for who asks within a
	// node; the API has no such field.
	Only func(*job.Run) bool `json:"-"`
}

// DefaultRunLimit and MaxRunLimit bound a page of runs.
const (
	DefaultRunLimit = 50
	MaxRunLimit     = 1000
	// MaxCounted is how many runs are looked at to count them.
	MaxCounted = 10_000
)

// RunPage is a page of runs; NextCursor is empty on the last one.
type RunPage struct {
	Runs       []job.Run `json:"runs"`
	NextCursor string    `json:"nextCursor,omitempty"`
	// Total is how many runs the query selects in all, where that was asked for, and
	// Others how many occurrences it does not select because of their state. More
	// than MaxCounted are not counted: AtLeast says that there are more.
	Total   int               `json:"total,omitempty"`
	Others  map[job.State]int `json:"others,omitempty"`
	AtLeast bool              `json:"atLeast,omitempty"`
	// Missing are shards whose open runs could not be had now: they may be missing
	// from the page. Ended runs are not concerned.
	Missing []MissingRuns `json:"missing,omitempty"`
}

// Gap tells people in a line what is missing from the page; empty: nothing.
func (p *RunPage) Gap() string { return gapOf(p.Missing) }

func gapOf(missing []MissingRuns) string {
	if len(missing) == 0 {
		return ""
	}
	return (&PartialError{Missing: missing}).Error()
}

// MissingRuns are shards whose open runs are not known now.
type MissingRuns struct {
	// Node owns the shards, and did not tell. Empty: nobody owns them.
	Node   job.NodeID    `json:"node,omitempty"`
	Shards []job.ShardID `json:"shards"`
}

// PartialError comes with a list of open runs that is not complete.
type PartialError struct {
	Missing []MissingRuns
}

// Unwrap makes it a job.ErrUnavailable: what is missing can be had later.
func (e *PartialError) Unwrap() error { return job.ErrUnavailable }

// Error implements error, in words for people.
func (e *PartialError) Error() string {
	parts := make([]string, len(e.Missing))
	for i, m := range e.Missing {
		shards := fmt.Sprintf("of %d shards", len(m.Shards))
		if len(m.Shards) == 1 {
			shards = "of 1 shard"
		}
		parts[i] = shards + " that no node owns now"
		if m.Node != "" {
			parts[i] = fmt.Sprintf("%s of node %s, which has not answered", shards, m.Node)
		}
	}
	return "not all open runs are listed; missing are those " + strings.Join(parts, ", and those ")
}

// RedoPart says which minions of a run it is done again on.
type RedoPart string

// The parts of a run.
const (
	// RedoFailed: those on which it was started and did not succeed.
	RedoFailed RedoPart = "failed"
	// RedoNotStarted: those on which it was not started.
	RedoNotStarted RedoPart = "not-started"
	// RedoIndeterminate: those of which nobody knows whether it ran.
	RedoIndeterminate RedoPart = "indeterminate"
	// RedoSucceeded: those on which it succeeded.
	RedoSucceeded RedoPart = "succeeded"
)

// RedoParts lists the parts.
func RedoParts() []RedoPart {
	return []RedoPart{RedoFailed, RedoNotStarted, RedoIndeterminate, RedoSucceeded}
}

// Redo is a run that is done again.
type Redo struct {
	RunID  job.RunID  `json:"runId"`
	FireID job.FireID `json:"fireId"`
	// Of is the run that is done again.
	Of job.RunID `json:"of"`
	// Minions are those of the run that it is done again on. Empty: its job's
	// target says, anew.
	Minions []job.MinionID `json:"minions"`
}

// StreamError is the last line of a stream of lines that is not complete.
type StreamError struct {
	Error string `json:"error,omitempty"`
}

package control

import (
	"fmt"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// JobView is a job as people look at it.
type JobView struct {
	job.Job
	Shard job.ShardID `json:"shard"`
	// Paused is what keeps the job from firing by itself; nil: nothing does. Pauses
	// are all that do, of which it is the first.
	Paused *etcdkv.Pause  `json:"paused,omitempty"`
	Pauses []etcdkv.Pause `json:"pauses,omitempty"`
	// Aside tells why the job is set aside: nothing can be planned of it, and
	// its occurrences, if any are known, are recorded as skipped. Nil: it is not.
	Aside *etcdkv.Aside `json:"aside,omitempty"`
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

// RunQuery selects runs, newest first. The zero value selects the latest of all jobs.
type RunQuery struct {
	Namespace string
	Job       string
	State     job.State
	// Limit bounds the answer; zero means DefaultRunLimit.
	Limit int
	// Cursor continues where an earlier page ended.
	Cursor string
	// Count has the page say how many runs there are in all.
	Count bool
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

// NodeView is a live scheduler node.
type NodeView struct {
	Name     job.NodeID `json:"name"`
	Site     string     `json:"site,omitempty"`
	Phase    string     `json:"phase"`
	Priority int        `json:"priority"`
	Capacity int        `json:"capacity"`
	// Labels are what groups pin and spread by.
	Labels map[string]string `json:"labels,omitempty"`
	// Drain is an operator's wish that the node hold no shard; nil: none.
	Drain *etcdkv.Drain `json:"drain,omitempty"`
	// Trouble is what the node, or its peers, say is wrong with it.
	Trouble   []string  `json:"trouble,omitempty"`
	Shards    int       `json:"shards"`
	Minions   int       `json:"minions"`
	PeerAddr  string    `json:"peerAddr"`
	APIAddr   string    `json:"apiAddr"`
	Version   string    `json:"version"`
	StartedAt time.Time `json:"startedAt"`
}

// ShardView is one shard and its owner.
type ShardView struct {
	ID job.ShardID `json:"id"`
	// Group is whose shard it is, with its mode; empty: it is a hash shard.
	Group string `json:"group,omitempty"`
	Mode  string `json:"mode,omitempty"`
	// Override is what an operator decided; nil: nothing.
	Override *etcdkv.Override `json:"override,omitempty"`

	Owner job.NodeID `json:"owner,omitempty"`
	Since time.Time  `json:"since,omitzero"`
	Token job.Token  `json:"token"`
	// Jobs is how many jobs lie in the shard, OpenSlots how many slots have
	// fires that are not resolved.
	Jobs      int       `json:"jobs"`
	OpenSlots int       `json:"openSlots"`
	Cursor    time.Time `json:"cursor,omitzero"`
}

// OutputChunk is a piece of a task's output.
type OutputChunk struct {
	// Stream is 1 for stdout, 2 for stderr.
	Stream int
	Data   []byte
	// LeftOut, unless 0, says that so many bytes of the stream are missing here:
	// nobody has them any more.
	LeftOut int64
}

// CheckStatus is the result of one check of the doctor.
type CheckStatus string

// The results of a check.
const (
	CheckOK   CheckStatus = "ok"
	CheckWarn CheckStatus = "warn"
	CheckFail CheckStatus = "fail"
)

// Check is one line of the doctor's findings.
type Check struct {
	Name   string      `json:"name"`
	Status CheckStatus `json:"status"`
	Detail string      `json:"detail"`
	// Hint says what to do; empty when all is well.
	Hint string `json:"hint,omitempty"`
}

// VersionView tells what runs.
type VersionView struct {
	Version   string     `json:"version"`
	Commit    string     `json:"commit,omitempty"`
	Go        string     `json:"go"`
	Node      job.NodeID `json:"node,omitempty"`
	ClusterID string     `json:"clusterId,omitempty"`
}

// Topic names what a change is about, for pages that refresh themselves.
type Topic string

// The topics of changes.
const (
	TopicJobs    Topic = "jobs"
	TopicRuns    Topic = "runs"
	TopicNodes   Topic = "nodes"
	TopicMinions Topic = "minions"
	TopicShards  Topic = "shards"
	TopicGroups  Topic = "groups"
)

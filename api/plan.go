package api

import (
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Limits of requests about plans.
const (
	// MaxPlanTasks is how many tasks one page has at most, MaxPlanCancel how many one order
	// names.
	MaxPlanTasks  = 1000
	MaxPlanCancel = 100
)

// Plan is a plan of an upstream system that was accepted.
type Plan struct {
	Namespace string `json:"namespace"`
	Upstream  string `json:"upstream"`
	ID        string `json:"id"`
	// UID is new with each plan, also where the id was used before.
	UID      string `json:"uid"`
	Callback string `json:"callback,omitempty"`
	// Digest names the content, however it was written.
	Digest string `json:"digest"`
	// Tasks counts the tasks, Types those of each type, Counts those in each state.
	Tasks  int            `json:"tasks"`
	Types  map[string]int `json:"types"`
	Counts map[string]int `json:"counts"`
	// AcceptedAt and By are when it was accepted, and from whom.
	AcceptedAt time.Time `json:"acceptedAt"`
	By         string    `json:"by,omitempty"`
	// EndedAt is when its last task ended; zero: it has not.
	EndedAt time.Time `json:"endedAt,omitzero"`
	// Cancelling: there are orders to cancel tasks that are not done yet.
	Cancelling bool `json:"cancelling,omitempty"`
	// Amending: there is a new version that is not taken over yet. Amended tells of those that
	// were; nil: none was.
	Amending bool         `json:"amending,omitempty"`
	Amended  *PlanAmended `json:"amended,omitempty"`
	// Trouble is why tasks of a type wait, besides for others and for their time.
	Trouble map[string]string `json:"trouble,omitempty"`
	// Telling: its upstream has not been told all of it. CallbackTrouble is why it is not told now.
	Telling         bool   `json:"telling,omitempty"`
	CallbackTrouble string `json:"callbackTrouble,omitempty"`
	// Owner is the node that runs it, as of ToldAt.
	Owner  job.NodeID `json:"owner,omitempty"`
	ToldAt time.Time  `json:"toldAt,omitzero"`
}

// PlanAmended tells of the versions of a plan that were taken over after the first one.
type PlanAmended struct {
	// Count counts them; At and By are when the last was accepted, and from whom.
	Count int       `json:"count"`
	At    time.Time `json:"at"`
	By    string    `json:"by,omitempty"`
	// Begun counts the tasks that the last version would have changed, had they not begun, and
	// Kept has the ids of some.
	Begun int      `json:"begun,omitempty"`
	Kept  []string `json:"kept,omitempty"`
}

// PlanReceipt is the answer to who sends a plan.
type PlanReceipt struct {
	Plan
	// Recognised: it was accepted before, and nothing has changed.
	Recognised bool `json:"recognised,omitempty"`
	// Amends: it is a new version of a plan that was accepted before.
	Amends bool `json:"amends,omitempty"`
}

// PlanTask is a task of a plan, without its parameters.
type PlanTask struct {
	ID        string    `json:"id"`
	Type      string    `json:"type"`
	Priority  int       `json:"priority"`
	NotBefore time.Time `json:"notBefore,omitzero"`
	Deadline  time.Time `json:"deadline,omitzero"`
	Group     string    `json:"group,omitempty"`
	After     []string  `json:"after,omitempty"`
	// State is one of pending, queued, running, succeeded, failed, expired, cancelled, skipped,
	// replaced;
	// Since is when it came to it, and Reason why.
	State  string    `json:"state"`
	Since  time.Time `json:"since,omitzero"`
	Reason string    `json:"reason,omitempty"`
	// Minion has had it last, in its Attempt, as the run RunID. Empty: none has had it.
	Minion  job.MinionID `json:"minion,omitempty"`
	Attempt int          `json:"attempt,omitempty"`
	RunID   job.RunID    `json:"runId,omitempty"`
	// Item is the item of its queue that it is, or was. Empty: it never was in its queue.
	Item string `json:"item,omitempty"`
}

// PlanTaskQuery selects tasks of a plan.
type PlanTaskQuery struct {
	// ID, Group and State select tasks. Empty: all.
	ID    string
	Group string
	State string
	// Cursor is PlanTaskPage.Next of the page before.
	Cursor string
	Limit  int
}

// PlanTaskPage is a part of a list of tasks. It may have fewer than asked for, or none, and
// still not be the last one.
type PlanTaskPage struct {
	Tasks []PlanTask `json:"tasks" nullable:"false"`
	// Next is the Cursor of the next page; empty: there is none.
	Next string `json:"next,omitempty"`
}

// PlanCancel says which tasks of a plan are to be cancelled: some, those of a group, or, with
// neither, all.
type PlanCancel struct {
	Tasks []string `json:"tasks,omitempty" maxItems:"100" doc:"The ids of tasks."`
	Group string   `json:"group,omitempty" maxLength:"100" doc:"A group of tasks."`
}

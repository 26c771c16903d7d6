package etcdkv

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/plan"
)

// StoredPlan is the value of a plan that was accepted. Its tasks are in chunks of their own.
type StoredPlan struct {
	Schema    int     `json:"schema"`
	UID       job.UID `json:"uid"`
	Namespace string  `json:"namespace"`
	plan.Header
	Digest     string         `json:"digest"`
	Tasks      int            `json:"tasks"`
	Types      map[string]int `json:"types"`
	AcceptedAt time.Time      `json:"acceptedAt"`
	// By is who sent it; Subject the same as minions' lists know it.
	By      string `json:"by,omitempty"`
	Subject string `json:"subject,omitempty"`
	// Orders are what its owner has yet to do.
	Orders []PlanOrder `json:"orders,omitempty"`
	// EndedAt is when the last task ended; zero: it has not.
	EndedAt time.Time `json:"endedAt,omitzero"`
	// Amendment is a new version of the plan that its owner has yet to take over. Amended is
	// what was taken over.
	Amendment *PlanAmendment `json:"amendment,omitempty"`
	Amended   *PlanAmended   `json:"amended,omitempty"`
	// Untold: its upstream has not been told all of it. Only a plan with a callback is.
	Untold bool `json:"untold,omitempty"`
}

// A chunk has at most PlanChunk tasks, whose texts have PlanChunkBytes or one task more.
const (
	PlanChunk      = 200
	PlanChunkBytes = 512 << 10
)

// PlanAmendment is a new version of a plan. Its tasks are in chunks under its own UID.
type PlanAmendment struct {
	UID    job.UID        `json:"uid"`
	Digest string         `json:"digest"`
	Tasks  int            `json:"tasks"`
	Types  map[string]int `json:"types"`
	By     string         `json:"by,omitempty"`
	// Subject is By as minions' lists know it.
	Subject string    `json:"subject,omitempty"`
	At      time.Time `json:"at"`
}

// PlanAmended tells of the versions of a plan that were taken over after the first one.
type PlanAmended struct {
	// Count counts them; At and By are when the last was accepted, and from whom.
	Count int       `json:"count"`
	At    time.Time `json:"at"`
	By    string    `json:"by,omitempty"`
	// Entries counts the tasks that are stored, with those that were replaced or left out.
	Entries int `json:"entries"`
	// Begun counts the tasks that the last version would have changed, had they not begun, and
	// Kept has the ids of some.
	Begun int      `json:"begun,omitempty"`
	Kept  []string `json:"kept,omitempty"`
}

// Stored counts the tasks that are stored of a plan, those that were replaced included.
func (p *StoredPlan) Stored() int {
	if p.Amended != nil {
		return p.Amended.Entries
	}
	return p.Tasks
}

// PlanOrder says which tasks of a plan are to be cancelled: some, those of a group, or, with
// neither, all.
type PlanOrder struct {
	ID     string    `json:"id"`
	Tasks  []string  `json:"tasks,omitempty"`
	Group  string    `json:"group,omitempty"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
}

// PlanTask is a task of a plan as it is stored.
type PlanTask struct {
	plan.Task
	// Bounds are what those may have started who sent the plan.
	Bounds job.Bounds `json:"bounds,omitempty"`
	// Amends is who has added it to the plan by an amendment; nil: who sent the plan.
	Amends *PlanSender `json:"amends,omitempty"`
}

// PlanSender is who sent tasks of a plan, as minions' lists know it.
type PlanSender struct {
	Subject string `json:"subject,omitempty"`
}

// PlanStaging is the value of what says that chunks of a plan are on their way, which is not
// accepted yet, or are to be removed.
type PlanStaging struct {
	Schema int `json:"schema"`
	// At is when something was last heard of it.
	At time.Time `json:"at"`
	// Gone: they are to be removed.
	Gone bool `json:"gone,omitempty"`
}

// PlanState is what has become of a task of a plan.
type PlanState struct {
	State  string       `json:"s,omitempty"`
	At     time.Time    `json:"at,omitzero"`
	Reason string       `json:"why,omitempty"`
	Minion job.MinionID `json:"minion,omitempty"`
	// Attempt counts how often a worker has had it, RunID is the run of the last of them.
	Attempt int       `json:"n,omitempty"`
	RunID   job.RunID `json:"run,omitempty"`
}

// PlanStates are the states of the tasks of a chunk.
type PlanStates struct {
	Schema int         `json:"schema"`
	Tasks  []PlanState `json:"tasks"`
}

// PlanStatus is what the owner of a plan tells of it.
type PlanStatus struct {
	Schema int       `json:"schema"`
	Node   string    `json:"node"`
	At     time.Time `json:"at"`
	// Counts are the tasks by their states.
	Counts map[string]int `json:"counts"`
	// Trouble is why tasks of a type wait, besides for others and for their time.
	Trouble map[string]string `json:"trouble,omitempty"`
	// Seq is the number of the last change of a task's state that was told.
	Seq int64 `json:"seq,omitempty"`
}

// PlanEvents are changes of tasks' states that the upstream of a plan is to be told.
type PlanEvents struct {
	Schema int       `json:"schema"`
	At     time.Time `json:"at"`
	// First is the number of the first of them; they are numbered from 1 without a gap.
	First  int64       `json:"first"`
	Events []PlanEvent `json:"events,omitempty"`
	// Ended: the plan has ended, with so many tasks in each state. Then there are no events,
	// and First is the next number.
	Ended  bool           `json:"ended,omitempty"`
	Counts map[string]int `json:"counts,omitempty"`
}

// PlanEvent is a change of a task's state.
type PlanEvent struct {
	Seq     int64        `json:"seq"`
	Task    string       `json:"task"`
	State   string       `json:"state"`
	At      time.Time    `json:"at"`
	Reason  string       `json:"reason,omitempty"`
	Minion  job.MinionID `json:"minion,omitempty"`
	Attempt int          `json:"attempt,omitempty"`
	RunID   job.RunID    `json:"runId,omitempty"`
}

// PlanCallback is why the upstream of a plan is not told now.
type PlanCallback struct {
	Schema int       `json:"schema"`
	Error  string    `json:"error"`
	Tries  int       `json:"tries"`
	At     time.Time `json:"at"`
}

// Plans is the prefix of all plans.
func (k Keys) Plans() string { return k.root + "plans/" }

// Plan is the key of a plan.
func (k Keys) Plan(ns, upstream, id string) string {
	return k.Plans() + ns + "/" + upstream + "/" + id
}

// PlanStagings is the prefix of chunks that are on their way, or to be removed.
func (k Keys) PlanStagings() string { return k.root + "planstaging/" }

// PlanStaging is the key of those of a plan.
func (k Keys) PlanStaging(uid job.UID) string { return k.PlanStagings() + uid.String() }

// PlanData are the keys of what belongs to a plan.
func (k Keys) PlanData(uid job.UID) PlanKeys {
	return PlanKeys{k.root + "plandata/" + uid.String() + "/"}
}

// PlanKeys are the keys of what belongs to a plan.
type PlanKeys struct{ root string }

// Root is the prefix of all.
func (p PlanKeys) Root() string { return p.root }

// Chunks is the prefix of the tasks, in chunks.
func (p PlanKeys) Chunks() string { return p.root + "c/" }

// Chunk is the key of the chunk whose first task has a number.
func (p PlanKeys) Chunk(first int) string { return fmt.Sprintf("%sc/%08d", p.root, first) }

// ParseChunk reads the number of a chunk's first task from its key.
func (p PlanKeys) ParseChunk(key string) (int, bool) { return planNumber(key, p.Chunks()) }

// States is the key of what has become of the tasks of a chunk.
func (p PlanKeys) States(first int) string { return fmt.Sprintf("%ss/%08d", p.root, first) }

// ParseStates reads the number of a chunk's first task from the key of its states.
func (p PlanKeys) ParseStates(key string) (int, bool) { return planNumber(key, p.AllStates()) }

// AllStates is the prefix of States.
func (p PlanKeys) AllStates() string { return p.root + "s/" }

// Status is the key of what the owner tells of the plan.
func (p PlanKeys) Status() string { return p.root + "status" }

// Events is the prefix of what the upstream is to be told, in its order.
func (p PlanKeys) Events() string { return p.root + "e/" }

// Event is the key of what it is to be told that begins with a number.
func (p PlanKeys) Event(first int64) string { return fmt.Sprintf("%se/%016d", p.root, first) }

// Callback is the key of why it is not told now.
func (p PlanKeys) Callback() string { return p.root + "callback" }

// Items is the prefix of what became of the items that tasks have become.
func (p PlanKeys) Items() string { return p.root + "x/" }

// Item is the key of what became of the item of a task: a QueueFire.
func (p PlanKeys) Item(number int) string { return fmt.Sprintf("%sx/%08d", p.root, number) }

// ParseItem reads a key of Items.
func (p PlanKeys) ParseItem(key string) (int, bool) { return planNumber(key, p.Items()) }

func planNumber(key, prefix string) (int, bool) {
	rest, ok := strings.CutPrefix(key, prefix)
	n, err := strconv.Atoi(rest)
	return n, ok && err == nil && n >= 0
}

// maxPlanChunk bounds what a damaged chunk can make a reader allocate.
const maxPlanChunk = 16 << 20

// EncodePlanTasks packs the tasks of a chunk.
func EncodePlanTasks(tasks []PlanTask) (string, error) {
	text, err := json.Marshal(tasks)
	if err != nil {
		return "", fmt.Errorf("encode tasks of a plan: %w", err)
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err = w.Write(text)
	if err := errors.Join(err, w.Close()); err != nil {
		return "", fmt.Errorf("pack tasks of a plan: %w", err)
	}
	return b.String(), nil
}

// DecodePlanTasks unpacks the tasks of a chunk.
func DecodePlanTasks(key string, value []byte) ([]PlanTask, error) {
	r, err := gzip.NewReader(bytes.NewReader(value))
	if err != nil {
		return nil, fmt.Errorf("unpack %s: %w", key, err)
	}
	text, err := io.ReadAll(io.LimitReader(r, maxPlanChunk))
	if err != nil {
		return nil, fmt.Errorf("unpack %s: %w", key, err)
	}
	return Decode[[]PlanTask](key, text)
}

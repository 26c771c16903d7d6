package job

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Limits of items that jobs dispatch to queues.
const (
	MaxItemPriority = 9
	MaxItemKey      = 200
	MaxItemPayload  = 64 << 10
)

// QueueDispatch has a job's occurrences be items of a queue: any worker of that does one, by what
// the queue says. An item has the run's id, and the run is open until the item has ended.
type QueueDispatch struct {
	// Queue is the name of a queue in the job's namespace.
	Queue string `json:"queue"`
	// Priority of the items is 0 to 9; the highest goes first. Zero: 0.
	Priority int `json:"priority,omitempty"`
	// Key, of the items that have the same one, lets one be done at a time. Empty: none.
	Key string `json:"key,omitempty"`
}

// check tells what is wrong with it.
func (d *QueueDispatch) check(p *problems) {
	if err := CheckName(d.Queue); err != nil {
		p.add("spec.dispatch.queue", "%v", err)
	}
	if d.Priority < 0 || d.Priority > MaxItemPriority {
		p.add("spec.dispatch.priority", "%d is out of range; 0 to %d are allowed", d.Priority, MaxItemPriority)
	}
	if len(d.Key) > MaxItemKey || strings.ContainsFunc(d.Key, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		p.add("spec.dispatch.key", "has %d bytes; at most %d are allowed, and no control characters", len(d.Key), MaxItemKey)
	}
}

// runsItself reports whether the job says itself what runs, and where.
func runsItself(s *Spec) bool { return s.Dispatch == nil }

// itselfOnly is a field of what the queue says of its items where a job is dispatched.
func itselfOnly(r row[Spec]) row[Spec] {
	r.needs, r.met, r.instead = "command, script or steps", runsItself, says[Spec]("a queue says it for its items")
	return r
}

// neverTimesOut is the time-out of a run that a queue sees to.
const neverTimesOut = 10 * 365 * 24 * time.Hour

// ItemPayload is the payload of the item of a run with these parameters, defaults
// included: a JSON object, in which those that the job declares as numbers or truth values
// are such.
func (s *Spec) ItemPayload(params map[string]string) (string, error) {
	object := make(map[string]any, len(params))
	for name, v := range params {
		object[name] = v
		d := paramOf(s.Params, name)
		if d == nil {
			continue
		}
		switch d.EffectiveType() {
		case ParamInt, ParamNumber, ParamBool:
			object[name] = json.RawMessage(v) // of that form, as Accepts says
		case ParamString, ParamEnum, ParamPath:
		}
	}
	text, err := json.Marshal(object)
	return string(text), err
}

// AsMinion names a queue where a task has its minion: that of a run whose job is dispatched
// to it. No minion has such a name.
func (k Key) AsMinion() MinionID { return MinionID(queueMinion + k.String()) }

const queueMinion = "queue:"

// Queue returns the queue that stands in the place of a minion; false: it is a minion.
func (m MinionID) Queue() (Key, bool) {
	name, is := strings.CutPrefix(string(m), queueMinion)
	if !is {
		return Key{}, false
	}
	ns, name, _ := strings.Cut(name, "/")
	return Key{Namespace: ns, Name: name}, true
}

// IsQueue reports whether a queue stands in the place of a minion.
func (m MinionID) IsQueue() bool { return strings.HasPrefix(string(m), queueMinion) }

// OrderItem is what an order to a queue puts into it.
type OrderItem struct {
	Priority int
	Key      string
	Payload  string
	// Bounds are those of who stored the job, and of who asked for the run.
	Bounds Bounds
}

// ItemID names the item of a task that is dispatched to a queue.
func (t TaskID) ItemID() string {
	id := string(t.Fire.RunID())
	if t.Attempt > 1 { // the job was not dispatched before
		id += "-" + strconv.Itoa(t.Attempt)
	}
	return id
}

// IsRunItem reports whether an item's ID is of the form of those that occurrences get: it is
// theirs, and nobody else's to give.
func IsRunItem(id string) bool {
	if RunID(id).Valid() {
		return true
	}
	cut := strings.LastIndexByte(id, '-')
	if cut < 0 {
		return false
	}
	_, err := strconv.ParseUint(id[cut+1:], 10, 64)
	return err == nil && RunID(id[:cut]).Valid()
}

// ItemOrigin is what an item does: the occurrence of a job, or the task of a plan.
type ItemOrigin struct {
	Job Key `json:"job,omitzero"`
	// Fire and Attempt are the task's, and Shard is where the job's run is open.
	Fire    FireID  `json:"fire,omitzero"`
	Attempt int     `json:"attempt,omitempty"`
	Shard   ShardID `json:"shard,omitempty"`
	// Plan, unless nil, is the task of a plan; then the others are empty.
	Plan *ItemPlan `json:"plan,omitempty"`
}

// ItemPlan is the task of a plan that an item does.
type ItemPlan struct {
	UID UID `json:"uid"`
	// Number is the task's among those of the plan.
	Number int `json:"number"`
	// Name is UPSTREAM/ID of the plan, Task the id of the task.
	Name string `json:"name"`
	Task string `json:"task"`
}

// TaskItem is the item that does a task, as far as is known.
type TaskItem struct {
	// Queue is the name of its queue, in the namespace of the run, and ID the item's.
	Queue string `json:"queue"`
	ID    string `json:"id"`
	// Minion has had it last, in the item's Attempt, as the run RunID. Empty: no worker
	// had it yet.
	Minion  MinionID `json:"minion,omitempty"`
	Attempt int      `json:"attempt,omitempty"`
	RunID   RunID    `json:"runId,omitempty"`
}

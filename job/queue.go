package job

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// KindQueue is the kind of the manifest of a queue.
const KindQueue = "Queue"

// Limits and defaults of queues.
const (
	DefaultQueueAttempts = 5
	DefaultQueueItems    = 100_000
	MaxQueueItems        = 1_000_000
	MaxQueueWindow       = 30 * 24 * time.Hour
	MinQueueAging        = time.Second
)

// QueueTarget says which minions may work on the items of a queue.
type QueueTarget struct {
	// Match is a target expression. Empty: every minion that offers to.
	Match string `json:"match,omitempty"`
}

// QueueSpec is what a user writes about a queue. Its JSON form is the manifest's.
type QueueSpec struct {
	// Command is the program and its arguments that does an item; no shell is
	// involved. It finds the payload in CARILLON_PAYLOAD, the item in CARILLON_ITEM and
	// its fencing token in CARILLON_ITEM_TOKEN. Exactly one of Command and Script is given.
	Command []string `json:"command,omitempty"`
	// Script is a text that an interpreter runs; it finds the same.
	Script *Script `json:"script,omitempty"`
	// Env is added to the small environment that the minion gives a command. A value
	// is a text, or {secret: {file: PATH}} (or env or exec) for what the minion finds
	// out itself, and with mask: true keeps out of the output.
	Env map[string]EnvValue `json:"env,omitempty"`
	// WorkingDir is where the command starts. Empty: the minion's work directory.
	WorkingDir string `json:"workingDir,omitempty"`
	// User is the account that runs the command. Empty: the minion's own.
	User string `json:"user,omitempty"`
	// Limits bound what the command may use, with all its processes; a minion
	// whose host cannot hold it to them rejects the item. Zero: no bounds.
	Limits Limits `json:"limits,omitzero"`
	// Target says which of the minions that offer to work on the queue (worker
	// --queue) may do so. Zero: all.
	Target QueueTarget `json:"target,omitzero"`
	// Timeout ends a command that runs longer, with its whole process tree.
	// Zero: DefaultTimeout.
	Timeout Duration `json:"timeout,omitempty"`
	// LostAfter is how long the minion that has an item may be connected to no node;
	// then the item is the first in line again. Zero: DefaultLostAfter.
	LostAfter Duration `json:"lostAfter,omitempty"`
	// Retry says how often an item is tried in all, a lost minion included, and when;
	// then it is a dead letter. Zero: DefaultQueueAttempts attempts.
	Retry Retry `json:"retry,omitzero"`
	// Aging raises the priority of an item by one for each such time that it has
	// waited, so that the lowest are served some day. Zero: never.
	Aging Duration `json:"aging,omitempty"`
	// MaxItems is how many items may be in the queue, dead letters included; more are
	// refused. Zero: DefaultQueueItems.
	MaxItems int `json:"maxItems,omitempty"`
	// PayloadSchema is a JSON Schema that payloads have to keep to; what does not is
	// refused when it is put. It is JSON, with the keywords that package payload reads.
	// Empty: payloads are any text.
	PayloadSchema string `json:"payloadSchema,omitempty"`
	// DedupWindow is how long after an item was put another one with the same
	// de-duplication key is the same item. Zero: such keys are refused.
	DedupWindow Duration `json:"dedupWindow,omitempty"`
	// ExpireAfter is how long an item may wait to be begun first; then it is a dead
	// letter. Zero: for ever.
	ExpireAfter Duration `json:"expireAfter,omitempty"`
}

// Work is what the queue has done with its items, as the spec of a job that does the same.
func (q *QueueSpec) Work() Spec {
	return Spec{
		Command: q.Command, Script: q.Script, Env: q.Env, WorkingDir: q.WorkingDir, User: q.User, Limits: q.Limits,
		Target: Target{Match: q.Target.Match}, Timeout: q.Timeout, LostAfter: q.LostAfter,
	}
}

// EffectiveRetry returns Retry with its default.
func (q *QueueSpec) EffectiveRetry() Retry {
	r := q.Retry
	if r.Attempts == 0 {
		r.Attempts = DefaultQueueAttempts
	}
	return r
}

// EffectiveMaxItems returns MaxItems, or its default.
func (q *QueueSpec) EffectiveMaxItems() int {
	if q.MaxItems == 0 {
		return DefaultQueueItems
	}
	return q.MaxItems
}

// Validate returns what is wrong with the spec, apart from the target expression.
func (q *QueueSpec) Validate() []Problem {
	work := q.Work()
	var p problems
	for _, told := range work.Validate() {
		told.Message = strings.Replace(told.Message, ", script or steps, or dispatch to a queue", " or script", 1)
		p = append(p, told)
	}
	r := q.EffectiveRetry()
	r.check(&p)
	p.within("spec.dedupWindow", q.DedupWindow, 0, MaxQueueWindow)
	p.within("spec.expireAfter", q.ExpireAfter, 0, MaxQueueWindow)
	if q.Aging != 0 {
		p.within("spec.aging", q.Aging, MinQueueAging, MaxQueueWindow)
	}
	if q.MaxItems < 0 || q.MaxItems > MaxQueueItems {
		p.add("spec.maxItems", "%d is out of range; 1 to %d are allowed", q.MaxItems, MaxQueueItems)
	}
	effects(&p, "spec.", queueRows(), q, reflect.ValueOf(q).Elem())
	if b, err := json.Marshal(q); err == nil && len(b) > MaxSpecBytes {
		p.add("spec", "has %d bytes as JSON; at most %d are allowed", len(b), MaxSpecBytes)
	}
	return slices.CompactFunc(p, func(a, b Problem) bool { return a.Path == b.Path && a.Message == b.Message })
}

// Queue is a stored queue: a user's spec and what Carillon adds to it.
type Queue struct {
	Metadata
	Spec QueueSpec `json:"spec"`

	// UID outlives edits. The ids of the runs of its items are made of it.
	UID UID `json:"uid"`
	// Generation counts the edits of the spec, from 1.
	Generation int64 `json:"generation"`
	// Bounds are what those who applied the queue may have started, as it was then: no
	// item has a minion start anything beyond. Empty: anything anywhere.
	Bounds Bounds `json:"bounds,omitempty"`
	// CreatedAt and UpdatedAt are for people; nothing is decided by them.
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
}

// NewQueueUID returns a new UID for a queue. It is told apart from those of jobs by its
// version, as the fire ids of items are made of it.
func NewQueueUID() (UID, error) {
	u, err := NewUID()
	u[6] = u[6]&0x0f | 0x80 // a UUID of version 8: times and random bits as in version 7
	return u, err
}

// IsQueue reports whether u is the UID of a queue.
func (u UID) IsQueue() bool { return u[6]>>4 == 8 }

// The variables by which what runs finds its item. Those of the job are of an item that does
// the occurrence of one.
const (
	EnvQueue     = EnvPrefix + "QUEUE"
	EnvItem      = EnvPrefix + "ITEM"
	EnvItemToken = EnvPrefix + "ITEM_TOKEN"
	EnvPayload   = EnvPrefix + "PAYLOAD"
	EnvItemJob   = EnvPrefix + "ITEM_JOB"
	EnvItemFire  = EnvPrefix + "ITEM_FIRE_ID"
	EnvItemPlan  = EnvPrefix + "ITEM_PLAN"
	EnvItemTask  = EnvPrefix + "ITEM_TASK"
)

// FactQueues is the fact by which a minion tells on which queues it works; see
// QueueOffers.
const FactQueues = "carillonQueues"

// MaxQueuePlaces is how many items of a queue one minion takes at once.
const MaxQueuePlaces = 1000

// QueueOffers are the queues on which a minion works, and how many items of each it
// takes at once.
type QueueOffers map[Key]int

// ParseQueueOffers reads what String writes: NAMESPACE/NAME:PLACES with commas between.
// NAME alone stands for one in DefaultNamespace, and no PLACES for one.
func ParseQueueOffers(text string) (QueueOffers, error) {
	out := QueueOffers{}
	if text == "" {
		return out, nil
	}
	for word := range strings.SplitSeq(text, ",") {
		name, number, given := strings.Cut(word, ":")
		places := 1
		if given {
			n, err := strconv.Atoi(number)
			if err != nil || n < 1 || n > MaxQueuePlaces {
				return nil, fmt.Errorf("queue %q: after the colon comes how many items at once, 1 to %d", word, MaxQueuePlaces)
			}
			places = n
		}
		key, err := ParseKey(name)
		if err != nil {
			return nil, fmt.Errorf("queue %q: %w", word, err)
		}
		if _, twice := out[key]; twice {
			return nil, fmt.Errorf("queue %s is given twice; give it once", key)
		}
		out[key] = places
	}
	return out, nil
}

// String writes the offers, sorted; empty: there is none.
func (q QueueOffers) String() string {
	var words []string
	for key, places := range q {
		words = append(words, key.String()+":"+strconv.Itoa(places))
	}
	slices.Sort(words)
	return strings.Join(words, ",")
}

// RunName is the name under which the runs of a queue's items are kept: as that of a job.
func (k Key) RunName() Key { return Key{Namespace: k.Namespace, Name: queueRuns + k.Name} }

// QueueOfRuns returns the queue whose RunName k is; false: it is that of none.
func (k Key) QueueOfRuns() (Key, bool) {
	name, is := strings.CutPrefix(k.Name, queueRuns)
	return Key{Namespace: k.Namespace, Name: name}, is
}

const queueRuns = "queue."

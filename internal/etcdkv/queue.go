package etcdkv

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// QueueItem is the value of an item that waits in a typed queue or is being
// worked on. It is written by Put, and again by every claim and failure.
type QueueItem struct {
	Schema  int    `json:"schema"`
	Payload []byte `json:"payload,omitempty"`
	// Attempt counts the claims so far.
	Attempt int `json:"attempt,omitempty"`
	// Uncounted is how many of them are no attempts: those that were snoozed, or
	// interrupted.
	Uncounted int `json:"uncounted,omitempty"`
	// Checkpoint is where the next worker is to go on. Empty: at the beginning.
	Checkpoint string `json:"checkpoint,omitempty"`
	// NotBefore, when not zero, is when it may be claimed again.
	NotBefore time.Time `json:"notBefore,omitzero"`
	PutAt     time.Time `json:"putAt"`
	// LastError is why the last attempt failed.
	LastError string `json:"lastError,omitempty"`
	// Key: of the items that have the same one, one is in a worker's hands at a time.
	Key string `json:"key,omitempty"`
	// ExpiresAt, when not zero, is until when it has to be claimed first.
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
	// Tried are the attempts that others have followed, the newest; TriedLeftOut counts
	// the others.
	Tried        []job.Attempt `json:"tried,omitempty"`
	TriedLeftOut int           `json:"triedLeftOut,omitempty"`
	// At is when it was claimed first, in nanoseconds, as no other item of the queue
	// was. 0: it never was.
	At int64 `json:"at,omitempty"`
	// Bounds are what those may have started who put the item. Empty: anything anywhere.
	Bounds job.Bounds `json:"bounds,omitempty"`
	// Subject is who put it, as minions' lists know it. Empty: it is not known.
	Subject string `json:"subject,omitempty"`
	// JobAuthor is who applied the job that has put it. Empty: no job has.
	JobAuthor string `json:"jobAuthor,omitempty"`
	// Origin is the occurrence of a job that it does. Nil: it was put by somebody.
	Origin *job.ItemOrigin `json:"origin,omitempty"`
}

// Counted is how many attempts there were that count.
func (it *QueueItem) Counted() int { return it.Attempt - it.Uncounted }

// QueueFire is what is known of the item that a job's occurrence became. It is written
// with the item and again in the transaction that ends it, and is there until the run is in
// history: it says to whoever owns the job's shard what became of the occurrence.
type QueueFire struct {
	Schema int `json:"schema"`
	job.ItemOrigin
	// Minion has had the item last, in the item's Attempt, as the run RunID, which began
	// at StartedAt. Empty: no worker has begun with it, as far as was told.
	Minion    job.MinionID `json:"minion,omitempty"`
	Tries     int          `json:"tries,omitempty"`
	RunID     job.RunID    `json:"runId,omitempty"`
	StartedAt time.Time    `json:"startedAt,omitzero"`
	// End is how the item has ended. Nil: it has not.
	End *QueueEnd `json:"end,omitempty"`
}

// QueueEnd is how an item ended that a job's occurrence became.
type QueueEnd struct {
	State     job.State  `json:"state"`
	Reason    string     `json:"reason,omitempty"`
	StartedAt time.Time  `json:"startedAt,omitzero"`
	EndedAt   time.Time  `json:"endedAt"`
	Exit      *job.Exit  `json:"exit,omitempty"`
	Stdout    job.Output `json:"stdout,omitzero"`
	Stderr    job.Output `json:"stderr,omitzero"`
}

// QueueDedup is the value of a de-duplication key: the item that has it.
type QueueDedup struct {
	Schema   int       `json:"schema"`
	ID       string    `json:"id"`
	Priority int       `json:"priority"`
	Until    time.Time `json:"until"`
}

// QueueCancel is the value of what says that a claimed item is to be ended.
type QueueCancel struct {
	Schema int    `json:"schema"`
	Reason string `json:"reason"`
}

// StoredQueue is the value of a queue's description.
type StoredQueue struct {
	Schema int `json:"schema"`
	job.Queue
	// AppliedBy is who applied the queue as it is; see job.Job.
	AppliedBy string `json:"appliedBy,omitempty"`
	// Hold is how it is held back; nil: it is not.
	Hold *QueueHold `json:"hold,omitempty"`
}

// QueueHold says how a queue is held back.
type QueueHold struct {
	// Draining: it takes no new items. Else it is paused: it hands none out.
	Draining bool      `json:"draining,omitempty"`
	By       string    `json:"by,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Since    time.Time `json:"since"`
}

// QueueStatus is what the dispatcher of a queue tells of it now and then.
type QueueStatus struct {
	Schema int       `json:"schema"`
	Node   string    `json:"node"`
	At     time.Time `json:"at"`
	// OldestPutAt is when the item was put that has waited longest; zero: none waits.
	OldestPutAt time.Time `json:"oldestPutAt,omitzero"`
	Delayed     int       `json:"delayed,omitempty"`
	// Per second, over the last minute or so.
	DoneRate   float64       `json:"doneRate,omitempty"`
	FailedRate float64       `json:"failedRate,omitempty"`
	Workers    []QueueWorker `json:"workers,omitempty"`
	// LeftOut counts workers that are not among Workers.
	LeftOut int `json:"leftOut,omitempty"`
}

// QueueWorker is a minion that works on a queue.
type QueueWorker struct {
	Minion string `json:"minion"`
	// Places is how many items it takes at once.
	Places int `json:"places"`
	// Away is since when it is connected to no node; zero: it is connected.
	Away time.Time `json:"away,omitzero"`
	// Trouble is why it gets no items; empty: it does.
	Trouble string      `json:"trouble,omitempty"`
	Items   []QueueBusy `json:"items,omitempty"`
	// LeftOut counts items that are not among Items.
	LeftOut int `json:"leftOut,omitempty"`
}

// QueueBusy is an item in a worker's hands.
type QueueBusy struct {
	ID      string    `json:"id"`
	Attempt int       `json:"attempt"`
	RunID   string    `json:"runId"`
	Since   time.Time `json:"since"`
	// StartedAt is since when it runs; zero: it has not begun yet, as far as is known.
	StartedAt time.Time `json:"startedAt,omitzero"`
	HeardAt   time.Time `json:"heardAt,omitzero"`
	// Progress is what the worker has said last. Nil: nothing.
	Progress *job.Progress `json:"progress,omitempty"`
}

// QueueMarker is the value of a claim, on the worker's lease if it has one. Its create
// revision is the claim's fencing token.
type QueueMarker struct {
	Schema int    `json:"schema"`
	Worker string `json:"worker"`
	// Claim is unique per claiming transaction.
	Claim string    `json:"claim"`
	Since time.Time `json:"since"`
	// Visibility is how long after this write the claim ends, unless it is
	// written again.
	Visibility time.Duration `json:"visibility"`
	// Checkpoint is what the worker has left since the claim. Empty: nothing.
	Checkpoint string `json:"checkpoint,omitempty"`
}

// QueueDead is the value of an item that was given up.
type QueueDead struct {
	Schema int `json:"schema"`
	// Item is the QueueItem as it was, unknown fields included.
	Item   json.RawMessage `json:"item"`
	Reason string          `json:"reason"`
	At     time.Time       `json:"at"`
}

// QueueKeys are the keys of one typed queue. Those of an item hold its priority and
// its ID, so that higher priorities sort first. An ID is there at one priority only:
// whoever puts an item compares that it is at none.
type QueueKeys struct{ root, fires string }

// QueueOf returns the keys of a typed queue.
func (k Keys) QueueOf(ns, typ string) QueueKeys {
	return QueueKeys{root: k.Queue(ns, typ), fires: k.QueueFires() + ns + "/" + typ + "/"}
}

// QueueFires is the prefix of what became of the occurrences that queues do. They outlive
// their queues.
func (k Keys) QueueFires() string { return k.root + "queuefires/" }

// ParseQueueFire reads a key of QueueFires.
func (k Keys) ParseQueueFire(s string) (queue job.Key, item string, ok bool) {
	rest, ok := strings.CutPrefix(s, k.QueueFires())
	ns, rest, ok1 := strings.Cut(rest, "/")
	name, item, ok2 := strings.Cut(rest, "/")
	return job.Key{Namespace: ns, Name: name}, item, ok && ok1 && ok2
}

// Fire is the key of what became of the occurrence of which an item was made.
func (q QueueKeys) Fire(item string) string { return q.fires + item }

// Live is the prefix of items and markers, which a dispatcher follows.
func (q QueueKeys) Live() string { return q.root + "live/" }

// Items is the prefix of all items.
func (q QueueKeys) Items() string { return q.Live() + "i/" }

// Markers is the prefix of all claims.
func (q QueueKeys) Markers() string { return q.Live() + "x/" }

// Cancels is the prefix of what says which claimed items are to be ended.
func (q QueueKeys) Cancels() string { return q.Live() + "c/" }

// Cancel is the key that says that a claimed item is to be ended.
func (q QueueKeys) Cancel(priority int, id string) string {
	return q.Cancels() + queueName(priority, id)
}

// Dedups is the prefix of all de-duplication keys.
func (q QueueKeys) Dedups() string { return q.root + "dedup/" }

// Dedup is the key of a de-duplication key, which may be any text.
func (q QueueKeys) Dedup(key string) string { return q.Dedups() + url.PathEscape(key) }

// Root is the prefix of all that the queue has.
func (q QueueKeys) Root() string { return q.root }

// Dead is the prefix of all dead letters.
func (q QueueKeys) Dead() string { return q.root + "dead/" }

// Item is the key of an item. Priority is 0 to 9.
func (q QueueKeys) Item(priority int, id string) string { return q.Items() + queueName(priority, id) }

// Marker is the key of an item's claim.
func (q QueueKeys) Marker(priority int, id string) string {
	return q.Markers() + queueName(priority, id)
}

// DeadItem is the key of a dead letter.
func (q QueueKeys) DeadItem(priority int, id string) string {
	return q.Dead() + queueName(priority, id)
}

func queueName(priority int, id string) string { return fmt.Sprintf("%d/%s", 9-priority, id) }

// Parse reads the name of an item from a key under the given prefix: Items,
// Markers, Cancels or Dead. It reports false for any other key.
func (q QueueKeys) Parse(prefix, key string) (priority int, id string, ok bool) {
	rest, ok := strings.CutPrefix(key, prefix)
	if !ok || len(rest) < 3 || rest[0] < '0' || rest[0] > '9' || rest[1] != '/' {
		return 0, "", false
	}
	return int('9' - rest[0]), rest[2:], true
}

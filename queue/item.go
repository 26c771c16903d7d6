package queue

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/job"
)

// The errors of this package.
var (
	// ErrLost is returned when a claim is no longer the caller's: its lease or
	// its deadline has ended, or it was settled already.
	ErrLost = fmt.Errorf("the claim is lost: %w", job.ErrConflict)
	// ErrFenced is returned when the dispatcher has lost its lock.
	ErrFenced = errors.New("another dispatcher has the queue")
	// ErrNotDispatcher is returned by Claim when Run is not running.
	ErrNotDispatcher = fmt.Errorf("the queue has no dispatcher here: %w", job.ErrUnavailable)
	// ErrWorkerLost is returned by Claim when the worker's lease has ended.
	ErrWorkerLost = errors.New("the worker's lease has ended")
)

// Limits of items.
const (
	MaxPriority = job.MaxItemPriority
	MaxPayload  = job.MaxItemPayload
	MaxID       = 200
	MaxKey      = job.MaxItemKey
	// MaxClaim is how many items one Claim hands out at most.
	MaxClaim = 50
)

// Item is a piece of work.
type Item struct {
	// ID names the item within its queue. Put fills in an empty one.
	ID string `json:"id"`
	// Priority is 0 to 9; higher goes first.
	Priority int `json:"priority"`
	// Payload says what to do; the queue does not look at it.
	Payload []byte `json:"payload,omitempty"`
	// NotBefore, when not zero, is when it may be claimed first.
	NotBefore time.Time `json:"notBefore,omitzero"`
	// Key, when not empty, serializes: of the items that have the same one, one is in
	// a worker's hands at a time.
	Key string `json:"key,omitempty"`
	// ExpiresAt, when not zero, is until when it has to be claimed first. What was not
	// is a dead letter.
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
	// Dedup, when not empty, is the de-duplication key: what is put with the same one
	// within Config.DedupWindow is the same item.
	Dedup string `json:"dedup,omitempty"`
	// Bounds are what those may have started who put the item. Whoever has it done keeps to
	// them; the queue does not look at them. Empty: anything anywhere.
	Bounds job.Bounds `json:"bounds,omitempty"`
	// Subject is who put it, for whoever works on it; the queue does not look at it.
	Subject string `json:"subject,omitempty"`
	// JobAuthor is as Subject who applied the job that has put it, also once it is no
	// occurrence of that any more. Empty: no job has.
	JobAuthor string `json:"jobAuthor,omitempty"`
	// Origin is the occurrence of a job that the item does (Q12). Nil: of none.
	Origin *job.ItemOrigin `json:"origin,omitempty"`
}

// check tells what is wrong with an item.
func (it *Item) check(path string) []job.Problem {
	var problems []job.Problem
	add := func(field, format string, args ...any) {
		problems = append(problems, job.Problem{Path: path + "." + field, Message: fmt.Sprintf(format, args...)})
	}
	if it.Priority < 0 || it.Priority > MaxPriority {
		add("priority", "%d is not in 0 to %d", it.Priority, MaxPriority)
	}
	if len(it.Payload) > MaxPayload {
		add("payload", "has %d bytes; at most %d are allowed", len(it.Payload), MaxPayload)
	}
	if len(it.ID) > MaxID {
		add("id", "has %d bytes; at most %d are allowed", len(it.ID), MaxID)
	}
	if strings.ContainsFunc(it.ID, func(r rune) bool { return r <= ' ' || r == '/' || r > '~' }) {
		add("id", "%q has a space, a slash or something else than printable ASCII", it.ID)
	}
	if it.Origin == nil && job.IsRunItem(it.ID) {
		add("id", "%q has the form of a run's ID, by which the occurrences of jobs put their items; give it another form, such as %q", it.ID, "item-"+it.ID)
	}
	for field, key := range map[string]string{"key": it.Key, "dedup": it.Dedup} {
		if len(key) > MaxKey || strings.ContainsFunc(key, unicode.IsControl) {
			add(field, "has %d bytes; at most %d are allowed, and no control characters", len(key), MaxKey)
		}
	}
	if !it.ExpiresAt.IsZero() && it.ExpiresAt.Before(it.NotBefore) {
		add("expiresAt", "is before notBefore: the item could never be claimed")
	}
	return problems
}

// newID returns an ID for an item that has none. IDs sort by time.
func newID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("new item id: %w", err)
	}
	return id.String(), nil
}

// Worker is who claims items.
type Worker struct {
	ID job.MinionID
	// Lease is the worker's session lease. The claims end with it. 0: it has none, and
	// whoever runs the dispatcher ends the claims of workers that are lost.
	Lease clientv3.LeaseID
}

// Receipt names a claim. It is all that is needed to settle it, from any node.
type Receipt struct {
	ID       string `json:"id"`
	Priority int    `json:"priority"`
	// Item is the item's mod revision, Marker the marker's create revision.
	Item   int64 `json:"item"`
	Marker int64 `json:"marker"`
	// Origin is the item's.
	Origin *job.ItemOrigin `json:"origin,omitempty"`
}

// Claimed is an item in the hands of a worker.
type Claimed struct {
	Item
	// Worker has the item since Since.
	Worker job.MinionID
	Since  time.Time
	PutAt  time.Time
	// At is when the item was claimed first, in nanoseconds since the Unix epoch, as no
	// other item of the queue was.
	At int64
	// Attempt counts the claims of the item, this one included.
	Attempt int
	// Uncounted is how many of these are no attempts, as they were snoozed.
	Uncounted int
	// Checkpoint is what a worker before has left. Empty: nothing.
	Checkpoint string
	// Cancel, unless nil, says why the item is to be ended.
	Cancel *string
	// Tried are the attempts before, as they were settled with; the newest, and
	// TriedLeftOut counts the others.
	Tried        []job.Attempt
	TriedLeftOut int
	// Token rises with every claim of the item.
	Token   job.Token
	Receipt Receipt
}

// Counted is how many attempts there were that count, this one included.
func (c *Claimed) Counted() int { return c.Attempt - c.Uncounted }

// Fence is the ownership of a queue's dispatcher.
type Fence interface {
	// Fence returns the compare that holds as long as the ownership does.
	Fence() clientv3.Cmp
	// Token is the fencing token of the ownership.
	Token() job.Token
	// Held reports whether the ownership holds now, as far as can be known here.
	Held() bool
}

package lock

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Place is what a contender says of itself: the value of its key in the queue,
// and then of its hold.
type Place struct {
	Schema  int    `json:"schema"`
	Holder  string `json:"holder"`
	Purpose string `json:"purpose,omitempty"`
	// Since is when the place was taken, by the clock of the contender's host.
	Since time.Time `json:"since"`
	// Epoch is the epoch of the contender's tokens.
	Epoch int64 `json:"epoch,omitempty"`

	// The rest is as in MutexOptions.

	Shared    bool          `json:"shared,omitempty"`
	Limit     int           `json:"limit,omitempty"`
	Priority  int           `json:"priority,omitempty"`
	Preempt   bool          `json:"preempt,omitempty"`
	Grace     time.Duration `json:"grace,omitempty"`
	MaxHold   time.Duration `json:"maxHold,omitempty"`
	LockDelay time.Duration `json:"lockDelay,omitempty"`
}

const placeSchema = 1

// record is the whole value of a place or hold.
type record struct {
	Place

	// Held is when the hold was granted, by the clock of who granted it.
	Held time.Time `json:"held,omitzero"`
	// Slot is the number of a semaphore's permit.
	Slot int `json:"slot,omitempty"`
	// Next are the contenders behind this hold, the first ones, in order. It is
	// a hint: a hand-over proves it.
	Next []hint `json:"next,omitempty"`
}

// hint says where a waiter was seen.
type hint struct {
	Class string           `json:"c"`
	ID    string           `json:"i"`
	Rev   int64            `json:"r"`
	Lease clientv3.LeaseID `json:"l,omitempty"`
	Value json.RawMessage  `json:"v"`
}

func decodeRecord(value []byte) (record, error) {
	var r record
	if err := json.Unmarshal(value, &r); err != nil {
		return record{}, fmt.Errorf("decode place: %w", err)
	}
	return r, nil
}

func (r *record) encode() (string, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("encode place: %w", err)
	}
	return string(b), nil
}

// guardRecord is the value of a guard.
type guardRecord struct {
	// Hold is the key of the hold that the guard belongs to.
	Hold string `json:"hold"`
	// Delay is how long the guard outlives an unclean loss of the hold.
	Delay time.Duration `json:"delay,omitempty"`
}

// kind is what is asked of a lock, as its keys spell it. The order of the words
// matters: no key of a kind that excludes "shared" sorts after it.
type kind string

const (
	exclusive kind = "exclusive"
	sharing   kind = "shared"

	limitPrefix = "limit-"
)

func kindOf(isShared bool, limit int) kind {
	switch {
	case isShared:
		return sharing
	case limit > 1:
		return kind(fmt.Sprintf("%s%06d", limitPrefix, limit))
	}
	return exclusive
}

// limit returns how many may hold at once; zero: any number.
func (k kind) limit() int {
	switch k {
	case sharing:
		return 0
	case exclusive:
		return 1
	}
	n, _ := strconv.Atoi(strings.TrimPrefix(string(k), limitPrefix))
	return n
}

// mixes reports whether contenders of both kinds may use one lock.
func (k kind) mixes(o kind) bool {
	return k == o || k.limit() <= 1 && o.limit() <= 1
}

// class is a priority as keys spell it: a higher priority sorts first.
func class(priority int) string {
	return fmt.Sprintf("%08x", uint32(math.MaxInt32-int64(priority))) // priorities are 32 bit
}

func priorityOf(class string) int {
	n, _ := strconv.ParseUint(class, 16, 32)
	return math.MaxInt32 - int(n) // 32 bit
}

// layout spells the keys of the lock whose prefix it is; see the package
// comment. The words g, h and w matter: guards and holds are one range.
type layout string

func (l layout) holds() string  { return string(l) + "/h/" }
func (l layout) guards() string { return string(l) + "/g/" }
func (l layout) queue() string  { return string(l) + "/w/" }

func (l layout) holdsOf(k kind) string       { return l.holds() + string(k) + "/" }
func (l layout) guardsOf(k kind) string      { return l.guards() + string(k) + "/" }
func (l layout) queueOf(class string) string { return l.queue() + class + "/" }

func (l layout) hold(k kind, id string) string { return l.holdsOf(k) + id }
func (l layout) place(class string, k kind, id string) string {
	return l.queueOf(class) + string(k) + "/" + id
}

// guard returns the key that guards the hold id, or the permit slot.
func (l layout) guard(k kind, id string, slot int) string {
	if k.limit() > 1 {
		id = fmt.Sprintf("%06d", slot)
	}
	return l.guardsOf(k) + id
}

// located is a key of a lock, taken apart.
type located struct {
	lock  layout
	what  byte // g, h or w
	class string
	kind  kind
	id    string
}

// locate takes a key apart. It returns false for what is no key of a lock.
func locate(key string) (located, bool) {
	rest, id, ok := cutLast(key)
	if !ok {
		return located{}, false
	}
	rest, k, ok := cutLast(rest)
	if !ok || kind(k) != exclusive && kind(k) != sharing && !strings.HasPrefix(k, limitPrefix) {
		return located{}, false
	}
	at := located{kind: kind(k), id: id}
	rest, word, ok := cutLast(rest)
	if ok && len(word) == len(class(0)) {
		at.class = word
		rest, word, ok = cutLast(rest)
	}
	if !ok || len(word) != 1 || (word == "w") != (at.class != "") || !strings.Contains("ghw", word) {
		return located{}, false
	}
	at.lock, at.what = layout(rest), word[0]
	return at, true
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

// empty compares that there is no key in [from, to).
func empty(from, to string) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(from), "=", 0).WithRange(to)
}

func absent(key string) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(key), "=", 0)
}

func unchanged(key string, rev int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(key), "=", rev)
}

func after(prefix string) string { return clientv3.GetPrefixRangeEnd(prefix) }

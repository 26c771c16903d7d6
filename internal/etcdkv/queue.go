package etcdkv

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// QueueItem is the value of an item that waits in a typed queue or is being
// worked on. It is written by Put, and again by every claim and failure.
type QueueItem struct {
	Schema  int    `json:"schema"`
	Payload []byte `json:"payload,omitempty"`
	// Attempt counts the claims so far.
	Attempt int `json:"attempt,omitempty"`
	// NotBefore, when not zero, is when it may be claimed again.
	NotBefore time.Time `json:"notBefore,omitzero"`
	PutAt     time.Time `json:"putAt"`
	// LastError is why the last attempt failed.
	LastError string `json:"lastError,omitempty"`
}

// QueueMarker is the value of a claim, on the worker's lease. Its create
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
}

// QueueDead is the value of an item that was given up.
type QueueDead struct {
	Schema int `json:"schema"`
	// Item is the QueueItem as it was, unknown fields included.
	Item   json.RawMessage `json:"item"`
	Reason string          `json:"reason"`
	At     time.Time       `json:"at"`
}

// QueueKeys are the keys of one typed queue. An item is named by its priority
// and its ID together; higher priorities sort first.
type QueueKeys struct{ root string }

// QueueOf returns the keys of a typed queue.
func (k Keys) QueueOf(ns, typ string) QueueKeys { return QueueKeys{root: k.Queue(ns, typ)} }

// Live is the prefix of items and markers, which a dispatcher follows.
func (q QueueKeys) Live() string { return q.root + "live/" }

// Items is the prefix of all items.
func (q QueueKeys) Items() string { return q.Live() + "i/" }

// Markers is the prefix of all claims.
func (q QueueKeys) Markers() string { return q.Live() + "x/" }

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
// Markers or Dead. It reports false for any other key.
func (q QueueKeys) Parse(prefix, key string) (priority int, id string, ok bool) {
	rest, ok := strings.CutPrefix(key, prefix)
	if !ok || len(rest) < 3 || rest[0] < '0' || rest[0] > '9' || rest[1] != '/' {
		return 0, "", false
	}
	return int('9' - rest[0]), rest[2:], true
}

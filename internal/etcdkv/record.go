package etcdkv

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Schema is the version of the JSON values that this release writes.
const Schema = 1

// Meta describes the cluster. It is written once, when the first node starts.
type Meta struct {
	Schema    int       `json:"schema"`
	ClusterID string    `json:"clusterId"`
	Epoch     int64     `json:"epoch"`
	Shards    int       `json:"shards"`
	CreatedAt time.Time `json:"createdAt"`
}

// Phase is where a node is in its life.
type Phase string

// The phases of a node.
const (
	PhaseReady    Phase = "ready"    // owns shards, or may
	PhaseDraining Phase = "draining" // hands its shards over and leaves
)

// Member is what a live node says of itself.
type Member struct {
	Schema      int        `json:"schema"`
	Node        job.NodeID `json:"node"`
	Identity    string     `json:"identity"`    // of the data directory, the same after a restart
	Incarnation string     `json:"incarnation"` // new at every start
	Site        string     `json:"site,omitempty"`
	Priority    int        `json:"priority,omitempty"`
	Capacity    int        `json:"capacity"` // relative weight for balanced shards; at least 1
	Phase       Phase      `json:"phase"`
	PhaseSince  time.Time  `json:"phaseSince,omitzero"` // when the phase began; zero: not said
	PeerAddr    string     `json:"peerAddr"`            // host:port for minions and peers
	APIAddr     string     `json:"apiAddr"`             // host:port of API and page
	Lease       int64      `json:"lease"`               // what a hand-over to this node is put on
	Version     string     `json:"version"`
	StartedAt   time.Time  `json:"startedAt"`
}

// Owner is the value of a shard's owner key. Only a grant writes that key: its
// mod revision is the fencing token.
type Owner struct {
	Schema int        `json:"schema"`
	Node   job.NodeID `json:"node"`
	// Grant is unique per grant, so that an ambiguous answer can be resolved.
	Grant string    `json:"grant"`
	Since time.Time `json:"since"`
	// From is who handed the shard over; empty when it was claimed.
	From job.NodeID `json:"from,omitempty"`
}

// ShardState says how far a shard's fires are committed. Only the owner writes it.
type ShardState struct {
	Schema int `json:"schema"`
	// Cursor: every occurrence at or before it, of the jobs known at JobsRev,
	// is committed to a slot or was not due.
	Cursor time.Time `json:"cursor"`
	// JobsRev is the revision of the job view that the last commit planned from.
	JobsRev int64 `json:"jobsRev"`
	// Seq is the number of the last slot.
	Seq uint64 `json:"seq"`
	// Claim is unique per commit, so that an ambiguous answer can be resolved.
	Claim string `json:"claim"`
}

// Trigger is a start that somebody asked for.
type Trigger struct {
	Schema int        `json:"schema"`
	Fire   job.FireID `json:"fire"`
	Key    job.Key    `json:"key"`
	By     string     `json:"by,omitempty"`
}

// Presence is one bucket of a node's connected minions.
type Presence struct {
	Schema  int             `json:"schema"`
	Minions []PresentMinion `json:"minions"`
}

// PresentMinion is a connected minion. The highest session wins when two nodes
// claim the same one.
type PresentMinion struct {
	ID      job.MinionID `json:"id"`
	Session int64        `json:"session"`
}

// StoredMinion is the value of a minion's key, written when it is first seen and
// when its labels or facts change.
type StoredMinion struct {
	Schema  int               `json:"schema"`
	ID      job.MinionID      `json:"id"`
	Labels  map[string]string `json:"labels,omitempty"`
	Facts   map[string]string `json:"facts,omitempty"`
	Version string            `json:"version,omitempty"`
	Since   time.Time         `json:"since"`
}

// StoredJob is the value of a job's key.
type StoredJob struct {
	Schema int `json:"schema"`
	job.Job
}

// Encode returns the JSON of a record.
func Encode(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode %T: %w", v, err)
	}
	return string(b), nil
}

// Decode reads the JSON of a record found at key.
func Decode[T any](key string, b []byte) (T, error) {
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("decode %T at %s: %w", v, key, err)
	}
	return v, nil
}

// MergeUnknown returns next with the members of old that T does not know added,
// so that a field of a newer release survives a read-modify-write by this one.
func MergeUnknown[T any](old []byte, next T) (string, error) {
	text, err := Encode(next)
	if err != nil {
		return "", err
	}
	var was, known, now map[string]json.RawMessage
	if err := json.Unmarshal(old, &was); err != nil {
		return text, nil //nolint:nilerr // what cannot be read holds nothing to keep
	}
	var prev T
	if err := json.Unmarshal(old, &prev); err != nil {
		return text, nil //nolint:nilerr // as above
	}
	b, err := json.Marshal(prev)
	if err != nil {
		return "", fmt.Errorf("encode %T: %w", prev, err)
	}
	if err := json.Unmarshal(b, &known); err != nil {
		return "", fmt.Errorf("decode %T: %w", prev, err)
	}
	if err := json.Unmarshal([]byte(text), &now); err != nil {
		return "", fmt.Errorf("decode %T: %w", next, err)
	}
	added := false
	for k, v := range was {
		_, mine := known[k]
		_, set := now[k]
		if !mine && !set {
			now[k], added = v, true
		}
	}
	if !added {
		return text, nil
	}
	b, err = json.Marshal(now)
	if err != nil {
		return "", fmt.Errorf("encode %T: %w", next, err)
	}
	return string(b), nil
}

package etcdkv

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Audit is the record of what somebody did. It is written once and never changed.
type Audit struct {
	Schema int       `json:"schema"`
	At     time.Time `json:"at"`
	By     string    `json:"by,omitempty"`
	// From is where it was asked for: an address, or "socket". Empty: by Carillon
	// itself, or an older release.
	From string `json:"from,omitempty"`
	// Request is the id of the request.
	Request string `json:"request,omitempty"`
	// Action is what was done, as "lock.break" or "node.drain".
	Action string `json:"action"`
	// Object is what it was done to.
	Object string `json:"object"`
	Reason string `json:"reason,omitempty"`
	// Before is what was there before, where that is not told by Changes.
	Before string `json:"before,omitempty"`
	// Changes are the fields of the object that were changed; LeftOut is how many
	// more were, for which there was no room.
	Changes []AuditChange `json:"changes,omitempty"`
	LeftOut int           `json:"leftOut,omitempty"`
	// Count is how many attempts a record stands for; 0: one.
	Count int64 `json:"count,omitempty"`
	// Objects are the objects of a record of several, which were changed together.
	// Action and Object say how many they are then.
	Objects []AuditObject `json:"objects,omitempty"`
}

// AuditObject is one of several objects that were changed together.
type AuditObject struct {
	Action  string        `json:"action"`
	Object  string        `json:"object"`
	Changes []AuditChange `json:"changes,omitempty"`
	LeftOut int           `json:"leftOut,omitempty"`
}

// AuditChange is a field before and after, as JSON; empty: it was not there.
type AuditChange struct {
	Path   string `json:"path"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// AuditSegment seals audit records: it holds their hashes, and that of the segment
// before it. It is written once and never changed.
type AuditSegment struct {
	Schema int   `json:"schema"`
	Seq    int64 `json:"seq"`
	// Prev is the hash of the segment before; empty: it is the first there ever was.
	Prev string `json:"prev,omitempty"`
	// At is when it was written, by the clock of Node, which wrote it.
	At   time.Time  `json:"at"`
	Node job.NodeID `json:"node"`
	// Records are in the order in which etcd took them.
	Records []SealedRecord `json:"records"`
	// Bytes is the size of the records.
	Bytes int64 `json:"bytes"`
	// Hash is Sum's.
	Hash string `json:"hash"`
}

// SealedRecord is a record by its name, which is its key without Keys.Audit, with the
// SHA-256 of its bytes.
type SealedRecord struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

// Sum returns the hash of a segment: of lines with its number, the hash of the segment
// before, its time, its node, its bytes, and each of its records.
func (s *AuditSegment) Sum() string {
	var b strings.Builder
	fmt.Fprintf(&b, "carillon audit 1\n%d\n%s\n%s\n%s\n%d\n", s.Seq, s.Prev, s.At.UTC().Format(time.RFC3339Nano), s.Node, s.Bytes)
	for _, r := range s.Records {
		fmt.Fprintf(&b, "%s %s\n", r.Name, r.SHA256)
	}
	return AuditSum([]byte(b.String()))
}

// AuditSum is the hash of a record's bytes.
func AuditSum(value []byte) string {
	sum := sha256.Sum256(value)
	return hex.EncodeToString(sum[:])
}

// AuditHead tells where the chain of segments begins and ends.
type AuditHead struct {
	Schema int `json:"schema"`
	// Seq and Hash are the last segment's, At is when it was written.
	Seq  int64     `json:"seq"`
	Hash string    `json:"hash"`
	At   time.Time `json:"at"`
	// First is the number of the first segment that is kept. Those before it were
	// removed when they were old: Prev is the hash of the last of them, written at
	// PrevAt. Empty: there was none.
	First  int64     `json:"first"`
	Prev   string    `json:"prev,omitempty"`
	PrevAt time.Time `json:"prevAt,omitzero"`
	// Bytes is the size of the records that are sealed and kept.
	Bytes int64 `json:"bytes"`
}

// Audit is the prefix of the records of what operators did.
func (k Keys) Audit() string { return k.root + "audit/" }

// AuditRecord is the key of a record; id must be unique.
func (k Keys) AuditRecord(at time.Time, id string) string {
	return k.Audit() + AuditTime(at) + "-" + id
}

// auditTime is how the keys of records begin, so that they sort by time.
const auditTime = "20060102T150405.000000000"

// AuditTime is how the names of records of a time begin.
func AuditTime(at time.Time) string { return at.UTC().Format(auditTime) }

// ParseAuditTime returns the time that the name of a record begins with.
func ParseAuditTime(name string) (time.Time, error) {
	text, _, _ := strings.Cut(name, "-")
	at, err := time.Parse(auditTime, text)
	if err != nil {
		return at, fmt.Errorf("name of an audit record %q: %w", name, err)
	}
	return at, nil
}

// AuditSegments is the prefix of the segments that the records are sealed in.
func (k Keys) AuditSegments() string { return k.root + "auditchain/segments/" }

// AuditSegment is the key of a segment.
func (k Keys) AuditSegment(seq int64) string {
	return k.AuditSegments() + fmt.Sprintf("%016x", uint64(seq)) // it is not negative
}

// AuditHead is the key that tells where the chain of segments begins and ends.
func (k Keys) AuditHead() string { return k.root + "auditchain/head" }

// AuditSealer is the key that whoever seals records holds, on its lease.
func (k Keys) AuditSealer() string { return k.root + "auditchain/sealer" }

package api

import "time"

// AuditRecord is one entry of the audit log: what somebody has done.
type AuditRecord struct {
	// ID names the record, and is told once.
	ID string    `json:"id,omitempty"`
	At time.Time `json:"at"`
	By string    `json:"by,omitempty"`
	// From is where it was asked for: an address, or "socket". Empty: by Carillon
	// itself, or an older release.
	From string `json:"from,omitempty"`
	// Request is the id of the request; its answer had it in RequestIDHeader.
	Request string `json:"request,omitempty"`
	// Action is what was done, as "lock.break" or "node.drain".
	Action string `json:"action"`
	// Object is what it was done to.
	Object string `json:"object"`
	Reason string `json:"reason,omitempty"`
	// Before is what was there before, where that is not told by Changes.
	Before string `json:"before,omitempty"`
	// Changes are the fields of the object that were changed, with secrets masked;
	// LeftOut is how many more were, for which the record had no room.
	Changes []AuditChange `json:"changes,omitempty"`
	LeftOut int           `json:"leftOut,omitempty"`
	// Count is how many attempts the record stands for; 0: one.
	Count int64 `json:"count,omitempty"`
	// Segment is the number of the segment that the record is sealed in, where that is
	// told.
	Segment int64 `json:"segment,omitempty"`
}

// AuditQuery selects audit records. Zero fields select all.
type AuditQuery struct {
	// Limit bounds the records of one answer: 1 to MaxAudit.
	Limit int
	// Since and Until bound the time of the records.
	Since, Until time.Time
	// By is who did it. Action is what was done, or its first word: "job" for
	// "job.create". Object is a part of what it was done to.
	By, Action, Object string
	// After is Next of the answer before.
	After string
}

// AuditPage is some of the selected records, newest first.
type AuditPage struct {
	Records []AuditRecord `json:"records" nullable:"false"`
	// Next asks for those that come after, if there may be some; empty: there are none.
	Next string `json:"next,omitempty"`
	// Older is how many stored records were not looked at: one may tell of several
	// objects.
	Older int64 `json:"older,omitempty"`
}

// AuditSeal is a segment that records are sealed in.
type AuditSeal struct {
	Segment int64 `json:"segment"`
	// SHA256 is its hash, Before that of the segment before it.
	SHA256   string    `json:"sha256"`
	Before   string    `json:"before,omitempty"`
	SealedAt time.Time `json:"sealedAt"`
	Records  int       `json:"records"`
}

// AuditFeed is sealed records, in the order in which they were sealed.
type AuditFeed struct {
	Records []AuditRecord `json:"records" nullable:"false"`
	Seals   []AuditSeal   `json:"seals" nullable:"false"`
	// Last is the number of the last segment that was looked at: what is sealed later
	// comes after it.
	Last int64 `json:"last"`
}

// AuditVerdict is what a check of the audit has found.
type AuditVerdict struct {
	// First and Last are the segments that there are; Last is less than First when
	// there are none. SHA256 is the hash of the last one, written at SealedAt.
	First    int64     `json:"first"`
	Last     int64     `json:"last"`
	SHA256   string    `json:"sha256,omitempty"`
	SealedAt time.Time `json:"sealedAt,omitzero"`
	// Begins is up to when records have been removed, as they were old; zero: none was.
	Begins time.Time `json:"begins,omitzero"`
	// Sealed is how many records are in segments, Waiting how many are not yet.
	Sealed  int `json:"sealed"`
	Waiting int `json:"waiting"`
	// Problems tell what does not fit; More is how many there are besides.
	Problems []string `json:"problems" nullable:"false"`
	More     int      `json:"more,omitempty"`
}

// AuditChange is a field before and after, as JSON; empty: it was not there.
type AuditChange struct {
	Path   string `json:"path"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// Headers of requests and answers.
const (
	// RequestIDHeader names a request, in its answer and in the audit. One that the
	// client sends is kept if it has at most 64 letters, digits, '.', '_' and '-'.
	RequestIDHeader = "X-Request-Id"
	// KeyHeader names a start, so that it starts nothing again when it is sent twice.
	KeyHeader = "Idempotency-Key"
	// ByHeader is who asks, in the client's own words. It counts where nothing is
	// proven, and the request does not say so otherwise.
	ByHeader = "X-Carillon-By"
	// ReasonHeader is why, for requests that do not say so otherwise.
	ReasonHeader = "X-Carillon-Reason"
)

// Order is what an operator asks for, and why.
type Order struct {
	By     string
	Reason string
}

// MaxAudit bounds the records of one answer.
const MaxAudit = 1000

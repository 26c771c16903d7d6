package api

import (
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Enrollment is a minion that has, or had, a certificate.
type Enrollment struct {
	ID job.MinionID `json:"id"`
	// Key is the fingerprint of the minion's key.
	Key string `json:"key"`
	// Token is the ID of the token that it enrolled by; ApprovedBy who approved
	// it where there was none.
	Token      string    `json:"token,omitempty"`
	ApprovedBy string    `json:"approvedBy,omitempty"`
	EnrolledAt time.Time `json:"enrolledAt"`
	// Serial, IssuedAt and ExpiresAt are of the certificate issued last.
	Serial    string    `json:"serial"`
	IssuedAt  time.Time `json:"issuedAt"`
	ExpiresAt time.Time `json:"expiresAt"`
	// RevokedAt is zero while the minion is enrolled.
	RevokedAt time.Time `json:"revokedAt,omitzero"`
	// Clones are other keys that asked for this id and were refused, the first
	// few of them.
	Clones []Clone `json:"clones,omitempty"`
}

// Clone is another key that asked for an enrolled minion's id.
type Clone struct {
	Key  string    `json:"key"`
	From string    `json:"from"` // where the request came from
	At   time.Time `json:"at"`   // when it was seen first
}

// JoinRequest is a minion that asks to be enrolled, and has no token.
type JoinRequest struct {
	ID job.MinionID `json:"id"`
	// Keys ask for this id; an operator has to find out which is the right one.
	Keys []RequestedKey `json:"keys"`
}

// RequestedKey is a key that is to be enrolled.
type RequestedKey struct {
	Key  string    `json:"key"` // its fingerprint
	From string    `json:"from"`
	At   time.Time `json:"at"` // when it was seen first
	// Seen is when it asked again, in steps of a while.
	Seen       time.Time `json:"seen,omitzero"`
	ApprovedAt time.Time `json:"approvedAt,omitzero"`
	RejectedAt time.Time `json:"rejectedAt,omitzero"`
	By         string    `json:"by,omitempty"` // who approved or rejected it
	// Labels are granted when it is enrolled.
	Labels map[string]string `json:"labels,omitempty"`
}

// Authority is the cluster's authority, which signs the certificates of nodes
// and minions.
type Authority struct {
	// Certificate is its certificate as PEM: what worker --ca takes.
	Certificate string `json:"certificate"`
	// SHA256 is the hash of the certificate, in hexadecimal.
	SHA256    string    `json:"sha256"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// TokenRequest is what a new join token is to be good for. Zero values stand
// for the defaults.
type TokenRequest struct {
	// TTL is how long it lasts; default an hour. Uses is how many minions it
	// enrolls; default one. Minions is a glob that their ids must match.
	TTL     time.Duration
	Uses    int
	Minions string
	// Labels are granted to them.
	Labels map[string]string
	Order
}

// JoinToken is a join token. Text is given once, when it is made.
type JoinToken struct {
	ID      string `json:"id"`
	Text    string `json:"text,omitempty"`
	Minions string `json:"minions,omitempty"`
	// Nodes: it lets nodes join, whose names Minions is a glob of, and no minions.
	Nodes bool `json:"nodes,omitempty"`
	Uses  int  `json:"uses"`
	// Labels are granted to the minions that join by it.
	Labels    map[string]string `json:"labels,omitempty"`
	ExpiresAt time.Time         `json:"expiresAt"`
	By        string            `json:"by,omitempty"`
}

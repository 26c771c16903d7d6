package etcdkv

import (
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Authority is the cluster's certificate authority. It is written once. Who has its key
// can be any node and any minion; see Keys.Secrets.
type Authority struct {
	Schema int `json:"schema"`
	// Certificate and Key are PEM.
	Certificate string    `json:"certificate"`
	Key         string    `json:"key"`
	CreatedAt   time.Time `json:"createdAt"`
}

// Tickets are the keys of TLS session tickets that all nodes share.
type Tickets struct {
	Schema int `json:"schema"`
	// Keys are ordered, the newest first; that one makes new tickets.
	Keys []TicketKey `json:"keys"`
}

// TicketKey is one key of session tickets.
type TicketKey struct {
	Key       []byte    `json:"key"` // 32 bytes
	CreatedAt time.Time `json:"createdAt"`
}

// JoinToken lets minions enroll. Its secret is not stored.
type JoinToken struct {
	Schema     int    `json:"schema"`
	ID         string `json:"id"`
	SecretHash string `json:"secretHash"`
	// Minions is a shell pattern that the ids must match; empty: any.
	Minions string `json:"minions,omitempty"`
	// Uses is how many minions may still enroll; the key is deleted at 0.
	Uses int `json:"uses"`
	// Nodes: it lets nodes join, whose names Minions is a pattern of, and no minions.
	Nodes bool `json:"nodes,omitempty"`
	// Used are the fingerprints of the keys of nodes that joined by it: who has lost the
	// answer asks again. So a token for nodes stays until it expires.
	Used []string `json:"used,omitempty"`
	// Labels are granted to the minions that it enrolls.
	Labels    map[string]string `json:"labels,omitempty"`
	ExpiresAt time.Time         `json:"expiresAt"`
	By        string            `json:"by,omitempty"`
	CreatedAt time.Time         `json:"createdAt"`
}

// Enrollment is a minion that has, or had, a certificate.
type Enrollment struct {
	Schema int          `json:"schema"`
	ID     job.MinionID `json:"id"`
	// Key is the fingerprint of the minion's key.
	Key string `json:"key"`
	// Token is the ID of the token that it enrolled by; ApprovedBy who approved
	// it where there was none.
	Token      string    `json:"token,omitempty"`
	ApprovedBy string    `json:"approvedBy,omitempty"`
	EnrolledAt time.Time `json:"enrolledAt"`
	// Serial, IssuedAt and ExpiresAt are of the certificate issued last.
	// IssuedAt is in whole seconds, and rises strictly.
	Serial    string    `json:"serial"`
	IssuedAt  time.Time `json:"issuedAt"`
	ExpiresAt time.Time `json:"expiresAt"`
	// Ahead is how many in a row were issued before the instant of the one before
	// them had passed.
	Ahead int `json:"ahead,omitempty"`
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
	Schema int          `json:"schema"`
	ID     job.MinionID `json:"id"`
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

// Revocation says that a minion's certificates are not good any more.
type Revocation struct {
	Schema int          `json:"schema"`
	ID     job.MinionID `json:"id"`
	// Before is the instant of issue up to which they are revoked, that
	// instant included.
	Before time.Time `json:"before"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
	By     string    `json:"by,omitempty"`
}

// AuthCA is the key of the cluster's authority, its private key included.
func (k Keys) AuthCA() string { return k.root + "auth/ca" }

// AuthTickets is the key of the keys of TLS session tickets.
func (k Keys) AuthTickets() string { return k.root + "auth/tickets" }

// AuthTokens is the prefix of all join tokens.
func (k Keys) AuthTokens() string { return k.root + "auth/tokens/" }

// AuthToken is the key of a join token.
func (k Keys) AuthToken(id string) string { return k.AuthTokens() + id }

// AuthMinions is the prefix of all enrolled minions.
func (k Keys) AuthMinions() string { return k.root + "auth/minions/" }

// AuthMinion is the key of an enrolled minion.
func (k Keys) AuthMinion(m job.MinionID) string { return k.AuthMinions() + string(m) }

// AuthRequests is the prefix of all minions that ask to be enrolled.
func (k Keys) AuthRequests() string { return k.root + "auth/requests/" }

// AuthRequest is the key of a minion that asks to be enrolled.
func (k Keys) AuthRequest(m job.MinionID) string { return k.AuthRequests() + string(m) }

// AuthRevocations is the prefix of all revocations.
func (k Keys) AuthRevocations() string { return k.root + "auth/revoked/" }

// AuthRevocation is the key of a minion's revocation.
func (k Keys) AuthRevocation(m job.MinionID) string { return k.AuthRevocations() + string(m) }

package api

import "time"

// APIToken is a token by which a program or a person asks the API.
type APIToken struct {
	// ID may be shown; Name is what bindings know the token by.
	ID   string `json:"id"`
	Name string `json:"name"`
	// Owner is who answers for it.
	Owner     string    `json:"owner,omitempty"`
	Note      string    `json:"note,omitempty"`
	ExpiresAt time.Time `json:"expiresAt"`
	Expired   bool      `json:"expired,omitempty"`
	By        string    `json:"by,omitempty"` // who made it
	CreatedAt time.Time `json:"createdAt"`
	// LastUsedAt is when it was used last, give or take a minute; zero: never.
	LastUsedAt   time.Time `json:"lastUsedAt,omitzero"`
	LastUsedFrom string    `json:"lastUsedFrom,omitempty"`
	// FormerUntil is until when the text that it had before is good beside the present one;
	// zero: it had none, or that one has ended.
	FormerUntil time.Time `json:"formerUntil,omitzero"`
	// Text is the token itself. It is in the answer that makes it only.
	Text string `json:"text,omitempty"`
}

// APITokenRequest is what a new token of the API is to be.
type APITokenRequest struct {
	Name  string
	Owner string // empty: who asks
	Note  string
	// TTL is how long it lasts. It must be given.
	TTL time.Duration
	Order
}

// TokenRotation is how a token gets another text.
type TokenRotation struct {
	// TTL is how long the token lasts from now on. Zero: as long as it would have.
	TTL time.Duration
	// Grace is how long the former text is good beside the new one, and no longer than it
	// would have been. Zero: it ends at once.
	Grace time.Duration
	Order
}

// MaxTokenGrace is the longest TokenRotation.Grace.
const MaxTokenGrace = 7 * 24 * time.Hour

// Self is who asks, as the cluster knows it.
type Self struct {
	// Name is how records show it. Empty: nothing is known of who asks.
	Name string `json:"name"`
	// Subjects are all that bindings may know it as.
	Subjects []Subject `json:"subjects,omitempty"`
	// Remote is where it asks from: an address, or "socket".
	Remote string `json:"remote,omitempty"`
	// Provider is the identity provider that told who it is, at a login. Empty: none did.
	Provider string `json:"provider,omitempty"`
	// Until is when what it shows ends at the latest. Zero: it does not by itself.
	Until time.Time `json:"until,omitzero"`
	// Everything: it may do everything, by no role: root, or the node's account, over
	// the local socket.
	Everything bool `json:"everything,omitempty"`
	// Roles are those that bindings give to its subjects, ordered by the names of roles.
	Roles []HeldRole `json:"roles,omitempty"`
}

// HeldRole is a role that somebody has.
type HeldRole struct {
	Role string `json:"role"`
	// Binding is the name of the binding that gives it.
	Binding string `json:"binding"`
	// Namespaces are those in which it is given. Empty: all.
	Namespaces []string `json:"namespaces,omitempty"`
}

// Subject is who a role is given to.
type Subject struct {
	// Kind is "user", "group", "token" or "account".
	Kind string `json:"kind"`
	Name string `json:"name"`
}

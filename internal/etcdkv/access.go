package etcdkv

import (
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Access is whether the API answers everybody. Without it, it does.
type Access struct {
	Schema int `json:"schema"`
	// State is "open", "noting" or "closed". A node does not start with another.
	State  string    `json:"state"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since,omitzero"`
}

// APIToken is a token by which a program or a person asks the API. Its text is not
// stored: its key has the SHA-256 of it.
type APIToken struct {
	Schema int `json:"schema"`
	// ID may be shown, and tells nothing of the text.
	ID string `json:"id"`
	// Name is what bindings know the token by. No other token gets it later.
	Name string `json:"name"`
	// Owner is who answers for the token, as whoever made it says.
	Owner     string    `json:"owner,omitempty"`
	Note      string    `json:"note,omitempty"`
	ExpiresAt time.Time `json:"expiresAt"`
	By        string    `json:"by,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
	// Rotated is set on the former text of a token, which ends at ExpiresAt: another has its
	// place.
	Rotated bool `json:"rotated,omitempty"`
	// FormerUntil is until when the text before this one is good. Zero: there is none.
	FormerUntil time.Time `json:"formerUntil,omitzero"`
}

// APITokenName says that a name of a token is, or was, in use.
type APITokenName struct {
	Schema int    `json:"schema"`
	ID     string `json:"id"`
}

// APITokenUse is when a token was used last, give or take a minute.
type APITokenUse struct {
	Schema int       `json:"schema"`
	ID     string    `json:"id"`
	At     time.Time `json:"at"`
	From   string    `json:"from,omitempty"`
}

// PageSession is a login of the page, or of the command line. Its secret is not stored:
// its key has the SHA-256 of it.
type PageSession struct {
	Schema int `json:"schema"`
	// Token is the key of the token that was shown: the session is good while it is.
	// Empty: it is a login by the identity provider.
	Token string `json:"token,omitempty"`
	Name  string `json:"name"`
	// User is whom the identity provider has told. Nil: it is a login by a token.
	User *SessionUser `json:"user,omitempty"`
	// Command: it is a login of the command line.
	Command   bool      `json:"command,omitempty"`
	From      string    `json:"from,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
	// ExpiresAt is when a login by the identity provider ends at the latest.
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
	// SeenAt is the last request, give or take a minute.
	SeenAt time.Time `json:"seenAt"`
}

// SessionUser is somebody as the identity provider told it at the login.
type SessionUser struct {
	Issuer  string   `json:"issuer"`
	Subject string   `json:"subject"`
	Session string   `json:"session,omitempty"` // the provider's own name of it
	Groups  []string `json:"groups,omitempty"`
}

// UsedLogout says that a logout token was used.
type UsedLogout struct {
	Schema int       `json:"schema"`
	At     time.Time `json:"at"`
}

// Bootstrap is a token by which somebody becomes admin once. Its text is in a file on
// the node's host.
type Bootstrap struct {
	Schema    int        `json:"schema"`
	Hash      string     `json:"hash"` // the SHA-256 of its text
	Node      job.NodeID `json:"node"`
	CreatedAt time.Time  `json:"createdAt"`
	ExpiresAt time.Time  `json:"expiresAt"`
}

// Access is the key of the cluster's state: open to everybody, or closed.
func (k Keys) Access() string { return k.root + "access" }

// APITokens is the prefix of all tokens of the API.
func (k Keys) APITokens() string { return k.root + "auth/api/tokens/" }

// APIToken is the key of a token of the API, by the SHA-256 of its text.
func (k Keys) APIToken(hash string) string { return k.APITokens() + hash }

// APITokenName is the key of a name of a token. It stays when the token goes.
func (k Keys) APITokenName(name string) string { return k.root + "auth/api/names/" + name }

// APITokenUses is the prefix of when tokens of the API were used last.
func (k Keys) APITokenUses() string { return k.root + "auth/api/uses/" }

// APITokenUse is the key of when a token of the API was used last.
func (k Keys) APITokenUse(id string) string { return k.APITokenUses() + id }

// PageSessions is the prefix of all sessions.
func (k Keys) PageSessions() string { return k.root + "auth/api/sessions/" }

// PageSession is the key of a session of the page or of the command line, by the SHA-256
// of its secret.
func (k Keys) PageSession(hash string) string { return k.PageSessions() + hash }

// UsedLogout is the key of a logout token that was used, by the SHA-256 of its issuer and
// its ID.
func (k Keys) UsedLogout(hash string) string { return k.root + "auth/api/logouts/" + hash }

// Bootstrap is the key of the token by which somebody becomes admin once.
func (k Keys) Bootstrap() string { return k.root + "auth/api/bootstrap" }

package etcdkv

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// SealState says by which key secrets of the cluster's own are sealed. Without it they
// are in the clear.
type SealState struct {
	Schema int `json:"schema"`
	// Key is the id of the key. It is no secret.
	Key string `json:"key"`
	// Node is the node that saw to it, and File where its host has the key.
	Node  job.NodeID `json:"node"`
	File  string     `json:"file,omitempty"`
	Since time.Time  `json:"since"`
	// SettledAt is when all that was there before was sealed by Key; zero: it is not yet.
	SettledAt time.Time `json:"settledAt,omitzero"`
}

// SealHolder is what a live node says of its file with seal keys.
type SealHolder struct {
	Schema int        `json:"schema"`
	Node   job.NodeID `json:"node"`
	// Keys are the ids of the keys in it, the first one of which seals.
	Keys []string `json:"keys,omitempty"`
}

// SealState is the key of what says by which key secrets are sealed.
func (k Keys) SealState() string { return k.root + "seal/state" }

// SealHolders is the prefix of what live nodes say of their seal keys.
func (k Keys) SealHolders() string { return k.root + "seal/holders/" }

// SealHolder is the key of what a live node says of its seal keys, on its lease.
func (k Keys) SealHolder(n job.NodeID) string { return k.SealHolders() + string(n) }

// Secret is a field of records that is sealed.
type Secret struct {
	// Prefix is that of the records; whole: there is one, and it is its key.
	Prefix string
	whole  bool
	// Field is the name of the member in their JSON.
	Field string
	// What says what it is, to people.
	What string
}

// Secrets are all that the cluster keeps that is worth something to who reads it. That
// is told nowhere else.
func (k Keys) Secrets() []Secret {
	return []Secret{
		{k.AuthCA(), true, "key", "the authority's key"},
		{k.AuthTickets(), true, "keys", "keys of session tickets"},
		{k.AuthTokens(), false, "secretHash", "join tokens"},
		{k.HookSecrets(), false, "secret", "secrets of webhooks"},
		{k.PlanSecrets(), false, "secret", "secrets of callbacks of plans"},
		{k.Bootstrap(), true, "hash", "the bootstrap token"},
		{k.Following(), true, "token", "the token by which the active cluster is followed"},
	}
}

// SecretOf returns which field of a key's record is sealed; false: none is.
func (k Keys) SecretOf(key string) (Secret, bool) {
	// Most keys are no secrets'; they are asked about with each write.
	if rest, ok := strings.CutPrefix(key, k.root); !ok || !strings.HasPrefix(rest, "auth/") && !strings.HasPrefix(rest, "hooks/") {
		return Secret{}, false
	}
	for _, s := range k.Secrets() {
		if s.whole && key == s.Prefix || !s.whole && strings.HasPrefix(key, s.Prefix) {
			return s, true
		}
	}
	return Secret{}, false
}

// Whole reports whether there is one record, with Prefix as its key.
func (s Secret) Whole() bool { return s.whole }

// Get returns the field's JSON in a record that was found at key; nil: it has none.
func (s Secret) Get(key string, record []byte) (json.RawMessage, error) {
	fields, err := Decode[map[string]json.RawMessage](key, record)
	return fields[s.Field], err
}

// With returns the record with other JSON in the field. All else stays as it is.
func (s Secret) With(key string, record []byte, value json.RawMessage) ([]byte, error) {
	fields, err := Decode[map[string]json.RawMessage](key, record)
	if err != nil {
		return nil, err
	}
	if fields == nil {
		return nil, fmt.Errorf("decode %s: it is not a record", key)
	}
	fields[s.Field] = value
	b, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", key, err)
	}
	return b, nil
}

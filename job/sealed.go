package job

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// KindSecret is the kind of the manifest of a secret whose value is sealed to minions.
const KindSecret = "Secret"

// Limits of sealed secrets.
const (
	// MaxRecipients is to how many keys a value may be sealed.
	MaxRecipients = 256
	// MaxSealedBytes bounds the sealed text, MaxSealedValue the value in it.
	MaxSealedBytes = 64 << 10
	MaxSealedValue = 16 << 10
	// MaxSealedInOrder bounds the sealed texts that go with an order, together.
	MaxSealedInOrder = 128 << 10
)

// FactSecretRecipient is the fact of a minion that is the key to which secrets for it
// are to be sealed.
const FactSecretRecipient = "secretRecipient"

// SecretSpec is a value that only minions can open. Whoever writes it seals the value on
// their own host; see `carillon secret seal`.
type SecretSpec struct {
	// Description tells people what it is for.
	Description string `json:"description,omitempty"`
	// Sealed is the value as age has encrypted it to Recipients, in its armored form,
	// with the line "carillon-secret/1 NAMESPACE/NAME" before it. A value in the clear
	// is refused.
	Sealed string `json:"sealed"`
	// Recipients are the keys that open it, each age1...: of minions, of hosts that
	// share one, of people.
	Recipients []string `json:"recipients"`
}

// Secret is a secret as the cluster keeps it: sealed.
type Secret struct {
	Metadata
	Spec SecretSpec `json:"spec"`
	// Version counts the values that it has had, from 1.
	Version int `json:"version"`
	// SHA256 is the fingerprint of the sealed text.
	SHA256 string `json:"sha256"`
	// CreatedAt is when it was made; SealedAt when the value was changed last, SealedBy
	// by whom.
	CreatedAt time.Time `json:"createdAt"`
	SealedAt  time.Time `json:"sealedAt"`
	SealedBy  string    `json:"sealedBy,omitempty"`
}

// Validate returns what is wrong with the spec, but for the sealed text.
func (s *SecretSpec) Validate() []Problem {
	var p problems
	if n := len(s.Description); n > MaxScriptWords {
		p.add("spec.description", "has %d bytes; at most %d are allowed", n, MaxScriptWords)
	}
	if len(s.Recipients) == 0 || len(s.Recipients) > MaxRecipients {
		p.add("spec.recipients", "has %d entries; 1 to %d are allowed", len(s.Recipients), MaxRecipients)
	}
	for i, r := range s.Recipients {
		if slices.Contains(s.Recipients[:i], r) {
			p.add("spec.recipients["+strconv.Itoa(i)+"]", "%s is there already", quoteShort(r))
		}
	}
	return p
}

// SecretNames returns the names of the cluster's secrets that variables name, in order.
func SecretNames(env map[string]EnvValue) []string {
	var names []string
	for _, v := range env {
		if v.Secret != nil && v.Secret.Name != "" && !slices.Contains(names, v.Secret.Name) {
			names = append(names, v.Secret.Name)
		}
	}
	slices.SortFunc(names, strings.Compare)
	return names
}

// SecretFinder finds the cluster's secrets; false: there is none of that name.
type SecretFinder func(Key) (*Secret, bool)

// WithSealed returns the secrets of an order of a job in a namespace with the sealed text
// of those that the cluster keeps; missing is the first that there is not. Where they come
// to more than MaxSealedInOrder, the error says so, and the order has none.
func WithSealed(secrets map[string]OrderSecret, namespace string, find SecretFinder) (out map[string]OrderSecret, missing string, err error) {
	size := 0
	out = secrets
	for _, v := range slices.Sorted(maps.Keys(secrets)) {
		s := secrets[v]
		if s.Secret == nil || s.Secret.Name == "" {
			continue
		}
		found, ok := find(Key{Namespace: namespace, Name: s.Secret.Name})
		if !ok {
			missing = cmp.Or(missing, s.Secret.Name)
			continue
		}
		if len(out) > 0 && s.Sealed == "" {
			out = maps.Clone(out)
		}
		if size += len(found.Spec.Sealed); size > MaxSealedInOrder {
			return secrets, "", fmt.Errorf("its secrets come to more than %d bytes, sealed, which is the most that an order may have: seal them to fewer keys, or to one that hosts share", MaxSealedInOrder)
		}
		s.Sealed = found.Spec.Sealed
		out[v] = s
	}
	return out, missing, nil
}

package job

import (
	"encoding/json"
	"errors"
	"slices"
)

// StartRule bounds what may be started: on which minions, as whom, and what. What is
// not given is not bounded; what is given has to hold for one start by one rule.
type StartRule struct {
	// Targets are target expressions, of which one must admit the minion. Empty: every minion.
	Targets []string `json:"targets,omitempty"`
	// RunAs are accounts, by which one the command runs; OwnAccount is the minion's. Empty: any account.
	RunAs []string `json:"runAs,omitempty"`
	// Commands say what may be started, in the grammar of a minion's own list (`worker
	// --allow`), without user. Empty: anything.
	Commands []CommandRule `json:"commands,omitempty"`
	// Role is the role whose rule it was, where the rule is kept with what it admitted.
	// Empty: that is not known, and the rule holds as it was.
	Role string `json:"role,omitempty"`
}

// OwnAccount stands in StartRule.RunAs for the minion's own account, which runs a job
// that names none.
const OwnAccount = "@minion"

// IsZero reports whether the rule bounds nothing.
func (r *StartRule) IsZero() bool { return len(r.Targets)+len(r.RunAs)+len(r.Commands) == 0 }

// CommandRule says what may be started, as a JSON object with the fields of an entry of a
// minion's own list. Its fields stand in the order of their names, so that rules that say
// the same are mostly the same text.
type CommandRule string

// MarshalJSON implements json.Marshaler.
func (c CommandRule) MarshalJSON() ([]byte, error) {
	if !json.Valid([]byte(c)) {
		return nil, errors.New("a rule for commands is no JSON")
	}
	return []byte(c), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *CommandRule) UnmarshalJSON(b []byte) error {
	*c = CommandRule(b)
	return nil
}

// Bound is what somebody may have started: what one of the rules admits.
type Bound struct {
	// By is whose bound it is, for people.
	By    string      `json:"by,omitempty"`
	Rules []StartRule `json:"rules"`
	// Verb and Resource are the right by which it was admitted. Empty: it is not known.
	Verb     string `json:"verb,omitempty"`
	Resource string `json:"resource,omitempty"`
}

// Bounds are several, all of which must admit a start. Empty: nothing is bounded.
type Bounds []Bound

// With returns the bounds and further ones; what both have is in it once.
func (b Bounds) With(further Bounds) Bounds {
	out := slices.Clone(b)
	for _, one := range further {
		if !slices.ContainsFunc(out, one.same) {
			out = append(out, one)
		}
	}
	return out
}

func (b Bound) same(c Bound) bool {
	return b.By == c.By && b.Verb == c.Verb && b.Resource == c.Resource && slices.EqualFunc(b.Rules, c.Rules, StartRule.same)
}

func (r StartRule) same(t StartRule) bool {
	return r.Role == t.Role && slices.Equal(r.Targets, t.Targets) && slices.Equal(r.RunAs, t.RunAs) && slices.Equal(r.Commands, t.Commands)
}

// Size is how many bytes the bounds are stored as, nearly.
func (b Bounds) Size() int {
	n := 0
	for _, one := range b {
		n += len(one.By) + 32
		for _, r := range one.Rules {
			n += 64
			for _, text := range slices.Concat(r.Targets, r.RunAs) {
				n += len(text) + 4
			}
			for _, c := range r.Commands {
				n += len(c) + 4
			}
		}
	}
	return n
}

// Same reports whether two bounds admit the same, whoever they are of.
func (b Bounds) Same(c Bounds) bool {
	return slices.EqualFunc(b, c, func(x, y Bound) bool {
		return x.Verb == y.Verb && x.Resource == y.Resource && slices.EqualFunc(x.Rules, y.Rules, StartRule.same)
	})
}

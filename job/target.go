package job

import "path"

// Spread says on how many of the matching minions a run happens.
type Spread string

// The spreads.
const (
	// SpreadOne runs on one of the matching minions. The default.
	SpreadOne Spread = "one"
	// SpreadAll runs on every matching minion.
	SpreadAll Spread = "all"
	// SpreadAny runs on Target.Count of the matching minions, whichever.
	SpreadAny Spread = "any"
)

// Spreads lists the spreads, the default first.
func Spreads() []Spread { return []Spread{SpreadOne, SpreadAll, SpreadAny} }

// Target says on which minions a job runs. The zero Target matches every
// minion and runs on one of them.
type Target struct {
	// Names are minion ids or globs (`*`, `?`, `[a-z]`); one must match.
	// Empty: every name.
	Names []string `json:"names,omitempty"`
	// Labels must all be on the minion, with these values.
	Labels map[string]string `json:"labels,omitempty"`
	// Match is a target expression, such as `os == "linux" and web*`, that must
	// admit the minion, too; docs/targets.md has the language. Empty: every minion.
	Match string `json:"match,omitempty"`
	// Run says on how many of the matching minions. Empty: SpreadOne.
	Run Spread `json:"run,omitempty"`
	// Count is on how many it runs, when Run is "any". Fewer that match are too few.
	Count int `json:"count,omitempty"`
}

// IsZero reports whether t is the zero Target.
func (t Target) IsZero() bool {
	return len(t.Names) == 0 && len(t.Labels) == 0 && t.Match == "" && t.Run == "" && t.Count == 0
}

// EffectiveRun returns Run, or its default.
func (t Target) EffectiveRun() Spread {
	if t.Run == "" {
		return SpreadOne
	}
	return t.Run
}

// Matches reports whether Names and Labels admit a minion of this id and labels.
// What Match says is for agentpush/target to tell.
// A label that the minion does not have is no match.
func (t Target) Matches(id MinionID, labels map[string]string) bool {
	for k, v := range t.Labels {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	if len(t.Names) == 0 {
		return true
	}
	for _, pattern := range t.Names {
		if ok, err := path.Match(pattern, string(id)); err == nil && ok {
			return true
		}
	}
	return false
}

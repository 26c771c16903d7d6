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
	// SpreadEach runs on one of the matching minions for each value of the label Target.By.
	SpreadEach Spread = "each"
)

// Spreads lists the spreads, the default first.
func Spreads() []Spread { return []Spread{SpreadOne, SpreadAll, SpreadAny, SpreadEach} }

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
	// Prefer is a target expression, such as `site == "east"`, that says which of the
	// matching minions are taken first: the others are while too few of these are ready. It
	// goes with every Run but "all". Empty: none comes before another.
	Prefer string `json:"prefer,omitempty"`
	// Run says on how many of the matching minions. Empty: SpreadOne.
	Run Spread `json:"run,omitempty"`
	// Count is on how many it runs, when Run is "any". Fewer that match are too few.
	Count int `json:"count,omitempty"`
	// By is the label, such as `site`, when Run is "each": the run happens once in each
	// site. A minion without the label is none of these.
	By string `json:"by,omitempty"`
}

// IsZero reports whether t is the zero Target.
func (t Target) IsZero() bool {
	return len(t.Names) == 0 && len(t.Labels) == 0 && t.Match == "" && t.Prefer == "" && t.Run == "" && t.Count == 0 && t.By == ""
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

package etcdkv

import (
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Updates is the prefix of what is kept of minions' updates.
func (k Keys) Updates() string { return k.root + "update/" }

// UpdatePlan is the key of the plan by which minions update.
func (k Keys) UpdatePlan() string { return k.Updates() + "plan" }

// UpdateState is the key of how far that plan has come.
func (k Keys) UpdateState() string { return k.Updates() + "state" }

// UpdatePlan is how the cluster's minions are to be updated. Operators
// write it.
type UpdatePlan struct {
	Schema int `json:"schema"`
	// Release is the number of the manifest, Version what people call it.
	Release int64  `json:"release"`
	Version string `json:"version"`
	// Signed is the signed manifest, which minions verify; nodes do not.
	Signed []byte        `json:"signed"`
	Groups []UpdateGroup `json:"groups"`
	// Paused: nobody new is told. Off: nobody is told anything any more.
	Paused bool `json:"paused,omitempty"`
	Off    bool `json:"off,omitempty"`
	// Tolerate is how many failures do not halt the plan.
	Tolerate int `json:"tolerate,omitempty"`
	// Patience is how long a minion may be under way. Zero: the default.
	Patience job.Duration `json:"patience,omitempty"`
	By       string       `json:"by,omitempty"`
	At       time.Time    `json:"at"`
}

// UpdateGroup is a stage of an UpdatePlan.
type UpdateGroup struct {
	Name string `json:"name"`
	// Match is the target expression of its minions.
	Match string `json:"match"`
	// Canaries is how many of them must be healthy before the others are told.
	Canaries int `json:"canaries,omitempty"`
	// MaxInFlight bounds how many are under way: "20" or "5%". Empty: one.
	MaxInFlight string `json:"maxInFlight,omitempty"`
}

// UpdateState is how far an UpdatePlan has come. It holds the minions that are
// under way or have failed only, so that it stays small. The node that looks
// after the plan writes it.
type UpdateState struct {
	Schema int `json:"schema"`
	// Release is that of the plan. With another one the rest is of a former plan.
	Release int64 `json:"release"`
	// Since is when minions that are under way were told first.
	Since map[job.MinionID]time.Time `json:"since,omitempty"`
	// Failed is why minions have failed.
	Failed map[job.MinionID]string `json:"failed,omitempty"`
	// Hold: the plan is halted, so those under way are not told again.
	Hold bool `json:"hold,omitempty"`
}

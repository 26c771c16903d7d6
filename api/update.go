package api

import (
	"time"

	"github.com/carillon-cron/carillon/job"
)

// UpdateGroup is a part of the minions that is updated after the groups before it.
type UpdateGroup struct {
	Name string `json:"name"`
	// Match is the target expression of its minions.
	Match string `json:"match"`
	// Canaries is how many of them must be healthy before the others are told.
	Canaries int `json:"canaries,omitempty"`
	// MaxInFlight bounds how many are under way: "20" or "5%". Empty: one.
	MaxInFlight string `json:"maxInFlight,omitempty"`
}

// UpdateProgress is how far a group of the plan has come.
type UpdateProgress struct {
	UpdateGroup
	// Phases counts its minions. One that is in several groups belongs to the first.
	Phases map[UpdatePhase]int `json:"phases"`
}

// UpdatePhase says how far a minion's update has come.
type UpdatePhase string

// The phases.
const (
	UpdateManaged  UpdatePhase = "managed"   // does not update itself
	UpdateAbsent   UpdatePhase = "absent"    // not connected, and was not told: told when it is back
	UpdatePending  UpdatePhase = "pending"   // may be told
	UpdateInFlight UpdatePhase = "in-flight" // was told, and is not healthy yet
	UpdateLost     UpdatePhase = "lost"      // took the release and has gone; in flight too, until it is back
	UpdateHealthy  UpdatePhase = "healthy"   // is connected, at the release or a newer one
	UpdateFailed   UpdatePhase = "failed"    // its trial has failed, or it was in flight for too long
)

// UpdateRequest is how minions are to come to a release.
type UpdateRequest struct {
	// Signed is the signed manifest, as JSON.
	Signed []byte
	// Groups come one after the other.
	Groups []UpdateGroup
	// Tolerate is how many failures do not halt the plan, Patience how long a
	// minion may be under way; zero: release.DefaultPatience.
	Tolerate int
	Patience time.Duration
	Order
}

// Update is how far the minions have come to a release.
type Update struct {
	Release int64  `json:"release"`
	Version string `json:"version"`
	// Status is off, halted, paused, running or done; Reason says what is waited
	// for, or what is wrong.
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
	// Group is the one that is being updated, Canary whether only its canaries are.
	Group  string           `json:"group,omitempty"`
	Canary bool             `json:"canary,omitempty"`
	Groups []UpdateProgress `json:"groups"`
	// InFlight are under way, Failed have failed; both are ordered by id.
	InFlight []UpdatingMinion `json:"inFlight"`
	Failed   []UpdatingMinion `json:"failed"`
	Tolerate int              `json:"tolerate"`
	By       string           `json:"by,omitempty"`
	At       time.Time        `json:"at"`
}

// UpdatingMinion is a minion that is under way to a release, or has failed.
type UpdatingMinion struct {
	Minion job.MinionID `json:"minion"`
	Since  time.Time    `json:"since,omitzero"`
	Reason string       `json:"reason,omitempty"`
}

package api

import (
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Group is a group as people look at it.
type Group struct {
	job.Group
	// Words says what the group's mode does.
	Words string     `json:"words"`
	Owner job.NodeID `json:"owner,omitempty"`
	Since time.Time  `json:"since,omitzero"`
	Token job.Token  `json:"token"`
	// Due is the instant that the owner is to fire next; zero: not known.
	Due time.Time `json:"due,omitzero"`
	// Jobs is how many jobs are in the group, OpenSlots how many slots have
	// fires that are not resolved.
	Jobs      int `json:"jobs"`
	OpenSlots int `json:"openSlots"`
	// Line are the nodes that stand in line for the lock, first come first.
	Line []job.NodeID `json:"line,omitempty"`
	// Ring is what the mode remembers of the nodes.
	Ring []RingNode `json:"ring,omitempty"`
	// Override is what an operator decided; nil: nothing.
	Override *Override `json:"override,omitempty"`
}

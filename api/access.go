package api

import (
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Access is whether the API of a cluster answers everybody.
type Access struct {
	// State is "open": it does; "noting": it does, and notes what it would refuse; or
	// "closed": it refuses what no binding allows.
	State string `json:"state"`
	// By, Reason and Since are of the last change; empty: there was none.
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since,omitzero"`
	// Unaware are live nodes of releases that answer everybody in any state.
	Unaware []job.NodeID `json:"unaware,omitempty"`
}

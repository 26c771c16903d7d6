package api

import (
	"time"

	"github.com/carillon-cron/carillon/job"
)

// SiteState is how a site is.
type SiteState string

// The states that sites have.
const (
	// SiteOK: a node of it is live; or it has none, and is a site of minions.
	SiteOK SiteState = "ok"
	// SiteDegraded: some of its nodes are gone, and have not left in order.
	SiteDegraded SiteState = "degraded"
	// SiteDrained: all of its live nodes are drained.
	SiteDrained SiteState = "drained"
	// SiteLost: all of its nodes are gone, and have not left in order.
	SiteLost SiteState = "lost"
)

// Site is a place that may be lost as a whole, such as a data centre. Nodes and minions say
// in which they are (--site).
type Site struct {
	// Name is empty for what says no site.
	Name  string    `json:"name"`
	State SiteState `json:"state"`
	// LostSince is since when it is lost; zero: it is not.
	LostSince time.Time `json:"lostSince,omitzero"`
	// Nodes are live; Gone are known, and not live. Drained are those of Nodes that an
	// operator has drained.
	Nodes   []job.NodeID `json:"nodes" nullable:"false"`
	Gone    []job.NodeID `json:"gone,omitempty"`
	Drained []job.NodeID `json:"drained,omitempty"`
	Shards  int          `json:"shards"`
	// Minions are known, and Connected of them are connected.
	Minions   int `json:"minions"`
	Connected int `json:"connected"`
}

package etcdkv

import (
	"time"

	"github.com/carillon-cron/carillon/job"
)

// LostSite is a site none of whose nodes is live, and of which some are known: they have not
// left in order.
type LostSite struct {
	Schema int       `json:"schema"`
	Site   string    `json:"site"`
	Since  time.Time `json:"since"`
	// Nodes are those that were known there.
	Nodes []job.NodeID `json:"nodes"`
}

// LostSites is the prefix of the sites that are lost.
func (k Keys) LostSites() string { return k.root + "sites-lost/" }

// LostSite is the key of a site that is lost.
func (k Keys) LostSite(site string) string { return k.LostSites() + site }

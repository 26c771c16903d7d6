package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/catalog"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// What is taken for the near end of a certificate.
const (
	// EndsSoon is how near the end of a certificate is told that ought to have been
	// renewed long before.
	EndsSoon = 6 * time.Hour
	// authorityEndsSoon is how near the end of the authority's certificate is told.
	authorityEndsSoon = 60 * 24 * time.Hour
)

// checkCertificates looks for certificates of connected minions that are not
// renewed in time, and at the end of the authority's.
func (c *Checker) checkCertificates(ctx context.Context) ([]api.Check, error) {
	if c.enrollment == nil {
		return nil, nil
	}
	enrolled, err := c.enrollment.Enrolled(ctx)
	if err != nil {
		return nil, err
	}
	now := c.db.Now()
	late := ailments{name: "certificates", hint: "see `carillon minions certificates`"}
	if a, err := c.enroll.Authority(); err == nil && a.ExpiresAt.Sub(now) < authorityEndsSoon {
		late.add("the certificate of the cluster's authority ends at "+catalog.StampOf(a.ExpiresAt),
			"before that, with all nodes stopped: `scheduler --renew-authority`, then give the minions the new certificate (docs/security.md, A new authority); without it no node and no minion can connect")
	}
	sees, err := c.sight(ctx)
	if err != nil {
		return nil, err
	}
	connected, named := map[job.MinionID]bool{}, map[job.MinionID]string{}
	for _, m := range c.inventory.Minions() {
		connected[m.ID], named[m.ID] = m.Node != "", string(m.ID)
		if !sees(rights.Minions, "", m.Labels) {
			named[m.ID] = hiddenName
		}
	}
	for i := range enrolled {
		e := &enrolled[i]
		if connected[e.ID] && e.RevokedAt.IsZero() && !e.ExpiresAt.IsZero() && e.ExpiresAt.Sub(now) < EndsSoon {
			ends := "ends"
			if !now.Before(e.ExpiresAt) {
				ends = "ended"
			}
			late.add(fmt.Sprintf("that of minion %s %s at %s, and ought to have been renewed", named[e.ID], ends, catalog.StampOf(e.ExpiresAt)),
				"see the log of the worker, and its clock; it renews automatically once it can. If it has expired: `carillon minions token`, and start the worker with it")
		}
	}
	return late.all("all that are in use are far from their ends"), nil
}

package control

import (
	"context"

	"github.com/carillon-cron/carillon/api"
)

// tellHeld notes in results from where on they hold.
func (c *Control) tellHeld(ctx context.Context, changes []change) {
	known := c.Committed()
	for i := range changes {
		switch ch := &changes[i]; {
		case ch.rescheduled && ch.everywhere:
			ch.result.HoldsFrom = c.PauseHeldFrom(ctx, api.Paused{Scope: api.ScopeAll}, ch.at)
		case ch.rescheduled:
			ch.result.HoldsFrom = known.HeldFrom(ctx, ch.at, ch.uid, ch.shard)
		}
	}
}

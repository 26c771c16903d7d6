package app

import (
	"github.com/carillon-cron/carillon/agentpush"
	"github.com/carillon-cron/carillon/job"
)

// recoveredMinions are the minions as a recovery asks them.
type recoveredMinions struct{ *agentpush.Hub }

// Minions returns all minions that are known, connected or not. Those whose certificates
// were revoked are none any more.
func (m recoveredMinions) Minions() []job.Minion {
	var out []job.Minion
	for _, x := range m.Inventory().Minions() {
		if !m.Revoked(x.ID) {
			out = append(out, x)
		}
	}
	return out
}

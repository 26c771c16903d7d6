package updates

import (
	"github.com/carillon-cron/carillon/internal/control/audit"
	"github.com/carillon-cron/carillon/internal/control/minions"
	"github.com/carillon-cron/carillon/internal/control/store"
)

// Deps is what a Rollout stands on. All must be set.
type Deps struct {
	Store   *store.Store
	Audit   *audit.Log
	Minions *minions.Fleet
}

// Rollout takes orders for updates of minions. Use New. It may be used by many
// goroutines at once.
type Rollout struct {
	db      *store.Store
	audit   *audit.Log
	minions *minions.Fleet
}

// New returns a Rollout.
func New(deps Deps) *Rollout {
	return &Rollout{db: deps.Store, audit: deps.Audit, minions: deps.Minions}
}

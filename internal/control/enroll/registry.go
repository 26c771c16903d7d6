package enroll

import (
	"github.com/carillon-cron/carillon/internal/control/audit"
	"github.com/carillon-cron/carillon/internal/control/minions"
	"github.com/carillon-cron/carillon/internal/control/store"
)

// Deps is what a Registry stands on. Store, Audit and Minions must be set.
type Deps struct {
	Store   *store.Store
	Audit   *audit.Log
	Minions *minions.Fleet
	// Enrollment looks after who may connect. Nil: connections are plain.
	Enrollment Enrollment
	// Authority is the certificate of the cluster's authority, as PEM. Empty: there
	// is none.
	Authority string
}

// Registry takes operators' orders on who may connect. Use New. It may be used by
// many goroutines at once.
type Registry struct {
	db        *store.Store
	audit     *audit.Log
	minions   *minions.Fleet
	enrolling Enrollment
	authority string
}

// New returns a Registry.
func New(deps Deps) *Registry {
	return &Registry{db: deps.Store, audit: deps.Audit, minions: deps.Minions, enrolling: deps.Enrollment, authority: deps.Authority}
}

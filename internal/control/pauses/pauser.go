package pauses

import (
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/control/audit"
	"github.com/carillon-cron/carillon/internal/control/cluster"
	"github.com/carillon-cron/carillon/internal/control/jobstore"
	"github.com/carillon-cron/carillon/internal/control/policy"
	"github.com/carillon-cron/carillon/internal/control/store"
)

// Deps is what a Pauser stands on. All must be set.
type Deps struct {
	Store   *store.Store
	Audit   *audit.Log
	Jobs    *jobstore.Finder
	Cluster *cluster.Operator
	// Rights tells of which namespaces a hint may tell.
	Rights *policy.Decider
	Logger *zap.Logger
}

// Pauser pauses jobs and ends pauses. Use New. It may be used by many goroutines at once.
type Pauser struct {
	db      *store.Store
	audit   *audit.Log
	jobs    *jobstore.Finder
	cluster *cluster.Operator
	rights  *policy.Decider
	log     *zap.Logger
}

// New returns a Pauser.
func New(deps Deps) *Pauser {
	return &Pauser{
		db:      deps.Store,
		audit:   deps.Audit,
		jobs:    deps.Jobs,
		cluster: deps.Cluster,
		rights:  deps.Rights,
		log:     deps.Logger,
	}
}

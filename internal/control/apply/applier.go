package apply

import (
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/control/audit"
	"github.com/carillon-cron/carillon/internal/control/definitions"
	"github.com/carillon-cron/carillon/internal/control/jobstore"
	"github.com/carillon-cron/carillon/internal/control/minions"
	"github.com/carillon-cron/carillon/internal/control/pauses"
	"github.com/carillon-cron/carillon/internal/control/policy"
	"github.com/carillon-cron/carillon/internal/control/roles"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/schedule"
)

// Deps is what an Applier stands on. All must be set.
type Deps struct {
	Store       *store.Store
	Audit       *audit.Log
	Jobs        *jobstore.Finder
	Pauses      *pauses.Pauser
	Definitions *definitions.Set
	Minions     *minions.Fleet
	Roles       *roles.Granter
	Rights      *policy.Decider
	Decode      func(file string, data []byte) ([]manifest.Object, error)
	Schedules   *schedule.Cache
	Logger      *zap.Logger
}

// Applier applies manifests. Use New. It may be used by many goroutines at once.
type Applier struct {
	db          *store.Store
	audit       *audit.Log
	jobs        *jobstore.Finder
	pauses      *pauses.Pauser
	definitions *definitions.Set
	minions     *minions.Fleet
	roles       *roles.Granter
	rights      *policy.Decider
	decode      func(file string, data []byte) ([]manifest.Object, error)
	schedules   *schedule.Cache
	log         *zap.Logger
	space       space
}

// New returns an Applier.
func New(deps Deps) *Applier {
	return &Applier{
		db:          deps.Store,
		audit:       deps.Audit,
		jobs:        deps.Jobs,
		pauses:      deps.Pauses,
		definitions: deps.Definitions,
		minions:     deps.Minions,
		roles:       deps.Roles,
		rights:      deps.Rights,
		decode:      deps.Decode,
		schedules:   deps.Schedules,
		log:         deps.Logger,
	}
}

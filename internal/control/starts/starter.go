package starts

import (
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/control/apply"
	"github.com/carillon-cron/carillon/internal/control/audit"
	"github.com/carillon-cron/carillon/internal/control/cluster"
	"github.com/carillon-cron/carillon/internal/control/definitions"
	"github.com/carillon-cron/carillon/internal/control/jobstore"
	"github.com/carillon-cron/carillon/internal/control/minions"
	"github.com/carillon-cron/carillon/internal/control/policy"
	"github.com/carillon-cron/carillon/internal/control/runs"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/limit"
)

// Deps is what a Starter stands on. All must be set.
type Deps struct {
	Store       *store.Store
	Audit       *audit.Log
	Jobs        *jobstore.Finder
	Cluster     *cluster.Operator
	Definitions *definitions.Set
	Runs        *runs.Book
	Minions     *minions.Fleet
	Apply       *apply.Applier
	Rights      *policy.Decider
	Logger      *zap.Logger
}

// Starter starts runs and takes orders for them. Use New. It may be used by many goroutines at once.
type Starter struct {
	db          *store.Store
	audit       *audit.Log
	jobs        *jobstore.Finder
	cluster     *cluster.Operator
	definitions *definitions.Set
	runs        *runs.Book
	minions     *minions.Fleet
	apply       *apply.Applier
	rights      *policy.Decider
	log         *zap.Logger
	hooks       hooks
}

// New returns a Starter.
func New(deps Deps) *Starter {
	return &Starter{
		db:          deps.Store,
		audit:       deps.Audit,
		jobs:        deps.Jobs,
		cluster:     deps.Cluster,
		definitions: deps.Definitions,
		runs:        deps.Runs,
		minions:     deps.Minions,
		apply:       deps.Apply,
		rights:      deps.Rights,
		log:         deps.Logger,
		hooks:       hooks{wrong: limit.Attempts{Most: wrongCalls, Span: wrongCallSpan, MaxWait: wrongCallWait}},
	}
}

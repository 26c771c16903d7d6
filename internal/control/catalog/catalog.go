package catalog

import (
	"context"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/internal/control/audit"
	"github.com/carillon-cron/carillon/internal/control/definitions"
	"github.com/carillon-cron/carillon/internal/control/jobstore"
	"github.com/carillon-cron/carillon/internal/control/pauses"
	"github.com/carillon-cron/carillon/internal/control/runs"
	"github.com/carillon-cron/carillon/internal/control/store"
)

// Deps is what a Catalog stands on. All must be set.
type Deps struct {
	Store       *store.Store
	Audit       *audit.Log
	Jobs        *jobstore.Finder
	Runs        *runs.Book
	Pauses      *pauses.Pauser
	Definitions *definitions.Set
	History     history.Store
	Logger      *zap.Logger
}

// Catalog shows jobs. Use New. It may be used by many goroutines at once.
type Catalog struct {
	db          *store.Store
	audit       *audit.Log
	jobs        *jobstore.Finder
	runs        *runs.Book
	pauses      *pauses.Pauser
	definitions *definitions.Set
	history     history.Store
	index       *index
	log         *zap.Logger
}

// KeepIndex keeps what lists of jobs are made from in memory while they are asked for,
// until ctx ends. Without it they are made from the store, each anew.
func (c *Catalog) KeepIndex(ctx context.Context) error { return c.index.run(ctx) }

// New returns a Catalog.
func New(deps Deps) *Catalog {
	return &Catalog{
		db:          deps.Store,
		audit:       deps.Audit,
		jobs:        deps.Jobs,
		runs:        deps.Runs,
		pauses:      deps.Pauses,
		definitions: deps.Definitions,
		history:     deps.History,
		index:       newIndex(deps.Store, deps.Logger),
		log:         deps.Logger,
	}
}

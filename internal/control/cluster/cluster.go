package cluster

import (
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/control/audit"
	"github.com/carillon-cron/carillon/internal/control/store"
)

// Deps is what an Operator stands on. All must be set.
type Deps struct {
	Store  *store.Store
	Audit  *audit.Log
	Logger *zap.Logger
}

// Operator looks at nodes, shards and groups, and takes orders for them. Use New.
// It may be used by many goroutines at once.
type Operator struct {
	db    *store.Store
	audit *audit.Log
	log   *zap.Logger
}

// New returns an Operator.
func New(deps Deps) *Operator {
	return &Operator{db: deps.Store, audit: deps.Audit, log: deps.Logger}
}

package definitions

import (
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/control/audit"
	"github.com/carillon-cron/carillon/internal/control/store"
)

// Deps is what a Set stands on. All must be set.
type Deps struct {
	Store  *store.Store
	Audit  *audit.Log
	Logger *zap.Logger
}

// Set is the calendars, scripts and secrets that jobs name. Use New. It may be used by many goroutines at once.
type Set struct {
	db    *store.Store
	audit *audit.Log
	log   *zap.Logger
}

// New returns a Set.
func New(deps Deps) *Set {
	return &Set{
		db:    deps.Store,
		audit: deps.Audit,
		log:   deps.Logger,
	}
}

package library

import (
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/control/store"
)

// Deps is what a Library stands on. All must be set.
type Deps struct {
	Store  *store.Store
	Logger *zap.Logger
}

// Library is the calendars and scripts that jobs name. Use New. It may be used by many goroutines at once.
type Library struct {
	db  *store.Store
	log *zap.Logger
}

// New returns a Library.
func New(deps Deps) *Library {
	return &Library{
		db:  deps.Store,
		log: deps.Logger,
	}
}

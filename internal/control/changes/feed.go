package changes

import (
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/control/store"
)

// Deps is what a Feed stands on. All must be set.
type Deps struct {
	Store  *store.Store
	Logger *zap.Logger
}

// Feed reports what changes. Use New. It may be used by many goroutines at once.
type Feed struct {
	db  *store.Store
	log *zap.Logger
	hub *changeHub
}

// New returns a Feed.
func New(deps Deps) *Feed {
	return &Feed{
		db:  deps.Store,
		log: deps.Logger,
		hub: newChangeHub(),
	}
}

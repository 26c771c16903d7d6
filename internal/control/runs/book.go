package runs

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/internal/control/jobstore"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/job"
)

// Deps is what a Book stands on. All must be set but where it says so.
type Deps struct {
	Store   *store.Store
	Jobs    *jobstore.Finder
	History history.Store
	Live    Live
	Outputs Outputs
	// PollInterval is how often Output, when following, looks for further attempts.
	PollInterval time.Duration
	Logger       *zap.Logger
}

// Book is the runs of the cluster. Use New. It may be used by many goroutines at once.
type Book struct {
	db           *store.Store
	jobs         *jobstore.Finder
	history      history.Store
	live         Live
	outputs      Outputs
	pollInterval time.Duration
	log          *zap.Logger
}

// New returns a Book.
func New(deps Deps) *Book {
	return &Book{
		db:           deps.Store,
		jobs:         deps.Jobs,
		history:      deps.History,
		live:         deps.Live,
		outputs:      deps.Outputs,
		pollInterval: deps.PollInterval,
		log:          deps.Logger,
	}
}

// Live knows the runs that have not ended.
type Live interface {
	// LiveRuns returns the runs in flight of the whole cluster. An empty
	// namespace or name means any. A run must be among them, or in history,
	// from the moment on when its trigger is gone. With a *PartialError come the
	// runs of all shards but those that it names.
	LiveRuns(ctx context.Context, namespace, name string) ([]job.Run, error)
}

// Outputs reads what tasks write, from the minions that keep it.
type Outputs interface {
	// Output calls fn with the task's output from its beginning; stream is 1
	// for stdout and 2 for stderr; leftOut, unless 0, says that so many bytes of the
	// stream are missing here. With follow it goes on until the task ends.
	// It returns an error when the minion cannot be reached or has no output of
	// the task, and the error of fn when fn returns one.
	Output(ctx context.Context, task job.TaskID, follow bool, fn func(stream int, data []byte, leftOut int64) error) error
}

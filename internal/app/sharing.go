package app

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/carillon-cron/carillon/internal/sharing"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler"
)

// openRuns lets what tasks share, which the hub needs, reach the engine, which needs the
// hub.
type openRuns struct {
	engine atomic.Pointer[scheduler.Engine]
}

var _ sharing.Runs = (*openRuns)(nil)

func (r *openRuns) get() (*scheduler.Engine, error) {
	if e := r.engine.Load(); e != nil {
		return e, nil
	}
	return nil, fmt.Errorf("the node begins: %w", job.ErrUnavailable)
}

// Member implements sharing.Runs.
func (r *openRuns) Member(ctx context.Context, shard job.ShardID, task job.TaskID, token job.Token) (job.Member, error) {
	e, err := r.get()
	if err != nil {
		return job.Member{}, err
	}
	return e.Member(ctx, shard, task, token)
}

// Fellows implements sharing.Runs.
func (r *openRuns) Fellows(ctx context.Context, shard job.ShardID, fire job.FireID) ([]job.Fellow, error) {
	e, err := r.get()
	if err != nil {
		return nil, err
	}
	return e.Fellows(ctx, shard, fire)
}

// Closed implements sharing.Runs.
func (r *openRuns) Closed(ctx context.Context, shard job.ShardID, fires []job.FireID) ([]job.FireID, job.Token, error) {
	e, err := r.get()
	if err != nil {
		return nil, job.Token{}, err
	}
	return e.Closed(ctx, shard, fires)
}

package guarded

import (
	"context"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// Versions returns what a job was, to who may read it.
func (c *Control) Versions(ctx context.Context, key job.Key) ([]job.Former, error) {
	if err := c.needJob(ctx, rights.Read, key); err != nil {
		return nil, err
	}
	return c.behind.Versions(ctx, key)
}

// RollBack makes a job again what it was. That is to apply it, with all that apply wants: of
// what it named then, of its labels, and of what it may start.
func (c *Control) RollBack(ctx context.Context, key job.Key, generation int64, o api.Order) (api.ApplyResult, error) {
	if err := c.needStartOf(ctx, rights.Edit, key); err != nil {
		return api.ApplyResult{}, err
	}
	was, err := c.behind.FormerObject(ctx, key, generation)
	if err != nil {
		return api.ApplyResult{}, err
	}
	s, err := c.decide.Of(ctx)
	if err != nil {
		return api.ApplyResult{}, err
	}
	if !s.Everything() {
		if err := c.needObjects(ctx, []manifest.Object{was}, 0, 1); err != nil {
			return api.ApplyResult{}, err
		}
	}
	return c.behind.RollBack(ctx, key, generation, o)
}

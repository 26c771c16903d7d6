package control

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/control/definitions"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

const (
	// sweepEvery is how often jobs are looked for that were made for one run.
	sweepEvery = time.Minute
	// textsEvery is how many of these looks pass between two for texts of scripts
	// that nothing names: no order is on its way for so long.
	textsEvery = 60
)

// Sweep removes jobs that were made for one run once they are due to go, and pauses
// that have ended, until ctx ends. It does so only while mine reports true: one node is enough.
func (c *Control) Sweep(ctx context.Context, mine func() bool) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	var texts definitions.ScriptTexts
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !mine() {
			texts.Idle = nil
			continue
		}
		if n%textsEvery == 0 {
			if err := c.SweepTexts(ctx, &texts); err != nil && ctx.Err() == nil {
				c.log.Warn("texts of scripts are not removed yet", zap.Error(err))
			}
		}
		if err := c.SweepBackfills(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn("backfills are not cleaned up yet", zap.Error(err))
		}
		if err := c.sweepOnce(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn("commands that were run are not removed yet", zap.Error(err))
		}
		if err := c.SweepPauses(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn("pauses that have ended are not removed yet", zap.Error(err))
		}
	}
}

func (c *Control) sweepOnce(ctx context.Context) error {
	all, err := store.ListAll[etcdkv.Passing](ctx, c.db, "list commands that were run", c.cfg.Keys.PassingJobs())
	if err != nil {
		return err
	}
	for i := range all {
		p := &all[i]
		if c.now().Before(p.ExpiresAt) {
			continue
		}
		if live, err := c.live.LiveRuns(ctx, p.Key.Namespace, p.Key.Name); err != nil || len(live) > 0 {
			continue
		}
		if err := c.removePassing(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// removePassing removes a job that was made for one run.
func (c *Control) removePassing(ctx context.Context, p *etcdkv.Passing) error {
	stored, at, err := c.Stored(ctx, p.Key)
	if err != nil && !errors.Is(err, job.ErrNotFound) {
		return err // the job is there, perhaps: it would be forgotten
	}
	var d store.Txn
	if err == nil && stored.UID == p.Job {
		d.StillThere(string(at.KV.Key), at.KV.CreateRevision)
		d.Remove(string(at.KV.Key))
		if err := c.LeaveRecord(&d, at, &stored); err != nil {
			return err
		}
	}
	d.Remove(c.cfg.Keys.PassingJob(p.Job))
	_, err = c.db.Commit(ctx, "remove "+p.Key.String(), &d)
	return err
}

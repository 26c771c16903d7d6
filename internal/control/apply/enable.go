package apply

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// SetEnabled has a job fire by its schedule, or not; nothing else of it changes.
// That lasts until somebody says otherwise, or applies a file that does.
func (ap *Applier) SetEnabled(ctx context.Context, key job.Key, on bool, o api.Order) (api.ApplyResult, error) {
	action := "job.disable"
	if on {
		action = "job.enable"
	}
	for range store.Tries {
		stored, before, err := ap.jobs.Stored(ctx, key)
		if err != nil {
			return api.ApplyResult{}, err
		}
		spec := stored.Spec
		spec.Enabled = nil
		if !on {
			spec.Enabled = &on
		}
		if stored.Spec.IsEnabled() == on {
			return api.ApplyResult{Kind: job.KindJob, Namespace: key.Namespace, Name: key.Name, Action: api.ActionUnchanged}, nil
		}
		changes, err := ap.planAs(ctx, []manifest.Object{{Kind: job.KindJob, Metadata: stored.Metadata, Spec: spec}}, switching)
		if err != nil {
			return api.ApplyResult{}, err
		}
		// The plan has read the job anew: of what it read, nothing but this changes.
		if _, after, err := ap.jobs.Stored(ctx, key); err != nil {
			return api.ApplyResult{}, err
		} else if after.KV.ModRevision != before.KV.ModRevision {
			continue
		}
		ok, err := ap.write(ctx, changes, action, o)
		if err != nil {
			return api.ApplyResult{}, err
		}
		if ok {
			ap.log.Info("operator", zap.String("action", action), zap.Stringer("job", key), zap.String("by", caller.Of(ctx, o.By)))
			ap.tellHeld(ctx, changes)
			changes[0].result.Defaults = nil
			return changes[0].result, nil
		}
	}
	return api.ApplyResult{}, fmt.Errorf("%s %s: it keeps changing meanwhile: %w", action, key, job.ErrConflict)
}

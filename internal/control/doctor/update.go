package doctor

import (
	"context"
	"errors"
	"fmt"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/release"
	"github.com/carillon-cron/carillon/job"
)

// checkUpdate looks for an update that cannot go on by itself.
func (c *Checker) checkUpdate(ctx context.Context) ([]api.Check, error) {
	v, err := c.updates.UpdateStatus(ctx)
	if errors.Is(err, job.ErrNotFound) {
		return nil, nil
	}
	if err != nil || v.Status != string(release.StatusHalted) {
		return nil, err
	}
	return []api.Check{{
		Name: "update", Status: api.CheckWarn, Detail: fmt.Sprintf("the update to release %d (%s) is halted: %s", v.Release, v.Version, v.Reason),
		Hint: "see `carillon minions update status`; sign a release that works, with a higher number, or tolerate more failures",
	}}, nil
}

package minions

import (
	"context"
	"errors"
	"fmt"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/job"
)

// DispatchStatus tells what waits for minions, what is with them, how long, and
// what was dropped. Without all, minions of which nothing is to be told are left
// out.
func (f *Fleet) DispatchStatus(ctx context.Context, all bool) (api.Dispatch, error) {
	if f.dispatch == nil {
		return api.Dispatch{}, fmt.Errorf("dispatch status: %w", errors.Join(errors.New("this node has no minions"), job.ErrUnavailable))
	}
	nodes, err := f.dispatch.Statuses(ctx)
	v := api.Dispatch{Nodes: apiview.Each(nodes, apiview.Dispatch)}
	if err != nil {
		v.Missing = err.Error()
	}
	for i := range v.Nodes {
		shown := []api.MinionDispatch{}
		for _, m := range v.Nodes[i].Minions {
			if all || m.Queued > 0 || m.InFlight > 0 || m.Dropped > 0 || m.Trouble != "" {
				shown = append(shown, m)
			}
		}
		v.Nodes[i].Minions = shown
	}
	return v, ctx.Err()
}

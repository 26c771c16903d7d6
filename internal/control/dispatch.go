package control

import (
	"context"
	"errors"
	"fmt"

	"github.com/carillon-cron/carillon/agentpush"
	"github.com/carillon-cron/carillon/job"
)

// DispatchView is what is on its way to minions, node by node.
type DispatchView struct {
	Nodes []agentpush.Status `json:"nodes"`
	// Missing tells of nodes that did not answer.
	Missing string `json:"missing,omitempty"`
}

// DispatchStatus tells what waits for minions, what is with them, how long, and
// what was dropped. Without all, minions of which nothing is to be told are left
// out.
func (c *Control) DispatchStatus(ctx context.Context, all bool) (DispatchView, error) {
	if c.dispatch == nil {
		return DispatchView{}, fmt.Errorf("dispatch status: %w", errors.Join(errors.New("this node has no minions"), job.ErrUnavailable))
	}
	nodes, err := c.dispatch.Statuses(ctx)
	v := DispatchView{Nodes: nodes}
	if err != nil {
		v.Missing = err.Error()
	}
	for i := range v.Nodes {
		shown := []agentpush.MinionStatus{}
		for _, m := range v.Nodes[i].Minions {
			if all || m.Queued > 0 || m.InFlight > 0 || m.Dropped > 0 || m.Trouble != "" {
				shown = append(shown, m)
			}
		}
		v.Nodes[i].Minions = shown
	}
	return v, ctx.Err()
}

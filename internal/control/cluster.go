package control

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// errMinionsUnread is why a node does not tell of minions.
var errMinionsUnread = fmt.Errorf("this node has just started and has not read all minions yet; ask again in a moment: %w", job.ErrUnavailable)

// allMinions returns what this node knows of minions. It is an error, and no part
// of them, while it has not read all.
func (c *Control) allMinions() ([]job.Minion, error) {
	if !c.read() {
		return nil, errMinionsUnread
	}
	return c.minions.Minions(), nil
}

// Minions returns all known minions, ordered by id.
func (c *Control) Minions(ctx context.Context) ([]api.Minion, error) {
	live, err := c.allMinions()
	if err != nil {
		return nil, err
	}
	known := map[job.MinionID]job.Minion{}
	stored, err := store.ListAll[etcdkv.StoredMinion](ctx, c.db, "list minions", c.cfg.Keys.Minions())
	if err != nil {
		return nil, err
	}
	grants, err := store.ListAll[etcdkv.Grant](ctx, c.db, "list granted labels", c.cfg.Keys.Grants())
	if err != nil {
		return nil, err
	}
	granted := make(map[job.MinionID]map[string]string, len(grants))
	for _, g := range grants {
		granted[g.ID] = g.Labels
	}
	for i := range stored {
		m := &stored[i]
		known[m.ID] = apiview.StoredMinion(m, granted[m.ID])
	}
	for _, m := range live { // knows more, and newer
		known[m.ID] = m
	}
	views := make([]api.Minion, 0, len(known))
	for _, m := range known {
		views = append(views, apiview.Minion(m))
	}
	slices.SortFunc(views, func(a, b api.Minion) int { return cmp.Compare(a.ID, b.ID) })
	return views, nil
}

package minions

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush"
	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/audit"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Deps is what a Fleet stands on. Store, Audit, Inventory, Read and Logger must be set.
type Deps struct {
	Store     *store.Store
	Audit     *audit.Log
	Inventory Inventory
	// Read reports whether Inventory has all that etcd has had at some time since
	// the start.
	Read func() bool
	// Dispatch knows what is on its way. Nil: nobody does.
	Dispatch Dispatch
	Logger   *zap.Logger
}

// Fleet is the minions of the cluster. Use New. It may be used by many goroutines
// at once.
type Fleet struct {
	db        *store.Store
	audit     *audit.Log
	inventory Inventory
	read      func() bool
	dispatch  Dispatch
	log       *zap.Logger
}

// New returns a Fleet.
func New(deps Deps) *Fleet {
	return &Fleet{db: deps.Store, audit: deps.Audit, inventory: deps.Inventory, read: deps.Read, dispatch: deps.Dispatch, log: deps.Logger}
}

// errMinionsUnread is why a node does not tell of minions.
var errMinionsUnread = fmt.Errorf("this node has just started and has not read all minions yet; ask again in a moment: %w", job.ErrUnavailable)

// Known returns what this node knows of minions. It is an error, and no part
// of them, while it has not read all.
func (f *Fleet) Known() ([]job.Minion, error) {
	if !f.read() {
		return nil, errMinionsUnread
	}
	return f.inventory.Minions(), nil
}

// Minions returns all known minions, ordered by id.
func (f *Fleet) Minions(ctx context.Context) ([]api.Minion, error) {
	live, err := f.Known()
	if err != nil {
		return nil, err
	}
	known := map[job.MinionID]job.Minion{}
	stored, err := store.ListAll[etcdkv.StoredMinion](ctx, f.db, "list minions", f.db.Keys.Minions())
	if err != nil {
		return nil, err
	}
	grants, err := store.ListAll[etcdkv.Grant](ctx, f.db, "list granted labels", f.db.Keys.Grants())
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

// Inventory knows the minions of the cluster.
type Inventory interface {
	// Minions returns them; Node is empty for one that is not connected.
	Minions() []job.Minion
}

// Dispatch knows what is on its way to minions.
type Dispatch interface {
	// Statuses tells what each node's hub holds; those of nodes that answer, if
	// there is an error.
	Statuses(ctx context.Context) ([]agentpush.Status, error)
}

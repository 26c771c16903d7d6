package doctor

import (
	"context"
	"fmt"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/rights"
)

// checkNotifiers looks whether this node can read the secrets that notifiers name: each node
// may be the one that tells, and knows its own files alone.
func (c *Checker) checkNotifiers(ctx context.Context) ([]api.Check, error) {
	if c.unreadable == nil {
		return nil, nil
	}
	all, err := store.ListAll[etcdkv.StoredNotifier](ctx, c.db, "list notifiers", c.db.Keys.Notifiers())
	if err != nil || len(all) == 0 {
		return nil, err
	}
	sees, err := c.sight(ctx)
	if err != nil {
		return nil, err
	}
	found := ailments{name: "notifiers", hint: "see `carillon get notifiers -A`"}
	for i := range all {
		n := &all[i].Notifier
		for _, why := range c.unreadable(n) {
			if !sees(rights.Notifiers, n.Namespace, n.Labels) {
				found.add("this node cannot tell for notifier "+hiddenName, askWhoMay)
				break
			}
			found.add(fmt.Sprintf("this node cannot tell for notifier %s: %s", n.Key(), why),
				"put the file below the node's notify.secretsDir (notify-secrets in its data directory), in the folder "+n.Namespace+", on each node; docs/alerts.md")
		}
	}
	return found.all("this node has the secrets that notifiers name; ask the others, too"), nil
}

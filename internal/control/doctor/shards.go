package doctor

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// oldSlot is how long a fire may be open before it is told of.
const oldSlot = time.Hour

// checkGroups looks for groups whose jobs nobody fires.
func (c *Checker) checkGroups(ctx context.Context) ([]api.Check, error) {
	groups, err := c.cluster.Groups(ctx, "")
	if err != nil {
		return nil, err
	}
	sees, err := c.sight(ctx)
	if err != nil {
		return nil, err
	}
	var checks []api.Check
	for i := range groups {
		if g := &groups[i]; g.Owner == "" && g.Jobs > 0 {
			name := g.Key().String()
			if !sees(rights.Groups, g.Namespace, g.Labels) {
				name = hiddenName
			}
			checks = append(checks, api.Check{
				Name: "groups", Status: api.CheckFail,
				Detail: fmt.Sprintf("group %s has no owner, so its %s not fire", name, apiview.Does(g.Jobs, "job")),
				Hint:   "see that a node lives which its nodes and pin let fire, and that is not drained",
			})
		}
	}
	if len(checks) == 0 {
		checks = []api.Check{{Name: "groups", Status: api.CheckOK, Detail: fmt.Sprintf("%d, each with an owner or without jobs", len(groups))}}
	}
	return checks, nil
}

func (c *Checker) checkShards(ctx context.Context) ([]api.Check, error) {
	owners, err := c.cluster.Owners(ctx)
	if err != nil {
		return nil, err
	}
	var free []string
	for s := range c.db.Meta.Shards {
		if _, ok := owners[job.ShardID(s)]; !ok {
			free = append(free, job.ShardID(s).String())
		}
	}
	if len(free) == 0 {
		return []api.Check{{Name: "shards", Status: api.CheckOK, Detail: fmt.Sprintf("all %d have an owner", c.db.Meta.Shards)}}, nil
	}
	shown := free[:min(len(free), 10)]
	return []api.Check{{
		Name: "shards", Status: api.CheckFail,
		Detail: fmt.Sprintf("%d of %d have no owner, their jobs do not fire: %s", len(free), c.db.Meta.Shards, apiview.Some(shown, len(free))),
		Hint:   "a shard is taken over within seconds; if this stays, see that a node is live and read its log",
	}}, nil
}

// checkSlots looks for committed fires that are not resolved for long.
func (c *Checker) checkSlots(ctx context.Context) ([]api.Check, error) {
	now := c.db.Now()
	var old []string
	err := c.db.Shards(ctx, store.MaxOps, func(shards []job.ShardID) error {
		ops := make([]clientv3.Op, 0, len(shards))
		for _, s := range shards {
			// Slots are numbered as they are committed: the first is the oldest.
			ops = append(ops, clientv3.OpGet(c.db.Keys.Slots(s), clientv3.WithPrefix(), clientv3.WithLimit(1)))
		}
		resp, err := c.db.Do(ctx, "open slots", nil, ops)
		if err != nil {
			return err
		}
		for i, part := range resp.Responses {
			for _, kv := range part.GetResponseRange().GetKvs() {
				slot, err := etcdkv.DecodeSlot(kv.Value)
				if err != nil {
					return fmt.Errorf("read %s: %w", kv.Key, err)
				}
				if age := now.Sub(time.Unix(0, slot.CommittedAt)); age > oldSlot {
					old = append(old, fmt.Sprintf("shard %s for %s", shards[i], age.Round(time.Minute)))
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(old) == 0 {
		return []api.Check{{Name: "open fires", Status: api.CheckOK, Detail: "none is open for more than " + oldSlot.String()}}, nil
	}
	return []api.Check{{
		Name: "open fires", Status: api.CheckWarn, Detail: "open for long: " + apiview.Some(old[:min(len(old), 10)], len(old)),
		Hint: "fine for a job that runs for hours; else see `carillon runs --state running` and the minions that they are on",
	}}, nil
}

package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/cluster"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/rights"
)

// checkOperators tells what operators ordered that still holds: it is easily
// forgotten.
func (c *Checker) checkOperators(ctx context.Context) ([]api.Check, error) {
	drains, err := store.ListAll[etcdkv.Drain](ctx, c.db, "list drains", c.db.Keys.Drains())
	if err != nil {
		return nil, err
	}
	overrides, err := c.cluster.Overrides(ctx)
	if err != nil {
		return nil, err
	}
	groups, err := c.cluster.GroupNames(ctx)
	if err != nil {
		return nil, err
	}
	sees, err := c.sight(ctx)
	if err != nil {
		return nil, err
	}
	var checks []api.Check
	for _, d := range drains {
		checks = append(checks, api.Check{
			Name: "drains", Status: api.CheckWarn,
			Detail: fmt.Sprintf("%s is drained%s", d.Node, c.ordered(d.By, d.Since, d.Reason)),
			Hint:   fmt.Sprintf("when it may hold shards again: `carillon nodes undrain %s`; when it is stopped for good: `carillon nodes forget %s`", d.Node, d.Node),
		})
	}
	for _, id := range slices.Sorted(maps.Keys(overrides)) {
		o := overrides[id]
		s := cluster.Shard{Id: id}
		if g, ok := groups[id]; ok && sees(rights.Groups, g.Namespace, g.Labels) {
			s.Group = &g
		}
		what := "is held where it is"
		switch {
		case o.Failback:
			what = "is to fail back"
		case o.Node != "":
			what = "is moved to " + string(o.Node)
		}
		checks = append(checks, api.Check{
			Name: "overrides", Status: api.CheckWarn,
			Detail: fmt.Sprintf("%s %s%s", s.Title(), what, c.ordered(o.By, o.Since, o.Reason)),
			Hint:   fmt.Sprintf("when its mode may decide again: `carillon shards release %s`", s),
		})
	}
	if len(checks) == 0 {
		checks = []api.Check{{Name: "orders", Status: api.CheckOK, Detail: "no node is drained, no shard is held or moved"}}
	}
	return checks, nil
}

// ordered says who ordered something, how long ago, and why.
func (c *Checker) ordered(by string, since time.Time, reason string) string {
	text := fmt.Sprintf(" for %s", c.db.Now().Sub(since).Round(time.Second))
	if by != "" {
		text += " by " + by
	}
	if reason != "" {
		text += ": " + reason
	}
	return text
}

package control

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/cluster"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// What the doctor takes for unhealthy.
const (
	longDrain = 2 * time.Minute
	oldSlot   = time.Hour
)

// Doctor looks for what is wrong with the cluster, or will soon be. It returns
// an error only when ctx ends; an etcd that does not answer is a finding.
func (c *Control) Doctor(ctx context.Context) ([]api.Check, error) {
	reach := c.checkReachable(ctx)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("doctor: %w", err)
	}
	checks := []api.Check{reach}
	if reach.Status == api.CheckFail {
		return checks, nil // all else would say the same
	}
	for _, look := range []func(context.Context) ([]api.Check, error){
		c.checkEtcd, c.checkAlarms, c.checkCompaction, c.checkMembers, c.checkHealth, c.checkClocks, c.checkCursors, c.checkShards, c.checkGroups, c.checkAsides, c.checkOperators, c.checkSlots, c.checkMinions, c.checkCertificates, c.checkJobs, c.checkUpdate,
	} {
		found, err := look(ctx)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("doctor: %w", ctx.Err())
		}
		checks = append(checks, found...)
		if err != nil {
			checks = append(checks, api.Check{
				Name: "etcd", Status: api.CheckFail, Detail: err.Error(),
				Hint: "look at etcd's own log; the checks that needed this answer are left out",
			})
		}
	}
	return checks, nil
}

// wastedSpace is how much of an etcd file may be free before it is worth a
// defragmentation.
const wastedSpace = 256 << 20

// checkMembers looks at the nodes: their versions, and who is leaving.
func (c *Control) checkMembers(ctx context.Context) ([]api.Check, error) {
	members, err := store.ListAll[etcdkv.Member](ctx, c.db, "list nodes", c.cfg.Keys.Members())
	if err != nil {
		return nil, err
	}
	if len(members) == 0 {
		return []api.Check{{Name: "nodes", Status: api.CheckFail, Detail: "no node is live, nothing fires", Hint: "start a scheduler"}}, nil
	}
	ordered, err := store.ListAll[etcdkv.Drain](ctx, c.db, "list drains", c.cfg.Keys.Drains())
	if err != nil {
		return nil, err
	}
	gone, err := c.checkGone(ctx, members)
	if err != nil {
		return nil, err
	}
	versions := map[string]bool{}
	var drains []api.Check
	for _, m := range members {
		versions[buildOf(m.Version, m.Commit)] = true
		if m.Phase != etcdkv.PhaseDraining || slices.ContainsFunc(ordered, func(d etcdkv.Drain) bool { return d.Node == m.Node }) {
			continue // who is drained by an operator is told of there
		}
		ch := api.Check{Name: "nodes", Status: api.CheckWarn, Detail: fmt.Sprintf("%s is draining", m.Node)}
		ch.Hint = "a drain ends when the node's shards are handed over; see the node's log, or stop it"
		if !m.PhaseSince.IsZero() {
			since := c.now().Sub(m.PhaseSince).Round(time.Second)
			ch.Detail += fmt.Sprintf(" for %s", since)
			if since < longDrain {
				ch.Status, ch.Hint = api.CheckOK, ""
			}
		}
		drains = append(drains, ch)
	}
	nodes := api.Check{Name: "nodes", Status: api.CheckOK, Detail: fmt.Sprintf("%d live", len(members))}
	same := api.Check{Name: "versions", Status: api.CheckOK}
	names := slices.Sorted(maps.Keys(versions))
	same.Detail = "all nodes run " + names[0]
	if len(names) > 1 {
		same.Status, same.Detail = api.CheckFail, "nodes run "+strings.Join(names, " and ")
		same.Hint = "finish the upgrade: bring all nodes to one version"
	}
	return append(append(append([]api.Check{nodes}, gone...), drains...), same), nil
}

// buildOf tells builds apart, also those of one version.
func buildOf(version, commit string) string {
	if commit == "" {
		return version
	}
	return version + " (" + commit + ")"
}

// checkGone looks for nodes that have joined, are not there, and have not left in
// order.
func (c *Control) checkGone(ctx context.Context, live []etcdkv.Member) ([]api.Check, error) {
	known, err := store.ListAll[etcdkv.KnownNode](ctx, c.db, "list known nodes", c.cfg.Keys.KnownNodes())
	if err != nil {
		return nil, err
	}
	var checks []api.Check
	for _, n := range known {
		if slices.ContainsFunc(live, func(m etcdkv.Member) bool { return m.Node == n.Node }) {
			continue
		}
		checks = append(checks, api.Check{
			Name: "nodes", Status: api.CheckFail,
			Detail: fmt.Sprintf("%s is gone, and has not left in order: it was killed, or is cut off (at %s, joined %s)", n.Node, cmp.Or(n.PeerAddr, "?"), n.JoinedAt.Format(time.RFC3339)),
			Hint:   fmt.Sprintf("start it again; if it is gone for good: `carillon nodes forget %s`", n.Node),
		})
	}
	return checks, nil
}

// checkHealth tells what nodes say is wrong with themselves or with others.
func (c *Control) checkHealth(ctx context.Context) ([]api.Check, error) {
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	var checks []api.Check
	for _, n := range nodes {
		if len(n.Trouble) > 0 {
			checks = append(checks, api.Check{
				Name: "health", Status: api.CheckWarn, Detail: fmt.Sprintf("%s: %s", n.Name, strings.Join(n.Trouble, "; ")),
				Hint: "see the node's log, and the network between it and the others; it gets no shard back meanwhile",
			})
		}
	}
	if len(checks) == 0 {
		checks = []api.Check{{Name: "health", Status: api.CheckOK, Detail: "no node says that something is wrong"}}
	}
	return checks, nil
}

// checkGroups looks for groups whose jobs nobody fires.
func (c *Control) checkGroups(ctx context.Context) ([]api.Check, error) {
	groups, err := c.Groups(ctx, "")
	if err != nil {
		return nil, err
	}
	var checks []api.Check
	for i := range groups {
		if g := &groups[i]; g.Owner == "" && g.Jobs > 0 {
			checks = append(checks, api.Check{
				Name: "groups", Status: api.CheckFail,
				Detail: fmt.Sprintf("group %s has no owner, so its %s not fire", g.Key(), apiview.Does(g.Jobs, "job")),
				Hint:   "see that a node lives which its nodes and pin let fire, and that is not drained",
			})
		}
	}
	if len(checks) == 0 {
		checks = []api.Check{{Name: "groups", Status: api.CheckOK, Detail: fmt.Sprintf("%d, each with an owner or without jobs", len(groups))}}
	}
	return checks, nil
}

// checkOperators tells what operators ordered that still holds: it is easily
// forgotten.
func (c *Control) checkOperators(ctx context.Context) ([]api.Check, error) {
	drains, err := store.ListAll[etcdkv.Drain](ctx, c.db, "list drains", c.cfg.Keys.Drains())
	if err != nil {
		return nil, err
	}
	overrides, err := c.Overrides(ctx)
	if err != nil {
		return nil, err
	}
	groups, err := c.GroupNames(ctx)
	if err != nil {
		return nil, err
	}
	var checks []api.Check
	for _, d := range drains {
		checks = append(checks, api.Check{
			Name: "drains", Status: api.CheckWarn,
			Detail: fmt.Sprintf("%s is drained%s", d.Node, c.ordered(d.By, d.Since, d.Reason)),
			Hint:   fmt.Sprintf("when it may hold shards again: `carillon nodes undrain %s`", d.Node),
		})
	}
	for _, id := range slices.Sorted(maps.Keys(overrides)) {
		o := overrides[id]
		s := cluster.Shard{Id: id}
		if g, ok := groups[id]; ok {
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
func (c *Control) ordered(by string, since time.Time, reason string) string {
	text := fmt.Sprintf(" for %s", c.now().Sub(since).Round(time.Second))
	if by != "" {
		text += " by " + by
	}
	if reason != "" {
		text += ": " + reason
	}
	return text
}

func (c *Control) checkShards(ctx context.Context) ([]api.Check, error) {
	owners, err := c.Owners(ctx)
	if err != nil {
		return nil, err
	}
	var free []string
	for s := range c.cfg.Meta.Shards {
		if _, ok := owners[job.ShardID(s)]; !ok {
			free = append(free, job.ShardID(s).String())
		}
	}
	if len(free) == 0 {
		return []api.Check{{Name: "shards", Status: api.CheckOK, Detail: fmt.Sprintf("all %d have an owner", c.cfg.Meta.Shards)}}, nil
	}
	shown := free[:min(len(free), 10)]
	return []api.Check{{
		Name: "shards", Status: api.CheckFail,
		Detail: fmt.Sprintf("%d of %d have no owner, their jobs do not fire: %s", len(free), c.cfg.Meta.Shards, apiview.Some(shown, len(free))),
		Hint:   "a shard is taken over within seconds; if this stays, see that a node is live and read its log",
	}}, nil
}

// checkSlots looks for committed fires that are not resolved for long.
func (c *Control) checkSlots(ctx context.Context) ([]api.Check, error) {
	now := c.now()
	var old []string
	err := c.db.Shards(ctx, store.MaxOps, func(shards []job.ShardID) error {
		ops := make([]clientv3.Op, 0, len(shards))
		for _, s := range shards {
			// Slots are numbered as they are committed: the first is the oldest.
			ops = append(ops, clientv3.OpGet(c.cfg.Keys.Slots(s), clientv3.WithPrefix(), clientv3.WithLimit(1)))
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

func (c *Control) checkMinions(ctx context.Context) ([]api.Check, error) {
	present, err := c.Presence(ctx)
	if err != nil {
		return nil, err
	}
	if len(present) == 0 {
		return []api.Check{{
			Name: "minions", Status: api.CheckFail, Detail: "none is connected, no job can run",
			Hint: "start a worker with --servers set to a node's peer address, and with a token: `carillon minions token`",
		}}, nil
	}
	checks := []api.Check{{Name: "minions", Status: api.CheckOK, Detail: fmt.Sprintf("%d connected", len(present))}}
	all, err := c.Minions(ctx)
	if err != nil {
		return nil, err
	}
	if away := awayMinions(all, present); away != nil {
		checks = append(checks, *away)
	}
	return append(checks, c.checkControllable(ctx)...), ctx.Err()
}

// shownMinions is how many minions are named where there are many.
const shownMinions = 5

// awayMinions tells of minions that are known and connected nowhere.
func awayMinions(all []api.Minion, present map[job.MinionID]job.NodeID) *api.Check {
	var names []string
	n, first := 0, ""
	for i := range all {
		m := &all[i]
		if present[m.ID] != "" || m.Node != "" {
			continue
		}
		if n++; n == 1 {
			first = string(m.ID)
		}
		if n > shownMinions {
			continue
		}
		text := string(m.ID)
		if m.Trouble != "" && m.Trouble != "not connected" {
			text += " (" + m.Trouble + ")"
		} else if !m.TroubleSince.IsZero() {
			text += " since " + m.TroubleSince.UTC().Format(time.RFC3339)
		}
		names = append(names, text)
	}
	if n == 0 {
		return nil
	}
	return &api.Check{
		Name: "minions", Status: api.CheckFail,
		Detail: fmt.Sprintf("%d of %d known are not connected: %s", n, len(all), apiview.Some(names, n)),
		Hint:   fmt.Sprintf("see `carillon describe minion %[1]s`, and on its host that the worker runs and reaches a node; if it is gone for good: `carillon minions forget %[1]s`", first),
	}
}

// checkControllable looks for connected minions that get no orders, and for some
// that ask to join.
func (c *Control) checkControllable(ctx context.Context) []api.Check {
	var checks []api.Check
	all, err := c.Known()
	if err != nil {
		checks = append(checks, api.Check{Name: "minions", Status: api.CheckWarn, Detail: err.Error(), Hint: "run the doctor again"})
	}
	bad, first := 0, ""
	for _, m := range all {
		if m.Node == "" || m.Trouble == "" {
			continue
		}
		if bad++; bad == 1 {
			first = fmt.Sprintf("%s: %s", m.ID, m.Trouble)
		}
	}
	if bad > 0 {
		checks = append(checks, api.Check{
			Name: "minions", Status: api.CheckFail, Detail: fmt.Sprintf("%d are connected and uncontrollable, first %s", bad, first),
			Hint: "see `carillon minions`; they get orders again as soon as the problem is over",
		})
	}
	if c.enroll == nil {
		return checks
	}
	requests, err := c.enroll.Requests(ctx)
	if err != nil {
		return checks // etcd's own check tells
	}
	waiting := 0
	for _, r := range requests {
		for _, k := range r.Keys {
			if k.ApprovedAt.IsZero() && k.RejectedAt.IsZero() {
				waiting++
			}
		}
	}
	if waiting > 0 {
		checks = append(checks, api.Check{
			Name: "minions", Status: api.CheckWarn, Detail: fmt.Sprintf("%d ask to join and wait for an operator", waiting),
			Hint: "see `carillon minions requests`, then approve or reject them",
		})
	}
	return checks
}

package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

func (c *Checker) checkMinions(ctx context.Context) ([]api.Check, error) {
	present, err := c.cluster.Presence(ctx)
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
	known, err := c.minions.Known()
	if err != nil {
		checks = append(checks, api.Check{Name: "minions", Status: api.CheckWarn, Detail: err.Error(), Hint: "run the doctor again"})
	} else {
		all, err := c.minions.Minions(ctx)
		if err != nil {
			return nil, err
		}
		sees, err := c.sight(ctx)
		if err != nil {
			return nil, err
		}
		if away := awayMinions(all, present, sees); away != nil {
			checks = append(checks, *away)
		}
		if bad := uncontrollable(known, sees); bad != nil {
			checks = append(checks, *bad)
		}
	}
	return append(checks, c.checkRequests(ctx)...), ctx.Err()
}

// shownMinions is how many minions are named where there are many.
const shownMinions = 5

// awayMinions tells of minions that are known and connected nowhere.
func awayMinions(all []api.Minion, present map[job.MinionID]job.NodeID, sees sight) *api.Check {
	var names []string
	n, first := 0, ""
	for i := range all {
		m := &all[i]
		if present[m.ID] != "" || m.Node != "" {
			continue
		}
		n++
		shown := sees(rights.Minions, "", m.Labels)
		if shown && first == "" {
			first = string(m.ID)
		}
		if !shown || len(names) == shownMinions {
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
	switch {
	case n == 0:
		return nil
	case len(names) == 0:
		return &api.Check{Name: "minions", Status: api.CheckFail, Detail: fmt.Sprintf("%d of %d known are not connected", n, len(all)), Hint: askWhoMay}
	}
	return &api.Check{
		Name: "minions", Status: api.CheckFail,
		Detail: fmt.Sprintf("%d of %d known are not connected: %s", n, len(all), apiview.Some(names, n)),
		Hint:   fmt.Sprintf("see `carillon describe minion %[1]s`, and on its host that the worker runs and reaches a node; if it is gone for good: `carillon minions forget %[1]s`", first),
	}
}

// uncontrollable tells of connected minions that get no orders.
func uncontrollable(known []job.Minion, sees sight) *api.Check {
	bad, first := 0, ""
	for _, m := range known {
		if m.Node == "" || m.Trouble == "" {
			continue
		}
		bad++
		if first == "" && sees(rights.Minions, "", m.Labels) {
			first = fmt.Sprintf(", first %s: %s", m.ID, m.Trouble)
		}
	}
	if bad == 0 {
		return nil
	}
	return &api.Check{
		Name: "minions", Status: api.CheckFail, Detail: fmt.Sprintf("%d are connected and uncontrollable%s", bad, first),
		Hint: "see `carillon minions`; they get orders again as soon as the problem is over",
	}
}

// checkRequests looks for minions that ask to join.
func (c *Checker) checkRequests(ctx context.Context) []api.Check {
	if c.enrollment == nil {
		return nil
	}
	requests, err := c.enrollment.Requests(ctx)
	if err != nil {
		return nil // etcd's own check tells
	}
	waiting := 0
	for _, r := range requests {
		for _, k := range r.Keys {
			if k.ApprovedAt.IsZero() && k.RejectedAt.IsZero() {
				waiting++
			}
		}
	}
	if waiting == 0 {
		return nil
	}
	return []api.Check{{
		Name: "minions", Status: api.CheckWarn, Detail: fmt.Sprintf("%d ask to join and wait for an operator", waiting),
		Hint: "see `carillon minions requests`, then approve or reject them",
	}}
}

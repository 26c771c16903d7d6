package minions

import (
	"cmp"
	"context"
	"fmt"

	"github.com/carillon-cron/carillon/agentpush/target"
	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/job"
)

// MatchMinions previews a target expression. The error of one that cannot be
// read is a *job.InvalidError.
func (f *Fleet) MatchMinions(ctx context.Context, expr string) (api.Match, error) {
	minions, err := f.Minions(ctx)
	if err != nil {
		return api.Match{}, err
	}
	parsed, selection, err := f.selectFrom(ctx, minions, "target", expr)
	if err != nil {
		return api.Match{}, err
	}
	known := make(map[string]*api.Minion, len(minions))
	for i := range minions {
		known[string(minions[i].ID)] = &minions[i]
	}
	view := api.Match{
		Target: parsed.String(), Known: len(minions), Unknown: apiview.Each(selection.Unknown, apiview.UnknownKey),
		Minions: []job.MinionID{}, Disconnected: []job.MinionID{}, Uncontrollable: []job.Uncontrollable{},
	}
	var set target.NodeSet
	for _, name := range selection.Names {
		m := known[name]
		if m.State == api.MinionConnected {
			set.Add(name)
			view.Minions = append(view.Minions, m.ID)
		} else {
			view.Disconnected = append(view.Disconnected, m.ID)
			m.Trouble = cmp.Or(m.Trouble, "not connected") // one that was stored by another node
		}
		if m.Trouble != "" {
			view.Uncontrollable = append(view.Uncontrollable, job.Uncontrollable{Minion: m.ID, Reason: m.Trouble, Since: m.TroubleSince})
		}
	}
	view.Hosts, view.Missing = set.String(), selection.Missing.String()
	return view, nil
}

// selectFrom returns which of the minions an expression selects. path is where
// the expression was given.
func (f *Fleet) selectFrom(ctx context.Context, minions []api.Minion, path, expr string) (*target.Expr, selected, error) {
	parsed, err := target.Parse(expr)
	if err != nil {
		return nil, selected{}, &job.InvalidError{Problems: target.Problems(path, err)}
	}
	saved, err := f.HostExpressions(ctx)
	if err != nil {
		return nil, selected{}, err
	}
	matcher, err := parsed.Bind(saved.Groups)
	if err != nil {
		return nil, selected{}, &job.InvalidError{Problems: target.Problems(path, err)}
	}
	all, err := f.Known()
	if err != nil {
		return nil, selected{}, err
	}
	names := target.LabelNames(func(yield func(map[string]string) bool) {
		for _, m := range all {
			if !yield(m.Labels) {
				return
			}
		}
	})
	hosts := make([]target.Host, len(minions))
	known := make(map[string]bool, len(minions))
	for i := range minions {
		hosts[i] = target.HostOf(&minions[i].Minion, names)
		known[hosts[i].Name] = true
	}
	return parsed, selected{matcher.Select(hosts), matcher.Missing(func(name string) bool { return known[name] })}, nil
}

// selected is what an expression selects.
type selected struct {
	target.Selection

	// Missing are the names that it spells out and no minion has.
	Missing target.NodeSet
}

// AllAwayError is returned when minions match a target and none of them takes
// orders.
type AllAwayError struct{ Minions []job.Uncontrollable }

func (e *AllAwayError) Error() string {
	first := e.Minions[0]
	if len(e.Minions) == 1 {
		return fmt.Sprintf("1 minion matches the target, and takes no orders: %s: %s", first.Minion, first.Reason)
	}
	return fmt.Sprintf("%d minions match the target, and none takes orders; the first is %s: %s", len(e.Minions), first.Minion, first.Reason)
}

// Unwrap returns job.ErrUnavailable.
func (e *AllAwayError) Unwrap() error { return job.ErrUnavailable }

// MatchTarget tells which minions a target matches now, all but Hosts.
func (f *Fleet) MatchTarget(ctx context.Context, t job.Target) (api.Exec, error) {
	v := api.Exec{Minions: []job.MinionID{}, Uncontrollable: []job.Uncontrollable{}, Unknown: []api.UnknownKey{}}
	// What this node knows is what the shards' owners choose from. To list what is
	// stored as well takes longer than all else of an exec on very many.
	all, err := f.Known()
	if err != nil {
		return v, err
	}
	var minions []api.Minion
	for _, m := range all {
		if t.Matches(m.ID, m.Labels) {
			minions = append(minions, api.Minion{Minion: m})
		}
	}
	admitted := map[string]bool{}
	if t.Match != "" {
		_, selection, err := f.selectFrom(ctx, minions, "spec.target.match", t.Match)
		if err != nil {
			return v, err
		}
		for _, name := range selection.Names {
			admitted[name] = true
		}
		v.Unknown, v.Missing = apiview.Each(selection.Unknown, apiview.UnknownKey), selection.Missing.String()
	}
	for i := range minions {
		m := &minions[i]
		switch {
		case t.Match != "" && !admitted[string(m.ID)]:
		case m.Trouble != "" || m.Node == "":
			v.Uncontrollable = append(v.Uncontrollable, job.Uncontrollable{Minion: m.ID, Reason: m.Trouble, Since: m.TroubleSince})
		default:
			v.Minions = append(v.Minions, m.ID)
		}
	}
	return v, nil
}

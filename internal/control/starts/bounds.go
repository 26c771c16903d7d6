package starts

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/command"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// begin is a start that somebody asks for.
type begin struct {
	// requests are the rights that it wants, each of which may be bounded.
	requests []rights.Request
	// job is what is started, with params.
	job    *job.Job
	params map[string]string
	// hosts are the minions that it is for; none: those that the job's target matches.
	hosts []job.MinionID
}

// execOf are the rights that a command of one's own wants, in the job that is made of it.
func execOf(m *job.Metadata) []rights.Request {
	return []rights.Request{
		{Verb: rights.Exec, Kind: rights.Minions},
		{Verb: rights.Exec, Kind: rights.Jobs, Namespace: m.Namespace, Labels: m.Labels},
	}
}

// runOf are the rights that a start of a job wants. One that was made for a command of
// somebody's own wants those of such a command as well.
func runOf(k rights.Kind, j *job.Job) []rights.Request {
	all := []rights.Request{{Verb: rights.Run, Kind: k, Namespace: j.Namespace, Labels: j.Labels}}
	if !j.ExpiresAt.IsZero() {
		all = append(all, execOf(&j.Metadata)...)
	}
	return all
}

// bounded returns what bounds a start by who asks, so that nodes keep to it; empty:
// nothing does. A start that is beyond in any of its minions, or in what it starts, is
// refused as a whole, with all that is: the error wraps job.ErrForbidden.
func (st *Starter) bounded(ctx context.Context, b *begin) (job.Bounds, error) {
	s, err := st.rights.Of(ctx)
	if err != nil {
		return nil, err
	}
	var held job.Bounds
	for _, r := range b.requests {
		one, err := s.Starts(r, nil)
		if err != nil {
			return nil, err
		}
		held = append(held, one...)
	}
	if len(held) == 0 {
		return nil, nil
	}
	admits, why, err := st.beyond(ctx, b, held)
	switch {
	case err != nil:
		return nil, err
	case len(why) > 0:
		return nil, s.Outside(b.requests[0], strings.Join(why, "; "))
	case !s.Keeps():
		return nil, nil
	}
	return admits, nil
}

// beyond tells all of a start that is beyond bounds; or what of them admits it.
func (st *Starter) beyond(ctx context.Context, b *begin, held job.Bounds) (admits job.Bounds, why []string, err error) {
	read, err := command.ReadBounds(held)
	if err != nil {
		return nil, nil, err
	}
	own, err := command.ReadBounds(b.job.Bounds)
	if err != nil {
		return nil, nil, err
	}
	index, err := st.definitions.IndexScripts(ctx, b.job.Spec.ScriptRefs(b.job.Namespace))
	if err != nil {
		return nil, nil, err
	}
	plan, problems := b.job.Spec.Plan(b.job.Namespace, b.params, index.Find)
	if len(problems) > 0 {
		return nil, nil, &job.InvalidError{Problems: problems}
	}
	order := command.OrderOf(&b.job.Spec, &plan)
	admits, err = read.Admitting(order, false)
	targets := read.Targets()
	if err != nil {
		why = append(why, err.Error())
	} else if targets, err = read.Within(order); err != nil {
		return nil, nil, err
	}
	if targets == "" {
		return admits, why, nil
	}
	in, err := st.minions.MatchTarget(ctx, job.Target{Match: targets})
	if err != nil {
		return nil, nil, err
	}
	admitted := map[job.MinionID]bool{}
	for _, m := range in.Minions {
		admitted[m] = true
	}
	for i := range in.Uncontrollable {
		admitted[in.Uncontrollable[i].Minion] = true
	}
	wanted := b.hosts
	if len(wanted) == 0 {
		found, err := st.minions.MatchTarget(ctx, command.Narrowed(b.job.Spec.Target, own.Targets()))
		if err != nil {
			return nil, nil, err
		}
		wanted = found.Minions
		for i := range found.Uncontrollable {
			wanted = append(wanted, found.Uncontrollable[i].Minion)
		}
	}
	var outside []string
	for _, m := range wanted {
		if m != "" && !admitted[m] {
			outside = append(outside, string(m))
		}
	}
	if len(outside) > 0 {
		why = append(why, fmt.Sprintf("%s outside %s: %s", apiview.Counted(len(outside), "minion"), targets, apiview.Some(outside[:min(len(outside), fewHosts)], len(outside))))
	}
	return admits, why, nil
}

// CanStart tells whether the caller may have a command started by something, whatever the
// state is: exec, or run and edit of a job that starts it.
func (st *Starter) CanStart(ctx context.Context, req api.CanIRequest) (api.CanI, error) {
	s, err := st.rights.Of(ctx)
	if err != nil {
		return api.CanI{}, err
	}
	j := job.Job{
		Metadata: job.Metadata{Namespace: cmp.Or(req.Namespace, job.DefaultNamespace), Labels: req.Labels},
		Spec:     job.Spec{Command: req.Command, User: req.RunAs, Target: job.Target{Match: req.Target, Run: job.SpreadAll}},
	}
	b := &begin{job: &j, requests: []rights.Request{{Verb: rights.Verb(req.Verb), Kind: rights.Kind(req.Resource), Namespace: req.Namespace, Labels: req.Labels}}}
	if r := &b.requests[0]; !slices.Contains([]rights.Verb{rights.Run, rights.Exec, rights.Edit}, r.Verb) || !slices.Contains([]rights.Kind{rights.Jobs, rights.Runs, rights.Minions}, r.Kind) {
		return api.CanI{}, apiview.Invalid("command", fmt.Sprintf("is not started by %s of %s; want exec minions, run jobs, run runs or edit jobs", r.Verb, r.Kind))
	} else if r.Verb == rights.Exec {
		b.requests = execOf(&j.Metadata)
	}
	v := api.CanI{State: s.State()}
	var held job.Bounds
	for _, r := range b.requests {
		one, ok := s.Bounds(r)
		if !ok {
			v.Why = fmt.Sprintf("no rule allows %s on %s there", r.Verb, r.Kind)
			return v, nil
		}
		held = append(held, one...)
	}
	_, why, err := st.beyond(ctx, b, held)
	v.Allowed, v.Why = err == nil && len(why) == 0, strings.Join(why, "; ")
	return v, err
}

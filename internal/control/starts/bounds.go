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
	dispatch "github.com/carillon-cron/carillon/internal/queues"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/queue"
)

// begin is a start that somebody asks for.
type begin struct {
	// requests are the rights that it wants, each of which may be bounded.
	requests []rights.Request
	// job is what is started, with params; by order, unless that is nil.
	job    *job.Job
	params map[string]string
	order  *job.Order
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
	if b.job.Spec.Dispatch != nil { // each item keeps to them
		return held, nil, nil
	}
	own, err := command.ReadBounds(b.job.Bounds)
	if err != nil {
		return nil, nil, err
	}
	order := b.order
	if order == nil {
		if order, err = st.orderOf(ctx, b); err != nil {
			return nil, nil, err
		}
	}
	admits, err = read.Admitting(order, b.order != nil)
	targets := read.Targets()
	if err != nil {
		why = append(why, err.Error())
	} else if targets, err = targetsOf(admits); err != nil {
		return nil, nil, err
	}
	outside, err := st.outside(ctx, b, targets, own)
	if outside != "" {
		why = append(why, outside)
	}
	return admits, why, err
}

// targetsOf is the target expression that admits all minions within bounds.
func targetsOf(b job.Bounds) (string, error) {
	read, err := command.ReadBounds(b)
	return read.Targets(), err
}

// orderOf returns what a start comes to.
func (st *Starter) orderOf(ctx context.Context, b *begin) (*job.Order, error) {
	index, err := st.definitions.IndexScripts(ctx, b.job.Spec.ScriptRefs(b.job.Namespace))
	if err != nil {
		return nil, err
	}
	plan, problems := b.job.Spec.Plan(b.job.Namespace, b.params, index.Find)
	if len(problems) > 0 {
		return nil, &job.InvalidError{Problems: problems}
	}
	return command.OrderOf(&b.job.Spec, &plan), nil
}

// outside tells of the minions of a start that a target expression does not admit; empty:
// there are none. own bounds the job.
func (st *Starter) outside(ctx context.Context, b *begin, targets string, own *command.Bounds) (string, error) {
	if targets == "" {
		return "", nil
	}
	in, err := st.minions.MatchTarget(ctx, job.Target{Match: targets})
	if err != nil {
		return "", err
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
			return "", err
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
	if len(outside) == 0 {
		return "", nil
	}
	return fmt.Sprintf("%s outside %s: %s", apiview.Counted(len(outside), "minion"), targets, apiview.Some(outside[:min(len(outside), fewHosts)], len(outside))), nil
}

// ItemBounds returns, for each of the items, what bounds it by who puts it, or puts it
// back. If one is beyond in what it starts, or on one of the minions on which it may come
// to be, all are refused: the error wraps job.ErrForbidden.
func (st *Starter) ItemBounds(ctx context.Context, q *job.Queue, items []queue.Item) ([]job.Bounds, error) {
	out := make([]job.Bounds, len(items))
	s, err := st.rights.Of(ctx)
	if err != nil {
		return nil, err
	}
	r := rights.Request{Verb: rights.Run, Kind: rights.Queues, Namespace: q.Namespace, Labels: q.Labels}
	held, err := s.Starts(r, nil)
	if err != nil || len(held) == 0 {
		return out, err
	}
	read, err := command.ReadBounds(held)
	if err != nil {
		return nil, err
	}
	own, err := command.ReadBounds(q.Bounds)
	if err != nil {
		return nil, err
	}
	work := q.Spec.Work()
	b := &begin{job: &job.Job{Spec: work}}
	var all []string
	known := map[string]string{}
	for i := range items {
		it := &items[i]
		o := dispatch.OrderOf(&work, q.Key(), cmp.Or(it.ID, job.Undecided), job.Undecided, string(it.Payload))
		var why string
		if out[i], err = read.Admitting(&o, true); err != nil {
			why = err.Error()
		} else {
			targets, err := targetsOf(out[i])
			if err != nil {
				return nil, err
			}
			told, asked := known[targets]
			if !asked {
				if told, err = st.outside(ctx, b, targets, own); err != nil {
					return nil, err
				}
				known[targets] = told
			}
			why = told
		}
		if why != "" && !slices.Contains(all, why) && len(all) < fewHosts {
			all = append(all, why)
		}
	}
	switch {
	case len(all) > 0:
		return make([]job.Bounds, len(items)), s.Outside(r, strings.Join(all, "; "))
	case !s.Keeps():
		return make([]job.Bounds, len(items)), nil
	}
	return out, nil
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
	if r := &b.requests[0]; !slices.Contains([]rights.Verb{rights.Run, rights.Exec, rights.Edit}, r.Verb) || !slices.Contains([]rights.Kind{rights.Jobs, rights.Runs, rights.Minions, rights.Queues}, r.Kind) {
		return api.CanI{}, apiview.Invalid("command", fmt.Sprintf("is not started by %s of %s; want exec minions, run jobs, run runs, run queues, edit jobs or edit queues", r.Verb, r.Kind))
	} else if r.Kind == rights.Queues {
		o := dispatch.OrderOf(&j.Spec, job.Key{Name: job.Undecided}, job.Undecided, job.Undecided, job.Undecided)
		b.order = &o
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

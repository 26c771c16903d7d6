package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/carillon-cron/carillon/internal/command"
	"github.com/carillon-cron/carillon/internal/manifest"
	dispatch "github.com/carillon-cron/carillon/internal/queues"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// Who stores a job, a script or a queue decides what runs. What that may be is kept with
// it: nodes keep to it whenever it is started, as minions, scripts and parameters change.

// jobBounds returns what the caller may have a job start; see bounds.
func (p *planner) jobBounds(ctx context.Context, o *manifest.Object, old job.Bounds) (job.Bounds, error) {
	if o.Spec.Dispatch != nil {
		return p.dispatchBounds(ctx, o, old)
	}
	return p.bounds(ctx, o, rights.Jobs, old, func(held *command.Bounds) (job.Bounds, error) {
		plan := o.Spec.Draft(o.Metadata.Namespace, p.scripts.Find)
		return held.Admitting(command.OrderOf(&o.Spec, &plan), true)
	})
}

// dispatchBounds returns what the caller may have started by a job that is dispatched to a
// queue: what edit of the job, and run of the queue, allow. Each item keeps to it; what that
// starts is the queue's to say, so that it is not looked at before.
func (p *planner) dispatchBounds(ctx context.Context, o *manifest.Object, old job.Bounds) (job.Bounds, error) {
	s, err := p.c.rights.Of(ctx)
	if err != nil {
		return nil, err
	}
	held, err := s.Starts(rights.Request{Verb: rights.Edit, Kind: rights.Jobs, Namespace: o.Metadata.Namespace, Labels: o.Metadata.Labels}, nil)
	if err != nil {
		return nil, err
	}
	key := job.Key{Namespace: o.Metadata.Namespace, Name: o.Spec.Dispatch.Queue}
	puts, may := s.Bounds(rights.Request{Verb: rights.Run, Kind: rights.Queues, Namespace: key.Namespace, Labels: p.queueLabels(key)})
	switch {
	case !may: // the job has named the queue before, by somebody who may
		puts = old
	case p.purpose == switching && len(held)+len(puts) == 0, !s.Keeps():
		return old, nil
	}
	return held.With(puts), nil
}

// queueBounds returns what the caller may have a queue start; see bounds.
func (p *planner) queueBounds(ctx context.Context, o *manifest.Object, old job.Bounds) (job.Bounds, error) {
	return p.bounds(ctx, o, rights.Queues, old, func(held *command.Bounds) (job.Bounds, error) {
		work := o.Queue.Work()
		order := dispatch.OrderOf(&work, o.Metadata.Key(), job.Undecided, job.Undecided, job.Undecided)
		return held.Admitting(&order, true)
	})
}

// scriptBounds returns as what, and where, the caller may have a version of a script
// started; see bounds.
func (p *planner) scriptBounds(ctx context.Context, o *manifest.Object, next *job.SavedScript, old job.Bounds) (job.Bounds, error) {
	return p.bounds(ctx, o, rights.Scripts, old, func(held *command.Bounds) (job.Bounds, error) {
		// A job that has this step, and no other.
		spec := job.Spec{Steps: []job.Step{{Script: o.Metadata.Name}}}
		plan := spec.Draft(o.Metadata.Namespace, func(job.ScriptRef) (*job.SavedScript, bool) { return next, true })
		return held.AdmittingScript(&plan.Steps[0], next.Spec.User)
	})
}

// bounds returns what of what the caller holds admits what an object of a kind has started;
// empty: anything anywhere. old are the bounds that it has. That it would start something
// else is noted.
func (p *planner) bounds(ctx context.Context, o *manifest.Object, k rights.Kind, old job.Bounds, admitting func(*command.Bounds) (job.Bounds, error)) (job.Bounds, error) {
	s, err := p.c.rights.Of(ctx)
	if err != nil {
		return nil, err
	}
	held, err := s.Starts(rights.Request{Verb: rights.Edit, Kind: k, Namespace: o.Metadata.Namespace, Labels: o.Metadata.Labels}, nil)
	switch {
	case err != nil:
		return nil, err
	case len(held) == 0 && p.purpose == switching: // who switches it on, or off, has not looked at what it starts
		return old, nil
	case len(held) == 0:
		return nil, nil
	}
	read, err := command.ReadBounds(held)
	if err != nil {
		return nil, err
	}
	admits, err := admitting(read)
	var outside *command.OutsideError
	switch {
	case errors.As(err, &outside):
		if len(p.beyond) == 0 {
			p.beyondKind = k
		}
		p.beyond = append(p.beyond, o.Problem("spec", strings.ToLower(o.Kind)+" "+o.Metadata.Key().String()+": "+outside.Why).String())
	case err != nil:
		return nil, err
	}
	if !s.Keeps() {
		return old, nil
	}
	return admits, nil
}

// refuseBeyond refuses all objects together that would start what the caller may not.
func (p *planner) refuseBeyond(ctx context.Context) error {
	if len(p.beyond) == 0 {
		return nil
	}
	s, err := p.c.rights.Of(ctx)
	if err != nil {
		return err
	}
	text := p.beyond[0]
	for _, more := range p.beyond[1:] {
		text += "; " + more
	}
	return s.Outside(rights.Request{Verb: rights.Edit, Kind: p.beyondKind}, text)
}

// boundWarnings tells of minions that a target matches and that who wrote it may not use.
func (ap *Applier) boundWarnings(ctx context.Context, t job.Target, bounds job.Bounds) []string {
	read, err := command.ReadBounds(bounds)
	targets := read.Targets()
	if err != nil || targets == "" {
		return nil
	}
	all, err1 := ap.minions.MatchTarget(ctx, t)
	in, err2 := ap.minions.MatchTarget(ctx, command.Narrowed(t, targets))
	n := len(all.Minions) + len(all.Uncontrollable)
	left := n - len(in.Minions) - len(in.Uncontrollable)
	if err1 != nil || err2 != nil || left <= 0 {
		return nil
	}
	return []string{fmt.Sprintf("spec.target: %d of the %d minions that it matches are left out: %s may have it started on %s only", left, n, bounds[0].By, targets)}
}

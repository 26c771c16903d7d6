package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/carillon-cron/carillon/internal/command"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// Who stores a job decides what runs. What that may be is kept with the job: nodes keep to
// it whenever the job starts, as minions, scripts and parameters change.

// editOf is the right that storing a job wants.
func editOf(o *manifest.Object) rights.Request {
	return rights.Request{Verb: rights.Edit, Kind: rights.Jobs, Namespace: o.Metadata.Namespace, Labels: o.Metadata.Labels}
}

// bounds returns what the caller may have a job start; empty: anything anywhere. old are
// the bounds that it has. That the job would start something else is noted.
func (p *planner) bounds(ctx context.Context, o *manifest.Object, old job.Bounds) (job.Bounds, error) {
	s, err := p.c.rights.Of(ctx)
	if err != nil {
		return nil, err
	}
	held, err := s.Starts(editOf(o), nil)
	switch {
	case err != nil:
		return nil, err
	case len(held) == 0 && p.switching: // who switches it on, or off, has not looked at what it starts
		return old, nil
	case len(held) == 0:
		return nil, nil
	}
	read, err := command.ReadBounds(held)
	if err != nil {
		return nil, err
	}
	plan := o.Spec.Draft(o.Metadata.Namespace, p.scripts.Find)
	admits, err := read.Admitting(command.OrderOf(&o.Spec, &plan), true)
	var outside *command.OutsideError
	switch {
	case errors.As(err, &outside):
		p.beyond = append(p.beyond, o.Problem("spec", "job "+o.Metadata.Key().String()+": "+outside.Why).String())
	case err != nil:
		return nil, err
	}
	if !s.Keeps() {
		return old, nil
	}
	return admits, nil
}

// refuseBeyond refuses all jobs together that would start what the caller may not.
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
	return s.Outside(rights.Request{Verb: rights.Edit, Kind: rights.Jobs}, text)
}

// sameBounds reports whether two bounds admit the same, whoever they are of.
func sameBounds(a, b job.Bounds) bool {
	return slices.EqualFunc(a, b, func(x, y job.Bound) bool {
		return slices.EqualFunc(x.Rules, y.Rules, func(r, t job.StartRule) bool {
			return slices.Equal(r.Targets, t.Targets) && slices.Equal(r.RunAs, t.RunAs) && slices.Equal(r.Commands, t.Commands)
		})
	})
}

// boundWarnings tells of minions that a job's target matches and its author may not use.
func (ap *Applier) boundWarnings(ctx context.Context, j *job.Job) []string {
	read, err := command.ReadBounds(j.Bounds)
	targets := read.Targets()
	if err != nil || targets == "" {
		return nil
	}
	all, err1 := ap.minions.MatchTarget(ctx, j.Spec.Target)
	in, err2 := ap.minions.MatchTarget(ctx, command.Narrowed(j.Spec.Target, targets))
	n := len(all.Minions) + len(all.Uncontrollable)
	left := n - len(in.Minions) - len(in.Uncontrollable)
	if err1 != nil || err2 != nil || left <= 0 {
		return nil
	}
	return []string{fmt.Sprintf("spec.target: %d of the %d minions that it matches are left out: %s may have it started on %s only", left, n, j.Bounds[0].By, targets)}
}

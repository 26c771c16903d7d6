package apply

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/minions"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// takers returns who may do the items of a queue.
func (p *planner) takers(ctx context.Context, q *job.Queue) (minions.Takers, error) {
	return p.once("queue "+q.Key().String(), func() (minions.Takers, error) {
		t, err := p.c.minions.Takers(ctx, q)
		if err != nil {
			err = fmt.Errorf("what the workers of queue %s take: %w", q.Key(), err)
		}
		return t, err
	})
}

// takersOf returns who may do the tasks of a job.
func (p *planner) takersOf(ctx context.Context, s *job.Spec) (minions.Takers, error) {
	handler, ok := job.HandlerOf(s.Command)
	if !ok {
		return minions.Takers{}, nil
	}
	target, err := json.Marshal(s.Target)
	if err != nil {
		return minions.Takers{}, fmt.Errorf("who has handler %s: %w", handler, err)
	}
	return p.once("handler "+handler+" "+string(target), func() (minions.Takers, error) {
		t, err := p.c.minions.TakersOf(ctx, s)
		if err != nil {
			err = fmt.Errorf("who has handler %s: %w", handler, err)
		}
		return t, err
	})
}

// once finds takers out once for all objects: all minions are looked through.
func (p *planner) once(what string, find func() (minions.Takers, error)) (minions.Takers, error) {
	if t, known := p.who[what]; known {
		return t, nil
	}
	t, err := find()
	if err == nil {
		p.who[what] = t
	}
	return t, err
}

// looksAtTakers reports whether what a job gives its handlers is looked at: not where
// nothing but whether it is enabled changes, or nothing at all. Handlers come and go, and
// what was stored is not to be held up by that.
func (p *planner) looksAtTakers(ch *change) bool {
	return p.purpose != switching && ch.result.Action != api.ActionUnchanged
}

// checkInputs tells which jobs give a handler what no minion takes that may do their tasks.
func (p *planner) checkInputs(ctx context.Context, objects []manifest.Object, changes []change) ([]job.Problem, error) {
	var problems []job.Problem
	for i := range objects {
		o := &objects[i]
		if o.Kind != job.KindJob || !p.looksAtTakers(&changes[i]) {
			continue
		}
		t, err := p.takersOf(ctx, &o.Spec)
		if err != nil {
			return nil, err
		}
		at, text := "spec.command", ""
		if len(o.Spec.Command) > 1 {
			at, text = "spec.command[1]", o.Spec.Command[1]
		}
		for _, wrong := range t.Refuses(text) {
			problems = append(problems, o.Problem(at, fmt.Sprintf("handler %s does not take it: %s (no minion that the target matches takes it)", t.Handler, wrong)))
		}
	}
	return problems, nil
}

// warnOfHandlers warns of jobs whose handler no minion has: it may come later, or its name
// is mistyped.
func (p *planner) warnOfHandlers(ctx context.Context, objects []manifest.Object, changes []change) error {
	for i := range objects {
		o := &objects[i]
		if o.Kind != job.KindJob || !p.looksAtTakers(&changes[i]) {
			continue
		}
		t, err := p.takersOf(ctx, &o.Spec)
		text := "spec.command: no minion that the target matches has handler %s now, so that nobody can say whether it takes its input; tasks fail where there is none"
		if d := o.Spec.Dispatch; d != nil {
			q, qerr := p.queueOf(objects, job.Key{Namespace: o.Metadata.Namespace, Name: d.Queue})
			if qerr != nil {
				return qerr
			}
			if q == nil {
				continue
			}
			t, err = p.takers(ctx, q)
			text = "spec.dispatch.queue: no worker of the queue has handler %s now, so that nobody can say whether it takes what the job puts; items wait until there is one"
		}
		if err != nil {
			return err
		}
		if t.None {
			changes[i].result.Warnings = append(changes[i].result.Warnings, fmt.Sprintf(text, t.Handler))
		}
	}
	return nil
}

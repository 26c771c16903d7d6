package scheduler

import (
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/internal/command"
	"github.com/carillon-cron/carillon/job"
)

// A job's steps name scripts of the library. Which version that is, and what the
// minions are told to do, is worked out when the first order of a fire is sent,
// and holds for the fire as long as its owner and the job's spec stay.

const (
	// scriptGrace is how long a script is awaited that this node has not heard of
	// yet: it was stored before the job that names it, and is read apart from it.
	scriptGrace = 3 * time.Second
	scriptWait  = 50 * time.Millisecond
)

// work is what the minions of a fire are told to do.
type work struct {
	job.Plan
	// sum is the hash of the job's script when its text does not go along.
	sum string
	// scripts is what bounds scripts of the library that its steps run.
	scripts []scriptHeld
}

// workOf returns the work of a fire. It is false while a script is awaited; the
// error says why there is no way to start it.
func (s *shard) workOf(f *fire, spec *job.Spec, now int64) (work, bool, error) {
	w := work{Plan: job.Plan{Params: f.params, Sensitive: f.sensitive, User: spec.User}}
	large := spec.Script != nil && len(spec.Script.Source) > job.SmallScript
	if !large && len(spec.Steps) == 0 && len(spec.Params) == 0 {
		return w, true, nil
	}
	if f.work != nil {
		return *f.work, true, nil
	}
	if large {
		w.sum = job.ScriptSum(spec.Script.Source)
	}
	if len(spec.Steps) > 0 || len(spec.Params) > 0 {
		scripts := s.deps.Cluster.Scripts()
		for _, ref := range spec.ScriptRefs(f.e.key.Namespace) {
			if _, ok := scripts.Find(ref); ok {
				continue
			}
			if f.mayWait(now) {
				return w, false, nil
			}
		}
		plan, problems := spec.Plan(f.e.key.Namespace, job.GivenParams(f.params, f.sensitive), scripts.Find)
		if len(problems) > 0 {
			return w, true, &job.InvalidError{Problems: problems}
		}
		w.Plan = plan
		for _, b := range plan.Scripts {
			given := b.Bounds
			if s.deps.Roles != nil {
				if s.deps.Roles.Version() == 0 {
					return w, false, nil
				}
				given = s.deps.Roles.Now(given, b.Script.Namespace)
			}
			bounds, err := command.ReadBounds(given)
			if err != nil {
				return w, true, fmt.Errorf("script %s: %w", b.Script, err)
			}
			w.scripts = append(w.scripts, scriptHeld{step: b.Step, name: b.Script.String(), bounds: bounds})
		}
	}
	f.work = &w
	return w, true, nil
}

// mayWait reports whether the fire may wait for what it names and this node has not
// heard of yet.
func (f *fire) mayWait(now int64) bool {
	if f.awaits == 0 {
		f.awaits = now
	}
	return now-f.awaits < int64(scriptGrace)
}

// sealed returns the secrets of an order with what the cluster keeps of them now. It is
// false while one is awaited; the error says that there is none.
func (s *shard) sealed(f *fire, secrets map[string]job.OrderSecret, now int64) (map[string]job.OrderSecret, bool, error) {
	if len(secrets) == 0 {
		return nil, true, nil
	}
	out, missing, err := job.WithSealed(secrets, f.e.key.Namespace, s.deps.Cluster.Secrets().Find)
	switch {
	case missing == "":
		return out, true, err
	case f.mayWait(now):
		return nil, false, nil
	}
	return nil, true, fmt.Errorf("there is no secret %q in namespace %q; make it by carillon secret create", missing, f.e.key.Namespace)
}

// variables are what the environment of a spec comes to, once for all its tasks.
type variables struct {
	of      *job.Spec
	texts   map[string]string
	secrets map[string]job.OrderSecret
}

// variables returns the variables of a spec, which nobody may change.
func (f *fire) variables(spec *job.Spec) (texts map[string]string, secrets map[string]job.OrderSecret) {
	if f.vars.of != spec {
		f.vars.of = spec
		f.vars.texts, f.vars.secrets = spec.Variables()
		if a := f.after; a != nil {
			if f.vars.texts == nil {
				f.vars.texts = map[string]string{}
			}
			f.vars.texts[job.EnvAfterRun], f.vars.texts[job.EnvAfterJob], f.vars.texts[job.EnvAfterState] = string(a.Run), a.Job.String(), string(a.State)
		}
	}
	return f.vars.texts, f.vars.secrets
}

package job

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// planner works out a Plan.
type planner struct {
	spec      *Spec
	namespace string
	given     map[string]string
	find      ScriptFinder
	// open: what is not given now may be given later.
	open     bool
	problems problems
	// asked are parameters that were told to be missing.
	asked map[string]bool
	// sensitive are the parameters that the job, or a script of it, says to be so; in
	// capitals.
	sensitive map[string]bool
}

func (w *planner) plan() Plan {
	s := w.spec
	scripts := make([]*SavedScript, len(s.Steps))
	known := slices.Clone(s.Params)
	for i := range s.Steps {
		if scripts[i] = w.script(i); scripts[i] != nil {
			known = append(known, scripts[i].Spec.Params...)
		}
	}
	w.sensitive = map[string]bool{}
	for i := range known {
		if d := &known[i]; d.Sensitive {
			w.sensitive[strings.ToUpper(d.Name)] = true
		}
	}
	for i := range s.Params {
		if d := &s.Params[i]; !d.Sensitive && w.sensitive[strings.ToUpper(d.Name)] {
			w.problems.add("spec.params["+strconv.Itoa(i)+"].sensitive", "%q is sensitive in a script of the job: write sensitive: true here, too", d.Name)
		}
	}
	if len(s.Params) > 0 || len(s.Steps) > 0 {
		for _, name := range slices.Sorted(maps.Keys(w.given)) {
			if paramOf(known, name) == nil {
				w.problems.unknownParam("params."+name, name, paramNames(known), "the job takes none")
			}
		}
	}
	plan := Plan{Params: map[string]string{}, User: s.User}
	maps.Copy(plan.Params, w.given)
	for i := range s.Params {
		w.fill(plan.Params, &s.Params[i])
	}
	for i := range s.Steps {
		plan.Steps = append(plan.Steps, w.step(i, scripts[i], plan.Params))
		if scripts[i] != nil && len(scripts[i].Bounds) > 0 {
			plan.Scripts = append(plan.Scripts, StepBounds{Step: i, Script: scripts[i].Key(), Bounds: scripts[i].Bounds})
		}
		if scripts[i] == nil || scripts[i].Spec.User == "" {
			continue
		}
		if u := scripts[i].Spec.User; plan.User != "" && plan.User != u {
			w.problems.add(at(i)+".script", "runs as %q, and the job as %q; all steps of a job run as one user", u, plan.User)
		} else {
			plan.User = u
		}
	}
	for name, v := range plan.Params {
		if w.sensitive[strings.ToUpper(name)] {
			if plan.Sensitive == nil {
				plan.Sensitive = map[string]string{}
			}
			plan.Sensitive[name] = v
			delete(plan.Params, name)
		}
	}
	if len(plan.Params) == 0 {
		plan.Params = nil
	}
	if n := stepBytes(plan.Steps); n > MaxStepBytes {
		w.problems.add("spec.steps", "come to %d bytes with their scripts and parameters; at most %d are allowed", n, MaxStepBytes)
	}
	return plan
}

// stepBytes is about how large steps are in an order.
func stepBytes(list []OrderStep) int {
	n := 0
	for i := range list {
		st := &list[i]
		for _, text := range slices.Concat(st.Command, st.Args) {
			n += len(text)
		}
		for k, v := range st.Env {
			n += len(k) + len(v)
		}
		if st.Script != nil {
			n += len(st.Script.Source)
		}
	}
	return n
}

func at(i int) string { return "spec.steps[" + strconv.Itoa(i) + "]" }

// script finds the script of a step; nil: it has none, or a problem.
func (w *planner) script(i int) *SavedScript {
	name := w.spec.Steps[i].Script
	if name == "" {
		return nil
	}
	ref, err := ParseScriptRef(name, w.namespace)
	if err != nil {
		return nil // told by Validate
	}
	found, ok := w.find(ref)
	if !ok {
		w.problems.add(at(i)+".script", "there is no script %q in namespace %q; apply one (kind: %s), in this file or before it", strings.TrimPrefix(ref.String(), ref.Key.Namespace+"/"), ref.Key.Namespace, KindScript)
		return nil
	}
	return found
}

// fill checks a run's parameter, or puts its default in.
func (w *planner) fill(params map[string]string, d *Param) {
	v, ok := valueOf(params, d.Name)
	switch {
	case !ok && d.Default != "":
		params[d.Name] = d.Default
	case !ok && d.Required:
		w.missing("params."+d.Name, "is missing; it is required")
	case ok:
		if err := d.Accepts(v); err != nil {
			w.problems.add("params."+d.Name, "%v", err)
		}
	}
}

func (w *planner) missing(path, message string) {
	if w.open || w.asked[path] {
		return
	}
	if w.asked == nil {
		w.asked = map[string]bool{}
	}
	w.asked[path] = true
	w.problems.add(path, "%s", message)
}

// step works out a step.
func (w *planner) step(i int, script *SavedScript, run map[string]string) OrderStep {
	st := &w.spec.Steps[i]
	out := OrderStep{Name: w.spec.StepName(i), If: st.If, ContinueOnFailure: st.ContinueOnFailure, Timeout: time.Duration(st.Timeout), Env: map[string]string{}}
	values, pending := w.values(st, run)
	if script != nil {
		w.scriptStep(i, script, &out, values, pending, run)
	}
	for name, v := range values {
		out.Env[ParamEnv(name)] = v
	}
	switch {
	case script != nil:
		for _, a := range script.Spec.Args {
			out.Args = append(out.Args, replace(a, values))
		}
	case st.Shell != "":
		// Stored jobs may be older than the rule.
		checkValuesInShell(&w.problems, at(i)+".shell", st.Shell)
		out.Command = []string{"/bin/sh", "-c", st.Shell}
		if len(st.Args) > 0 {
			out.Command = append(out.Command, "sh") // $0
		}
		for _, a := range st.Args {
			out.Command = append(out.Command, replace(a, values, run))
		}
	default:
		checkValuesInCommand(&w.problems, at(i)+".command", st.Command)
		for _, a := range st.Command {
			out.Command = append(out.Command, replace(a, values, run))
		}
	}
	return out
}

// values returns the parameters that a step gives, and the names of those whose
// value is not known yet. One that is nothing but a parameter which is not set
// is not given.
func (w *planner) values(st *Step, run map[string]string) (values map[string]string, pending map[string]bool) {
	values, pending = map[string]string{}, map[string]bool{}
	for name, text := range st.Params {
		refs := references(text)
		unset := slices.ContainsFunc(refs, func(r string) bool { _, ok := valueOf(run, r); return !ok })
		switch {
		case unset && w.open:
			pending[strings.ToUpper(name)] = true
		case unset && len(refs) == 1 && reference.FindString(text) == text:
		default:
			values[name] = replace(text, run)
		}
	}
	return values, pending
}

// scriptStep adds what the step's script says, and checks its parameters.
func (w *planner) scriptStep(i int, script *SavedScript, out *OrderStep, values map[string]string, pending map[string]bool, run map[string]string) {
	sp, st := &script.Spec, &w.spec.Steps[i]
	for _, name := range slices.Sorted(maps.Keys(st.Params)) {
		if paramOf(sp.Params, name) == nil {
			w.problems.unknownParam(at(i)+".params."+name, name, paramNames(sp.Params), "the script takes none")
		}
	}
	for k := range sp.Params {
		d := &sp.Params[k]
		path := at(i) + ".params." + d.Name
		if pending[strings.ToUpper(d.Name)] {
			continue
		}
		v, ok := valueOf(values, d.Name)
		_, says := valueOf(st.Params, d.Name)
		sensitive := w.sensitive[strings.ToUpper(d.Name)]
		if !ok && !says {
			v, ok = valueOf(run, d.Name)
			path = "params." + d.Name
		}
		switch {
		case says && d.Sensitive:
			w.problems.add(path, "is sensitive: who starts the job gives it, by this name, and it is not written here")
		case !says && sensitive && !d.Sensitive:
			w.problems.add(at(i)+".script", "script %s takes %q, which is sensitive: it has to say so, too (sensitive: true)", script.Key(), d.Name)
		case ok:
			if !sensitive { // else it is in the environment of all steps, and in no plan
				values[d.Name] = v
			}
			if err := d.Accepts(v); err != nil {
				w.problems.add(path, "%v", err)
			}
		case d.Default != "":
			values[d.Name] = d.Default
		case d.Required:
			w.missing(path, "is missing; script "+script.Key().String()+" requires it")
		}
	}
	out.Command = sp.Interpreter
	if len(out.Command) == 0 {
		out.Command = []string{"/bin/sh"}
	}
	out.Script = &OrderScript{SHA256: script.SHA256, Source: sp.Source}
	if out.Timeout == 0 {
		out.Timeout = time.Duration(sp.Timeout)
	}
	for name, v := range sp.Env {
		if _, ours := w.spec.Env[name]; !ours {
			out.Env[name] = v
		}
	}
}

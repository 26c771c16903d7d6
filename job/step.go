package job

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// StepIf says when a step runs, by how those before it have ended. A failure
// that is continued counts as none.
type StepIf string

// When a step runs.
const (
	// IfSuccess: when no step before it has failed. The default.
	IfSuccess StepIf = "success"
	// IfFailure: when one has failed.
	IfFailure StepIf = "failure"
	// IfAlways: in either case.
	IfAlways StepIf = "always"
)

// StepIfs lists when a step may run, the default first.
func StepIfs() []StepIf { return []StepIf{IfSuccess, IfFailure, IfAlways} }

// Step is one of several things that a job does one after the other, on each of
// its minions. Exactly one of Script, Command and Shell is given.
type Step struct {
	// Name tells the step from the others. Empty: that of its script, or step-1
	// and so on.
	Name string `json:"name,omitempty"`
	// Script is a script of the library: NAME for its newest version when the job
	// starts, or NAME@VERSION; NAMESPACE/ may be before it.
	Script string `json:"script,omitempty"`
	// Command is the program and its arguments; no shell is involved. {{NAME}} in
	// one of them stands for the value of a parameter.
	Command []string `json:"command,omitempty"`
	// Shell is a line for /bin/sh. A parameter reaches it as the variable
	// CARILLON_PARAM_NAME, and by Args; {{NAME}} in it is refused.
	Shell string `json:"shell,omitempty"`
	// Args are the positional parameters of Shell, $1 and so on; {{NAME}} in one
	// stands for the value of a parameter.
	Args []string `json:"args,omitempty"`
	// Params are what the step is given; {{NAME}} in one stands for a parameter of
	// the job. A parameter of Script that is not here is the job's of the same name.
	Params map[string]string `json:"params,omitempty"`
	// If says when the step runs. Empty: IfSuccess.
	If StepIf `json:"if,omitempty"`
	// ContinueOnFailure: the job goes on, and may succeed, though the step fails.
	ContinueOnFailure bool `json:"continueOnFailure,omitempty"`
	// Timeout ends the step when it runs longer, with its processes; the steps
	// behind it go on as after a failure. Zero: the script's, or no bound but the
	// job's.
	Timeout Duration `json:"timeout,omitempty"`
}

// Limits of steps.
const (
	MaxSteps      = 64
	MaxShellBytes = 64 << 10
	// MaxStepBytes bounds what the steps come to in an order.
	MaxStepBytes = 512 << 10
)

// OrderStep is a step as a minion is told to run it.
type OrderStep struct {
	Name string `json:"name"`
	// Command is the program and its arguments. With Script they go before the
	// path of its text, and Args behind it.
	Command []string     `json:"command"`
	Script  *OrderScript `json:"script,omitempty"`
	Args    []string     `json:"args,omitempty"`
	// Env is added to the order's.
	Env               map[string]string `json:"env,omitempty"`
	If                StepIf            `json:"if,omitempty"`
	ContinueOnFailure bool              `json:"continueOnFailure,omitempty"`
	// Timeout ends the step; zero: the order's does.
	Timeout time.Duration `json:"timeout,omitempty"`
}

// OrderScript is the text of a script on its way.
type OrderScript struct {
	// SHA256 is the text's hash, in hexadecimal.
	SHA256 string `json:"sha256"`
	// Source is the text; empty where it is asked for by its hash.
	Source string `json:"source,omitempty"`
}

// SmallScript is up to how many bytes a text goes along with its orders.
const SmallScript = 4 << 10

// StepResult tells how a step ended.
type StepResult struct {
	Name string `json:"name"`
	// State is succeeded, failed, timed-out, cancelled, or skipped where its
	// condition was not met.
	State State `json:"state"`
	// ExitCode is that of its process; 128 and the number of the signal that ended
	// it, 124 after a timeout, 127 when it could not be started.
	ExitCode int      `json:"exitCode"`
	Took     Duration `json:"took,omitempty"`
}

// Plan is what a start of a job comes to.
type Plan struct {
	// Params are the run's, with defaults; Sensitive are those whose values are not
	// told, and no part of Steps.
	Params    map[string]string
	Sensitive map[string]string
	Steps     []OrderStep
	// User is who runs the command: the job's, or the one that a script wants.
	User string
	// Scripts are what bounds the scripts of steps. Nil: nothing does.
	Scripts []StepBounds
}

// StepBounds are what those may have started who applied the script of a step.
type StepBounds struct {
	// Step is its place among Plan.Steps, Script which script it is.
	Step   int
	Script Key
	Bounds Bounds
}

// ScriptFinder finds scripts; false: there is no such version.
type ScriptFinder func(ScriptRef) (*SavedScript, bool)

// Plan works out what a start with the given parameters comes to, and tells all
// that is wrong with it: paths begin with "params" for what was given, and with
// "spec" for what the job says itself.
func (s *Spec) Plan(namespace string, given map[string]string, find ScriptFinder) (Plan, []Problem) {
	w := planner{spec: s, namespace: namespace, given: given, find: find}
	return w.plan(), w.problems
}

// Undecided stands in a Draft for a value that is not known. No argument can hold it.
const Undecided = "\x00"

// Draft works out what a start may come to as far as can be known before it: parameters
// have their defaults, and those that have none are Undecided.
func (s *Spec) Draft(namespace string, find ScriptFinder) Plan {
	given := map[string]string{}
	known := slices.Clone(s.Params)
	var texts []string
	for i := range s.Steps {
		st := &s.Steps[i]
		texts = append(slices.Concat(texts, st.Command, st.Args), slices.Collect(maps.Values(st.Params))...)
		if ref, err := ParseScriptRef(st.Script, namespace); err == nil {
			if script, ok := find(ref); ok {
				known = append(known, script.Spec.Params...)
			}
		}
	}
	for _, text := range texts {
		for _, name := range references(text) {
			if paramOf(known, name) == nil {
				given[name] = Undecided
			}
		}
	}
	for i := range known {
		if known[i].Default == "" {
			given[known[i].Name] = Undecided
		}
	}
	w := planner{spec: s, namespace: namespace, given: given, find: find, open: true}
	return w.plan()
}

// CheckSteps tells what is wrong with the steps as far as can be known before
// the job starts.
func (s *Spec) CheckSteps(namespace string, find ScriptFinder) []Problem {
	w := planner{spec: s, namespace: namespace, find: find, open: len(s.Schedules) == 0 && s.After == nil && s.Watch == nil && !s.OnStart}
	w.plan()
	for i := range w.problems {
		if name, ok := strings.CutPrefix(w.problems[i].Path, "params."); ok {
			w.problems[i].Path = "spec.params"
			w.problems[i].Message = fmt.Sprintf("the job starts automatically, without parameters, and %q %s", name, w.problems[i].Message)
		}
	}
	return w.problems
}

// ScriptRefs returns the scripts of the library that the job's steps name.
func (s *Spec) ScriptRefs(namespace string) []ScriptRef {
	var refs []ScriptRef
	for i := range s.Steps {
		if s.Steps[i].Script == "" {
			continue
		}
		if ref, err := ParseScriptRef(s.Steps[i].Script, namespace); err == nil {
			refs = append(refs, ref)
		}
	}
	return refs
}

// StepName returns the name of a step, or its default.
func (s *Spec) StepName(i int) string {
	st := &s.Steps[i]
	if st.Name != "" {
		return st.Name
	}
	if ref, err := ParseScriptRef(st.Script, DefaultNamespace); err == nil {
		only := 0
		for k := range s.Steps {
			if o, err := ParseScriptRef(s.Steps[k].Script, DefaultNamespace); err == nil && o.Key.Name == ref.Key.Name {
				only++
			}
		}
		if only == 1 {
			return ref.Key.Name
		}
	}
	return "step-" + strconv.Itoa(i+1)
}

// reference is how a text names a parameter.
var reference = regexp.MustCompile(`\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}`)

// references returns the names of the parameters that a text names.
func references(text string) []string {
	var names []string
	for _, m := range reference.FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	return names
}

// replace puts values where a text names parameters, those of the first of the
// sets that has one; what is not set is empty. What a value says is not looked at
// again.
func replace(text string, sets ...map[string]string) string {
	return reference.ReplaceAllStringFunc(text, func(m string) string {
		name := reference.FindStringSubmatch(m)[1]
		for _, values := range sets {
			if v, ok := valueOf(values, name); ok {
				return v
			}
		}
		return ""
	})
}

// checkSteps checks what can be known without the library.
func (s *Spec) checkSteps(p *problems) {
	checkParamList(p, "spec.params", s.Params)
	if len(s.Steps) > MaxSteps {
		p.add("spec.steps", "has %d entries; at most %d are allowed", len(s.Steps), MaxSteps)
	}
	names := map[string]int{}
	mayFail := false // a step before this one
	for i := range s.Steps {
		st := &s.Steps[i]
		st.check(p, at(i), s.Params)
		switch {
		case mayFail:
		case st.If == IfFailure:
			p.add(at(i)+".if", "the step would never run: none before it can fail, but for those that are continued; put it behind one that can, or leave it out")
		case st.If == IfAlways:
			p.add(at(i)+".if", "changes nothing: no step before it can fail, but for those that are continued; leave it out")
		}
		if st.If == IfFailure && st.ContinueOnFailure {
			p.add(at(i)+".continueOnFailure", "changes nothing beside if: %s: a step before it has failed then, and the job with it; leave it out", IfFailure)
		}
		mayFail = mayFail || !st.ContinueOnFailure
		if all := s.EffectiveTimeout(); time.Duration(st.Timeout) > all {
			p.add(at(i)+".timeout", "%s is longer than the timeout of the job, %s, which ends the step before; give the job a longer one, or leave it out", short(time.Duration(st.Timeout)), short(all))
		}
		name := s.StepName(i)
		if err := CheckName(name); err != nil {
			p.add(at(i)+".name", "%v", err)
		} else if first, twice := names[name]; twice {
			p.add(at(i)+".name", "%q is the name of step %d already", name, first+1)
		} else {
			names[name] = i
		}
	}
}

func (st *Step) check(p *problems, at string, params []Param) {
	ways := 0
	for _, given := range []bool{st.Script != "", len(st.Command) > 0, st.Shell != ""} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		p.add(at, "has %d of script, command and shell; give exactly one of them", ways)
	}
	if st.Script != "" {
		if _, err := ParseScriptRef(st.Script, DefaultNamespace); err != nil {
			p.add(at+".script", "%v", err)
		}
	}
	checkArgs(p, at+".command", st.Command)
	checkProgram(p, at+".command", st.Command, "shell")
	if len(st.Command) > 0 && strings.HasPrefix(st.Command[0], HandlerPrefix) {
		p.add(at+".command", "%q is run inside of a minion, which a step cannot be; make it the command of a job", st.Command[0])
	}
	if len(st.Shell) > MaxShellBytes {
		p.add(at+".shell", "has %d bytes; at most %d are allowed: make it a script", len(st.Shell), MaxShellBytes)
	}
	if strings.ContainsRune(st.Shell, 0) {
		p.add(at+".shell", "has a NUL character; it has to be text")
	}
	checkValuesInShell(p, at+".shell", st.Shell)
	checkValuesInCommand(p, at+".command", st.Command)
	effects(p, at+".", stepRows(), st, reflect.ValueOf(st).Elem())
	if len(st.Args) > MaxArgs {
		p.add(at+".args", "has %d entries; at most %d are allowed", len(st.Args), MaxArgs)
	}
	for i, a := range st.Args {
		if strings.ContainsRune(a, 0) {
			p.add(at+".args["+strconv.Itoa(i)+"]", "has a NUL character, which no argument can hold")
		}
	}
	checkEnum(p, at+".if", st.If, StepIfs())
	if t := time.Duration(st.Timeout); t != 0 && (t < MinTimeout || t > MaxTimeout) {
		p.add(at+".timeout", "%s is out of range; %s to %s are allowed", short(t), short(MinTimeout), short(MaxTimeout))
	}
	for _, problem := range CheckParams(st.Params) {
		p.add(at+"."+problem.Path, "%s", problem.Message)
	}
	for _, name := range slices.Sorted(maps.Keys(st.Params)) {
		for _, ref := range references(st.Params[name]) {
			if paramOf(params, ref) == nil {
				p.unknownParam(at+".params."+name, ref, paramNames(params), "declare it in spec.params")
			} else if sensitiveParam(params, ref) {
				p.add(at+".params."+name, "{{%s}} is sensitive: it reaches all steps as the variable %s, and a script by its own name only", ref, ParamEnv(ref))
			}
		}
	}
	known := paramNames(params)
	for name := range st.Params {
		known = append(known, name)
	}
	slices.Sort(known)
	p.unknownParams(at+".command", st.Command, known)
	p.unknownParams(at+".args", st.Args, known)
	p.sensitiveParams(at+".command", st.Command, params)
	p.sensitiveParams(at+".args", st.Args, params)
}

// unknownParams tells of parameters that words name and nobody gives.
func (p *problems) unknownParams(at string, words, known []string) {
	for i, text := range words {
		for _, ref := range references(text) {
			if !slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, ref) }) {
				p.unknownParam(at+"["+strconv.Itoa(i)+"]", ref, known, "declare it in spec.params")
			}
		}
	}
}

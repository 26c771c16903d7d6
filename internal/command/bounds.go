package command

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/job"
)

// Bounds are job.Bounds that were read. They are never changed, and may be used from any
// goroutine. Nil bounds nothing.
type Bounds struct{ all []bound }

// bound admits what one of its rules does. Of is the job.Bound that it was, without rules.
type bound struct {
	of    job.Bound
	rules []startRule
}

// startRule is a job.StartRule that was read.
type startRule struct {
	job.StartRule
	commands []Rule
}

// ReadBounds reads bounds. Of none it is nil. The error says that they cannot be read:
// then they admit nothing.
func ReadBounds(in job.Bounds) (*Bounds, error) {
	if len(in) == 0 {
		return nil, nil
	}
	out := &Bounds{}
	for i := range in {
		b := bound{of: in[i]}
		b.of.Rules = nil
		for n := range in[i].Rules {
			r, problems := readStartRule(fmt.Sprintf("bounds[%d].rules[%d]", i, n), &in[i].Rules[n])
			if len(problems) > 0 {
				return nil, fmt.Errorf("what the job may start cannot be read: %w", &job.InvalidError{Problems: problems})
			}
			b.rules = append(b.rules, r)
		}
		out.all = append(out.all, b)
	}
	return out, nil
}

func readStartRule(at string, in *job.StartRule) (startRule, []job.Problem) {
	r := startRule{StartRule: *in}
	var problems []job.Problem
	for i, text := range in.Commands {
		c, wrong := ParseRule(fmt.Sprintf("%s.commands[%d]", at, i), text)
		r.commands = append(r.commands, c)
		problems = append(problems, wrong...)
	}
	return r, problems
}

// CheckRule tells what is wrong with the commands of a rule; at is its path.
func CheckRule(at string, r *job.StartRule) []job.Problem {
	_, problems := readStartRule(at, r)
	return problems
}

// Targets is the target expression that admits all minions on which anything may be
// started; empty: all minions are.
func (b *Bounds) Targets() string {
	if b == nil {
		return ""
	}
	var parts []string
	for i := range b.all {
		parts = appendOr(parts, b.all[i].rules)
	}
	return And(parts...)
}

// Within returns the target expression that admits the minions on which an order may be
// started, empty: all; or an *OutsideError if it may be on none.
func (b *Bounds) Within(o *job.Order) (string, error) {
	admits, err := b.admitting(o, false)
	return admits.Targets(), err
}

// WithinStep is Within for the script of a step, whoever's the rest of the job is: its
// variables, its directory and its parameters' values are the job's.
func (b *Bounds) WithinStep(o *job.Order, step int) (string, error) {
	admits, err := b.admittingStarts(o.User, []Start{stepOf(Start{}, &o.Steps[step])})
	return admits.Targets(), err
}

// AdmittingScript returns of the bounds what admits a script of the library, as a step has
// it started of which values are not known yet; or an *OutsideError. User is the account
// that the script has to run as; empty: the job says it.
func (b *Bounds) AdmittingScript(st *job.OrderStep, user string) (job.Bounds, error) {
	if user == "" {
		user = job.Undecided
	}
	admits, err := b.admittingStarts(user, []Start{stepOf(Start{Draft: true}, st)})
	if err != nil {
		return nil, err
	}
	return admits.spelled(), nil
}

// Admitting returns of the bounds what admits an order; or an *OutsideError if one of them
// does not. Draft: words of the order that have job.Undecided in them are not known yet.
func (b *Bounds) Admitting(o *job.Order, draft bool) (job.Bounds, error) {
	admits, err := b.admitting(o, draft)
	if err != nil {
		return nil, err
	}
	return admits.spelled(), nil
}

// spelled returns bounds as they were before they were read.
func (b *Bounds) spelled() job.Bounds {
	if b == nil {
		return nil
	}
	var out job.Bounds
	for i := range b.all {
		in := &b.all[i]
		one := in.of
		for n := range in.rules {
			one.Rules = append(one.Rules, in.rules[n].StartRule)
		}
		out = append(out, one)
	}
	return out
}

func (b *Bounds) admitting(o *job.Order, draft bool) (*Bounds, error) {
	if b == nil {
		return nil, nil
	}
	return b.admittingStarts(o.User, startsOf(o, draft))
}

func (b *Bounds) admittingStarts(user string, starts []Start) (*Bounds, error) {
	if b == nil {
		return nil, nil
	}
	out := &Bounds{}
	var why []string
	for i := range b.all {
		admits, differs := b.all[i].admitting(user, starts)
		if len(admits) == 0 && !slices.Contains(why, differs) { // several bounds may be of one caller
			why = append(why, differs)
		}
		out.all = append(out.all, bound{b.all[i].of, admits})
	}
	if len(why) > 0 {
		return nil, &OutsideError{Why: strings.Join(why, "; and ")}
	}
	return out, nil
}

// OrderOf returns what a start of a job has a minion start.
func OrderOf(spec *job.Spec, plan *job.Plan) *job.Order {
	texts, secrets := spec.Variables()
	command, script := spec.Started()
	o := &job.Order{Command: command, Script: script, Steps: plan.Steps, WorkingDir: spec.WorkingDir, User: plan.User, Env: texts, Secrets: secrets}
	o.Secrets = job.WithSensitive(o.Secrets, plan.Sensitive)
	if len(plan.Params) > 0 {
		if o.Env == nil {
			o.Env = map[string]string{}
		}
		for name, v := range plan.Params {
			o.Env[job.ParamEnv(name)] = v
		}
	}
	return o
}

// OutsideError says that a bound does not admit a start.
type OutsideError struct {
	// Why tells it to people.
	Why string
}

// Error implements error.
func (e *OutsideError) Error() string { return e.Why }

// admitting returns the rules that admit the account and all that is started; or, where
// there is none, what keeps the nearest from it.
func (b *bound) admitting(user string, starts []Start) (admits []startRule, why string) {
	best := -1
	for i := range b.rules {
		differs := b.rules[i].differs(user, starts)
		if len(differs) == 0 {
			admits = append(admits, b.rules[i])
			continue
		}
		if best < 0 || len(differs) < best {
			best, why = len(differs), strings.Join(differs, "; ")
		}
	}
	who := b.of.By
	if who == "" {
		who = "its author"
	}
	if best < 0 {
		return admits, who + " may start nothing"
	}
	return admits, "it is not what " + who + " may start: " + why
}

// differs tells what keeps the rule from admitting the starts; each by the nearest entry.
func (r *startRule) differs(user string, starts []Start) []string {
	var all []string
	if len(r.RunAs) > 0 {
		accounts := []string{cmp.Or(user, job.OwnAccount)}
		for i := range starts {
			if as := starts[i].User; as != "" && !slices.Contains(accounts, as) {
				accounts = append(accounts, as)
			}
		}
		for _, account := range accounts {
			if account != job.Undecided && !slices.Contains(r.RunAs, account) {
				all = append(all, fmt.Sprintf("it is to run as %s, and the rule has runAs %s", account, strings.Join(r.RunAs, ", ")))
			}
		}
	}
	if len(r.commands) == 0 {
		return all
	}
	for i := range starts {
		var nearest []string
		closest, admitted := 0, false
		for n := range r.commands {
			differs, far := r.commands[n].Differs(&starts[i], starts[i].AsSpelled)
			if admitted = len(differs) == 0; admitted {
				break
			}
			if d := far*1000 + len(differs); nearest == nil || d < closest {
				nearest, closest = differs, d
			}
		}
		if !admitted {
			all = append(all, nearest...)
		}
	}
	return all
}

// appendOr adds the expression that one of the rules' targets admits, unless one of the
// rules is for all minions.
func appendOr(parts []string, rules []startRule) []string {
	var targets []string
	for i := range rules {
		if len(rules[i].Targets) == 0 {
			return parts
		}
		for _, t := range rules[i].Targets {
			if !slices.Contains(targets, t) {
				targets = append(targets, t)
			}
		}
	}
	if len(targets) == 0 {
		return parts
	}
	return append(parts, "("+strings.Join(targets, ") or (")+")")
}

// And joins target expressions to one that admits what all do; empty ones admit all.
func And(parts ...string) string {
	var given []string
	for _, p := range parts {
		if p != "" && !slices.Contains(given, p) {
			given = append(given, p)
		}
	}
	if len(given) < 2 {
		return strings.Join(given, "")
	}
	return "(" + strings.Join(given, ") and (") + ")"
}

// Narrowed returns a target that admits no other minions than an expression does; an empty
// one: those of the target.
func Narrowed(t job.Target, to string) job.Target {
	t.Match = And(t.Match, to)
	return t
}

// startsOf returns what an order starts.
func startsOf(o *job.Order, draft bool) []Start {
	base := Start{Env: o.Env, Dir: o.WorkingDir, Draft: draft}
	if len(o.Secrets) > 0 {
		base.Env = maps.Clone(o.Env)
		if base.Env == nil {
			base.Env = map[string]string{}
		}
		for _, name := range slices.Sorted(maps.Keys(o.Secrets)) {
			base.Env[name], base.Secrets = "", append(base.Secrets, name)
		}
	}
	return append(commandsOf(base, o), helpersOf(o)...)
}

// helpersOf returns the programs that tell the minion of secrets. They run as its own
// account.
func helpersOf(o *job.Order) []Start {
	var out []Start
	for _, name := range slices.Sorted(maps.Keys(o.Secrets)) {
		if s := o.Secrets[name].Secret; s != nil && len(s.Exec) > 0 {
			out = append(out, commanded(Start{User: job.OwnAccount}, s.Exec))
		}
	}
	return out
}

func commandsOf(base Start, o *job.Order) []Start {
	if len(o.Steps) > 0 {
		out := make([]Start, len(o.Steps))
		for i := range o.Steps {
			out[i] = stepOf(base, &o.Steps[i])
		}
		return out
	}
	if o.Script != nil {
		return []Start{scripted(base, o.Script.Interpreter, nil, o.ScriptSHA256, o.Script.Source)}
	}
	return []Start{commanded(base, o.Command)}
}

func stepOf(base Start, st *job.OrderStep) Start {
	env := make(map[string]string, len(base.Env)+len(st.Env))
	maps.Copy(env, base.Env)
	maps.Copy(env, st.Env)
	base.Env = env
	if st.Script != nil {
		return scripted(base, st.Command, st.Args, st.Script.SHA256, st.Script.Source)
	}
	return commanded(base, st.Command)
}

func scripted(s Start, interpreter, args []string, sum, source string) Start {
	if len(interpreter) == 0 {
		interpreter = []string{"/bin/sh"}
	}
	if source != "" || sum == "" { // what is run is the text
		sum = job.ScriptSum(source)
	}
	s.Program, s.Lead, s.Script, s.Args = interpreter[0], interpreter[1:], sum, args
	return s
}

func commanded(s Start, words []string) Start {
	if len(words) == 0 {
		return s
	}
	s.Program, s.Args = words[0], words[1:]
	if name, ok := strings.CutPrefix(words[0], job.HandlerPrefix); ok {
		s.Program, s.Handler = "", name
	}
	return s
}

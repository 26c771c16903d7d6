package rights

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/carillon-cron/carillon/agentpush/target"
	"github.com/carillon-cron/carillon/internal/command"
	"github.com/carillon-cron/carillon/job"
)

// MaxSubject is the longest name of a subject, in bytes: those that identity providers
// give are long.
const MaxSubject = 256

// MaxTarget is the longest target expression of a rule, in bytes.
const MaxTarget = 4096

// RoleOf returns the role that a user has written.
func RoleOf(name string, spec *job.RoleSpec) Role {
	r := Role{Name: name}
	for i := range spec.Rules {
		s := &spec.Rules[i]
		rule := Rule{Namespaces: s.Namespaces, Labels: s.Labels, Starts: s.Starts()}
		for _, v := range s.Verbs {
			rule.Verbs = append(rule.Verbs, Verb(v))
		}
		for _, k := range s.Resources {
			rule.Kinds = append(rule.Kinds, Kind(k))
		}
		r.Rules = append(r.Rules, rule)
	}
	return r
}

// Spec returns a role as a user writes it.
func (r Role) Spec() job.RoleSpec {
	var spec job.RoleSpec
	for i := range r.Rules {
		starts := &r.Rules[i].Starts
		rule := job.RoleRule{
			Namespaces: r.Rules[i].Namespaces, Labels: r.Rules[i].Labels, Targets: starts.Targets, RunAs: starts.RunAs, Commands: starts.Commands,
		}
		for _, v := range r.Rules[i].Verbs {
			rule.Verbs = append(rule.Verbs, string(v))
		}
		for _, k := range r.Rules[i].Kinds {
			rule.Resources = append(rule.Resources, string(k))
		}
		spec.Rules = append(spec.Rules, rule)
	}
	return spec
}

// BindingOf returns the binding that a user has written.
func BindingOf(name string, spec *job.RoleBindingSpec) Binding {
	b := Binding{Name: name, Role: spec.Role, Namespaces: spec.Namespaces}
	for _, s := range spec.Subjects {
		b.Subjects = append(b.Subjects, Subject{Kind: SubjectKind(s.Kind), Name: s.Name})
	}
	return b
}

// IsBuiltIn reports whether every cluster has a role of this name.
func IsBuiltIn(name string) bool {
	return slices.ContainsFunc(BuiltIn(), func(r Role) bool { return r.Name == name })
}

// SubjectKinds are all kinds of subjects.
func SubjectKinds() []SubjectKind { return []SubjectKind{User, Group, Token, Account} }

// problems are what is wrong with something, by its path.
type problems []job.Problem

func (p *problems) add(path, format string, args ...any) {
	*p = append(*p, job.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
}

// Validate returns what is wrong with a role that a user has written.
func (r Role) Validate() []job.Problem {
	var p problems
	if IsBuiltIn(r.Name) {
		p.add("metadata.name", "%q is a role that every cluster has, and cannot be changed; choose another name", r.Name)
	}
	return append(p, r.check()...)
}

// check is Validate for whatever name.
func (r Role) check() problems {
	var p problems
	switch n := len(r.Rules); {
	case n == 0:
		p.add("spec.rules", "is empty, so that the role allows nothing; give a rule")
	case n > job.MaxRoleRules:
		p.add("spec.rules", "has %d rules; at most %d are allowed", n, job.MaxRoleRules)
	}
	for i := range r.Rules {
		r.Rules[i].check(fmt.Sprintf("spec.rules[%d]", i), &p)
	}
	return p
}

func (r *Rule) check(at string, p *problems) {
	words(p, at+".verbs", "verb", r.Verbs, Any, Verbs())
	words(p, at+".resources", "kind of thing", r.Kinds, AnyKind, Kinds())
	checkNamespaces(p, at+".namespaces", r.Namespaces)
	*p = append(*p, job.CheckLabels(at+".labels", r.Labels)...)
	r.checkStarts(at, p)
	for _, k := range r.Kinds {
		if len(r.Labels) > 0 && k != AnyKind && slices.Contains(Kinds(), k) && !k.Labeled() {
			p.add(at+".labels", "have no effect: %s have no labels; give them a rule of their own", k)
		}
		if !within(r.Namespaces, "") && k != AnyKind && slices.Contains(Kinds(), k) && !k.Namespaced() {
			p.add(at+".namespaces", "have no effect: %s are in no namespace; give them a rule of their own", k)
		}
	}
}

// checkStarts checks what bounds what may be started. It stands with nothing that it does
// not bound: a rule that seems narrow is to be.
func (r *Rule) checkStarts(at string, p *problems) {
	if r.Starts.IsZero() {
		return
	}
	for i, v := range r.Verbs {
		if !slices.Contains([]Verb{Run, Exec, Edit}, v) && (v == Any || slices.Contains(Verbs(), v)) {
			p.add(fmt.Sprintf("%s.verbs[%d]", at, i), "%q is not bounded by targets, runAs and commands: they are for run, exec and edit; give it a rule of its own", v)
		}
	}
	for i, k := range r.Kinds {
		if !slices.Contains([]Kind{Jobs, Runs, Minions, Scripts, Queues}, k) && (k == AnyKind || slices.Contains(Kinds(), k)) {
			p.add(fmt.Sprintf("%s.resources[%d]", at, i), "%q is not bounded by targets, runAs and commands: they are for jobs, runs, minions, scripts and queues; give it a rule of its own", k)
		}
	}
	for i, text := range r.Starts.Targets {
		if n := len(text); n > MaxTarget {
			p.add(fmt.Sprintf("%s.targets[%d]", at, i), "has %d bytes; at most %d are allowed: save a group of hosts, and write @NAME", n, MaxTarget)
			continue
		}
		if _, err := target.Parse(text); err != nil {
			*p = append(*p, target.Problems(fmt.Sprintf("%s.targets[%d]", at, i), err)...)
		}
	}
	for i, name := range r.Starts.RunAs {
		if name == job.OwnAccount {
			continue
		}
		if err := job.CheckAccount(name); err != nil {
			p.add(fmt.Sprintf("%s.runAs[%d]", at, i), "%v; %s is the minion's own", err, job.OwnAccount)
		}
	}
	*p = append(*p, command.CheckRule(at, &r.Starts)...)
	for what, n := range map[string]int{"targets": len(r.Starts.Targets), "runAs": len(r.Starts.RunAs), "commands": len(r.Starts.Commands)} {
		if n > job.MaxRoleItems {
			p.add(at+"."+what, "has %d entries; at most %d are allowed", n, job.MaxRoleItems)
		}
	}
}

// words checks a list of verbs or kinds.
func words[T ~string](p *problems, at, what string, given []T, every T, known []T) {
	switch n := len(given); {
	case n == 0:
		p.add(at, "is empty; give a %s, or %q for all", what, every)
	case n > job.MaxRoleItems:
		p.add(at, "has %d entries; at most %d are allowed", n, job.MaxRoleItems)
		return
	}
	for i, w := range given {
		if w == every || slices.Contains(known, w) {
			continue
		}
		names := make([]string, len(known))
		for n := range known {
			names[n] = string(known[n])
		}
		hint := ""
		if near, ok := job.Nearest(string(w), names); ok {
			hint = fmt.Sprintf("; did you mean %q?", near)
		}
		p.add(fmt.Sprintf("%s[%d]", at, i), "%q is not a %s%s (allowed: %s, or %q for all)", w, what, hint, strings.Join(names, ", "), every)
	}
}

func checkNamespaces(p *problems, at string, namespaces []string) {
	if n := len(namespaces); n > job.MaxRoleItems {
		p.add(at, "has %d entries; at most %d are allowed", n, job.MaxRoleItems)
		return
	}
	for i, ns := range namespaces {
		if err := job.CheckName(ns); ns != AllNamespaces && err != nil {
			p.add(fmt.Sprintf("%s[%d]", at, i), "%q %v", ns, err)
		}
	}
}

// Validate returns what is wrong with a binding. Whether there is its role is known
// only where it is stored.
func (b Binding) Validate() []job.Problem {
	var p problems
	if err := job.CheckName(b.Role); err != nil {
		p.add("spec.role", "%v", err)
	}
	switch n := len(b.Subjects); {
	case n == 0:
		p.add("spec.subjects", "is empty, so that nobody has the role; say who has it")
	case n > job.MaxRoleSubjects:
		p.add("spec.subjects", "has %d subjects; at most %d are allowed: make a group", n, job.MaxRoleSubjects)
		return p
	}
	for i, s := range b.Subjects {
		at := fmt.Sprintf("spec.subjects[%d]", i)
		if !slices.Contains(SubjectKinds(), s.Kind) {
			p.add(at+".kind", "%q is not a kind of subject (allowed: %s, %s, %s, %s)", s.Kind, User, Group, Token, Account)
		}
		switch {
		case s.Name == "":
			p.add(at+".name", "is empty; give a name")
		case len(s.Name) > MaxSubject:
			p.add(at+".name", "has %d bytes; at most %d are allowed", len(s.Name), MaxSubject)
		case strings.TrimSpace(s.Name) != s.Name || strings.ContainsFunc(s.Name, func(c rune) bool { return !unicode.IsPrint(c) }):
			p.add(at+".name", "%q begins or ends with a blank, or has a character that cannot be seen", s.Name)
		}
	}
	checkNamespaces(&p, "spec.namespaces", b.Namespaces)
	return p
}

// Check returns a *job.InvalidError if a request is for a verb or a kind that there is
// not, or names a namespace of what has none.
func (r Request) Check() error {
	var p problems
	words(&p, "verb", "verb", []Verb{r.Verb}, Any, Verbs())
	words(&p, "resource", "kind of thing", []Kind{r.Kind}, AnyKind, Kinds())
	if r.Namespace != "" && r.Kind != AnyKind && slices.Contains(Kinds(), r.Kind) && !r.Kind.Namespaced() {
		p.add("namespace", "has no effect: %s are in no namespace", r.Kind)
	}
	if len(p) > 0 {
		return &job.InvalidError{Problems: p}
	}
	return nil
}

package rights

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/job"
)

// Verb is what is done.
type Verb string

// The verbs. Any is for all of them.
const (
	Read    Verb = "read"
	Logs    Verb = "logs" // output may hold secrets
	Run     Verb = "run"
	Exec    Verb = "exec"
	Edit    Verb = "edit"
	Delete  Verb = "delete"
	Pause   Verb = "pause"
	Operate Verb = "operate"
	Enroll  Verb = "enroll"
	Grant   Verb = "grant"
	Audit   Verb = "audit"
	Use     Verb = "use" // a secret, in what one writes
	Any     Verb = "*"
)

// Verbs are all but Any.
func Verbs() []Verb {
	return []Verb{Read, Logs, Run, Exec, Edit, Delete, Pause, Operate, Enroll, Grant, Audit, Use}
}

// Kind is a kind of thing that something is done to.
type Kind string

// The kinds. AnyKind is for all of them.
const (
	Jobs       Kind = "jobs"
	Runs       Kind = "runs"
	Groups     Kind = "groups"
	Calendars  Kind = "calendars"
	Scripts    Kind = "scripts"
	Queues     Kind = "queues"
	Secrets    Kind = "secrets"
	Notifiers  Kind = "notifiers"
	Defaults   Kind = "defaults"
	Locks      Kind = "locks"
	HostGroups Kind = "hostgroups"
	Minions    Kind = "minions"
	Nodes      Kind = "nodes"
	Shards     Kind = "shards"
	Tokens     Kind = "tokens"
	Roles      Kind = "roles"
	Cluster    Kind = "cluster"
	AnyKind    Kind = "*"
)

// Kinds are all but AnyKind.
func Kinds() []Kind {
	return []Kind{Jobs, Runs, Groups, Calendars, Scripts, Queues, Secrets, Notifiers, Defaults, Locks, HostGroups, Minions, Nodes, Shards, Tokens, Roles, Cluster}
}

// Namespaced reports whether things of a kind lie in namespaces.
func (k Kind) Namespaced() bool {
	switch k {
	case Jobs, Runs, Groups, Calendars, Scripts, Queues, Secrets, Notifiers, Defaults, Locks:
		return true
	default:
		return false
	}
}

// Labeled reports whether things of a kind have labels by which rules may tell them
// apart. A run has those of its job.
func (k Kind) Labeled() bool {
	switch k {
	case Jobs, Runs, Groups, Calendars, Scripts, Queues, Secrets, Notifiers, Defaults, HostGroups, Minions:
		return true
	default:
		return false
	}
}

// AllNamespaces is for each of them, and for what has none.
const AllNamespaces = "*"

// Rule allows verbs on kinds. Empty Namespaces: all. Empty Labels: whatever labels a
// thing has; else a thing must have each of them.
type Rule struct {
	Verbs      []Verb
	Kinds      []Kind
	Namespaces []string
	Labels     map[string]string
	// Starts bounds what may be started by the verbs; zero: nothing is.
	Starts job.StartRule
}

// Role is a named list of rules.
type Role struct {
	Name  string
	Rules []Rule
}

// SubjectKind is how a caller is known.
type SubjectKind string

// The kinds of subjects.
const (
	User    SubjectKind = "user"
	Group   SubjectKind = "group"
	Token   SubjectKind = "token"
	Account SubjectKind = "account" // of the host, as the kernel tells it on the local socket
)

// Subject is who a role is given to.
type Subject struct {
	Kind SubjectKind
	Name string
}

// Binding gives a role to subjects. Empty Namespaces: in all.
type Binding struct {
	Name       string
	Role       string
	Subjects   []Subject
	Namespaces []string
}

// Request is what somebody wants to do. Namespace is empty for what has none.
type Request struct {
	Verb      Verb
	Kind      Kind
	Namespace string
	Labels    map[string]string
}

func (r Rule) verb(v Verb) bool { return slices.Contains(r.Verbs, Any) || slices.Contains(r.Verbs, v) }
func (r Rule) kind(k Kind) bool {
	return slices.Contains(r.Kinds, AnyKind) || slices.Contains(r.Kinds, k)
}

// within reports whether a namespace, empty: none, is among some.
func within(namespaces []string, ns string) bool {
	return len(namespaces) == 0 || slices.Contains(namespaces, AllNamespaces) || ns != "" && slices.Contains(namespaces, ns)
}

// has reports whether labels hold all that is wanted.
func has(labels, wanted map[string]string) bool {
	for k, v := range wanted {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// Policy is a set of roles and bindings. It is immutable, and may be used by any number
// of goroutines. A question costs as much as the caller has subjects and sets of labels
// for what is asked, and no more where there are more roles and bindings.
type Policy struct {
	// granted is what rules ask for, by what they allow to whom.
	granted map[where][]permit
	// seen are the namespaces of a subject's rules for a verb and a kind.
	seen map[where]map[string]bool
	// roles are all roles, by their names.
	roles map[string]Role
}

// where is a verb on a kind in a namespace, AllNamespaces: in all, as a rule allows it
// to a subject. In seen the namespace is empty.
type where struct {
	subject   Subject
	verb      Verb
	kind      Kind
	namespace string
}

// permit is what a rule asks for: labels that a thing must have, and what bounds what may
// be started; nil: nothing does.
type permit struct {
	labels map[string]string
	starts *job.StartRule
}

// grant is a rule as a binding gives it.
type grant struct {
	// namespaces are those in which it holds; AllNamespaces alone: in all.
	namespaces []string
	permit
}

// New returns a policy. A binding to a role that there is not gives nothing.
func New(roles []Role, bindings []Binding) *Policy {
	p := &Policy{granted: map[where][]permit{}, seen: map[where]map[string]bool{}, roles: make(map[string]Role, len(roles))}
	for _, r := range roles {
		p.roles[r.Name] = r
	}
	for _, b := range bindings {
		for _, rule := range p.roles[b.Role].Rules {
			g := narrowed(rule, b.Namespaces)
			if g.starts != nil {
				starts := *g.starts
				starts.Role = b.Role
				g.starts = &starts
			}
			for _, s := range b.Subjects {
				p.add(s, rule, g)
			}
		}
	}
	return p
}

func (p *Policy) add(s Subject, rule Rule, g grant) {
	for _, v := range unique(rule.Verbs) {
		for _, k := range unique(rule.Kinds) {
			for _, ns := range g.namespaces {
				at := where{s, v, k, ns}
				p.granted[at] = append(p.granted[at], g.permit)
				at.namespace = ""
				if p.seen[at] == nil {
					p.seen[at] = map[string]bool{}
				}
				p.seen[at][ns] = true
			}
		}
	}
}

func unique[T ~string](in []T) []T { return slices.Compact(slices.Sorted(slices.Values(in))) }

// narrowed returns a rule within the namespaces of a binding.
func narrowed(rule Rule, namespaces []string) grant {
	g := grant{permit: permit{labels: rule.Labels}}
	if !rule.Starts.IsZero() {
		g.starts = &rule.Starts
	}
	if within(rule.Namespaces, "") && within(namespaces, "") {
		g.namespaces = []string{AllNamespaces}
		return g
	}
	for _, ns := range unique(slices.Concat(rule.Namespaces, namespaces)) {
		if ns != AllNamespaces && within(rule.Namespaces, ns) && within(namespaces, ns) {
			g.namespaces = append(g.namespaces, ns)
		}
	}
	return g
}

// as returns what a rule may name for a verb on a kind.
func as(s Subject, v Verb, k Kind) [4]where {
	return [4]where{{s, v, k, ""}, {s, Any, k, ""}, {s, v, AnyKind, ""}, {s, Any, AnyKind, ""}}
}

// May reports whether a caller, who is all of the subjects, may do something, whatever is
// started by it.
func (p *Policy) May(caller []Subject, r Request) bool {
	return p.any(caller, r, func(g permit) bool { return g.starts == nil })
}

// any reports whether one of the rules that allow a request to a caller is as wanted.
func (p *Policy) any(caller []Subject, r Request, wanted func(permit) bool) bool {
	for _, s := range caller {
		for _, at := range as(s, r.Verb, r.Kind) {
			for _, ns := range [2]string{AllNamespaces, r.Namespace} {
				at.namespace = ns
				if slices.ContainsFunc(p.granted[at], func(g permit) bool { return has(r.Labels, g.labels) && wanted(g) }) {
					return true
				}
			}
		}
	}
	return false
}

// Starts returns what a caller may have started by something: what one of the rules
// admits, and whatever there is where there are none. It is false if the caller may not
// do it at all.
func (p *Policy) Starts(caller []Subject, r Request) ([]job.StartRule, bool) {
	var rules []job.StartRule
	unbound := p.any(caller, r, func(g permit) bool {
		if g.starts != nil {
			rules = append(rules, *g.starts)
		}
		return g.starts == nil
	})
	if unbound {
		return nil, true
	}
	// The order of roles and bindings is nobody's choice.
	slices.SortFunc(rules, func(a, b job.StartRule) int {
		return cmp.Or(slices.Compare(a.Targets, b.Targets), slices.Compare(a.RunAs, b.RunAs), slices.Compare(a.Commands, b.Commands), cmp.Compare(a.Role, b.Role))
	})
	return slices.CompactFunc(rules, same), len(rules) > 0
}

func same(a, b job.StartRule) bool {
	return a.Role == b.Role && slices.Equal(a.Targets, b.Targets) && slices.Equal(a.RunAs, b.RunAs) && slices.Equal(a.Commands, b.Commands)
}

// Now returns what bounds of something in a namespace come to: what they were when it was
// stored, and what their roles allow now besides. Labels that rules ask for do not count.
// Who had the roles does not count either: what somebody has stored goes on without them.
func (p *Policy) Now(bounds job.Bounds, namespace string) job.Bounds {
	out := slices.Clone(bounds)
	for i := range bounds {
		if now, ok := p.now(&bounds[i], namespace); ok {
			out = append(out, now)
		}
	}
	return out
}

// now returns what the roles of a bound allow now; false: they bound nothing beside it.
func (p *Policy) now(b *job.Bound, namespace string) (job.Bound, bool) {
	kind := Kind(b.Resource)
	if b.Verb == "" || kind == "" {
		return job.Bound{}, false
	}
	if !kind.Namespaced() {
		namespace = ""
	}
	var names []string
	for i := range b.Rules {
		if name := b.Rules[i].Role; name == "" {
			return job.Bound{}, false
		} else if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	out := job.Bound{By: cmp.Or(b.By, "its author") + ", by what " + strings.Join(names, " and ") + " allows now,", Verb: b.Verb, Resource: b.Resource}
	for _, name := range names {
		for _, rule := range p.roles[name].Rules {
			switch {
			case !rule.verb(Verb(b.Verb)) || !rule.kind(kind) || !within(rule.Namespaces, namespace):
			case rule.Starts.IsZero():
				return job.Bound{}, false
			default:
				out.Rules = append(out.Rules, rule.Starts)
			}
		}
	}
	return out, true
}

// holds reports whether one rule of the caller's allows all of a permit.
func (p *Policy) holds(caller []Subject, r Request, starts *job.StartRule) bool {
	return p.any(caller, r, func(g permit) bool {
		return g.starts == nil || starts != nil && covers(g.starts.Targets, starts.Targets) && covers(g.starts.RunAs, starts.RunAs) &&
			covers(g.starts.Commands, starts.Commands)
	})
}

// covers reports whether what is bounded to inner is within outer; empty: not bounded.
func covers[T comparable](outer, inner []T) bool {
	if len(outer) == 0 {
		return true
	}
	for _, v := range inner {
		if !slices.Contains(outer, v) {
			return false
		}
	}
	return len(inner) > 0
}

// Seen is in which namespaces something may be.
type Seen struct {
	All        bool
	Namespaces []string
}

// Has reports whether something may be in a namespace.
func (s Seen) Has(namespace string) bool { return s.All || slices.Contains(s.Namespaces, namespace) }

// See returns in which namespaces there may be things of a kind on which the caller may
// do something.
func (p *Policy) See(caller []Subject, v Verb, k Kind) Seen {
	found := map[string]bool{}
	for _, s := range caller {
		for _, at := range as(s, v, k) {
			maps.Copy(found, p.seen[at])
		}
	}
	if found[AllNamespaces] {
		return Seen{All: true}
	}
	return Seen{Namespaces: slices.Sorted(maps.Keys(found))}
}

// Holds reports whether the caller has all that a role gives within namespaces, empty:
// all, and so may grant it.
func (p *Policy) Holds(caller []Subject, role Role, namespaces []string) bool {
	for _, rule := range role.Rules {
		g := narrowed(rule, namespaces)
		for _, v := range rule.Verbs {
			for _, k := range rule.Kinds {
				for _, ns := range g.namespaces {
					// A thing with just the labels that the rule asks for stands for all
					// that it allows: others have these and more.
					if !p.holds(caller, Request{v, k, ns, g.labels}, g.starts) {
						return false
					}
				}
			}
		}
	}
	return true
}

// HoldsAll reports whether the caller has all that another subject has.
func (p *Policy) HoldsAll(caller []Subject, of Subject) bool {
	for at, permits := range p.granted {
		if at.subject != of {
			continue
		}
		for _, g := range permits {
			if !p.holds(caller, Request{at.verb, at.kind, at.namespace, g.labels}, g.starts) {
				return false
			}
		}
	}
	return true
}

package rights

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/job"
)

// allows is the plain model: May by its definition.
func allows(roles []Role, bindings []Binding, caller []Subject, r Request) bool {
	for _, b := range bindings {
		if !within(b.Namespaces, r.Namespace) || !slices.ContainsFunc(b.Subjects, func(s Subject) bool { return slices.Contains(caller, s) }) {
			continue
		}
		for _, role := range roles {
			if role.Name == b.Role && slices.ContainsFunc(role.Rules, func(rule Rule) bool {
				return rule.verb(r.Verb) && rule.kind(r.Kind) && within(rule.Namespaces, r.Namespace) && has(r.Labels, rule.Labels)
			}) {
				return true
			}
		}
	}
	return false
}

// What is drawn is small, so that rules, bindings and requests meet often.
var (
	someVerbs      = []Verb{Read, Run, Edit}
	someKinds      = []Kind{Jobs, Runs, Nodes}
	someNamespaces = []string{"a", "b"}
	someSubjects   = []Subject{{User, "ann"}, {Group, "ann"}, {Group, "ops"}, {Token, "t1"}}
)

func labels() *rapid.Generator[map[string]string] {
	return rapid.MapOfN(rapid.SampledFrom([]string{"team", "env"}), rapid.SampledFrom([]string{"x", "y"}), 0, 2)
}

func namespaces() *rapid.Generator[[]string] {
	return rapid.SliceOfN(rapid.SampledFrom(append([]string{AllNamespaces}, someNamespaces...)), 0, 2)
}

func drawRole(t *rapid.T, name string) Role {
	r := Role{Name: name}
	for range rapid.IntRange(0, 3).Draw(t, "rules") {
		r.Rules = append(r.Rules, Rule{
			Verbs:      rapid.SliceOfN(rapid.SampledFrom(append([]Verb{Any}, someVerbs...)), 1, 2).Draw(t, "verbs"),
			Kinds:      rapid.SliceOfN(rapid.SampledFrom(append([]Kind{AnyKind}, someKinds...)), 1, 2).Draw(t, "kinds"),
			Namespaces: namespaces().Draw(t, "rule's namespaces"), Labels: labels().Draw(t, "rule's labels"),
		})
	}
	return r
}

func drawPolicy(t *rapid.T) ([]Role, []Binding) {
	var roles []Role
	for i := range 3 {
		roles = append(roles, drawRole(t, fmt.Sprint("r", i)))
	}
	var bindings []Binding
	for range rapid.IntRange(0, 4).Draw(t, "bindings") {
		bindings = append(bindings, Binding{
			Role:       rapid.SampledFrom([]string{"r0", "r1", "r2", "gone"}).Draw(t, "role"),
			Subjects:   rapid.SliceOfN(rapid.SampledFrom(someSubjects), 0, 2).Draw(t, "subjects"),
			Namespaces: namespaces().Draw(t, "binding's namespaces"),
		})
	}
	return roles, bindings
}

func drawCaller(t *rapid.T) []Subject {
	return rapid.SliceOfN(rapid.SampledFrom(someSubjects), 0, 3).Draw(t, "caller")
}

func drawRequest(t *rapid.T) Request {
	return Request{
		Verb: rapid.SampledFrom(someVerbs).Draw(t, "verb"), Kind: rapid.SampledFrom(someKinds).Draw(t, "kind"),
		Namespace: rapid.SampledFrom(append([]string{""}, someNamespaces...)).Draw(t, "namespace"), Labels: labels().Draw(t, "labels"),
	}
}

// Invariants 1 to 3.
func TestMayIsTheModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		roles, bindings := drawPolicy(t)
		caller, r := drawCaller(t), drawRequest(t)
		if got, want := New(roles, bindings).May(caller, r), allows(roles, bindings, caller, r); got != want {
			t.Fatalf("May is %v, want %v", got, want)
		}
	})
}

// Invariant 4: who grants what they hold gives nobody what they have not.
func TestNobodyGrantsMoreThanTheyHold(t *testing.T) {
	t.Parallel()
	held := 0
	rapid.Check(t, func(t *rapid.T) {
		roles, bindings := drawPolicy(t)
		caller, given, in := drawCaller(t), drawRole(t, "given"), namespaces().Draw(t, "granted in")
		p := New(roles, bindings)
		if !p.Holds(caller, given, in) {
			return
		}
		held++
		other := Subject{User, "bob"}
		after := New(append(roles, given), append(bindings, Binding{Role: "given", Subjects: []Subject{other}, Namespaces: in}))
		for range 20 {
			if r := drawRequest(t); after.May([]Subject{other}, r) && !p.May(caller, r) {
				t.Fatalf("%v was granted by who may not do it", r)
			}
		}
	})
	if held == 0 {
		t.Error("nobody ever held what they granted")
	}
}

// Invariant 4, of all that somebody has: who holds it may do nothing less.
func TestHoldsAll(t *testing.T) {
	t.Parallel()
	held, not := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		roles, bindings := drawPolicy(t)
		caller, other := drawCaller(t), rapid.SampledFrom(someSubjects).Draw(t, "other")
		p := New(roles, bindings)
		if !p.HoldsAll(caller, other) {
			not++
			return
		}
		for range 20 {
			if r := drawRequest(t); p.May([]Subject{other}, r) {
				held++
				if !p.May(caller, r) {
					t.Fatalf("%v may %v, and the caller may not", other, r)
				}
			}
		}
	})
	if held == 0 || not == 0 {
		t.Errorf("held %d times, and not %d times", held, not)
	}
}

// Invariant 6.
func TestSeeAgreesWithMay(t *testing.T) {
	t.Parallel()
	all := []map[string]string{}
	for _, team := range []string{"", "x", "y"} {
		for _, env := range []string{"", "x", "y"} {
			set := map[string]string{}
			if team != "" {
				set["team"] = team
			}
			if env != "" {
				set["env"] = env
			}
			all = append(all, set)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		roles, bindings := drawPolicy(t)
		caller, r := drawCaller(t), drawRequest(t)
		p := New(roles, bindings)
		seen := p.See(caller, r.Verb, r.Kind)
		for _, ns := range someNamespaces {
			want := slices.ContainsFunc(all, func(set map[string]string) bool {
				return p.May(caller, Request{r.Verb, r.Kind, ns, set})
			})
			if got := seen.All || slices.Contains(seen.Namespaces, ns); got != want {
				t.Fatalf("namespace %s is seen: %v, want %v", ns, got, want)
			}
		}
	})
}

// The built-in roles hold one another, each more than the one before.
func TestBuiltInRolesGrow(t *testing.T) {
	t.Parallel()
	roles := BuiltIn()
	for i, r := range roles {
		if problems := r.check(); len(problems) > 0 {
			t.Errorf("%s: %v", r.Name, problems)
		}
		me := []Subject{{User, "me"}}
		p := New(roles, []Binding{{Role: r.Name, Subjects: me}})
		for j, other := range roles {
			if got := p.Holds(me, other, nil); got != (j <= i) {
				t.Errorf("%s holds %s: %v", r.Name, other.Name, got)
			}
		}
	}
	admin := New(roles, []Binding{{Role: Admin, Subjects: []Subject{{User, "root"}}}})
	for _, v := range Verbs() {
		for _, k := range Kinds() {
			if !admin.May([]Subject{{User, "root"}}, Request{Verb: v, Kind: k}) {
				t.Errorf("an admin may not %s %s", v, k)
			}
		}
	}
	if admin.May(nil, Request{Verb: Read, Kind: Jobs, Namespace: "default"}) {
		t.Error("nobody may read")
	}
}

func BenchmarkMay(b *testing.B) {
	var roles []Role
	var bindings []Binding
	for i := range 1000 {
		name := fmt.Sprint("r", i)
		roles = append(roles, Role{name, []Rule{{Verbs: []Verb{Read}, Kinds: []Kind{Jobs}, Namespaces: []string{fmt.Sprint("ns", i)}}}})
		bindings = append(bindings, Binding{Role: name, Subjects: []Subject{{Group, "all"}}})
	}
	p := New(roles, bindings)
	caller := []Subject{{User, "ann"}, {Group, "all"}}
	for b.Loop() {
		if !p.May(caller, Request{Verb: Read, Kind: Jobs, Namespace: "ns999"}) {
			b.Fatal("refused")
		}
	}
}

// What was kept with something is as narrow as its roles have become since, and no wider.
func TestNowIsNoWider(t *testing.T) {
	t.Parallel()
	web, db, deploy := job.StartRule{Targets: []string{"web*"}}, job.StartRule{Targets: []string{"db*"}}, job.StartRule{RunAs: []string{"deploy"}}
	kept := func(roles ...string) job.Bounds {
		b := job.Bound{By: "ann", Verb: "edit", Resource: "jobs"}
		for _, name := range roles {
			b.Rules = append(b.Rules, job.StartRule{Targets: web.Targets, Role: name})
		}
		return job.Bounds{b}
	}
	rule := func(v Verb, k Kind, starts job.StartRule, namespaces ...string) Rule {
		return Rule{Verbs: []Verb{v}, Kinds: []Kind{k}, Namespaces: namespaces, Starts: starts}
	}
	for name, c := range map[string]struct {
		kept  job.Bounds
		rules []Rule // of role r
		want  []job.StartRule
		free  bool // nothing is added
	}{
		"as it was":        {kept("r"), []Rule{rule(Edit, Jobs, web)}, []job.StartRule{web}, false},
		"narrower":         {kept("r"), []Rule{rule(Edit, Jobs, deploy)}, []job.StartRule{deploy}, false},
		"two rules":        {kept("r"), []Rule{rule(Edit, Jobs, web), rule(Edit, Jobs, db)}, []job.StartRule{web, db}, false},
		"without bounds":   {kept("r"), []Rule{rule(Edit, Jobs, web), rule(Any, AnyKind, job.StartRule{})}, nil, true},
		"not the verb":     {kept("r"), []Rule{rule(Run, Jobs, web)}, nil, false},
		"not the kind":     {kept("r"), []Rule{rule(Edit, Scripts, web)}, nil, false},
		"not there":        {kept("r"), []Rule{rule(Edit, Jobs, web, "b")}, nil, false},
		"there":            {kept("r"), []Rule{rule(Edit, Jobs, web, "a")}, []job.StartRule{web}, false},
		"gone":             {kept("gone"), nil, nil, false},
		"one of two":       {kept("gone", "r"), []Rule{rule(Edit, Jobs, web)}, []job.StartRule{web}, false},
		"of no right":      {job.Bounds{{By: "ann", Rules: kept("r")[0].Rules}}, []Rule{rule(Edit, Jobs, db)}, nil, true},
		"of no role":       {kept(""), []Rule{rule(Edit, Jobs, db)}, nil, true},
		"nothing is bound": {nil, []Rule{rule(Edit, Jobs, db)}, nil, true},
	} {
		got := New([]Role{{Name: "r", Rules: c.rules}}, nil).Now(c.kept, "a")
		if len(got) < len(c.kept) || len(c.kept) > 0 && !same(c.kept[0].Rules[0], got[0].Rules[0]) {
			t.Errorf("%s: what was kept is %+v", name, got)
			continue
		}
		now := got[len(c.kept):]
		if c.free != (len(now) == 0) {
			t.Errorf("%s: now %+v", name, now)
			continue
		}
		if !c.free && !slices.EqualFunc(now[0].Rules, c.want, same) {
			t.Errorf("%s: now %+v, want %+v", name, now[0].Rules, c.want)
		}
	}
}

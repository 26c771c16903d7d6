package main

import (
	"context"
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/internal/rights"
)

// authz measures how long it takes to decide whether a caller may do something, with so
// many roles and as many bindings, against one of each. Everybody has all the roles, so
// that the caller's own are no fewer.
type authz struct{ roles, checks int }

func (b authz) measure(ctx context.Context, e *env) error {
	many, one := policyOf(b.roles), policyOf(1)
	var ours, least []float64
	side := func(p *rights.Policy, namespace string, into *[]float64) func(context.Context) error {
		return func(context.Context) error {
			us, err := b.round(p, namespace)
			*into = append(*into, us)
			return err
		}
	}
	last := namespaceOf(b.roles - 1)
	if err := e.inTurns(ctx, side(many, last, &ours), side(one, namespaceOf(0), &least)); err != nil {
		return err
	}
	if err := e.report("api_authz_us", "us", ours, fmt.Sprintf(
		"a check of a caller with two groups who has %d roles by %d bindings, each in a namespace of its own", b.roles, b.roles)); err != nil {
		return err
	}
	return e.ratio("api_authz_vs_one_role", ours, least, "of the time with one role and one binding")
}

// round returns how long a check takes, in microseconds: half of them are of what is
// allowed, half of what is not.
func (b authz) round(p *rights.Policy, namespace string) (float64, error) {
	caller := []rights.Subject{{Kind: rights.User, Name: "ann"}, {Kind: rights.Group, Name: "staff"}, {Kind: rights.Group, Name: "all"}}
	asked := [2]rights.Request{{Verb: rights.Run, Kind: rights.Jobs, Namespace: namespace}, {Verb: rights.Delete, Kind: rights.Jobs, Namespace: namespace}}
	begin := time.Now()
	for i := range b.checks {
		if p.May(caller, asked[i%2]) != (i%2 == 0) {
			return 0, fmt.Errorf("%s in %s was decided wrongly", asked[i%2].Verb, namespace)
		}
	}
	return float64(time.Since(begin).Nanoseconds()) / float64(b.checks) / float64(time.Microsecond), nil
}

// policyOf has so many roles and bindings, beside those that every cluster has.
func policyOf(n int) *rights.Policy {
	roles := rights.BuiltIn()
	var bindings []rights.Binding
	for i := range n {
		name := fmt.Sprint("role-", i)
		roles = append(roles, rights.Role{Name: name, Rules: []rights.Rule{{
			Verbs: []rights.Verb{rights.Read, rights.Run}, Kinds: []rights.Kind{rights.Jobs, rights.Runs}, Namespaces: []string{namespaceOf(i)},
		}}})
		bindings = append(bindings, rights.Binding{Name: name, Role: name, Subjects: []rights.Subject{{Kind: rights.Group, Name: "all"}}})
	}
	return rights.New(roles, bindings)
}

func namespaceOf(i int) string { return fmt.Sprint("team-", i) }

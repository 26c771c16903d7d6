package policy

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/access"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// Deps is what a Decider stands on. Door and Policy must be set.
type Deps struct {
	// Door tells the cluster's state.
	Door access.Door
	// Policy is what roles and bindings allow now; nil: it is not known yet.
	Policy func() *rights.Policy
	// Metrics takes how much was refused. Nil: it is not shown.
	Metrics prometheus.Registerer
	Logger  *zap.Logger
}

// Decider tells what callers may do. Use New. It may be used by many goroutines at once.
type Decider struct {
	door    access.Door
	policy  func() *rights.Policy
	log     *zap.Logger
	refused *prometheus.CounterVec
}

// New returns a Decider.
func New(deps Deps) (*Decider, error) {
	if deps.Door == nil || deps.Policy == nil {
		return nil, errors.New("policy: Door and Policy must be set")
	}
	d := &Decider{door: deps.Door, policy: deps.Policy, log: deps.Logger, refused: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "carillon_rights_refused_total",
		Help: "Requests that their callers had no right to, by the right that was missing; noting: they were answered all the same.",
	}, []string{"verb", "resource", "state"})}
	if d.log == nil {
		d.log = zap.NewNop()
	}
	if deps.Metrics != nil {
		if err := deps.Metrics.Register(d.refused); err != nil {
			return nil, fmt.Errorf("policy: %w", err)
		}
	}
	return d, nil
}

// Admit returns nil if the caller of a context may ask at all; else why not.
func (d *Decider) Admit(ctx context.Context) error {
	_, err := d.Of(ctx)
	return err
}

// Closed reports whether what no binding allows is refused.
func (d *Decider) Closed() bool { return d.door.State() == access.Closed }

// Need returns nil if the caller of a context may do something; else what is missing.
func (d *Decider) Need(ctx context.Context, r rights.Request) error {
	s, err := d.Of(ctx)
	if err != nil {
		return err
	}
	return s.Need(r, nil)
}

// CanI tells whether the caller of a context may do something, whatever the state is.
// Some: on things with other labels than those of the request.
func (d *Decider) CanI(ctx context.Context, r rights.Request) (api.CanI, error) {
	s, err := d.Of(ctx)
	if err != nil {
		return api.CanI{}, err
	}
	v := api.CanI{State: string(s.state), Allowed: s.May(r)}
	v.Bounded = !v.Allowed && s.MayStart(r)
	v.Some = !v.Allowed && !v.Bounded && r.Kind.Labeled() && s.Sees(r.Verb, r.Kind, r.Namespace)
	return v, nil
}

// May reports whether the caller of a context may do something to a thing of a kind in
// some namespace. It is for pages that leave out what nobody could follow.
func (d *Decider) May(ctx context.Context, v rights.Verb, k rights.Kind) bool {
	who, _ := caller.From(ctx)
	if who.Local || d.door.State() != access.Closed {
		return true
	}
	p := d.policy()
	return p != nil && who.Known() && somewhere(k, p.See(who.Subjects, v, k))
}

// Lets reports whether the caller of a context may do something to one thing, in part or
// whole. It is for pages, as May is.
func (d *Decider) Lets(ctx context.Context, r rights.Request) bool {
	v, err := d.CanI(ctx, r)
	return err == nil && (v.Allowed || v.Bounded || !d.Closed())
}

// somewhere reports whether there may be something of a kind: what has no namespace is
// in none of those that are seen.
func somewhere(k rights.Kind, s rights.Seen) bool {
	return s.All || k.Namespaced() && len(s.Namespaces) > 0
}

// Sight is what one caller may do, as it was when it was asked for. It is for the time
// of one request.
type Sight struct {
	d      *Decider
	caller caller.Caller
	state  access.State
	policy *rights.Policy
}

// Of returns what the caller of a context may do. The error is a caller.RefusedError
// for who is not known, and a job.ErrUnavailable when it is not known what anybody may.
func (d *Decider) Of(ctx context.Context) (Sight, error) {
	who, _ := caller.From(ctx)
	s := Sight{d: d, caller: who, state: d.door.State()}
	if who.Local || s.state == access.Open {
		return s, nil
	}
	if !who.Known() {
		err := s.Refused(rights.Request{}, &caller.RefusedError{Reason: "this cluster is closed, and the request does not say who asks; show a token, or ask over the local socket"})
		if err != nil {
			return s, err
		}
	}
	if s.policy = d.policy(); s.policy == nil && s.state != access.Noting {
		return s, fmt.Errorf("who may do what is not known yet, as roles are still being read: %w", job.ErrUnavailable)
	}
	return s, nil
}

// Everything reports whether nothing needs to be looked at: the cluster is open, or the
// caller is root, or the node's account, on the local socket.
func (s Sight) Everything() bool { return s.policy == nil }

// May reports whether roles and bindings allow something, whatever the state is.
func (s Sight) May(r rights.Request) bool {
	return s.Everything() || s.policy.May(s.caller.Subjects, r)
}

// Sees reports whether there may be anything of a kind in a namespace on which the
// caller may do something. An empty namespace: in any.
func (s Sight) Sees(v rights.Verb, k rights.Kind, namespace string) bool {
	if s.Everything() {
		return true
	}
	seen := s.policy.See(s.caller.Subjects, v, k)
	return namespace == "" && somewhere(k, seen) || seen.Has(namespace)
}

// Only returns the one namespace in which there may be things of a kind on which the
// caller may do something; empty: there are several, or none.
func (s Sight) Only(v rights.Verb, k rights.Kind) string {
	if s.Everything() || s.state == access.Noting {
		return ""
	}
	if seen := s.policy.See(s.caller.Subjects, v, k); !seen.All && len(seen.Namespaces) == 1 {
		return seen.Namespaces[0]
	}
	return ""
}

// Hide reports whether what the caller has no right to is left out of an answer. While
// the cluster only notes that, it is not.
func (s Sight) Hide(r rights.Request) bool {
	if s.state == access.Noting {
		return s.Refused(r, job.ErrForbidden) != nil
	}
	return true
}

// Refused tells that the caller may not do something. It is nil while the cluster only
// notes that.
func (s Sight) Refused(r rights.Request, err error) error {
	s.d.refused.WithLabelValues(string(r.Verb), string(r.Kind), string(s.state)).Inc()
	s.d.log.Info("refused", zap.String("state", string(s.state)), zap.String("caller", s.caller.Name), zap.String("remote", s.caller.Remote),
		zap.String("verb", string(r.Verb)), zap.String("resource", string(r.Kind)), zap.String("namespace", r.Namespace))
	if s.state == access.Noting {
		return nil
	}
	return err
}

// Need returns nil if the caller may do something; else what is missing. Hidden is the
// answer when the caller may not read it either; nil: it is no secret.
func (s Sight) Need(r rights.Request, hidden error) error {
	if s.May(r) {
		return nil
	}
	if hidden != nil && !s.May(rights.Request{Verb: rights.Read, Kind: r.Kind, Namespace: r.Namespace, Labels: r.Labels}) {
		return s.Refused(r, hidden)
	}
	return s.Refused(r, Missing(r))
}

// Starts returns what the caller may have started by something; empty: whatever there is.
// The error is that of Need if the caller may not do it at all.
func (s Sight) Starts(r rights.Request, hidden error) (job.Bounds, error) {
	held, ok := s.Bounds(r)
	if !ok {
		return nil, s.Need(r, hidden)
	}
	return held, nil
}

// Bounds returns what the caller may have started by something, whatever the state is;
// empty: whatever there is. It is false if the caller may not do it at all.
func (s Sight) Bounds(r rights.Request) (job.Bounds, bool) {
	if s.Everything() {
		return nil, true
	}
	rules, ok := s.policy.Starts(s.caller.Subjects, r)
	if !ok || len(rules) == 0 {
		return nil, ok
	}
	return job.Bounds{{By: s.caller.Name, Rules: rules, Verb: string(r.Verb), Resource: string(r.Kind)}}, true
}

// MayStart reports whether the caller may do something, be it with some of what can be
// started by it only.
func (s Sight) MayStart(r rights.Request) bool {
	_, ok := s.Bounds(r)
	return ok
}

// Outside tells that the caller may do something, and not have started what is wanted. It
// is nil while the cluster only notes that.
func (s Sight) Outside(r rights.Request, why string) error {
	return s.Refused(r, fmt.Errorf("you may %s %s within bounds, and this is beyond: %s: %w", r.Verb, r.Kind, why, job.ErrForbidden))
}

// State is the cluster's.
func (s Sight) State() string { return string(s.state) }

// Keeps reports whether what the caller may have started is kept to: while the cluster only
// notes what it would refuse, it is not.
func (s Sight) Keeps() bool { return s.state == access.Closed }

// Holds returns nil if the caller has all that a role gives in some namespaces, empty:
// in all, by the roles and bindings that are given.
func (s Sight) Holds(by *rights.Policy, role rights.Role, namespaces []string) error {
	if s.Everything() || by.Holds(s.caller.Subjects, role, namespaces) {
		return nil
	}
	where := ""
	if len(namespaces) > 0 {
		where = fmt.Sprintf(" in the namespaces %v", namespaces)
	}
	return s.Refused(rights.Request{Verb: rights.Grant, Kind: rights.Roles},
		fmt.Errorf("the role %s allows more%s than you may do yourself, and nobody gives what they have not: %w", role.Name, where, job.ErrForbidden))
}

// HoldsAll returns nil if the caller has all that a subject has, by the roles and
// bindings that are given.
func (s Sight) HoldsAll(by *rights.Policy, of rights.Subject) error {
	if s.Everything() || by.HoldsAll(s.caller.Subjects, of) {
		return nil
	}
	return s.Refused(rights.Request{Verb: rights.Grant, Kind: rights.Tokens},
		fmt.Errorf("bindings give to the %s %s more than you may do yourself, and nobody gives what they have not: %w", of.Kind, of.Name, job.ErrForbidden))
}

// Missing is the error of who may not do something that is no secret.
func Missing(r rights.Request) error {
	where := ""
	switch {
	case r.Namespace != "":
		where = " in the namespace " + r.Namespace
	case r.Kind.Namespaced():
		where = " in all namespaces"
	}
	return fmt.Errorf("you may not %s%s; ask for a role that allows %s on %s: %w", doing(r.Verb, r.Kind), where, r.Verb, r.Kind, job.ErrForbidden)
}

// doing says in English what a verb is on a kind of things.
func doing(v rights.Verb, k rights.Kind) string {
	on := string(k)
	if k == rights.Cluster {
		on = "the cluster"
	}
	switch v {
	case rights.Logs:
		return "see the output of " + on
	case rights.Grant:
		return "grant rights on " + on
	case rights.Audit:
		return "see the audit of " + on
	default:
		return string(v) + " " + on
	}
}

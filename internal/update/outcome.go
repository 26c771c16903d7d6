package update

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/carillon-cron/carillon/agentpush/target"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/release"
	"github.com/carillon-cron/carillon/job"
)

// Outcome is what follows from a plan, its state and what is known of minions.
type Outcome struct {
	Step release.Step
	// Groups are those of the plan, in its order.
	Groups []Group
	// State is the next state: whom Step tells is in it.
	State etcdkv.UpdateState
}

// Group is how far a group of the plan has come.
type Group struct {
	etcdkv.UpdateGroup
	// Phases counts its minions. One that is in several groups belongs to the first.
	Phases map[release.Phase]int `json:"phases"`
}

// readGroups returns the groups of a plan without their members, and what
// matches these. The error is a *job.InvalidError with all problems.
func readGroups(groups []etcdkv.UpdateGroup, saved target.Groups) ([]release.Group, []*target.Matcher, error) {
	var problems []job.Problem
	out, matchers := make([]release.Group, len(groups)), make([]*target.Matcher, len(groups))
	for i, g := range groups {
		at := fmt.Sprintf("groups[%d]", i)
		out[i] = release.Group{Name: g.Name, Canaries: g.Canaries}
		if g.MaxInFlight != "" {
			var err error
			if out[i].MaxInFlight, err = release.ParseLimit(g.MaxInFlight); err != nil {
				problems = append(problems, job.Problem{Path: at + ".maxInFlight", Message: err.Error()})
			}
		}
		expr, err := target.Parse(g.Match)
		if err == nil {
			matchers[i], err = expr.Bind(saved)
		}
		if err != nil {
			problems = append(problems, target.Problems(at+".match", err)...)
		}
	}
	if len(problems) > 0 {
		return nil, nil, &job.InvalidError{Problems: problems}
	}
	return out, matchers, nil
}

// Check returns all that is wrong with a plan, as a *job.InvalidError.
func Check(p *etcdkv.UpdatePlan, saved target.Groups) error {
	var problems []job.Problem
	if len(p.Groups) == 0 {
		problems = append(problems, job.Problem{Path: "groups", Message: "is empty; give one group at least, as in rest='*'"})
	}
	groups, _, err := readGroups(p.Groups, saved)
	if invalid, ok := errors.AsType[*job.InvalidError](err); ok {
		problems = append(problems, invalid.Problems...)
		for _, g := range p.Groups {
			groups = append(groups, release.Group{Name: g.Name, Canaries: g.Canaries})
		}
	}
	if err := plan(p, groups).Validate(); err != nil {
		problems = append(problems, job.Problem{Path: "plan", Message: err.Error()})
	}
	if len(problems) > 0 {
		return &job.InvalidError{Problems: problems}
	}
	return nil
}

func plan(p *etcdkv.UpdatePlan, groups []release.Group) release.Plan {
	return release.Plan{
		Release: release.Number(p.Release), Groups: groups, Off: p.Off, Paused: p.Paused,
		Tolerate: p.Tolerate, Patience: cmp.Or(time.Duration(p.Patience), release.DefaultPatience),
	}
}

// Next returns what follows. Minions are all that are known, in the order in
// which those of a group are told. It is pure: neither plan nor state is changed.
func Next(p *etcdkv.UpdatePlan, s etcdkv.UpdateState, minions []job.Minion, saved target.Groups, now time.Time) (Outcome, error) {
	groups, matchers, err := readGroups(p.Groups, saved)
	if err != nil {
		return Outcome{}, err
	}
	if s.Release != p.Release {
		s = etcdkv.UpdateState{}
	}
	known, reasons := about(p, &s, minions)
	out := Outcome{Groups: make([]Group, len(groups))}
	rp := plan(p, groups)
	taken := make(map[job.MinionID]bool, len(minions))
	names := target.LabelNames(func(yield func(map[string]string) bool) {
		for i := range minions {
			if !yield(minions[i].Labels) {
				return
			}
		}
	})
	for i := range groups {
		for j := range minions {
			m := &minions[j]
			host := target.HostOf(m, names)
			if taken[m.ID] || !matchers[i].Match(&host).Matched {
				continue
			}
			taken[m.ID] = true
			rp.Groups[i].Minions = append(rp.Groups[i].Minions, m.ID)
		}
	}
	out.Step = rp.Next(known, now)
	for i, phases := range out.Step.Groups {
		out.Groups[i] = Group{p.Groups[i], phases}
	}
	out.State = etcdkv.UpdateState{
		Schema: etcdkv.Schema, Release: p.Release, Since: map[job.MinionID]time.Time{}, Failed: map[job.MinionID]string{},
		Hold: out.Step.Status == release.StatusHalted,
	}
	for id, since := range s.Since {
		if rp.Phase(known[id], now) == release.PhaseInFlight {
			out.State.Since[id] = since
		}
	}
	for _, id := range out.Step.Tell {
		out.State.Since[id] = now.UTC()
	}
	for _, id := range out.Step.Failed {
		out.State.Failed[id] = cmp.Or(reasons[id], fmt.Sprintf("was not healthy within %v", rp.Patience))
	}
	return out, nil
}

// about returns what is known of minions, and why some have failed.
func about(p *etcdkv.UpdatePlan, s *etcdkv.UpdateState, minions []job.Minion) (map[job.MinionID]release.Minion, map[job.MinionID]string) {
	known, reasons := make(map[job.MinionID]release.Minion, len(minions)), maps.Clone(s.Failed)
	if reasons == nil {
		reasons = map[job.MinionID]string{}
	}
	for id, since := range s.Since {
		known[id] = release.Minion{UpdatingSince: since} // perhaps nobody knows it any more
	}
	for i := range minions {
		m := &minions[i]
		f := release.FactsOf(m.Facts)
		r := release.Minion{Release: f.Release, Connected: m.Node != "", Managed: !f.On, UpdatingSince: s.Since[m.ID], Failed: f.Failed}
		if f.Failed == release.Number(p.Release) {
			reasons[m.ID] = f.Reason
		}
		if _, failed := s.Failed[m.ID]; failed {
			r.Failed = release.Number(p.Release)
		}
		known[m.ID] = r
	}
	return known, reasons
}

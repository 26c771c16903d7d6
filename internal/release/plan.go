package release

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// DefaultPatience is how long a minion may take to update before it counts as failed.
const DefaultPatience = 10 * time.Minute

// ParseLimit reads how many minions may be under way, as "20" or "5%": at least one.
func ParseLimit(s string) (job.Amount, error) {
	a, err := job.ParseAmount(s)
	if err != nil || a.AtLeast(100) < 1 {
		return "", fmt.Errorf("limit is %q: must be a number from 1, or a percentage from 1%% to 100%%", s)
	}
	return a, nil
}

// Group is a stage of a plan.
type Group struct {
	Name string
	// Minions are the members, as the group's target matches them now. A minion
	// in several groups belongs to the first.
	Minions []job.MinionID
	// Canaries is how many members must be healthy before the others are told;
	// all, if there are fewer. Zero: none go ahead.
	Canaries int
	// MaxInFlight bounds how many members are neither at their old release nor
	// settled at the new one: of a share at least one. Empty: one.
	MaxInFlight job.Amount
}

// Plan says how many minions are updated to a release. It is pure: Next may be asked
// again at any time, by any node, and after any restart.
type Plan struct {
	// Release is the number of the manifest.
	Release Number
	// Groups come one after the other.
	Groups []Group
	// Off tells nobody anything. Minions that were told are not called back.
	Off bool
	// Paused is as Off, for a while, and is shown as such.
	Paused bool
	// Tolerate is how many failures in all do not halt the plan. Zero: the
	// first one halts it. Tolerated ones are left where they are.
	Tolerate int
	// Patience is how long a minion may be updating before it counts as failed.
	// Zero: DefaultPatience.
	Patience time.Duration
}

// Minion is what is known of one.
type Minion struct {
	// Release is State.Current.Manifest as it has reported it last, or the number
	// of its own program: the highest manifest that it has confirmed.
	Release Number
	// Connected: it has a session with a node.
	Connected bool
	// Managed: it does not update itself, as when a package brings its program.
	// Such ones are left out.
	Managed bool
	// UpdatingSince is when it was first told of the plan's release. Who
	// tells must record that first, and tell again with every session until
	// the minion is healthy or has failed. Zero: it was not told.
	UpdatingSince time.Time
	// Failed is the manifest that it has given up last: its trial has failed
	// finally, or it cannot be staged there.
	Failed Number
}

// Phase is where a minion is on its way to a release.
type Phase string

// The phases.
const (
	PhaseManaged  Phase = "managed"   // does not update itself
	PhaseAbsent   Phase = "absent"    // not connected, and was not told: told when it is back
	PhasePending  Phase = "pending"   // may be told
	PhaseInFlight Phase = "in-flight" // was told, and is not healthy yet
	PhaseLost     Phase = "lost"      // took the release and has gone; in flight too, until it is back
	PhaseHealthy  Phase = "healthy"   // is connected, at the release or a newer one
	PhaseFailed   Phase = "failed"    // its trial has failed, or it was in flight for too long
)

// Phases returns all phases.
func Phases() []Phase {
	return []Phase{PhaseManaged, PhaseAbsent, PhasePending, PhaseInFlight, PhaseLost, PhaseHealthy, PhaseFailed}
}

// Status says where a plan is.
type Status string

// The statuses.
const (
	StatusOff     Status = "off"
	StatusHalted  Status = "halted"  // too many have failed
	StatusPaused  Status = "paused"  // by an operator
	StatusRunning Status = "running" // somebody is told, or waited for
	StatusDone    Status = "done"    // every group is
)

// Step is what to do next.
type Step struct {
	Status Status
	// Group is the one that is being updated. Empty: none.
	Group string
	// Canary: only the group's canaries are updated as yet.
	Canary bool
	// Tell are the minions to tell now, in the order of the group.
	Tell []job.MinionID
	// Groups counts the minions of each group by where they are, in the order of the plan.
	Groups []map[Phase]int
	// Failed are the minions that have failed, in the order of the groups.
	Failed []job.MinionID
	// Reason says, in words, what the plan waits for, or why it has halted.
	Reason string
}

// Validate returns all that is wrong with the plan.
func (p Plan) Validate() error {
	var errs []error
	if p.Release <= 0 {
		errs = append(errs, fmt.Errorf("release is %d: must be above zero", p.Release))
	}
	if p.Tolerate < 0 {
		errs = append(errs, fmt.Errorf("tolerate is %d: must not be negative", p.Tolerate))
	}
	if p.Patience < 0 {
		errs = append(errs, fmt.Errorf("patience is %v: must not be negative", p.Patience))
	}
	names := map[string]bool{}
	for i, g := range p.Groups {
		if g.Name == "" {
			errs = append(errs, fmt.Errorf("group %d: name is empty", i+1))
		}
		if names[g.Name] {
			errs = append(errs, fmt.Errorf("group %q: name is used twice", g.Name))
		}
		names[g.Name] = true
		if g.Canaries < 0 {
			errs = append(errs, fmt.Errorf("group %q: canaries is %d: must not be negative", g.Name, g.Canaries))
		}
		if g.MaxInFlight != "" {
			if _, err := ParseLimit(string(g.MaxInFlight)); err != nil {
				errs = append(errs, fmt.Errorf("group %q: max in flight: %w", g.Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// Phase returns where a minion is at the given time.
func (p Plan) Phase(m Minion, now time.Time) Phase {
	patience := cmp.Or(p.Patience, DefaultPatience)
	switch {
	case m.Managed:
		return PhaseManaged
	case m.Release >= p.Release && m.Connected:
		return PhaseHealthy
	case m.Release >= p.Release:
		return PhaseLost
	case m.Failed == p.Release:
		return PhaseFailed
	case !m.UpdatingSince.IsZero() && now.Sub(m.UpdatingSince) >= patience:
		return PhaseFailed
	case !m.UpdatingSince.IsZero():
		return PhaseInFlight
	case !m.Connected:
		return PhaseAbsent
	}
	return PhasePending
}

// Next says whom to tell, given what is known of the minions; one that is not in
// the map is absent. It promises:
//
//	P1. What is told, what is in flight and what is lost of a group never exceed its MaxInFlight together.
//	P2. A group is begun only when those before it are done: nobody pending, in
//	    flight or lost, and the canaries healthy, but at least one minion,
//	    unless all are managed.
//	P3. Beyond its canaries, nobody of a group is told before they are healthy.
//	P4. With more failures than are tolerated, paused or off, nobody is told.
//	P5. Only minions that are pending are told, and as many as P1 to P4 allow.
//
// Absent ones do not hold a plan up. When they are back they are told before
// later groups go on.
func (p Plan) Next(minions map[job.MinionID]Minion, now time.Time) Step {
	step := Step{Status: StatusDone, Groups: make([]map[Phase]int, len(p.Groups))}
	var current *stage
	seen := map[job.MinionID]bool{}
	for i, g := range p.Groups {
		s := p.stage(g, minions, now, seen)
		step.Groups[i] = make(map[Phase]int, len(s.members))
		for phase, ids := range s.members {
			step.Groups[i][phase] = len(ids)
		}
		step.Failed = append(step.Failed, s.members[PhaseFailed]...)
		if current == nil && !s.done() {
			current = &s
		}
	}
	if current != nil {
		step.Status, step.Group, step.Canary = StatusRunning, current.group.Name, current.canary()
		step.Reason = current.waitsFor()
	}
	switch {
	case p.Off:
		step.Status, step.Reason = StatusOff, "updates are off"
	case len(step.Failed) > p.Tolerate:
		step.Status = StatusHalted
		step.Reason = fmt.Sprintf("%d minions have failed, and %d are tolerated; the first is %s", len(step.Failed), p.Tolerate, step.Failed[0])
	case current == nil:
	case p.Paused:
		step.Status, step.Reason = StatusPaused, "paused"
	default:
		step.Tell = current.tell()
	}
	return step
}

// stage is a group and where its members are.
type stage struct {
	group   Group
	members map[Phase][]job.MinionID
	// eligible is how many members update themselves.
	eligible int
}

func (p Plan) stage(g Group, minions map[job.MinionID]Minion, now time.Time, seen map[job.MinionID]bool) stage {
	s := stage{group: g, members: map[Phase][]job.MinionID{}}
	for _, id := range g.Minions {
		if seen[id] {
			continue
		}
		seen[id] = true
		phase := p.Phase(minions[id], now)
		s.members[phase] = append(s.members[phase], id)
		if phase != PhaseManaged {
			s.eligible++
		}
	}
	return s
}

func (s stage) count(phase Phase) int { return len(s.members[phase]) }

// unsettled is how many take up the room of MaxInFlight.
func (s stage) unsettled() int { return s.count(PhaseInFlight) + s.count(PhaseLost) }

// canaries is how many must be healthy before the others are told.
func (s stage) canaries() int { return min(s.group.Canaries, s.eligible) }

func (s stage) canary() bool { return s.count(PhaseHealthy) < s.canaries() }

func (s stage) done() bool {
	needed := min(max(s.group.Canaries, 1), s.eligible)
	return s.unsettled() == 0 && s.count(PhasePending) == 0 && s.count(PhaseHealthy) >= needed
}

// tell returns the members to tell now.
func (s stage) tell() []job.MinionID {
	room := s.group.MaxInFlight.Of(s.eligible, 1) - s.unsettled()
	if s.canary() {
		room = min(room, s.canaries()-s.count(PhaseHealthy)-s.unsettled())
	}
	pending := s.members[PhasePending]
	return pending[:min(max(room, 0), len(pending))]
}

func (s stage) waitsFor() string {
	healthy := fmt.Sprintf("group %s: %d of %d healthy", s.group.Name, s.count(PhaseHealthy), s.eligible)
	if s.canary() {
		healthy = fmt.Sprintf("group %s: %d of %d canaries healthy", s.group.Name, s.count(PhaseHealthy), s.canaries())
	}
	for _, phase := range []Phase{PhasePending, PhaseInFlight, PhaseLost, PhaseAbsent, PhaseFailed} {
		if n := s.count(phase); n > 0 {
			healthy += fmt.Sprintf(", %d %s", n, phase)
		}
	}
	return healthy
}

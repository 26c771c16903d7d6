package mode

import "fmt"

// preempt hands the lock out first come, first served.
func preempt() Mode {
	return Mode{
		Name:   "preempt",
		Words:  "first come, first served: nodes stand in line, and the first takes the lock when it is free; a higher priority takes it after the grace",
		Reads:  []string{"sites", "grace"},
		Lined:  true,
		Holder: firstCome,
	}
}

// firstCome returns the owner, unless one of a higher priority has waited for
// the grace; without an owner the one of the highest priority that waits
// longest.
func firstCome(s *Situation) Verdict {
	var best *Node
	var since int64
	fit := s.fit()
	for _, p := range s.Line {
		n := s.node(p.Node)
		if n == nil || !contains(fit, p.Node) {
			continue
		}
		if best == nil || n.Priority > best.Priority {
			best, since = n, p.Since
		}
	}
	owner := s.node(s.Owner)
	switch {
	case best == nil && owner == nil:
		return Verdict{Reason: "nobody stands in line"}
	case best == nil:
		return Verdict{Holder: owner.ID, Reason: "nobody else stands in line"}
	case owner == nil:
		return Verdict{Holder: best.ID, Reason: "it has the highest priority in line and came first"}
	case s.Failback && best.ID != owner.ID:
		return Verdict{Holder: best.ID, Reason: "an operator asked for it"}
	case best.Priority <= owner.Priority:
		return Verdict{Holder: owner.ID, Reason: "it came first, and nobody in line has a higher priority"}
	}
	if at := since + int64(s.Spec.EffectiveGrace()); s.Now < at {
		return Verdict{Holder: owner.ID, Again: at, Reason: fmt.Sprintf("%s has a higher priority and takes the lock after the grace", best.ID)}
	}
	return Verdict{Holder: best.ID, Reason: fmt.Sprintf("its priority %d is above that of %s, %d", best.Priority, owner.ID, owner.Priority)}
}

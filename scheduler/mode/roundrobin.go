package mode

import (
	"fmt"

	"github.com/carillon-cron/carillon/job"
)

// roundrobin makes the lock's line a ring.
func roundrobin() Mode {
	return Mode{
		Name:   "roundrobin",
		Words:  "nodes fire in turn: with each instant that it fires, the holder passes the lock to the next in line and joins at the tail",
		Reads:  []string{"sites"},
		Lined:  true,
		Holder: headOfLine,
		Passes: nextInLine,
	}
}

// roundrobinPreempt passes over who does not fire in its turn.
func roundrobinPreempt() Mode {
	return Mode{
		Name:   "roundrobin-preempt",
		Words:  "as roundrobin, and a node that has not fired within the grace of its turn is passed over",
		Reads:  []string{"sites", "grace"},
		Lined:  true,
		Holder: overdue,
		Passes: nextInLine,
	}
}

// headOfLine returns the owner, or without one the first in line.
func headOfLine(s *Situation) Verdict {
	if contains(s.fit(), s.Owner) {
		return Verdict{Holder: s.Owner, Reason: "it is its turn"}
	}
	if next := nextInLine(s); next != "" {
		return Verdict{Holder: next, Reason: "it is first in line"}
	}
	return Verdict{Holder: s.Owner, Reason: "nobody else stands in line"}
}

// nextInLine returns the first in line that is not the owner.
func nextInLine(s *Situation) job.NodeID {
	if line := s.others(); len(line) > 0 {
		return line[0]
	}
	return ""
}

// others returns those in line that are fit, without the owner.
func (s *Situation) others() []job.NodeID {
	fit := s.fit()
	var out []job.NodeID
	for _, p := range s.Line {
		if p.Node != s.Owner && contains(fit, p.Node) {
			out = append(out, p.Node)
		}
	}
	return out
}

// overdue lets the next in line take the lock from an owner that has not fired
// in its turn; when that one does not either, the one after it, and so on.
func overdue(s *Situation) Verdict {
	v := headOfLine(s)
	others := s.others()
	if s.Owner == "" || s.Due == 0 || len(others) == 0 {
		return v
	}
	grace := int64(s.Spec.EffectiveGrace())
	// Its turn begins when it has the lock: what is late already is not its fault.
	begun := max(s.Due, s.Since)
	waited := s.Now - begun
	if waited < grace {
		v.Again = begun + grace
		return v
	}
	turn := waited/grace - 1
	return Verdict{
		Holder: others[turn%int64(len(others))], Seize: true, Again: begun + (turn+2)*grace,
		Reason: fmt.Sprintf("%s has not fired what was due %s ago", s.Owner, seconds(s.Now-s.Due)),
	}
}

func contains(nodes []Node, id job.NodeID) bool {
	for i := range nodes {
		if nodes[i].ID == id {
			return true
		}
	}
	return false
}

package mode

import (
	"fmt"
	"slices"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// timeslice gives each node of a ring its slices of time.
func timeslice() Mode {
	return Mode{
		Name:      "timeslice",
		Words:     "time is cut into slices that belong to the nodes of a ring in turn; who fires an instant follows from the scheduled instant",
		Reads:     []string{"slice", "onLoss", "spread"},
		Check:     checkSlice,
		Remembers: true,
		Holder:    sliceHolder,
		Fires:     sliceTurn,
	}
}

func checkSlice(g *job.GroupSpec) []job.Problem {
	var out []job.Problem
	if d := time.Duration(g.Slice); d < job.MinSlice || d > job.MaxSlice {
		msg := fmt.Sprintf("%v is out of range; %v to %v are allowed", d, job.MinSlice, job.MaxSlice)
		if d == 0 {
			msg = "is missing, or zero; give the length of a slice, such as 10m"
		}
		out = append(out, job.Problem{Path: "spec.slice", Message: msg})
	}
	if g.OnLoss != "" && g.OnLoss != job.LossTakeover && g.OnLoss != job.LossSkip {
		out = append(out, job.Problem{Path: "spec.onLoss", Message: fmt.Sprintf("%q is unknown; (allowed: %s, %s)", g.OnLoss, job.LossTakeover, job.LossSkip)})
	}
	return out
}

// ring returns the nodes whose slices follow each other, lost ones included.
func (s *Situation) ring() []job.NodeID {
	if len(s.Spec.Nodes) > 0 {
		return s.Spec.Nodes
	}
	var out []job.NodeID
	for i := range s.Nodes {
		out = append(out, s.Nodes[i].ID)
	}
	for _, m := range s.Memory {
		out = append(out, m.Node)
	}
	slices.Sort(out)
	out = slices.Compact(out)
	if s.Spec.Spread != "" {
		out = s.interleave(out)
	}
	return out
}

// interleave orders the names so that neighbours differ in the spread label
// where that is possible: one of each value in turn, the largest value first.
func (s *Situation) interleave(names []job.NodeID) []job.NodeID {
	var values []string
	by := map[string][]job.NodeID{}
	for _, id := range names {
		v := ""
		if n := s.node(id); n != nil {
			v = n.Label(s.Spec.Spread)
		}
		if _, ok := by[v]; !ok {
			values = append(values, v)
		}
		by[v] = append(by[v], id)
	}
	slices.SortStableFunc(values, func(a, b string) int { return len(by[b]) - len(by[a]) })
	out := make([]job.NodeID, 0, len(names))
	for len(out) < len(names) {
		for _, v := range values {
			if len(by[v]) > 0 {
				out = append(out, by[v][0])
				by[v] = by[v][1:]
			}
		}
	}
	return out
}

// slot returns the place in a ring of n that an instant belongs to.
func slot(at int64, slice job.Duration, n int) int {
	length := max(int64(slice), int64(job.MinSlice))
	i := at / length
	if at%length < 0 {
		i-- // before 1970
	}
	return int((i%int64(n) + int64(n)) % int64(n))
}

// sliceTurn says who fires an instant.
func sliceTurn(s *Situation, at int64) Turn {
	ring := s.ring()
	if len(ring) == 0 {
		return Turn{Skip: "the ring has no node"}
	}
	i := slot(at, s.Spec.Slice, len(ring))
	if s.node(ring[i]) != nil {
		return Turn{Node: ring[i]}
	}
	if s.Spec.OnLoss == job.LossSkip {
		return Turn{Skip: fmt.Sprintf("it is in a time slice of node %s, which is lost; the group's onLoss is %q", ring[i], job.LossSkip)}
	}
	return Turn{Node: s.after(ring, i)}
}

// after returns the first live node of the ring after place i.
func (s *Situation) after(ring []job.NodeID, i int) job.NodeID {
	for d := range ring {
		if id := ring[(i+d)%len(ring)]; s.node(id) != nil {
			return id
		}
	}
	return ""
}

// sliceHolder returns who fires what is due next. What nobody fires is recorded
// by whoever holds the lock.
func sliceHolder(s *Situation) Verdict {
	at := max(s.Due, 0)
	if at == 0 {
		at = s.Now
	}
	t := sliceTurn(s, at)
	if t.Node != "" {
		return Verdict{Holder: t.Node, Reason: "what is due next is in its time slice"}
	}
	if s.Owner != "" {
		return Verdict{Holder: s.Owner, Reason: "what is due next is in nobody's time slice, and is recorded by the owner"}
	}
	ring := s.ring()
	if len(ring) == 0 || len(s.Nodes) == 0 {
		return Verdict{Reason: "no node may"}
	}
	return Verdict{Holder: s.after(ring, slot(at, s.Spec.Slice, len(ring))), Reason: "it is the next live node of the ring"}
}

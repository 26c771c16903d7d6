package mode

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Mode is a policy for passing a group's lock on.
type Mode struct {
	// Name is what a group's spec says.
	Name string
	// Words says in a sentence what the mode does.
	Words string
	// Reads names the fields of the spec that this mode reads and not all do.
	Reads []string
	// Check returns what else is wrong with a spec of this mode. May be nil.
	Check func(*job.GroupSpec) []job.Problem

	// Lined: nodes stand in line for the lock, in the order of their coming.
	Lined bool
	// Remembers: lost nodes keep their place in the ring.
	Remembers bool

	// Holder says who ought to hold the lock now.
	Holder func(*Situation) Verdict
	// Fires says who fires the occurrence at an instant. Nil: the holder.
	Fires func(s *Situation, at int64) Turn
	// Passes says who gets the lock with the commit that fires; empty: nobody.
	// Nil: nobody ever.
	Passes func(*Situation) job.NodeID
	// Shares says which nodes have a share of an occurrence. Nil: occurrences
	// are not shared out.
	Shares func(*Situation) []job.NodeID
}

// Situation is all that a mode decides from. Instants are in nanoseconds since
// the Unix epoch; zero is "not known", or "not".
type Situation struct {
	Shard job.ShardID
	Spec  *job.GroupSpec
	Now   int64
	// Nodes are alive and eligible, sorted by name.
	Nodes []Node
	// Owner holds the lock, lives and is eligible; empty: nobody.
	Owner job.NodeID
	// Since is when the owner got the lock.
	Since int64
	// Due is the instant that the owner is to fire next.
	Due int64
	// Line is the lock's line, first come first, without nodes that are not in
	// Nodes.
	Line []Place
	// Memory is what the group remembers of its nodes.
	Memory []Memory
	// Failback: an operator wants the lock where it belongs, now.
	Failback bool
}

// Has reports whether a node is alive and eligible.
func (s *Situation) Has(n job.NodeID) bool {
	return slices.ContainsFunc(s.Nodes, func(o Node) bool { return o.ID == n })
}

// Node is a live node.
type Node struct {
	ID       job.NodeID
	Site     string
	Priority int
	// Capacity is the relative weight; below 1 counts as 1.
	Capacity int
	Labels   map[string]string
	// Healthy is since when the node is healthy on all levels: it lives, does
	// its work, and its peers reach it.
	Healthy int64
}

// Label returns the value of a label; "node" and "site" are there by themselves.
func (n *Node) Label(key string) string {
	switch key {
	case "node":
		return string(n.ID)
	case "site":
		return n.Site
	}
	return n.Labels[key]
}

// Place is a node's place in the line.
type Place struct {
	Node  job.NodeID
	Since int64
}

// Memory is what a group remembers of a node.
type Memory struct {
	Node job.NodeID
	// Flaps is how often the node was lost while it held the lock, LastFlap
	// when last.
	Flaps    int
	LastFlap int64
}

// Verdict says who ought to hold the lock.
type Verdict struct {
	// Holder is empty when there is nobody.
	Holder job.NodeID
	// Seize: the holder may take the lock from its live owner.
	Seize bool
	// Again is when the verdict may change by itself; zero: it does not.
	Again int64
	// Reason tells people why.
	Reason string
}

// Turn says who fires an occurrence.
type Turn struct {
	// Node is who; empty: nobody, and Skip says why.
	Node job.NodeID
	Skip string
}

// All returns the modes, the default first.
func All() []Mode {
	return []Mode{
		balanced(), failover(), failback(), preempt(),
		roundrobin(), roundrobinPreempt(), timeslice(), parallel(),
	}
}

// Names returns the modes' names, the default first.
func Names() []string {
	var out []string
	for _, m := range All() {
		out = append(out, m.Name)
	}
	return out
}

// Find returns the mode of that name; empty means the default.
func Find(name string) (Mode, bool) {
	if name == "" {
		name = job.DefaultMode
	}
	for _, m := range All() {
		if m.Name == name {
			return m, true
		}
	}
	return Mode{}, false
}

// Check returns what the spec's mode finds wrong with it, with paths that begin
// with "spec". What is wrong in any mode is told by the spec's own Validate.
func Check(spec *job.GroupSpec) []job.Problem {
	m, ok := Find(spec.Mode)
	if !ok {
		hint := ""
		if near, ok := job.Nearest(spec.Mode, Names()); ok {
			hint = fmt.Sprintf("; did you mean %q?", near)
		}
		return []job.Problem{{Path: "spec.mode", Message: fmt.Sprintf("%q is unknown%s (allowed: %s)", spec.Mode, hint, strings.Join(Names(), ", "))}}
	}
	var out []job.Problem
	for _, f := range []struct {
		name  string
		given bool
	}{
		{"sites", len(spec.Sites) > 0},
		{"spread", spec.Spread != ""},
		{"holdOff", spec.HoldOff != 0},
		{"grace", spec.Grace != 0},
		{"slice", spec.Slice != 0},
		{"onLoss", spec.OnLoss != ""},
		{"start", spec.Start != ""},
	} {
		if f.given && !slices.Contains(m.Reads, f.name) {
			out = append(out, job.Problem{Path: "spec." + f.name, Message: fmt.Sprintf("is not read by mode %s; it is for %s", m.Name, strings.Join(readers(f.name), ", "))})
		}
	}
	if m.Check != nil {
		out = append(out, m.Check(spec)...)
	}
	return out
}

// readers lists the modes that read a field.
func readers(field string) []string {
	var out []string
	for _, m := range All() {
		if slices.Contains(m.Reads, field) {
			out = append(out, m.Name)
		}
	}
	return out
}

// Eligible reports whether the group lets a node fire.
func Eligible(spec *job.GroupSpec, n *Node) bool {
	if len(spec.Nodes) > 0 && !slices.Contains(spec.Nodes, n.ID) {
		return false
	}
	for k, v := range spec.Pin {
		if n.Label(k) != v {
			return false
		}
	}
	return true
}

// node returns the live node of that name, or nil.
func (s *Situation) node(id job.NodeID) *Node {
	for i := range s.Nodes {
		if s.Nodes[i].ID == id {
			return &s.Nodes[i]
		}
	}
	return nil
}

// fit returns the nodes that may be given a lock they stand in line for: those
// that are healthy, for another would keep it and do nothing, and near.
func (s *Situation) fit() []Node { return s.near(healthy(s.Nodes)) }

// near returns those of the nodes that are of the most preferred site that has
// any.
func (s *Situation) near(nodes []Node) []Node {
	for _, site := range s.Spec.Sites {
		var out []Node
		for _, n := range nodes {
			if n.Site == site {
				out = append(out, n)
			}
		}
		if len(out) > 0 {
			return out
		}
	}
	return nodes
}

// ranked returns the nodes, the first choice first: by preferred site, then
// priority, then name.
func (s *Situation) ranked() []Node {
	out := slices.Clone(s.Nodes)
	site := func(n *Node) int {
		if i := slices.Index(s.Spec.Sites, n.Site); i >= 0 {
			return i
		}
		return len(s.Spec.Sites)
	}
	slices.SortStableFunc(out, func(a, b Node) int {
		return cmp.Or(cmp.Compare(site(&a), site(&b)), cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// healthy returns those of the nodes that are healthy, or all when none is.
func healthy(nodes []Node) []Node {
	var out []Node
	for _, n := range nodes {
		if n.Healthy != 0 {
			out = append(out, n)
		}
	}
	if len(out) == 0 {
		return nodes
	}
	return out
}

// seconds shows a span of nanoseconds.
func seconds(n int64) time.Duration { return time.Duration(n).Round(100 * time.Millisecond) }

package plan

import (
	"fmt"
	"slices"
	"strings"
)

// Graph is which tasks of a plan wait for which. Tasks are numbered from 0 in the order in
// which they were added. Use NewGraph.
type Graph struct {
	names *names
	// task has the number of the task that has a name, and one more, by the name's ref;
	// 0: no task has it.
	task []uint32
	// name has the ref of each task's name.
	name  []uint32
	edges []edge
}

// edge: a task waits for the one with a name.
type edge struct {
	task, name uint32
	at         place
}

// NewGraph returns a Graph without tasks.
func NewGraph() *Graph { return &Graph{names: newNames()} }

// Len is how many tasks there are.
func (g *Graph) Len() int { return len(g.name) }

// Edges is how often tasks wait for others.
func (g *Graph) Edges() int { return len(g.edges) }

// Name returns the id of a task.
func (g *Graph) Name(task int) string { return g.names.name(g.name[task]) }

// Find returns the number of the task with an id.
func (g *Graph) Find(id string) (int, bool) {
	ref := g.names.has(id)
	if ref == 0 || int(ref) > len(g.task) || g.task[ref-1] == 0 {
		return 0, false
	}
	return int(g.task[ref-1]) - 1, true
}

// Add adds a task, and reports false if there is one of its id already. What it waits for
// need not be there yet.
func (g *Graph) Add(id string, after []string) bool { return g.add(id, after, nil) }

// Replace adds a task in the place of one of its id, if there is one: who waits for that id
// waits for the new one.
func (g *Graph) Replace(id string, after []string) {
	g.task[g.ref(id)-1] = 0
	g.add(id, after, nil)
}

func (g *Graph) add(id string, after []string, at []place) bool {
	ref := g.ref(id)
	if g.task[ref-1] != 0 {
		return false
	}
	number := uint32(len(g.name))
	g.name, g.task[ref-1] = append(g.name, ref), number+1
	for i, name := range after {
		e := edge{task: number, name: g.ref(name)}
		if at != nil {
			e.at = at[i]
		}
		g.edges = append(g.edges, e)
	}
	return true
}

func (g *Graph) ref(name string) uint32 {
	ref := g.names.ref(name)
	if int(ref) > len(g.task) {
		g.task = append(g.task, 0)
	}
	return ref
}

// check tells which names no task has, and one cycle if there are any.
func (g *Graph) check(add func(at place, path, format string, args ...any)) {
	for _, e := range g.edges {
		if g.task[e.name-1] == 0 {
			add(e.at, "task "+g.Name(int(e.task)), "waits for %q, and the plan has no task of that id", g.names.name(e.name))
		}
	}
	if cycle := g.Cycle(); cycle != nil {
		at := place{}
		for _, e := range g.edges {
			if e.task == uint32(cycle[0]) {
				at = e.at
				break
			}
		}
		words := make([]string, 0, len(cycle)+1)
		for i, t := range append(slices.Clone(cycle), cycle[0]) {
			if i == maxCycleTold {
				words = append(words, fmt.Sprintf("%d more", len(cycle)-i), g.Name(cycle[0]))
				break
			}
			words = append(words, g.Name(t))
		}
		add(at, "task "+g.Name(cycle[0]), "waits for itself: %s", strings.Join(words, " waits for "))
	}
}

// maxCycleTold bounds the tasks of a cycle that are named.
const maxCycleTold = 10

// Waiting returns for each task the tasks that wait for it, and how many each waits for.
// Names that no task has are left out.
func (g *Graph) Waiting() (next Lists, missing []uint32) {
	n := len(g.name)
	next.from = make([]uint32, n+1)
	missing = make([]uint32, n)
	for _, e := range g.edges {
		if on := g.task[e.name-1]; on != 0 {
			next.from[on]++
			missing[e.task]++
		}
	}
	for i := range n {
		next.from[i+1] += next.from[i]
	}
	next.all = make([]uint32, next.from[n])
	fill := slices.Clone(next.from)
	for _, e := range g.edges {
		if on := g.task[e.name-1]; on != 0 {
			next.all[fill[on-1]] = e.task
			fill[on-1]++
		}
	}
	return next, missing
}

// Lists are lists of tasks, one for each task.
type Lists struct{ from, all []uint32 }

// Of returns the list of a task.
func (l *Lists) Of(task int) []uint32 { return l.all[l.from[task]:l.from[task+1]] }

// Cycle returns tasks each of which waits for the next one, and the last for the first; nil:
// there are none.
func (g *Graph) Cycle() []int {
	next, missing := g.Waiting()
	ready := make([]uint32, 0, len(missing))
	for t, m := range missing {
		if m == 0 {
			ready = append(ready, uint32(t))
		}
	}
	done := 0
	for ; done < len(ready); done++ {
		for _, t := range next.Of(int(ready[done])) {
			if missing[t]--; missing[t] == 0 {
				ready = append(ready, t)
			}
		}
	}
	if done == len(missing) {
		return nil
	}
	// Each task that is left waits for another one that is left: who follows that comes
	// back to where it was.
	waits := make(map[uint32]uint32)
	for _, e := range g.edges {
		if on := g.task[e.name-1]; on != 0 && missing[e.task] > 0 && missing[on-1] > 0 {
			waits[e.task] = on - 1
		}
	}
	first := uint32(0)
	for missing[first] == 0 {
		first++
	}
	seen := map[uint32]int{}
	var walk []int
	for t := first; ; t = waits[t] {
		if at, ok := seen[t]; ok {
			return walk[at:]
		}
		seen[t] = len(walk)
		walk = append(walk, int(t))
	}
}

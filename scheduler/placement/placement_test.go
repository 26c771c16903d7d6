package placement

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/job"
)

// nodesOf draws nodes of different capacities.
func nodesOf(rt *rapid.T) []Candidate {
	var out []Candidate
	for i := range rapid.IntRange(1, 9).Draw(rt, "nodes") {
		out = append(out, Candidate{Node: job.NodeID(fmt.Sprintf("node%d", i)), Capacity: rapid.IntRange(1, 4).Draw(rt, "capacity")})
	}
	return out
}

func limitOf(n int, c Candidate, nodes []Candidate) int {
	total := 0
	for _, o := range nodes {
		total += o.Capacity
	}
	return int(math.Ceil(slack * float64(n) * float64(c.Capacity) / float64(total)))
}

// TestPlace: everybody gets about its share, in any order of the nodes, and a
// coming or going node moves about its share only.
func TestPlace(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 256).Draw(rt, "shards")
		nodes := nodesOf(rt)
		was := Place(n, nodes)
		load := map[job.NodeID]int{}
		for _, o := range was {
			load[o]++
		}
		for _, c := range nodes {
			if most := limitOf(n, c, nodes); load[c.Node] > most {
				rt.Errorf("%s has %d of %d shards, at most %d are its share", c.Node, load[c.Node], n, most)
			}
		}
		mixed := slices.Clone(nodes)
		slices.Reverse(mixed)
		if !slices.Equal(was, Place(n, mixed)) {
			rt.Error("the order of the nodes changes the placement")
		}
		if len(nodes) == 1 {
			return
		}
		gone := rapid.IntRange(0, len(nodes)-1).Draw(rt, "gone")
		left := slices.Delete(slices.Clone(nodes), gone, gone+1)
		now := Place(n, left)
		moved, orphans := 0, 0
		for i := range was {
			if was[i] == nodes[gone].Node {
				orphans++
			} else if now[i] != was[i] {
				moved++
			}
		}
		// Bounded load moves a few more than the orphans: those that were pushed
		// off a full node and may return, or are pushed off now.
		if most := orphans + int(math.Ceil(slack*float64(n)))/len(left) + len(left); moved > most {
			rt.Errorf("%d shards that had an owner moved when one with %d left, want at most %d", moved, orphans, most)
		}
	})
}

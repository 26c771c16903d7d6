package placement

import (
	"cmp"
	"math"
	"slices"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/mode"
)

// Candidate is a live node that may hold shards.
type Candidate struct {
	Node job.NodeID
	// Capacity is the node's relative weight; below 1 counts as 1.
	Capacity int
}

// slack is how far above its share a node's load may rise before the next node
// in the shard's order is taken.
const slack = 1.15

// Place returns the node that ought to hold each of the n hash shards, by
// number: weighted rendezvous hashing with bounded load, so that a node's
// coming or going moves few shards and no node gets much more than its share.
// Without candidates every entry is empty.
//
// Source: Thaler and Ravishankar 1998 (rendezvous); Mirrokni, Thorup and
// Zadimoghaddam 2018 (bounded loads).
func Place(n int, nodes []Candidate) []job.NodeID {
	out := make([]job.NodeID, n)
	if len(nodes) == 0 {
		return out
	}
	nodes = slices.Clone(nodes)
	slices.SortFunc(nodes, func(a, b Candidate) int { return cmp.Compare(a.Node, b.Node) })
	total := 0
	for i := range nodes {
		nodes[i].Capacity = max(nodes[i].Capacity, 1)
		total += nodes[i].Capacity
	}
	limit := make([]int, len(nodes))
	for i, c := range nodes {
		limit[i] = int(math.Ceil(slack * float64(n) * float64(c.Capacity) / float64(total)))
	}
	load := make([]int, len(nodes))
	for s := range out {
		best, bestScore := -1, math.Inf(-1)
		for i, c := range nodes {
			if load[i] >= limit[i] {
				continue
			}
			if v := mode.Score(job.ShardID(s), c.Node, c.Capacity); v > bestScore {
				best, bestScore = i, v
			}
		}
		load[best]++
		out[s] = nodes[best].Node
	}
	return out
}

package scheduler

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"slices"

	"github.com/carillon-cron/carillon/job"
)

// Candidate is a live node that may hold shards.
type Candidate struct {
	Node job.NodeID
	// Capacity is the node's relative weight; below 1 counts as 1.
	Capacity int
}

// Mode is a policy for passing a shard's lock on. The mode says who ought to
// hold it; etcd decides who does. Implementations are pure.
type Mode interface {
	// Place returns the node that ought to hold each of n shards, by index.
	// Without candidates every entry is empty.
	Place(n int, nodes []Candidate) []job.NodeID
}

// Balanced is the default mode: rendezvous hashing weighted by capacity, with
// bounded load, so that a node's coming or going moves few shards and none of
// the nodes gets much more than its share.
//
// Source: Thaler and Ravishankar 1998 (rendezvous); Mirrokni, Thorup and
// Zadimoghaddam 2018 (bounded loads).
type Balanced struct{}

// slack is how far above its share a node's load may rise before the next node
// in the shard's order is taken.
const slack = 1.15

var _ Mode = Balanced{}

// Place implements Mode.
func (Balanced) Place(n int, nodes []Candidate) []job.NodeID {
	out := make([]job.NodeID, n)
	if len(nodes) == 0 {
		return out
	}
	nodes = slices.Clone(nodes)
	slices.SortFunc(nodes, func(a, b Candidate) int { return cmpNode(a.Node, b.Node) })
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
			if v := score(s, c); v > bestScore {
				best, bestScore = i, v
			}
		}
		load[best]++
		out[s] = nodes[best].Node
	}
	return out
}

func cmpNode(a, b job.NodeID) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// score is the node's weighted rendezvous score for a shard.
func score(shard int, c Candidate) float64 {
	h := fnv.New64a()
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(shard)) //nolint:gosec // an index
	_, _ = h.Write(b[:])                               // a hash never fails
	_, _ = h.Write([]byte(c.Node))
	v := h.Sum64()
	v ^= v >> 33
	v *= 0xff51afd7ed558ccd
	v ^= v >> 33
	v *= 0xc4ceb9fe1a85ec53
	v ^= v >> 33
	u := (float64(v>>11) + 0.5) / (1 << 53) // in (0, 1)
	return -float64(c.Capacity) / math.Log(u)
}

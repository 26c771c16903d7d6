package mode

import (
	"encoding/binary"
	"hash/fnv"
	"math"

	"github.com/carillon-cron/carillon/job"
)

// balanced spreads locks over the nodes by weighted rendezvous hashing.
func balanced() Mode {
	return Mode{
		Name:   "balanced",
		Words:  "locks are spread over the nodes by their capacity, and move when nodes come and go",
		Reads:  []string{"sites"},
		Holder: func(s *Situation) Verdict { return s.rendezvous(s.near(s.Nodes)) },
	}
}

// rendezvous returns the node with the highest score for the shard.
func (s *Situation) rendezvous(nodes []Node) Verdict {
	v := Verdict{Reason: "no node may"}
	best := math.Inf(-1)
	for i := range nodes {
		if x := Score(s.Shard, nodes[i].ID, nodes[i].Capacity); x > best {
			best = x
			v = Verdict{Holder: nodes[i].ID, Reason: "it has the highest score for the shard"}
		}
	}
	return v
}

// Score is a node's weighted rendezvous score for a shard: the highest one
// takes it, and a node's coming or going moves no shard between others.
//
// Source: Thaler and Ravishankar 1998.
func Score(shard job.ShardID, node job.NodeID, capacity int) float64 {
	h := fnv.New64a()
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(shard))
	_, _ = h.Write(b[:]) // a hash never fails
	_, _ = h.Write([]byte(node))
	v := h.Sum64()
	v ^= v >> 33
	v *= 0xff51afd7ed558ccd
	v ^= v >> 33
	v *= 0xc4ceb9fe1a85ec53
	v ^= v >> 33
	u := (float64(v>>11) + 0.5) / (1 << 53) // in (0, 1)
	return -float64(max(capacity, 1)) / math.Log(u)
}

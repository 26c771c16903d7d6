package mode

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/job"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	second := job.Duration(time.Second)
	for name, c := range map[string]struct {
		spec job.GroupSpec
		want string
	}{
		"default":             {job.GroupSpec{}, ""},
		"unknown":             {job.GroupSpec{Mode: "failovr"}, `spec.mode: "failovr" is unknown; did you mean "failover"? (allowed: balanced, failover, failback, preempt, roundrobin, roundrobin-preempt, timeslice, parallel)`},
		"no slice":            {job.GroupSpec{Mode: "timeslice"}, "spec.slice: is missing, or zero; give the length of a slice, such as 10m"},
		"short slice":         {job.GroupSpec{Mode: "timeslice", Slice: second / 2}, "spec.slice: 500ms is out of range; 1s to 8784h0m0s are allowed"},
		"odd loss":            {job.GroupSpec{Mode: "timeslice", Slice: second, OnLoss: "x"}, `spec.onLoss: "x" is unknown; (allowed: takeover, skip)`},
		"odd start":           {job.GroupSpec{Mode: "parallel", Start: "x"}, `spec.start: "x" is unknown; (allowed: async, sync)`},
		"not read":            {job.GroupSpec{Mode: "failover", Slice: second}, "spec.slice: is not read by mode failover; it is for timeslice"},
		"read by several":     {job.GroupSpec{Mode: "parallel", Grace: second}, "spec.grace: is not read by mode parallel; it is for preempt, roundrobin-preempt"},
		"all at once":         {job.GroupSpec{Mode: "balanced", HoldOff: second, Start: "sync"}, "spec.holdOff: is not read by mode balanced; it is for failback; spec.start: is not read by mode balanced; it is for parallel"},
		"timeslice, all well": {job.GroupSpec{Mode: "timeslice", Slice: second, OnLoss: "skip", Spread: "site"}, ""},
	} {
		var got []string
		for _, p := range Check(&c.spec) {
			got = append(got, p.String())
		}
		if strings.Join(got, "; ") != c.want {
			t.Errorf("%s: %s\nwant %s", name, strings.Join(got, "; "), c.want)
		}
	}
}

func TestEveryModeIsComplete(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, m := range All() {
		if m.Name == "" || m.Words == "" || m.Holder == nil || seen[m.Name] {
			t.Errorf("mode %q lacks something, or comes twice", m.Name)
		}
		seen[m.Name] = true
		// Nobody is there: nobody holds, and nothing panics.
		spec := job.GroupSpec{Mode: m.Name, Slice: job.Duration(time.Second)}
		s := Situation{Spec: &spec, Now: 1}
		if v := m.Holder(&s); v.Holder != "" {
			t.Errorf("%s: %s holds, and nobody is there", m.Name, v.Holder)
		}
		if m.Fires != nil && m.Fires(&s, 1).Node != "" {
			t.Errorf("%s: somebody fires, and nobody is there", m.Name)
		}
	}
}

// TestM1_HolderIsThere: whatever the situation is, the verdict names a node that
// is there, or nobody; and it is the same for the same situation.
func TestM1_HolderIsThere(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		spec := job.GroupSpec{
			Slice: job.Duration(time.Second), Sites: rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"x", "y", "z"}), 0, 3, rapid.ID[string]).Draw(rt, "sites"),
			Grace: job.Duration(rapid.Int64Range(0, 5e9).Draw(rt, "grace")), HoldOff: job.Duration(rapid.Int64Range(0, 5e9).Draw(rt, "hold-off")),
		}
		s := Situation{Shard: job.FirstGroupShard, Spec: &spec, Now: 1e18, Due: rapid.SampledFrom([]int64{0, 1e18 - 1e10, 1e18 + 1e9}).Draw(rt, "due")}
		names := []job.NodeID{"a", "b", "c", "d"}
		there := map[job.NodeID]bool{}
		for _, id := range names {
			if rapid.Bool().Draw(rt, string(id)+" is there") {
				there[id] = true
				s.Nodes = append(s.Nodes, Node{
					ID: id, Site: rapid.SampledFrom([]string{"", "x", "y"}).Draw(rt, "site"), Priority: rapid.IntRange(0, 2).Draw(rt, "priority"),
					Healthy: rapid.SampledFrom([]int64{0, 1, 1e18 - 1e9}).Draw(rt, "healthy"),
				})
				if rapid.Bool().Draw(rt, "in line") {
					s.Line = append(s.Line, Place{Node: id, Since: 1})
				}
			}
		}
		if owner := rapid.SampledFrom(names).Draw(rt, "owner"); there[owner] {
			s.Owner = owner
		}
		for _, m := range All() {
			spec.Mode = m.Name
			v := m.Holder(&s)
			if v.Holder != "" && !there[v.Holder] {
				rt.Errorf("%s: the holder is %s, which is not there", m.Name, v.Holder)
			}
			if v.Seize && m.Name != "roundrobin-preempt" {
				rt.Errorf("M6: %s seizes", m.Name)
			}
			if again := m.Holder(&s); again != v {
				rt.Errorf("M2: %s: %v, then %v", m.Name, v, again)
			}
		}
	})
}

// TestM2_BalancedMovesLittle: a node's leaving moves what it held, and nothing
// else.
func TestM2_BalancedMovesLittle(t *testing.T) {
	t.Parallel()
	m, _ := Find("balanced")
	spec := job.GroupSpec{}
	nodes := []Node{{ID: "a", Capacity: 1}, {ID: "b", Capacity: 2}, {ID: "c", Capacity: 1}}
	held := map[job.NodeID]int{}
	for i := range 400 {
		s := Situation{Shard: job.FirstGroupShard + job.ShardID(i), Spec: &spec, Nodes: nodes}
		all := m.Holder(&s).Holder
		held[all]++
		s.Nodes = nodes[:2]
		if left := m.Holder(&s).Holder; all != "c" && left != all {
			t.Errorf("shard %d moved from %s to %s because c left", i, all, left)
		}
	}
	if held["b"] < 150 || held["b"] > 250 {
		t.Errorf("b, of half of the capacity, holds %d of 400", held["b"])
	}
}

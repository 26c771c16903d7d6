package app

import (
	"fmt"
	"slices"
	"testing"

	"github.com/carillon-cron/carillon/agentpush"
	"github.com/carillon-cron/carillon/job"
)

// buckets are what an inventory was told.
type buckets map[string][]agentpush.Present

func (b buckets) SetPresence(node job.NodeID, bucket int, minions []agentpush.Present) {
	b[fmt.Sprint(node, bucket)] = minions
}

// Minions of a node that is lost are nowhere, also those that it tells of then, until it
// is lost no more.
func TestMinionsOfLostNodesAreNowhere(t *testing.T) {
	t.Parallel()
	inv := buckets{}
	p := &presence{inv: inv}
	some, more := []agentpush.Present{{ID: "m1"}}, []agentpush.Present{{ID: "m2"}}
	want := func(when string, at string, minions []agentpush.Present) {
		t.Helper()
		if got := inv[at]; !slices.EqualFunc(got, minions, func(a, b agentpush.Present) bool { return a.ID == b.ID }) {
			t.Errorf("%s: %s has %v, want %v", when, at, got, minions)
		}
	}
	lost := job.NodeID("")
	look := func() { p.look(func(n job.NodeID) bool { return n == lost }) }
	p.set("a", 0, some)
	p.set("b", 0, some)
	look()
	want("all is well", "a0", some)
	lost = "a"
	look()
	want("a is lost", "a0", nil)
	want("a is lost", "b0", some)
	p.set("a", 1, more)
	p.set("b", 1, more)
	want("a is lost, and tells", "a1", nil)
	want("a is lost, and b tells", "b1", more)
	lost = ""
	look()
	want("a is back", "a0", some)
	want("a is back", "a1", more)
	lost = "a"
	look()
	p.set("a", 0, nil)
	p.set("a", 1, nil)
	lost = ""
	look()
	want("a came back without minions", "a0", nil)
	want("a came back without minions", "a1", nil)
	p.set("a", 0, some)
	want("and has some again", "a0", some)
}

package agentpush_test

import (
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-cron/carillon/agentpush"
	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/agentpush/agenttest"
	"github.com/carillon-cron/carillon/job"
)

// A minion is told of a release once in each session, from when it is to be told
// until it is no more; others never.
func TestUpdateIsToldOncePerSession(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	n := c.nodes[0]
	var mu sync.Mutex
	told := map[job.MinionID][]int64{}
	minion := func(id job.MinionID) *agenttest.Minion {
		return c.minion(agenttest.Config{ID: id, Update: func(u *agentpb.Update) {
			mu.Lock()
			defer mu.Unlock()
			told[id] = append(told[id], u.GetRelease())
			if string(u.GetSigned()) != "signed" {
				t.Errorf("signed: %q", u.GetSigned())
			}
		}}, n)
	}
	a, b := minion("a"), minion("b")
	sees := func(what string, want map[job.MinionID][]int64) {
		t.Helper()
		c.eventually(what, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return cmp.Equal(want, told)
		})
	}
	// again has a minion come back, after all that was sent to it has been read.
	again := func(m *agenttest.Minion) {
		t.Helper()
		before := m.Sessions()
		m.Disconnect()
		c.eventually("it is back", func() bool { return m.Sessions() > before && m.Connected() })
	}
	set := func(release int64, ids ...job.MinionID) {
		n.hub.SetUpdate(agentpush.Update{Release: release, Signed: []byte("signed"), Minions: ids})
	}
	set(7, "a")
	set(7, "a")
	sees("a is told", map[job.MinionID][]int64{"a": {7}})
	again(a)
	sees("a is told again", map[job.MinionID][]int64{"a": {7, 7}})
	set(8, "a", "b")
	sees("both are told of the next one", map[job.MinionID][]int64{"a": {7, 7, 8}, "b": {8}})
	n.hub.SetUpdate(agentpush.Update{})
	again(a)
	again(b)
	// What would have been told before is seen before this.
	set(9, "a", "b")
	sees("nobody was told meanwhile", map[job.MinionID][]int64{"a": {7, 7, 8, 9}, "b": {8, 9}})
}

package doctor

import (
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/members/pace"
	"github.com/carillon-cron/carillon/internal/members/roster"
	"github.com/carillon-cron/carillon/job"
)

// Members that are too far apart for the settings are told, with settings that would fit.
func TestPaceOfEtcdIsLookedAt(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	near := pace.For(0)
	for name, tc := range map[string]struct {
		to     map[string]time.Duration
		pace   pace.Pace
		status api.CheckStatus // empty: nothing is said
		want   string
	}{
		"alone": {nil, near, "", ""},
		"near":  {map[string]time.Duration{"b": 10 * ms, "c": 20 * ms}, near, api.CheckOK, "c and b are a round trip of 30ms apart at most, measured from this node; heartbeat 100ms, election 1s, lease 5s"},
		"two":   {map[string]time.Duration{"b": 10 * ms}, near, api.CheckOK, "b is a round trip of 10ms away from this node"},
		"far": {
			map[string]time.Duration{"b": 80 * ms, "c": 120 * ms, "d": 10 * ms}, near, api.CheckWarn,
			"c and b are a round trip of 200ms apart at most, measured from this node; heartbeat 100ms, election 1s, lease 5s: a heartbeat of 100ms is shorter than the round trip " +
				"give all nodes --etcd-heartbeat 300ms --etcd-election 3s --lease-ttl 7s, one after the other",
		},
		"far, and set so": {map[string]time.Duration{"b": 80 * ms, "c": 120 * ms}, pace.For(200 * ms), api.CheckOK, "heartbeat 300ms"},
	} {
		checks := etcdPace(&roster.Distance{Pace: tc.pace, To: tc.to})
		if tc.status == "" {
			if len(checks) > 0 {
				t.Errorf("%s: %+v", name, checks)
			}
			continue
		}
		if len(checks) != 1 || checks[0].Status != tc.status || !strings.Contains(checks[0].Detail+" "+checks[0].Hint, tc.want) {
			t.Errorf("%s: %+v, want %s %q", name, checks, tc.status, tc.want)
		}
	}
}

func TestMembersOfEtcdAreLookedAt(t *testing.T) {
	t.Parallel()
	member := func(node string, role api.EtcdRole, live bool) api.EtcdMember {
		return api.EtcdMember{Node: job.NodeID(node), Role: role, Live: live, ID: "a1", Version: "3.7.3"}
	}
	three := []api.EtcdMember{member("a", api.EtcdLeader, true), member("b", api.EtcdFollower, true), member("c", api.EtcdFollower, true)}
	down := append(three[:2:2], member("c", api.EtcdDown, false))
	learner := append(three[:2:2], member("c", api.EtcdLearner, true))
	gone := append(three[:2:2], member("", api.EtcdAdded, false))
	old := append(three[:2:2], three[2])
	old[2].Version = "3.6.1"
	for name, tc := range map[string]struct {
		all    []api.EtcdMember
		status api.CheckStatus
		want   string
	}{
		"three":               {three, api.CheckOK, "3 of 3 answer; the cluster goes on while 2 do"},
		"one":                 {three[:1], api.CheckWarn, "all data is on one host"},
		"two":                 {three[:2], api.CheckWarn, "2 members survive the loss of no more hosts than 1 would"},
		"one of three down":   {down, api.CheckWarn, "2 of 3 answer; the cluster goes on while 2 do; down: c"},
		"a learner":           {learner, api.CheckWarn, "c joins, and is 0 entries behind"},
		"one that never came": {gone, api.CheckFail, "carillon etcd remove a1"},
		"two versions":        {old, api.CheckWarn, "3.6.1 and 3.7.3"},
	} {
		found := false
		for _, ch := range ownEtcd(tc.all) {
			found = found || ch.Status == tc.status && strings.Contains(ch.Detail+" "+ch.Hint, tc.want)
		}
		if !found {
			t.Errorf("%s: %+v, want %s %q", name, ownEtcd(tc.all), tc.status, tc.want)
		}
	}
}

func TestMembersThatAreToBeStartedAreNamed(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		answers      map[string]bool
		detail, hint string
	}{
		{map[string]bool{"node1": true, "node2": false, "node3": false}, "1 of 3 members answers, and 2 are needed", "start node2, node3; when too many are gone for good, see docs/disaster-recovery.md"},
		{map[string]bool{"node1": true, "node2": true, "node3": false, "node4": false, "node5": false}, "2 of 5 members answer, and 3 are needed", "start node3, node4, node5; when too many are gone for good, see docs/disaster-recovery.md"},
		{map[string]bool{"node1": true, "node2": true, "node3": false}, "", ""},
		{map[string]bool{"node1": true}, "", ""},
	} {
		if detail, hint := lacking(tc.answers); detail != tc.detail || hint != tc.hint {
			t.Errorf("%v: %q, %q", tc.answers, detail, hint)
		}
	}
	if _, hint := lacking(nil); hint != "" {
		t.Errorf("nothing is known: %q", hint)
	}
}

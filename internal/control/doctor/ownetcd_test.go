package doctor

import (
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

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
		"two":                 {three[:2], api.CheckWarn, "2 members survive the loss of no more than 1 do"},
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

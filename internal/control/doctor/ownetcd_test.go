package doctor

import (
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/members/pace"
	"github.com/carillon-cron/carillon/internal/members/roster"
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

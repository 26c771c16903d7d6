package plan

import (
	"testing"

	"github.com/carillon-cron/carillon/job"
)

// TestI19_WhatFollowsIsLookedAt where not all instants are decided on at once.
func TestI19_WhatFollowsIsLookedAt(t *testing.T) {
	t.Parallel()
	runs := func(m job.Misfire, following int) (n int) {
		r := Rules{
			Misfire: m, Deadline: 100, Now: 130, Horizon: 140, Closed: func(int64) string { return "" },
			Following: func(before int64, limit int) int {
				if m == job.MisfireLatest && before != 141 || m == job.MisfireAll && before != 100 {
					t.Errorf("%s looks at what is before %d", m, before)
				}
				return min(following, limit)
			},
		}
		for _, d := range Decide([]int64{1, 2, 3}, &r) {
			if d.Fate == Run {
				n++
			}
		}
		return n
	}
	for _, c := range []struct {
		policy          job.Misfire
		following, want int
	}{
		{job.MisfireLatest, 0, 1},
		{job.MisfireLatest, 1, 0},
		{job.MisfireAll, 0, 3},
		{job.MisfireAll, job.MaxCatchUp - 2, 2},
		{job.MisfireAll, 5 * job.MaxCatchUp, 0},
		{job.MisfireSkip, 0, 0},
	} {
		if got := runs(c.policy, c.following); got != c.want {
			t.Errorf("%s, %d follow: %d of 3 late instants run, want %d", c.policy, c.following, got, c.want)
		}
	}
}

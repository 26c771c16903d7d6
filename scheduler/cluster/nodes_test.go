package cluster

import (
	"testing"

	"github.com/carillon-cron/carillon/job"
)

// However nodes are parted in two, those that are lost to the others are fewer than half.
func TestFewerThanHalfAreLost(t *testing.T) {
	t.Parallel()
	for live := 1; live <= 7; live++ {
		for here := 0; here <= live; here++ {
			blamed := map[job.NodeID]int{}
			for i := range live {
				node := job.NodeID(rune('a' + i))
				if i < here {
					blamed[node] = live - here // all of the other side say so
				} else {
					blamed[node] = here
				}
			}
			lost := lostOf(blamed, live)
			if n := len(lost); n*2 >= live && n > 0 {
				t.Errorf("%d nodes, %d of them on one side: %d are lost", live, here, n)
			}
			if smaller := min(here, live-here); smaller*2 < live && len(lost) != smaller {
				t.Errorf("%d nodes, %d of them on one side: %d are lost, want the smaller side", live, here, len(lost))
			}
		}
	}
}

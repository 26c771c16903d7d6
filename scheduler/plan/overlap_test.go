package plan

import (
	"testing"

	"github.com/carillon-cron/carillon/job"
)

// What each overlap policy says while another run is under way (I19 of package
// scheduler).
func TestI19_OverlapPolicies(t *testing.T) {
	t.Parallel()
	for policy, want := range map[job.Overlap][2]Admission{ // with room in the queue, and without
		job.OverlapAllow:             {Admitted, Admitted},
		job.OverlapSkip:              {TurnedAway, TurnedAway},
		job.OverlapQueueOne:          {HeldBack, TurnedAway},
		job.OverlapQueueAll:          {HeldBack, TurnedAway},
		job.OverlapReplace:           {HeldBack, HeldBack},
		job.OverlapReplaceAfterGrace: {HeldBack, HeldBack},
	} {
		for i, waiting := range []int{2, 3} {
			got, why := Overlap(policy, waiting, 3)
			if got != want[i] || (why != "") != (got == TurnedAway) {
				t.Errorf("%s, %d of 3 wait: %d (%q), want %d", policy, waiting, got, why, want[i])
			}
		}
	}
}

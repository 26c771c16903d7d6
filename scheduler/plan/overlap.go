package plan

import (
	"fmt"

	"github.com/carillon-cron/carillon/job"
)

// Admission is what the overlap policy says to a run whose start has come.
type Admission uint8

const (
	// Admitted: it starts.
	Admitted Admission = iota + 1
	// HeldBack: it waits until an earlier one has ended.
	HeldBack
	// TurnedAway: it is skipped.
	TurnedAway
)

// Overlap applies an overlap policy to a run whose start has come while others of its
// job run. limit is how many may wait, waiting how many do. The text says why a run is
// turned away.
func Overlap(policy job.Overlap, waiting, limit int) (Admission, string) {
	switch policy {
	case job.OverlapQueueOne, job.OverlapQueueAll:
		if waiting >= limit {
			return TurnedAway, fmt.Sprintf("previous run still in progress, and %d are waiting already; overlap policy %q", limit, policy)
		}
		return HeldBack, ""
	case job.OverlapReplace, job.OverlapReplaceAfterGrace:
		return HeldBack, "" // until the earlier one has ended
	case job.OverlapSkip:
		return TurnedAway, "previous run still in progress; overlap policy \"skip\""
	case job.OverlapAllow:
	}
	return Admitted, ""
}

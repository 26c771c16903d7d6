package notify

import (
	"slices"

	"github.com/carillon-cron/carillon/job"
)

// follows says which states may follow one.
func follows(s job.DeliveryState) []job.DeliveryState {
	switch s {
	case "":
		return []job.DeliveryState{job.DeliveryPending, job.DeliveryDropped}
	case job.DeliveryPending:
		return []job.DeliveryState{job.DeliverySending, job.DeliveryRetrying, job.DeliveryDelivered, job.DeliveryFailed}
	case job.DeliverySending, job.DeliveryRetrying:
		return []job.DeliveryState{job.DeliveryRetrying, job.DeliveryDelivered, job.DeliveryFailed}
	case job.DeliveryDelivered, job.DeliveryFailed, job.DeliveryDropped:
		return []job.DeliveryState{job.DeliveryPending} // somebody has it sent again
	}
	return nil
}

// MayFollow reports whether a delivery may come from one state into another.
func MayFollow(from, to job.DeliveryState) bool { return slices.Contains(follows(from), to) }

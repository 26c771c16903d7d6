package api

import (
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Notifier is a notifier, and what becomes of its alerts.
type Notifier struct {
	job.Notifier
	// Waiting is how many alerts have not reached its receiver, Failing how many of them
	// were tried in vain; Failed is how many were given up, of those that are kept.
	Waiting int `json:"waiting"`
	Failing int `json:"failing"`
	Failed  int `json:"failed"`
	// DeliveredAt is when its receiver took an alert last, Error what was in the way of the
	// last one that it did not take.
	DeliveredAt time.Time `json:"deliveredAt,omitzero"`
	Error       string    `json:"error,omitempty"`
}

// Count adds what became of an alert.
func (n *Notifier) Count(d *job.Delivery) {
	switch {
	case d.State == job.DeliveryDelivered:
		if d.SettledAt.After(n.DeliveredAt) {
			n.DeliveredAt = d.SettledAt
		}
		return
	case d.State.Settled():
		n.Failed++
	default:
		n.Waiting++
		if d.State == job.DeliveryRetrying {
			n.Failing++
		}
	}
	if d.Error != "" {
		n.Error = d.Error
	}
}

// NotifierDetail is a notifier with its deliveries, the newest first.
type NotifierDetail struct {
	Notifier
	Deliveries []job.Delivery `json:"deliveries" nullable:"false"`
}

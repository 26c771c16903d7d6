package job

import (
	"crypto/sha256"
	"encoding/base32"
	"slices"
	"strings"
	"time"
)

// AlertEvent is what people may want to be told of.
type AlertEvent string

// The events.
const (
	// AlertFailed is a run that failed: the first one, and reminders while it goes on.
	AlertFailed AlertEvent = "failed"
	// AlertRecovered is the first run that succeeded after that.
	AlertRecovered AlertEvent = "recovered"
	// AlertLate is a run that had not started within the job's lateAfter.
	AlertLate AlertEvent = "late"
	// AlertMissed is an occurrence that nobody could start in time.
	AlertMissed AlertEvent = "missed"
	// AlertSkipped is a job that did not start several times in a row, as it still ran.
	AlertSkipped AlertEvent = "skipped"
	// AlertDeadline is a run that had not ended by the job's deadline.
	AlertDeadline AlertEvent = "deadline"
	// AlertLongRunning is a run that goes on for longer than the notifier says.
	AlertLongRunning AlertEvent = "longRunning"
	// AlertIndeterminate is a run of which nobody can know what became of it.
	AlertIndeterminate AlertEvent = "indeterminate"
	// AlertPaused is a job that was paused since it failed too often.
	AlertPaused AlertEvent = "paused"
	// AlertNodeLost is a node that is not there, and has not left in order.
	AlertNodeLost AlertEvent = "nodeLost"
	// AlertSiteLost is a site none of whose nodes is there.
	AlertSiteLost AlertEvent = "siteLost"
	// AlertMinionLost are minions that are not connected, or get no work.
	AlertMinionLost AlertEvent = "minionLost"
	// AlertQuota is etcd's space that is nearly used up: new jobs are refused.
	AlertQuota AlertEvent = "quota"
)

// AlertEvents lists the events.
func AlertEvents() []AlertEvent {
	return append([]AlertEvent{AlertFailed, AlertRecovered, AlertLate, AlertMissed, AlertSkipped, AlertDeadline, AlertLongRunning, AlertIndeterminate, AlertPaused}, ClusterEvents()...)
}

// ClusterEvents are those that are about the cluster, and no job.
func ClusterEvents() []AlertEvent {
	return []AlertEvent{AlertNodeLost, AlertSiteLost, AlertMinionLost, AlertQuota}
}

// OfCluster reports whether the event is about the cluster, and no job.
func (e AlertEvent) OfCluster() bool { return slices.Contains(ClusterEvents(), e) }

// DefaultAlertEvents are those that a notifier tells of that names none.
func DefaultAlertEvents() []AlertEvent {
	return []AlertEvent{AlertFailed, AlertRecovered, AlertLate, AlertMissed, AlertDeadline, AlertIndeterminate, AlertPaused}
}

// Good reports whether the event is good news.
func (e AlertEvent) Good() bool { return e == AlertRecovered }

// Troubles reports whether a job, or the cluster, is in trouble from that event on, until it recovers.
func (e AlertEvent) Troubles() bool {
	return slices.Contains([]AlertEvent{AlertFailed, AlertIndeterminate, AlertMissed}, e) || e.OfCluster()
}

// Alert is what somebody is told.
type Alert struct {
	// ID is the same whenever the same thing is told.
	ID    string     `json:"id"`
	Event AlertEvent `json:"event"`
	// At is when it was noticed.
	At  time.Time `json:"at"`
	Job Key       `json:"job"`
	// About is what it is about, where that is no job: "node n1".
	About  string            `json:"about,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
	// Run is the run that it is about, ScheduledAt the instant that it was due.
	Run         RunID     `json:"run,omitempty"`
	ScheduledAt time.Time `json:"scheduledAt,omitzero"`
	State       State     `json:"state,omitempty"`
	// Reason says why.
	Reason string `json:"reason,omitempty"`
	// Since is when the trouble began, Trouble the id of the alert that told so, and Count
	// how many runs in a row it has lasted, as far as that was counted.
	Since   time.Time `json:"since,omitzero"`
	Trouble string    `json:"trouble,omitempty"`
	Count   int       `json:"count,omitempty"`
	Node    NodeID    `json:"node,omitempty"`
}

// What is what an alert is about, in words.
func (a *Alert) What() string {
	if a.About != "" {
		return a.About
	}
	return a.Job.String()
}

// MaxAlertReason bounds the reason in an alert.
const MaxAlertReason = 500

// AlertID names what is told of a run: the same event of the same run has one id, whoever
// tells it, and how often. It has no dots, as the Standard Webhooks specification wants.
func AlertID(run RunID, event AlertEvent) string {
	sum := sha256.Sum256([]byte(string(run) + "\x00" + string(event)))
	return "alert_" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16]))
}

// DeliveryState is how far an alert has come on its way to one receiver.
type DeliveryState string

// The states; package notify says which may follow which.
const (
	DeliveryPending   DeliveryState = "pending"
	DeliverySending   DeliveryState = "sending"
	DeliveryRetrying  DeliveryState = "retrying"
	DeliveryDelivered DeliveryState = "delivered"
	DeliveryFailed    DeliveryState = "failed"
	DeliveryDropped   DeliveryState = "dropped"
)

// Settled reports whether nothing more becomes of it by itself.
func (s DeliveryState) Settled() bool {
	return s == DeliveryDelivered || s == DeliveryFailed || s == DeliveryDropped
}

// Delivery is an alert on its way to the receiver of a notifier.
type Delivery struct {
	Notifier Key           `json:"notifier"`
	Alert    Alert         `json:"alert"`
	State    DeliveryState `json:"state"`
	// Message names what was sent: alerts that are told together have one.
	Message string `json:"message,omitempty"`
	// Attempts counts the tries, Error is what was in the way of the last one.
	Attempts int    `json:"attempts,omitempty"`
	Error    string `json:"error,omitempty"`
	// NextAt is when it is tried again.
	NextAt time.Time `json:"nextAt,omitzero"`
	// QueuedAt is when the notifier got it, SettledAt when nothing more was to be done.
	QueuedAt  time.Time `json:"queuedAt"`
	SettledAt time.Time `json:"settledAt,omitzero"`
	// Replays counts how often somebody had it sent again.
	Replays int `json:"replays,omitempty"`
}

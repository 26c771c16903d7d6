package etcdkv

import (
	"strconv"
	"strings"

	"github.com/carillon-cron/carillon/job"
)

// Notifiers is the prefix of all notifiers.
func (k Keys) Notifiers() string { return k.root + "notifiers/" }

// Notifier is the key of a notifier.
func (k Keys) Notifier(key job.Key) string { return k.Notifiers() + key.Namespace + "/" + key.Name }

// KeptVersions is how many versions of a job are kept, besides the one that it has.
const KeptVersions = 10

// JobVersions is the prefix of what a job was before its last edits.
func (k Keys) JobVersions(uid job.UID) string { return k.root + "versions/" + uid.String() + "/" }

// JobVersion is the key of what a job was at a generation, and so many before it.
func (k Keys) JobVersion(uid job.UID, generation int64) string {
	return k.JobVersions(uid) + strconv.FormatInt(generation%KeptVersions, 10)
}

// Defaults is the prefix of the defaults of all namespaces.
func (k Keys) Defaults() string { return k.root + "defaults/" }

// DefaultsOf is the key of the defaults of a namespace.
func (k Keys) DefaultsOf(namespace string) string { return k.Defaults() + namespace }

// Alerts is the prefix of all that is to be told, and was told last.
func (k Keys) Alerts() string { return k.root + "alerts/" }

// AlertNotes is the prefix of all that notifiers have to tell.
func (k Keys) AlertNotes() string { return k.Alerts() + "notes/" }

// AlertNotesOf is the prefix of what a notifier has to tell.
func (k Keys) AlertNotesOf(notifier job.Key) string {
	return k.AlertNotes() + notifier.Namespace + "/" + notifier.Name + "/"
}

// AlertNote is the key of one note.
func (k Keys) AlertNote(notifier job.Key, id string) string { return k.AlertNotesOf(notifier) + id }

// ParseAlertNote reads which notifier a note is for.
func (k Keys) ParseAlertNote(key string) (job.Key, bool) {
	rest, ok := strings.CutPrefix(key, k.AlertNotes())
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 3 {
		return job.Key{}, false
	}
	return job.Key{Namespace: parts[0], Name: parts[1]}, true
}

// Deliveries is the prefix of the deliveries of all notifiers.
func (k Keys) Deliveries() string { return k.Alerts() + "deliveries/" }

// DeliveriesOf is the prefix of a notifier's deliveries.
func (k Keys) DeliveriesOf(notifier job.Key) string {
	return k.Deliveries() + notifier.Namespace + "/" + notifier.Name + "/"
}

// Delivery is the key of the delivery of an alert by a notifier: there is one.
func (k Keys) Delivery(notifier job.Key, alert string) string {
	return k.DeliveriesOf(notifier) + alert
}

// ParseDelivery reads the key of a delivery.
func (k Keys) ParseDelivery(key string) (notifier job.Key, alert string, ok bool) {
	rest, ok := strings.CutPrefix(key, k.Deliveries())
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 3 {
		return job.Key{}, "", false
	}
	return job.Key{Namespace: parts[0], Name: parts[1]}, parts[2], true
}

// LostParts is the prefix of the parts of the cluster that are lost, as people were told.
func (k Keys) LostParts() string { return k.Alerts() + "lost/" }

// LostPart is the key of parts that were told to be lost by one alert.
func (k Keys) LostPart(alert string) string { return k.LostParts() + alert }

// Troubles is the prefix of the jobs of a shard that are in trouble, as people were told.
func (k Keys) Troubles(s job.ShardID) string { return k.root + "troubles/" + shardText(s) + "/" }

// Trouble is the key that says that a job is in trouble.
func (k Keys) Trouble(s job.ShardID, uid job.UID) string { return k.Troubles(s) + uid.String() }

package etcdkv

import (
	"encoding/json"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Schema is the version of the JSON values that this release writes.
const Schema = 1

// Meta describes the cluster. It is written once, when the first node starts.
type Meta struct {
	Schema    int       `json:"schema"`
	ClusterID string    `json:"clusterId"`
	Epoch     int64     `json:"epoch"`
	Shards    int       `json:"shards"`
	CreatedAt time.Time `json:"createdAt"`
	// LabelsGranted: targets go by granted labels. Not set: the cluster is of a
	// release in which minions chose their labels.
	LabelsGranted bool `json:"labelsGranted,omitempty"`
	// Replaces are the clusters that were under this prefix before, and whose nodes are
	// this one's now.
	Replaces []string `json:"replaces,omitempty"`
}

// Owner is the value of a shard's owner key. Only a grant writes that key: its
// mod revision is the fencing token.
type Owner struct {
	Schema int        `json:"schema"`
	Node   job.NodeID `json:"node"`
	// Grant is unique per grant, so that an ambiguous answer can be resolved.
	Grant string    `json:"grant"`
	Since time.Time `json:"since"`
	// From is who handed the shard over; empty when it was claimed.
	From job.NodeID `json:"from,omitempty"`
	// Due is the instant that the owner is to fire next; zero: not known.
	Due time.Time `json:"due,omitzero"`
}

// Place is the value of a node's place in a group's line.
type Place struct {
	Schema int        `json:"schema"`
	Node   job.NodeID `json:"node"`
	Since  time.Time  `json:"since"`
}

// Override is what an operator decided about a shard, against its mode.
type Override struct {
	Schema int         `json:"schema"`
	Shard  job.ShardID `json:"shard"`
	// Node ought to hold the shard, as long as it lives and may. Empty: whoever
	// holds it keeps it.
	Node job.NodeID `json:"node,omitempty"`
	// Failback: the mode decides, and no hold-off counts. The owner removes the
	// override once the shard lies where the mode wants it.
	Failback bool      `json:"failback,omitempty"`
	By       string    `json:"by,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Since    time.Time `json:"since"`
}

// StoredGroup is the value of a group's key.
type StoredGroup struct {
	Schema int `json:"schema"`
	job.Group
}

// StoredCalendar is the value of a calendar's key.
type StoredCalendar struct {
	Schema int `json:"schema"`
	job.Calendar
}

// StoredScript is the value of a version of a script. The Source of a text that
// is not small is under its hash only.
type StoredScript struct {
	Schema int `json:"schema"`
	job.SavedScript
}

// StoredSecret is the value of the key of a secret: its sealed text, and never the value.
type StoredSecret struct {
	Schema int `json:"schema"`
	job.Secret
}

// StoredNotifier is the value of a notifier's key.
type StoredNotifier struct {
	Schema int `json:"schema"`
	job.Notifier
}

// StoredVersion is the value of the key of a job's former version.
type StoredVersion struct {
	Schema int `json:"schema"`
	job.Former
}

// StoredDefaults is the value of the key of a namespace's defaults.
type StoredDefaults struct {
	Schema int `json:"schema"`
	job.Defaults
}

// AlertNote is what a notifier has to tell: its owner makes deliveries of it.
type AlertNote struct {
	Schema int         `json:"schema"`
	Alerts []job.Alert `json:"alerts"`
}

// StoredDelivery is the value of a delivery's key.
type StoredDelivery struct {
	Schema int `json:"schema"`
	job.Delivery
}

// LostParts are parts of the cluster that people were told are lost, by one alert.
type LostParts struct {
	Schema int       `json:"schema"`
	Alert  job.Alert `json:"alert"`
	Names  []string  `json:"names"`
}

// Trouble says that a job is in trouble, as people were told.
type Trouble struct {
	Schema int `json:"schema"`
	// Alert is the id of the alert that told so first, and Run the run that it was of.
	Alert string    `json:"alert"`
	Run   job.RunID `json:"run"`
	Since time.Time `json:"since"`
	// Event is what was told last.
	Event job.AlertEvent `json:"event"`
	// Count is how many runs in a row had failed when it was told last, Told how often it
	// was, NextAt when it may be told again.
	Count  int       `json:"count"`
	Told   int       `json:"told"`
	NextAt time.Time `json:"nextAt"`
}

// ScriptHead tells a script's newest version.
type ScriptHead struct {
	Schema  int     `json:"schema"`
	Key     job.Key `json:"key"`
	Version int     `json:"version"`
}

// StoredHostGroup is the value of the key of a group of hosts.
type StoredHostGroup struct {
	Schema int `json:"schema"`
	job.HostGroup
}

// StoredRole is the value of a role's key.
type StoredRole struct {
	Schema int `json:"schema"`
	job.Role
}

// StoredRoleBinding is the value of the key of a binding of a role.
type StoredRoleBinding struct {
	Schema int `json:"schema"`
	job.RoleBinding
}

// Grouped tells in which group's shard a job lies.
type Grouped struct {
	Schema int         `json:"schema"`
	Shard  job.ShardID `json:"shard"`
}

// MovedJob is a job as it was when it was moved out of a shard. The shard's
// owner removes the record when no fire of the job is open there any more.
type MovedJob struct {
	Schema int         `json:"schema"`
	To     job.ShardID `json:"to"`
	Job    job.Job     `json:"job"`
}

// DeletedJob is a job as it was when it was deleted. The shard's owner removes
// the record when no fire of the job is open any more, and its instants up to At
// are committed as skipped: until then, whoever owns the shard knows what they
// are of.
type DeletedJob struct {
	Schema int     `json:"schema"`
	Job    job.Job `json:"job"`
	// At is when it was deleted; zero: by a release that did not tell. Created is
	// the create revision of its key.
	At      time.Time `json:"at,omitzero"`
	Created int64     `json:"created,omitempty"`
	// Earlier is as that of a StoredJob.
	Earlier []Earlier `json:"earlier,omitempty"`
}

// LockSession is what is kept of a session that a client opened for its locks.
type LockSession struct {
	Schema int       `json:"schema"`
	Holder string    `json:"holder"`
	Since  time.Time `json:"since"`
	// Secret is the SHA-256, in hexadecimal, of what only the client knows.
	Secret string `json:"secret"`
	TTL    int64  `json:"ttl"` // seconds
}

// ShardState says how far a shard's fires are committed. Only the owner writes it.
type ShardState struct {
	Schema int `json:"schema"`
	// Cursor: every occurrence at or before it, of the jobs known at JobsRev,
	// is committed to a slot or was not due.
	Cursor time.Time `json:"cursor"`
	// JobsRev is the revision of the job view that the last commit planned from.
	JobsRev int64 `json:"jobsRev"`
	// Seq is the number of the last slot.
	Seq uint64 `json:"seq"`
	// Unsent is the slot that was committed together with this state in a
	// transaction that passed the shard on: its orders are the successor's to
	// send. 0: there is none.
	Unsent uint64 `json:"unsent,omitempty"`
	// Claim is unique per commit, so that an ambiguous answer can be resolved.
	// A job's move out of the shard changes it too.
	Claim string `json:"claim"`
	// Node is who committed last, Judged the time by which it did; zero: of an older
	// release.
	Node   job.NodeID `json:"node,omitempty"`
	Judged time.Time  `json:"judged,omitzero"`
	// Ahead is up to where occurrences after Cursor may have been committed: the
	// cursor was there, by a clock that was wrong, and was set back. Zero: it was not.
	Ahead time.Time `json:"ahead,omitzero"`
	// Beyond is the last occurrence that was committed though the cursor has not passed
	// it: others, which are due before, wait for their turn. Zero: there is none.
	Beyond time.Time `json:"beyond,omitzero"`
	// Ring is what a group's mode remembers of its nodes.
	Ring []RingNode `json:"ring,omitempty"`
	// Mutex is the lock that the group's runs hold, MutexLease the lease that
	// their holds lie on; 0: none yet.
	Mutex      string `json:"mutex,omitempty"`
	MutexLease int64  `json:"mutexLease,omitempty"`
	// Failures counts, for jobs that are paused after some, how many of their
	// latest runs in a row did not succeed.
	Failures map[job.UID]int `json:"failures,omitempty"`
}

// RingNode is what a group's mode remembers of a node.
type RingNode struct {
	Node job.NodeID `json:"node"`
	// Lost is when the node was lost; zero: it is there.
	Lost time.Time `json:"lost,omitzero"`
	// Left: it was drained before it went.
	Left bool `json:"left,omitempty"`
	// Flaps is how often the node was lost lately, LastFlap when last.
	Flaps    int       `json:"flaps,omitempty"`
	LastFlap time.Time `json:"lastFlap,omitzero"`
}

// Trigger is a start that somebody asked for.
type Trigger struct {
	Schema int        `json:"schema"`
	Fire   job.FireID `json:"fire"`
	Key    job.Key    `json:"key"`
	By     string     `json:"by,omitempty"`
	// Subject is who asked, as minions' lists know it. Empty: no person or program did.
	Subject string `json:"subject,omitempty"`
	// Cause tells people who or what asked.
	Cause  string            `json:"cause,omitempty"`
	Params map[string]string `json:"params,omitempty"`
	// Sensitive are those parameters whose values are told nowhere.
	Sensitive map[string]string `json:"sensitive,omitempty"`
	// From is the job whose run has ended, for TriggerAfter.
	From job.Key `json:"from,omitzero"`
	// After is that run. Nil: a release before this one has written it, or there is none.
	After *AfterRun `json:"after,omitempty"`
	// Redo is the run that is done again, on Hosts, for TriggerRedo.
	Redo  job.RunID `json:"redo,omitempty"`
	Hosts Hosts     `json:"hosts,omitempty"`
	// Bounds are what who asked may have started, besides the job's own.
	Bounds job.Bounds `json:"bounds,omitempty"`
}

// RunCommandKind says what somebody wants of a run.
type RunCommandKind string

// The kinds of commands.
const (
	// CommandCancel: that it ends.
	CommandCancel RunCommandKind = "cancel"
	// CommandPromote: that its rollout goes on from its canaries.
	CommandPromote RunCommandKind = "promote"
)

// RunCommand is what somebody wants of a run. The owner of the run's shard sees to it, and
// removes the command when it is carried out, or can be no more.
type RunCommand struct {
	Schema int            `json:"schema"`
	Kind   RunCommandKind `json:"kind"`
	Fire   job.FireID     `json:"fire"`
	Shard  job.ShardID    `json:"shard"`
	By     string         `json:"by,omitempty"`
	Reason string         `json:"reason,omitempty"`
	At     time.Time      `json:"at"`
	// Tasks, of a run that has ended, are those of which nobody knows whether they
	// still run: their minions are to end them, once they are connected, until Until.
	Tasks []job.TaskID `json:"tasks,omitempty"`
	Until time.Time    `json:"until,omitzero"`
}

// Passing is a job that was made for one run only, and goes at ExpiresAt.
type Passing struct {
	Schema    int       `json:"schema"`
	Key       job.Key   `json:"key"`
	Job       job.UID   `json:"job"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// Aside tells that a job cannot be planned, and that all others fire as if it were
// not there. Nothing is decided by it.
type Aside struct {
	Schema    int    `json:"schema"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Job is the job's UID; zero when the job cannot be read.
	Job    job.UID   `json:"job,omitzero"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

// Dependency says that a job waits for the ends of another one's runs.
type Dependency struct {
	Schema int `json:"schema"`
	// From is the job that is waited for, To the one that waits.
	From job.Key     `json:"from"`
	To   job.Key     `json:"to"`
	On   job.Outcome `json:"on,omitempty"`
	// Joined: To waits for the ends of others as well.
	Joined bool `json:"joined,omitempty"`
}

// EndedRuns are runs whose ends other jobs wait for, and have not been told of.
type EndedRuns struct {
	Schema int     `json:"schema"`
	Runs   []Ended `json:"runs"`
}

// Ended is a run whose end another job is to be told of.
type Ended struct {
	From   job.Key   `json:"from"`
	To     job.Key   `json:"to"`
	Joined bool      `json:"joined,omitempty"`
	RunID  job.RunID `json:"runId"`
	State  job.State `json:"state"`
	At     time.Time `json:"at"`
}

// Watched says how far a key that a job watches has been looked at.
type Watched struct {
	Schema int `json:"schema"`
	// Key and Prefix are what is watched.
	Key    string `json:"key"`
	Prefix bool   `json:"prefix,omitempty"`
	// Rev is the revision up to which changes have been told.
	Rev int64 `json:"rev"`
}

// HostStart says for which boot of a minion's host a job was started, and when; without a
// boot, from when on the starts of hosts count.
type HostStart struct {
	Schema int       `json:"schema"`
	Boot   string    `json:"boot,omitempty"`
	At     time.Time `json:"at"`
}

// Backfill is a window of a job's schedule that is being run again.
type Backfill struct {
	Schema int     `json:"schema"`
	ID     string  `json:"id"`
	Job    job.UID `json:"job"`
	Key    job.Key `json:"key"`
	By     string  `json:"by,omitempty"`
	Reason string  `json:"reason,omitempty"`
	// From and To bound the instants: after From, up to and with To.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Done is the last instant that was started.
	Done time.Time `json:"done,omitzero"`
	// Overlap: runs may go on beside one another; else one at a time.
	Overlap bool `json:"overlap,omitempty"`
	// Every is the least time between two starts.
	Every job.Duration `json:"every,omitempty"`
	// Subject is as that of a Trigger.
	Subject string `json:"subject,omitempty"`
	// Params are what the runs are started with; the values of those that are
	// Sensitive are told nowhere, and are masked once it has ended.
	Params    map[string]string `json:"params,omitempty"`
	Sensitive map[string]string `json:"sensitive,omitempty"`
	// Bounds are what who asked may have started, besides the job's own.
	Bounds job.Bounds `json:"bounds,omitempty"`
	Since  time.Time  `json:"since"`
	// EndedAt is when it had started all its runs, or was ended; EndedWhy tells why
	// it did not start all, empty: it did. Both are of its record only.
	EndedAt  time.Time `json:"endedAt,omitzero"`
	EndedWhy string    `json:"endedWhy,omitempty"`
}

// Told returns the backfill as it may be told, and kept when it has ended: without the
// values of its sensitive parameters.
func (b Backfill) Told() Backfill {
	if len(b.Sensitive) > 0 {
		b.Params, b.Sensitive = job.MaskedParams(b.Params, b.Sensitive), nil
	}
	return b
}

// Presence is one bucket of a node's connected minions.
type Presence struct {
	Schema  int             `json:"schema"`
	Minions []PresentMinion `json:"minions"`
}

// PresentMinion is a connected minion. The highest session wins when two nodes
// claim the same one.
type PresentMinion struct {
	ID      job.MinionID `json:"id"`
	Session int64        `json:"session"`
	// Trouble is why it gets no orders, Since since when.
	Trouble string    `json:"trouble,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	// Opened is since when it is connected, in seconds since the Unix epoch: there
	// are very many. 0: it is not told.
	Opened int64 `json:"opened,omitempty"`
}

// StoredMinion is the value of a minion's key, written when it is first seen and
// when its labels or facts change. All of it is the minion's own word: its labels
// are those that it asks for.
type StoredMinion struct {
	Schema  int               `json:"schema"`
	ID      job.MinionID      `json:"id"`
	Labels  map[string]string `json:"labels,omitempty"`
	Facts   map[string]string `json:"facts,omitempty"`
	Version string            `json:"version,omitempty"`
	Since   time.Time         `json:"since"`
}

// Grant is the labels that a minion has been granted. Targets go by them.
type Grant struct {
	Schema int               `json:"schema"`
	ID     job.MinionID      `json:"id"`
	Labels map[string]string `json:"labels"`
	// By is who granted them last, and by what, as "token k3x9".
	By    string    `json:"by,omitempty"`
	Since time.Time `json:"since"`
}

// StoredJob is the value of a job's key.
type StoredJob struct {
	Schema int `json:"schema"`
	job.Job
	// MovedFrom is the shard that the job was moved out of last; nil: none.
	// While the record of the move is there, fires of the job may be open there.
	MovedFrom *job.ShardID `json:"movedFrom,omitempty"`
	// Earlier are schedules that the job had before, the oldest first, as far as an
	// owner may not have come to their instants.
	Earlier []Earlier `json:"earlier,omitempty"`
	// Committed is up to where the job's instants are committed in the shards that
	// it was in before; zero: it was in none.
	Committed time.Time `json:"committed,omitzero"`
}

// PlannedJob is what of a stored job its shard's owner keeps: the spec stays in
// its bytes until a fire needs it.
type PlannedJob struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	UID       job.UID   `json:"uid"`
	After     time.Time `json:"after"`
	// CountedFrom is since when Spec.Count counts.
	CountedFrom time.Time       `json:"countedFrom,omitzero"`
	MovedFrom   *job.ShardID    `json:"movedFrom,omitempty"`
	Earlier     []Earlier       `json:"earlier,omitempty"`
	Bounds      job.Bounds      `json:"bounds,omitempty"`
	AppliedBy   string          `json:"appliedBy,omitempty"`
	Labels      json.RawMessage `json:"labels,omitempty"`
	Spec        json.RawMessage `json:"spec"`
}

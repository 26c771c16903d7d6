package etcdkv

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/carillon-cron/carillon/job"
)

// DefaultPrefix is the prefix of all keys unless the configuration says otherwise.
const DefaultPrefix = "/carillon"

const layout = "v1"

// Keys builds and reads the keys of one cluster. The zero value is not usable;
// use NewKeys. It is immutable.
type Keys struct {
	root string
}

// NewKeys returns the keys under prefix; an empty prefix means DefaultPrefix.
func NewKeys(prefix string) Keys {
	if prefix == "" {
		prefix = DefaultPrefix
	}
	return Keys{root: strings.TrimSuffix(prefix, "/") + "/" + layout + "/"}
}

// Root is the prefix of every key.
func (k Keys) Root() string { return k.root }

// Prefix is what the configuration calls the prefix of all keys.
func (k Keys) Prefix() string { return strings.TrimSuffix(k.root, "/"+layout+"/") }

// Permission is what a user of etcd may do with all keys that begin with a prefix.
type Permission struct {
	// Access is "read" or "readwrite", as etcdctl takes it.
	Access, Prefix string
}

// Permissions are all that nodes need. A job that watches a key outside of them needs
// to read that as well.
func (k Keys) Permissions() []Permission {
	return []Permission{{"readwrite", k.root}, {"readwrite", k.mirror()}}
}

// Meta is the key of the cluster's description.
func (k Keys) Meta() string { return k.root + "meta" }

// Members is the prefix of all live nodes.
func (k Keys) Members() string { return k.root + "members/" }

// Member is the key of a live node.
func (k Keys) Member(n job.NodeID) string { return k.Members() + string(n) }

// Jobs is the prefix of all jobs.
func (k Keys) Jobs() string { return k.root + "jobs/" }

// ShardJobs is the prefix of a shard's jobs.
func (k Keys) ShardJobs(s job.ShardID) string { return k.Jobs() + shardText(s) + "/" }

// Job is the key of a job in its shard.
func (k Keys) Job(s job.ShardID, key job.Key) string {
	return k.ShardJobs(s) + key.Namespace + "/" + key.Name
}

// ParseJob reads a job's key.
func (k Keys) ParseJob(s string) (job.ShardID, job.Key, error) {
	rest, ok := strings.CutPrefix(s, k.Jobs())
	shard, rest, ok2 := strings.Cut(rest, "/")
	ns, name, ok3 := strings.Cut(rest, "/")
	id, err := parseShard(shard)
	if !ok || !ok2 || !ok3 || err != nil {
		return 0, job.Key{}, fmt.Errorf("etcd key %q is not a job's", s)
	}
	return id, job.Key{Namespace: ns, Name: name}, nil
}

// Groups is the prefix of all groups.
func (k Keys) Groups() string { return k.root + "groups/" }

// Group is the key of a group.
func (k Keys) Group(key job.Key) string { return k.Groups() + key.Namespace + "/" + key.Name }

// Calendars is the prefix of all calendars.
func (k Keys) Calendars() string { return k.root + "calendars/" }

// Calendar is the key of a calendar.
func (k Keys) Calendar(key job.Key) string {
	return k.Calendars() + key.Namespace + "/" + key.Name
}

// HostGroups is the prefix of all saved groups of hosts.
func (k Keys) HostGroups() string { return k.root + "hostgroups/" }

// HostGroup is the key of a saved group of hosts.
func (k Keys) HostGroup(name string) string { return k.HostGroups() + name }

// HostGroupGuard is a key that every change of a group of hosts puts: the groups
// name one another, so what is right depends on all of them.
func (k Keys) HostGroupGuard() string { return k.root + "hostgroupguard" }

// Rights is the prefix of all that says who may do what.
func (k Keys) Rights() string { return k.root + "rights/" }

// RightsGuard is a key that every change of a role or a binding puts: whether it gives
// more than its author holds depends on all of them.
func (k Keys) RightsGuard() string { return k.Rights() + "guard" }

// Roles is the prefix of all roles that were made.
func (k Keys) Roles() string { return k.Rights() + "roles/" }

// Role is the key of a role.
func (k Keys) Role(name string) string { return k.Roles() + name }

// RoleBindings is the prefix of all bindings of roles.
func (k Keys) RoleBindings() string { return k.Rights() + "bindings/" }

// RoleBinding is the key of a binding of a role.
func (k Keys) RoleBinding(name string) string { return k.RoleBindings() + name }

// NextGroup is the key of the counter from which groups get their shards.
func (k Keys) NextGroup() string { return k.root + "nextgroup" }

// Grouped is the prefix of the places of all jobs that are in a group.
func (k Keys) Grouped() string { return k.root + "grouped/" }

// GroupedJob is the key that tells in which group's shard a job lies. A job that
// has none lies in its hash shard, ShardOf.
func (k Keys) GroupedJob(key job.Key) string { return k.Grouped() + key.Namespace + "/" + key.Name }

// Drains is the prefix of the nodes that an operator drains.
func (k Keys) Drains() string { return k.root + "drains/" }

// Drain is the key that says that a node is to be drained.
func (k Keys) Drain(n job.NodeID) string { return k.Drains() + string(n) }

// Overrides is the prefix of what operators decided about shards.
func (k Keys) Overrides() string { return k.root + "overrides/" }

// Override is the key of what an operator decided about a shard.
func (k Keys) Override(s job.ShardID) string { return k.Overrides() + shardText(s) }

// ParseOverride reads an override key.
func (k Keys) ParseOverride(s string) (job.ShardID, error) {
	rest, ok := strings.CutPrefix(s, k.Overrides())
	id, err := parseShard(rest)
	if !ok || err != nil {
		return 0, fmt.Errorf("etcd key %q is not an override's", s)
	}
	return id, nil
}

// Edits is the key that is put with every edit of when a job of the shard is due,
// and with every deletion of one, in the same transaction: by its revision an owner
// knows whether its view of the jobs lacks one.
func (k Keys) Edits(s job.ShardID) string { return k.root + "edits/jobs/" + shardText(s) }

// PauseEdits is the key that is put with every change of what is paused.
func (k Keys) PauseEdits() string { return k.root + "edits/pauses" }

// GroupEdits is the key that is put with every change of a group.
func (k Keys) GroupEdits() string { return k.root + "edits/groups" }

// CalendarEdits is the key that is put with every change of a calendar.
func (k Keys) CalendarEdits() string { return k.root + "edits/calendars" }

// Pauses is the prefix of what is paused.
func (k Keys) Pauses() string { return k.root + "pauses/" }

// Pause is the key that says that something is paused. There is one for each
// thing: what the scope has no use for is left out.
func (k Keys) Pause(scope Scope, namespace, name string) string {
	switch scope {
	case ScopeAll:
		namespace, name = "", ""
	case ScopeNamespace:
		name = ""
	case ScopeGroup, ScopeJob:
	}
	return k.Pauses() + string(scope) + "/" + namespace + "/" + name
}

// PausesOf is a prefix under which all pauses of a thing lie. Former versions
// wrote pauses of all jobs, and of a namespace, under other keys than Pause's;
// they hold, too. For a job or a group it is the prefix of its namespace.
func (k Keys) PausesOf(scope Scope, namespace string) string {
	prefix := k.Pauses() + string(scope) + "/"
	if scope == ScopeAll {
		return prefix
	}
	return prefix + namespace + "/"
}

// Asides is the prefix of the jobs that are set aside.
func (k Keys) Asides() string { return k.root + "asides/" }

// Aside is the key that tells why a job is set aside.
func (k Keys) Aside(key job.Key) string { return k.Asides() + key.Namespace + "/" + key.Name }

// Dependencies is the prefix of which jobs wait for which.
func (k Keys) Dependencies() string { return k.root + "edges/" }

// Dependency is the key that says that a job waits for another.
func (k Keys) Dependency(from, to job.Key) string {
	return k.Dependencies() + from.Namespace + "/" + from.Name + "/" + to.Namespace + "/" + to.Name
}

// Watched is the key that says how far a job has looked at the key it watches.
func (k Keys) Watched(u job.UID) string { return k.root + "watched/" + u.String() }

// HostStarts is the key that says since when a job that starts with hosts is looked after,
// and the prefix of the boots for which it was started: minions' names follow.
func (k Keys) HostStarts(u job.UID) string { return k.root + "hoststarts/" + u.String() + "/" }

// Scripts is the prefix of all versions of the library's scripts.
func (k Keys) Scripts() string { return k.root + "scripts/" }

// Script is the prefix of a script's versions.
func (k Keys) Script(key job.Key) string { return k.Scripts() + key.Namespace + "/" + key.Name + "/" }

// ScriptVersion is the key of a version of a script. Versions sort by their number.
func (k Keys) ScriptVersion(key job.Key, version int) string {
	return k.Script(key) + fmt.Sprintf("%08d", version)
}

// ScriptHeads is the prefix of what tells the newest version of each script.
func (k Keys) ScriptHeads() string { return k.root + "scriptheads/" }

// ScriptHead is the key that tells a script's newest version.
func (k Keys) ScriptHead(key job.Key) string { return k.ScriptHeads() + key.String() }

// ScriptUses is the prefix of what tells when a job was made to name a script.
func (k Keys) ScriptUses() string { return k.root + "scriptuses/" }

// ScriptUse is the key that every job puts anew which comes to name a script:
// whoever removes one sees by its revision that there is another user.
func (k Keys) ScriptUse(key job.Key) string { return k.ScriptUses() + key.String() }

// JobSecrets is the prefix of the secrets that jobs name, which are sealed to minions.
func (k Keys) JobSecrets() string { return k.root + "jobsecrets/" }

// JobSecret is the key of a secret that jobs name.
func (k Keys) JobSecret(key job.Key) string { return k.JobSecrets() + key.String() }

// Blobs is the prefix of the texts of scripts.
func (k Keys) Blobs() string { return k.root + "blobs/" }

// Blob is the key of a text, by its SHA-256 in hexadecimal.
func (k Keys) Blob(sum string) string { return k.Blobs() + sum }

// KnownNodes is the prefix of the nodes that have joined and have not left in order.
func (k Keys) KnownNodes() string { return k.root + "nodes-known/" }

// KnownNode is the key of a node that has joined and has not left in order.
func (k Keys) KnownNode(n job.NodeID) string { return k.KnownNodes() + string(n) }

// Backfills is the prefix of all backfills.
func (k Keys) Backfills() string { return k.root + "backfills/" }

// Backfill is the key of a backfill.
func (k Keys) Backfill(id string) string { return k.Backfills() + id }

// EndedBackfills is the prefix of the records of backfills that have ended.
func (k Keys) EndedBackfills() string { return k.root + "backfills-ended/" }

// EndedBackfill is the key of the record of a backfill that has ended.
func (k Keys) EndedBackfill(id string) string { return k.EndedBackfills() + id }

// PlanSecrets is the prefix of what calls to upstreams of plans are signed with.
func (k Keys) PlanSecrets() string { return k.root + "hooks/plans/" }

// PlanSecret is the key of what calls to an upstream are signed with: a HookSecret.
func (k Keys) PlanSecret(ns, upstream string) string {
	return k.PlanSecrets() + ns + "/" + upstream
}

// HookSecrets is the prefix of what calls of webhooks are signed with.
func (k Keys) HookSecrets() string { return k.root + "hooks/secrets/" }

// HookSecret is the key of what calls of a job's webhook are signed with.
func (k Keys) HookSecret(u job.UID) string { return k.HookSecrets() + u.String() }

// HookCalls is the prefix of the calls of webhooks that are not to start a run again.
func (k Keys) HookCalls() string { return k.root + "hooks/calls/" }

// HookCall is the key of a call of a job's webhook, by the SHA-256 of what names it.
func (k Keys) HookCall(u job.UID, sum string) string { return k.HookCalls() + u.String() + "/" + sum }

// RunCommands is the prefix of what people want of open runs.
func (k Keys) RunCommands() string { return k.root + "wishes/" }

// RunCommand is the key of what somebody wants of an open run.
func (k Keys) RunCommand(r job.RunID, kind RunCommandKind) string {
	return k.RunCommands() + string(r) + "/" + string(kind)
}

// Permits is the prefix of who counts under caps that hold for the whole cluster.
func (k Keys) Permits() string { return k.root + "permits/" }

// Permit is the key of who counts under a cap: the tasks on minions that have a
// value of a label. Both are escaped, for a value may be any text.
func (k Keys) Permit(label, value string) string {
	return k.Permits() + url.PathEscape(label) + "/" + url.PathEscape(value)
}

// PassingJobs is the prefix of the jobs that were made for one run only.
func (k Keys) PassingJobs() string { return k.root + "passing/" }

// PassingJob is the key of such a job; the ids of jobs sort by their creation.
func (k Keys) PassingJob(u job.UID) string { return k.PassingJobs() + u.String() }

// Lines is the prefix of all groups' lines of nodes.
func (k Keys) Lines() string { return k.root + "lines/" }

// Line is the key of a node's place in a group's line. Places are ordered by
// their mod revision.
func (k Keys) Line(s job.ShardID, n job.NodeID) string {
	return k.Lines() + shardText(s) + "/" + string(n)
}

// ParseLine reads a place's key.
func (k Keys) ParseLine(s string) (job.ShardID, job.NodeID, error) {
	rest, ok := strings.CutPrefix(s, k.Lines())
	shard, node, ok2 := strings.Cut(rest, "/")
	id, err := parseShard(shard)
	if !ok || !ok2 || err != nil {
		return 0, "", fmt.Errorf("etcd key %q is not a place in a line", s)
	}
	return id, job.NodeID(node), nil
}

// Healths is the prefix of what nodes say of their own and their peers' health.
func (k Keys) Healths() string { return k.root + "health/" }

// Health is the key of what a node says of health.
func (k Keys) Health(n job.NodeID) string { return k.Healths() + string(n) }

// Grants is the prefix of the labels that minions have been granted.
func (k Keys) Grants() string { return k.root + "grants/" }

// Grant is the key of the labels that a minion has been granted.
func (k Keys) Grant(m job.MinionID) string { return k.Grants() + string(m) }

// Presence is the prefix of all nodes' connected minions.
func (k Keys) Presence() string { return k.root + "presence/" }

// PresenceBucket is the key of one packed bucket of a node's connected minions.
func (k Keys) PresenceBucket(n job.NodeID, bucket int) string {
	return k.Presence() + string(n) + "/" + fmt.Sprintf("%04x", bucket)
}

// ParsePresence reads a presence key.
func (k Keys) ParsePresence(s string) (job.NodeID, int, error) {
	rest, ok := strings.CutPrefix(s, k.Presence())
	node, bucket, ok2 := strings.Cut(rest, "/")
	n, err := strconv.ParseUint(bucket, 16, 31)
	if !ok || !ok2 || err != nil {
		return "", 0, fmt.Errorf("etcd key %q is not a presence bucket's", s)
	}
	return job.NodeID(node), int(n), nil
}

// Minions is the prefix of all minions' descriptions.
func (k Keys) Minions() string { return k.root + "minions/" }

// Minion is the key of a minion's description.
func (k Keys) Minion(m job.MinionID) string { return k.Minions() + string(m) }

// Runs is the prefix of all run records.
func (k Keys) Runs() string { return k.root + "runs/" }

// RunBucket is the prefix of one bucket of run records.
func (k Keys) RunBucket(b int) string { return k.Runs() + fmt.Sprintf("%04x", b) + "/" }

// RunSegment is the key of a segment of packed run records. Segments of a
// bucket sort by their name.
func (k Keys) RunSegment(b int, name string) string { return k.RunBucket(b) + name }

// Queue is the prefix of a typed queue.
func (k Keys) Queue(ns, typ string) string { return k.root + "queues/" + ns + "/" + typ + "/" }

// QueueTypes is the prefix of the descriptions of all queues.
func (k Keys) QueueTypes() string { return k.root + "queuetypes/" }

// QueueType is the key of a queue's description.
func (k Keys) QueueType(key job.Key) string { return k.QueueTypes() + key.Namespace + "/" + key.Name }

// QueueStatuses is the prefix of what dispatchers tell of their queues.
func (k Keys) QueueStatuses() string { return k.root + "queuestatus/" }

// QueueStatus is the key of what the dispatcher of a queue tells of it.
func (k Keys) QueueStatus(key job.Key) string {
	return k.QueueStatuses() + key.Namespace + "/" + key.Name
}

// Locks is the prefix of all users' locks.
func (k Keys) Locks() string { return k.root + "locks/" }

// LockSession is the key of a session that a client opened for its locks; it
// lies on the session's lease.
func (k Keys) LockSession(lease int64) string {
	return k.root + "locksessions/" + fmt.Sprintf("%016x", uint64(lease))
}

// Lock is the prefix of a user's lock.
func (k Keys) Lock(ns, name string) string { return k.root + "locks/" + ns + "/" + name + "/" }

// Marks is the prefix of the marks of writes that lock sessions gave up.
func (k Keys) Marks() string { return k.root + "marks/" }

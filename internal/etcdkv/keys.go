package etcdkv

import (
	"fmt"
	"hash/fnv"
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

// Shards is the prefix of all shards' states, slots and triggers.
func (k Keys) Shards() string { return k.root + "shards/" }

// Shard is the prefix of all that a shard keeps, its jobs and owner excepted.
func (k Keys) Shard(s job.ShardID) string { return k.Shards() + shardText(s) + "/" }

// Owners is the prefix of all shards' owners.
func (k Keys) Owners() string { return k.root + "owners/" }

// Owner is the key of a shard's owner.
func (k Keys) Owner(s job.ShardID) string { return k.Owners() + shardText(s) }

// ParseOwner reads an owner key.
func (k Keys) ParseOwner(s string) (job.ShardID, error) {
	rest, ok := strings.CutPrefix(s, k.Owners())
	id, err := parseShard(rest)
	if !ok || err != nil {
		return 0, fmt.Errorf("etcd key %q is not an owner's", s)
	}
	return id, nil
}

// State is the key of a shard's state.
func (k Keys) State(s job.ShardID) string { return k.Shard(s) + "state" }

// Slots is the prefix of a shard's slots.
func (k Keys) Slots(s job.ShardID) string { return k.Shard(s) + "slots/" }

// Slot is the key of a slot. Slots are numbered by the shard's commits.
func (k Keys) Slot(s job.ShardID, seq uint64) string {
	return k.Slots(s) + fmt.Sprintf("%016x", seq)
}

// Triggers is the prefix of a shard's waiting triggers.
func (k Keys) Triggers(s job.ShardID) string { return k.Shard(s) + "triggers/" }

// Trigger is the key of a waiting trigger.
func (k Keys) Trigger(s job.ShardID, f job.FireID) string {
	return k.Triggers(s) + f.Job.String() + "@" + fmt.Sprintf("%016x", uint64(f.At)) //nolint:gosec // bits, not a number
}

// ParseShardKey splits a key under Shards into its shard and the rest:
// "state", "slots/...", "triggers/...".
func (k Keys) ParseShardKey(s string) (job.ShardID, string, error) {
	rest, ok := strings.CutPrefix(s, k.Shards())
	shard, rest, ok2 := strings.Cut(rest, "/")
	id, err := parseShard(shard)
	if !ok || !ok2 || err != nil {
		return 0, "", fmt.Errorf("etcd key %q is not a shard's", s)
	}
	return id, rest, nil
}

// ParseSlot reads the number of a slot from the rest that ParseShardKey returns.
func ParseSlot(rest string) (uint64, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(rest, "slots/"), 16, 64)
	if err != nil {
		return 0, fmt.Errorf("slot key %q: %w", rest, err)
	}
	return n, nil
}

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

// Lock is the prefix of a user's lock.
func (k Keys) Lock(ns, name string) string { return k.root + "locks/" + ns + "/" + name + "/" }

// Marks is the prefix of the marks of writes that lock sessions gave up.
func (k Keys) Marks() string { return k.root + "marks/" }

// ShardOf returns the shard of n in which a job of this address lies.
func ShardOf(key job.Key, n int) job.ShardID {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key.Namespace + "/" + key.Name)) // a hash never fails
	// FNV's low bits are weak for short keys; fold the high half in.
	v := h.Sum64()
	v ^= v >> 33
	v *= 0xff51afd7ed558ccd
	v ^= v >> 33
	return job.ShardID(v % uint64(n)) //nolint:gosec // n is a small positive count
}

func shardText(s job.ShardID) string { return fmt.Sprintf("%04x", uint32(s)) }

func parseShard(s string) (job.ShardID, error) {
	n, err := strconv.ParseUint(s, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("shard %q: %w", s, err)
	}
	return job.ShardID(n), nil
}

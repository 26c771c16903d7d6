package etcdkv

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/carillon-cron/carillon/job"
)

// The keys of what a shard keeps, and of who owns it.

// Moved is the prefix of the jobs that were moved out of a shard in which they
// may still have open fires.
func (k Keys) Moved(s job.ShardID) string { return k.Shard(s) + "moved/" }

// MovedJob is the key of a job that was moved out of a shard.
func (k Keys) MovedJob(s job.ShardID, u job.UID) string { return k.Moved(s) + u.String() }

// Deleted is the prefix of the jobs that were deleted from a shard in which they
// may still have open fires.
func (k Keys) Deleted(s job.ShardID) string { return k.Shard(s) + "deleted/" }

// DeletedJob is the key of a job that was deleted from a shard.
func (k Keys) DeletedJob(s job.ShardID, u job.UID) string { return k.Deleted(s) + u.String() }

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

// JobTriggers is the prefix of a job's waiting triggers in a shard.
func (k Keys) JobTriggers(s job.ShardID, u job.UID) string { return k.Triggers(s) + u.String() + "@" }

// Trigger is the key of a waiting trigger.
func (k Keys) Trigger(s job.ShardID, f job.FireID) string {
	key := k.JobTriggers(s, f.Job) + fmt.Sprintf("%016x", uint64(f.At))
	if f.Trigger > job.TriggerManual {
		key += "-" + f.Trigger.String()
	}
	return key
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

// Ended is the prefix of what a shard has to tell others of ends of runs.
func (k Keys) Ended(s job.ShardID) string { return k.Shard(s) + "ended/" }

// EndedRuns is the key of ends of runs that others are to be told of; id must
// be unique.
func (k Keys) EndedRuns(s job.ShardID, id string) string { return k.Ended(s) + id }

// JoinedTrigger is the key of a trigger that says that one of several jobs has
// ended for which a job waits: there is one for each.
func (k Keys) JoinedTrigger(s job.ShardID, u job.UID, from job.Key) string {
	return k.JobTriggers(s, u) + "after/" + from.String()
}

// ShardOf returns the shard of n in which a job of this address lies.
func ShardOf(key job.Key, n int) job.ShardID {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key.Namespace + "/" + key.Name)) // a hash never fails
	// FNV's low bits are weak for short keys; fold the high half in.
	v := h.Sum64()
	v ^= v >> 33
	v *= 0xff51afd7ed558ccd
	v ^= v >> 33
	return job.ShardID(v % uint64(n))
}

func shardText(s job.ShardID) string { return fmt.Sprintf("%04x", uint32(s)) }

func parseShard(s string) (job.ShardID, error) {
	n, err := strconv.ParseUint(s, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("shard %q: %w", s, err)
	}
	return job.ShardID(n), nil
}

package etcdkv

import (
	"fmt"
	"strings"

	state "github.com/carillon-cron/carillon/handler/shared"
	"github.com/carillon-cron/carillon/job"
)

// SharedState is what the tasks of a run, or of all runs of a job, share.
type SharedState struct {
	Schema int `json:"schema"`
	state.Values
	// Write names the write that made it so, that one whose answer was lost is found.
	Write string `json:"write"`
	// Barriers are those that are open or broken.
	Barriers map[string]SharedBarrier `json:"barriers,omitempty"`
}

// SharedBarrier is what has become of a barrier.
type SharedBarrier struct {
	// Broken says why it can never open; empty: it is open.
	Broken string `json:"broken,omitempty"`
	// Count is how many tasks it was said to wait for; 0: all.
	Count int `json:"count,omitempty"`
	// Of is how many it has waited for.
	Of int `json:"of"`
}

// SharedRuns is the prefix of what tasks of runs share.
func (k Keys) SharedRuns() string { return k.root + "shared/runs/" }

// SharedRun is the key of what the tasks of a run share.
func (k Keys) SharedRun(s job.ShardID, f job.FireID) string {
	return k.SharedRuns() + shardText(s) + "/" + f.String()
}

// ParseSharedRun reads such a key.
func (k Keys) ParseSharedRun(s string) (job.ShardID, job.FireID, error) {
	rest, ok := strings.CutPrefix(s, k.SharedRuns())
	shard, fire, ok2 := strings.Cut(rest, "/")
	id, err := parseShard(shard)
	if !ok || !ok2 || err != nil {
		return 0, job.FireID{}, fmt.Errorf("etcd key %q is not that of what tasks share", s)
	}
	f, err := job.ParseFireID(fire)
	if err != nil {
		return 0, job.FireID{}, fmt.Errorf("etcd key %q: %w", s, err)
	}
	return id, f, nil
}

// SharedJob is the key of what all runs of a job share.
func (k Keys) SharedJob(u job.UID) string { return k.root + "shared/jobs/" + u.String() }

package app

import (
	"context"
	"maps"
	"slices"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// liveRuns lists the open runs of all nodes.
type liveRuns struct {
	// ask asks all nodes; it returns what is open, and of which shards that is
	// all, sorted.
	ask func(ctx context.Context, namespace, name string) ([]job.Run, []job.ShardID, error)
	// shards are all that there are, and owner tells who owns one.
	shards func() []job.ShardID
	owner  func(job.ShardID) (job.NodeID, bool)
}

// LiveRuns implements control.Live. A node that does not answer is about to lose
// its shards, one that has just got a shard is about to have read it: what the
// others know is worth having meanwhile, with the word that it is not all.
func (l liveRuns) LiveRuns(ctx context.Context, namespace, name string) ([]job.Run, error) {
	// Why a node has not answered is in the hub's log: what is missing counts here.
	runs, told, _ := l.ask(ctx, namespace, name)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	missing := map[job.NodeID][]job.ShardID{}
	for _, id := range l.shards() {
		if _, ok := slices.BinarySearch(told, id); !ok {
			owner, _ := l.owner(id)
			missing[owner] = append(missing[owner], id)
		}
	}
	if len(missing) == 0 {
		return runs, nil
	}
	err := &api.PartialError{}
	for _, node := range slices.Sorted(maps.Keys(missing)) {
		slices.Sort(missing[node])
		err.Missing = append(err.Missing, api.MissingRuns{Node: node, Shards: missing[node]})
	}
	return runs, err
}

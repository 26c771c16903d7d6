package app

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// TestLiveRunsSayWhatIsMissing: shards for which nobody has answered are named,
// with who owns them, whether or not anything went wrong that would be an error.
func TestLiveRunsSayWhatIsMissing(t *testing.T) {
	t.Parallel()
	owners := map[job.ShardID]job.NodeID{0: "a", 1: "a", 2: "b", 3: "b"}
	told, failed := []job.ShardID{0, 1, 2, 3}, error(nil)
	l := liveRuns{
		ask: func(context.Context, string, string) ([]job.Run, []job.ShardID, error) {
			return []job.Run{{RunID: "x"}}, told, failed
		},
		shards: func() []job.ShardID { return []job.ShardID{3, 0, 1, 2, 4} },
		owner:  func(id job.ShardID) (job.NodeID, bool) { n, ok := owners[id]; return n, ok },
	}
	for _, c := range []struct {
		told   []job.ShardID
		failed error
		want   []api.MissingRuns
	}{
		{[]job.ShardID{0, 1, 2, 3, 4}, nil, nil},
		{[]job.ShardID{0, 1, 2, 3}, nil, []api.MissingRuns{{Shards: []job.ShardID{4}}}},
		{[]job.ShardID{0, 1, 4}, errors.New("b does not answer"), []api.MissingRuns{{Node: "b", Shards: []job.ShardID{2, 3}}}},
	} {
		told, failed = c.told, c.failed
		runs, err := l.LiveRuns(t.Context(), "", "")
		var partial *api.PartialError
		if errors.As(err, &partial) != (c.want != nil) || len(runs) != 1 {
			t.Fatalf("told of %v: %v, %v", c.told, runs, err)
		}
		if partial != nil {
			if diff := cmp.Diff(c.want, partial.Missing); diff != "" {
				t.Errorf("told of %v: %s", c.told, diff)
			}
		}
	}
}

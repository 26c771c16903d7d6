package doctor

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/clock"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// checkClocks tells of nodes whose clocks are off, and of those that have nothing
// to compare theirs with.
func (c *Checker) checkClocks(ctx context.Context) ([]api.Check, error) {
	healths, err := store.ListAll[etcdkv.Health](ctx, c.db, "list health", c.db.Keys.Healths())
	if err != nil {
		return nil, err
	}
	var checks []api.Check
	compared, most := 0, time.Duration(0)
	for _, h := range healths {
		if h.Clock == nil {
			continue
		}
		ahead := time.Duration(h.Clock.AheadMillis) * time.Millisecond
		switch {
		case h.Clock.Unfit != "":
			checks = append(checks, api.Check{
				Name: "clocks", Status: api.CheckFail, Detail: fmt.Sprintf("%s neither plans nor holds shards: %s", h.Node, h.Clock.Unfit),
				Hint: "see on its host what keeps its clock in time, as by `timedatectl` or `chronyc tracking`; the node works again automatically once the clock is right",
			})
		case ahead.Abs() >= clock.Warn:
			checks = append(checks, api.Check{
				Name: "clocks", Status: api.CheckWarn, Detail: fmt.Sprintf("the clock of %s is %s of most; it goes by theirs", h.Node, side(ahead)),
				Hint: "see on its host what keeps its clock in time, before it is off by more than --clock-bound",
			})
		case h.Clock.ApartMillis != 0:
			checks = append(checks, apart(h.Node, time.Duration(h.Clock.ApartMillis)*time.Millisecond))
		case h.Clock.Paired:
			checks = append(checks, api.Check{
				Name: "clocks", Status: api.CheckOK, Detail: fmt.Sprintf("%s and its only minion agree on the time; with another node, or a second minion, the clock of most decides", h.Node),
			})
		case h.Clock.Nodes+h.Clock.Minions == 0:
			checks = append(checks, api.Check{
				Name: "clocks", Status: api.CheckOK, Detail: fmt.Sprintf("%s has nothing to compare its clock with: another node, or two minions", h.Node),
			})
		default:
			compared++
			most = max(most, ahead.Abs())
		}
	}
	if compared > 0 {
		checks = append(checks, api.Check{Name: "clocks", Status: api.CheckOK, Detail: fmt.Sprintf("%s in time, by no more than %s off", apiview.Counted(compared, "node"), most+100*time.Millisecond)})
	}
	return checks, nil
}

// apart tells that the clocks of a node and of its only minion differ.
func apart(n job.NodeID, minionAhead time.Duration) api.Check {
	ch := api.Check{
		Name: "clocks", Status: api.CheckWarn,
		Detail: fmt.Sprintf("the clocks of %s and of its only minion differ by %s (the minion's is %s), and of two nobody can tell which is right: %[1]s goes by its own",
			n, minionAhead.Abs(), aheadOrBehind(minionAhead)),
		Hint: "look at both hosts, as by `timedatectl` or `chronyc tracking`, and set the wrong clock right; with another node or a second minion the clock of most decides",
	}
	if minionAhead.Abs() > clock.DefaultBound {
		ch.Status = api.CheckFail // runs may start as much too early or too late
	}
	return ch
}

// checkCursors tells of shards that are planned up to a time in the future, which a
// wrong clock has done.
func (c *Checker) checkCursors(ctx context.Context) ([]api.Check, error) {
	now := c.db.Now()
	var checks []api.Check
	err := c.db.Shards(ctx, store.MaxOps, func(shards []job.ShardID) error {
		ops := make([]clientv3.Op, 0, len(shards))
		for _, s := range shards {
			ops = append(ops, clientv3.OpGet(c.db.Keys.State(s)))
		}
		resp, err := c.db.Do(ctx, "states of shards", nil, ops)
		if err != nil {
			return err
		}
		for i, part := range resp.Responses {
			for _, kv := range part.GetResponseRange().GetKvs() {
				st, err := etcdkv.Decode[etcdkv.ShardState](string(kv.Key), kv.Value)
				if err != nil {
					return err
				}
				switch {
				case st.Cursor.Sub(now) > farAhead:
					checks = append(checks, api.Check{
						Name: "cursors", Status: api.CheckFail,
						Detail: fmt.Sprintf("shard %s is planned up to %s, by the clock of %s: none of its jobs fires before that", shards[i], st.Cursor.Format(time.RFC3339), st.Node),
						Hint:   "it is set back by the next node that takes the shard with a right clock, as after `carillon nodes drain` of its owner; if all clocks are right, see the owner's log",
					})
				case st.Ahead.After(now):
					checks = append(checks, api.Check{
						Name: "cursors", Status: api.CheckWarn,
						Detail: fmt.Sprintf("shard %s was planned up to %s by a clock that was wrong, and has been set back: what ran too early does not run again", shards[i], st.Ahead.Format(time.RFC3339)),
						Hint:   "nothing is to be done; its jobs stay in their group until then. Runs that started before their instants are listed by `carillon runs`",
					})
				}
			}
		}
		return nil
	})
	return checks, err
}

// farAhead is how far in the future a shard's cursor is no matter of clocks that
// differ a little.
const farAhead = time.Minute

// side says by how much a clock is ahead, or behind.
func side(ahead time.Duration) string {
	return fmt.Sprintf("%s %s that", ahead.Abs(), aheadOrBehind(ahead))
}

func aheadOrBehind(d time.Duration) string {
	if d < 0 {
		return "behind"
	}
	return "ahead"
}

package overetcd

import (
	"context"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// nowhere stands for what only nodes know, and says so.
type nowhere struct{ shards int }

// LiveRuns implements runs.Live: the open runs of all shards are missing.
func (n nowhere) LiveRuns(context.Context, string, string) ([]job.Run, error) {
	all := make([]job.ShardID, n.shards)
	for i := range all {
		all[i] = job.ShardID(i)
	}
	return nil, &api.PartialError{Missing: []api.MissingRuns{{Shards: all}}}
}

// Output implements runs.Outputs.
func (nowhere) Output(context.Context, job.TaskID, bool, func(int, []byte, int64) error) error {
	return fmt.Errorf("output is on minions, and only nodes reach them; ask a node: %w", job.ErrUnavailable)
}

// readWithin bounds one look at the minions.
const readWithin = 5 * time.Second

// inventory is what etcd has of minions. It is read whenever somebody asks.
type inventory struct {
	client *clientv3.Client
	keys   etcdkv.Keys

	mu sync.Mutex
	// mu guards minions: those of the last look.
	minions []job.Minion
}

// read looks; false: etcd did not tell.
func (in *inventory) read() bool {
	ctx, cancel := context.WithTimeout(context.Background(), readWithin)
	defer cancel()
	got, err := in.client.Txn(ctx).Then(
		clientv3.OpGet(in.keys.Minions(), clientv3.WithPrefix()), clientv3.OpGet(in.keys.Grants(), clientv3.WithPrefix()),
		clientv3.OpGet(in.keys.Presence(), clientv3.WithPrefix())).Commit()
	if err != nil {
		return false
	}
	granted := map[job.MinionID]map[string]string{}
	for _, kv := range got.Responses[1].GetResponseRange().GetKvs() {
		if g, err := etcdkv.Decode[etcdkv.Grant](string(kv.Key), kv.Value); err == nil {
			granted[g.ID] = g.Labels
		}
	}
	type place struct {
		node job.NodeID
		etcdkv.PresentMinion
	}
	at := map[job.MinionID]place{}
	for _, kv := range got.Responses[2].GetResponseRange().GetKvs() {
		node, _, err := in.keys.ParsePresence(string(kv.Key))
		p, err2 := etcdkv.Decode[etcdkv.Presence](string(kv.Key), kv.Value)
		if err != nil || err2 != nil {
			continue
		}
		for _, m := range p.Minions {
			if m.Session >= at[m.ID].Session {
				at[m.ID] = place{node, m}
			}
		}
	}
	var all []job.Minion
	for _, kv := range got.Responses[0].GetResponseRange().GetKvs() {
		m, err := etcdkv.Decode[etcdkv.StoredMinion](string(kv.Key), kv.Value)
		if err != nil {
			continue // it is shown by nodes as what cannot be read
		}
		p := at[m.ID]
		all = append(all, job.Minion{
			ID: m.ID, Labels: granted[m.ID], Requested: m.Labels, Facts: m.Facts, Version: m.Version, Since: m.Since,
			Node: p.node, Trouble: p.Trouble, TroubleSince: p.Since,
		})
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.minions = all
	return true
}

// Minions implements minions.Inventory.
func (in *inventory) Minions() []job.Minion {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.minions
}

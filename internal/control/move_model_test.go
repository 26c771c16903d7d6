package control

import (
	"fmt"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// model is a cluster in which every job is due at every whole second, with
// owners that commit as scheduler's do: each time as if they had just taken the
// shard.
type model struct {
	*env
	t *rapid.T
	// born is when a job was made, by UID; one that is deleted is in no place.
	born map[job.UID]time.Time
	// fired counts commits by occurrence.
	fired map[job.FireID]int
	// pending are commits that are planned and not written, by shard.
	pending map[job.ShardID]*pendingCommit
	slots   uint64
}

// pendingCommit is what an owner has planned.
type pendingCommit struct {
	rev   int64
	state etcdkv.ShardState
	fires []job.FireID
}

func (m *model) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// shardNames are the groups that jobs may be in; "" is none.
func shardNames() []string { return []string{"", "g", "h"} }

func (m *model) shardIDs(name string) job.ShardID {
	g, err := m.Group(m.t.Context(), jobNamed(name))
	m.must(err)
	return g.Shard
}

// put applies a job, into a group or none.
func (m *model) put(name, group, user string) {
	o := object(name, in(group), func(o *manifest.Object) { o.Spec.User = user })
	b, err := etcdkv.Encode([]manifest.Object{o})
	m.must(err)
	_, err = m.Apply(m.t.Context(), "x", []byte(b), false)
	m.must(err)
	stored, _, err := m.Stored(m.t.Context(), jobNamed(name))
	m.must(err)
	if _, there := m.born[stored.UID]; !there {
		m.born[stored.UID] = stored.After
	}
}

// plan does what an owner does before it commits: it reads the shard and decides
// what is due up to the horizon. Some jobs are planned farther than the cursor
// tells, as when a commit is full.
func (m *model) plan(shard job.ShardID, horizon time.Time) {
	ctx := m.t.Context()
	resp, err := m.cli.Get(ctx, m.keys.State(shard))
	m.must(err)
	p := &pendingCommit{state: etcdkv.ShardState{Schema: 1, Cursor: time.Unix(0, 0).UTC()}}
	if len(resp.Kvs) > 0 {
		p.rev = resp.Kvs[0].ModRevision
		p.state, err = store.Decode[etcdkv.ShardState](resp.Kvs[0])
		m.must(err)
	}
	last := map[job.UID]time.Time{}
	slots, err := m.cli.Get(ctx, m.keys.Slots(shard), clientv3.WithPrefix(), clientv3.WithRev(resp.Header.Revision))
	m.must(err)
	for _, kv := range slots.Kvs {
		s, err := etcdkv.DecodeSlot(kv.Value)
		m.must(err)
		for _, e := range s.Entries {
			if at := e.Fire.Time(); at.After(last[e.Fire.Job]) {
				last[e.Fire.Job] = at
			}
		}
	}
	jobs, err := m.cli.Get(ctx, m.keys.ShardJobs(shard), clientv3.WithPrefix(), clientv3.WithRev(resp.Header.Revision))
	m.must(err)
	if horizon.Before(p.state.Cursor) {
		horizon = p.state.Cursor // jobs that are new are planned as far as all others are
	}
	cursor := horizon
	if rapid.Bool().Draw(m.t, "full") && p.state.Cursor.Before(horizon) {
		cursor = horizon.Add(-time.Duration(rapid.IntRange(0, 3).Draw(m.t, "behind")) * time.Second)
	}
	if cursor.Before(p.state.Cursor) {
		cursor = p.state.Cursor
	}
	for _, kv := range jobs.Kvs {
		j, err := store.Decode[etcdkv.StoredJob](kv)
		m.must(err)
		from := j.After
		if kv.CreateRevision <= p.state.JobsRev && p.state.Cursor.After(from) {
			from = p.state.Cursor
		}
		if last[j.UID].After(from) {
			from = last[j.UID]
		}
		limit := horizon
		if rapid.Bool().Draw(m.t, "short") {
			limit = cursor
		}
		for at := from.Truncate(time.Second).Add(time.Second); !at.After(limit); at = at.Add(time.Second) {
			p.fires = append(p.fires, job.FireID{Job: j.UID, At: at.UnixNano(), Trigger: job.TriggerSchedule})
		}
	}
	p.state.Cursor, p.state.JobsRev = cursor, resp.Header.Revision
	p.state.Claim = fmt.Sprint("owner ", m.slots)
	m.pending[shard] = p
}

// write writes what was planned, unless the state has changed.
func (m *model) write(shard job.ShardID) {
	p := m.pending[shard]
	if p == nil {
		return
	}
	delete(m.pending, shard)
	m.slots++
	text, err := etcdkv.Encode(p.state)
	m.must(err)
	ops := []clientv3.Op{clientv3.OpPut(m.keys.State(shard), text)}
	if len(p.fires) > 0 {
		s := etcdkv.Slot{}
		for _, f := range p.fires {
			s.Entries = append(s.Entries, etcdkv.SlotEntry{Fire: f, State: etcdkv.EntryOpen})
		}
		ops = append(ops, clientv3.OpPut(m.keys.Slot(shard, m.slots), string(etcdkv.EncodeSlot(&s))))
	}
	resp, err := m.cli.Txn(m.t.Context()).If(clientv3.Compare(clientv3.ModRevision(m.keys.State(shard)), "=", p.rev)).Then(ops...).Commit()
	m.must(err)
	if !resp.Succeeded {
		return
	}
	for _, f := range p.fires {
		if m.fired[f]++; m.fired[f] > 1 {
			m.t.Fatalf("%s is committed %d times", f, m.fired[f])
		}
	}
}

// closeSlots deletes the slots that the cursor has passed.
func (m *model) closeSlots(shard job.ShardID) {
	ctx := m.t.Context()
	kv, err := m.db.Get(ctx, "test", m.keys.State(shard))
	m.must(err)
	if kv == nil {
		return
	}
	state, err := store.Decode[etcdkv.ShardState](kv)
	m.must(err)
	resp, err := m.cli.Get(ctx, m.keys.Slots(shard), clientv3.WithPrefix())
	m.must(err)
	for _, kv := range resp.Kvs {
		s, err := etcdkv.DecodeSlot(kv.Value)
		m.must(err)
		if slices.ContainsFunc(s.Entries, func(e etcdkv.SlotEntry) bool { return e.Fire.Time().After(state.Cursor) }) {
			continue
		}
		_, err = m.cli.Delete(ctx, string(kv.Key))
		m.must(err)
	}
}

// check commits the rest and looks whether anything is missing.
func (m *model) check(shards []job.ShardID) {
	horizon := m.now().Add(20 * time.Second).Truncate(time.Second)
	for range 2 { // the first may be a full one
		for _, s := range shards {
			m.plan(s, horizon)
			m.write(s)
		}
	}
	resp, err := m.cli.Get(m.t.Context(), m.keys.Jobs(), clientv3.WithPrefix())
	m.must(err)
	for _, kv := range resp.Kvs {
		j, err := store.Decode[etcdkv.StoredJob](kv)
		m.must(err)
		// What a full commit leaves is at most three seconds.
		for at := m.born[j.UID].Truncate(time.Second).Add(time.Second); !at.After(horizon.Add(-3 * time.Second)); at = at.Add(time.Second) {
			if m.fired[job.FireID{Job: j.UID, At: at.UnixNano(), Trigger: job.TriggerSchedule}] != 1 {
				m.t.Fatalf("job %s of %s: nobody committed %s; it holds after %s", j.Name, m.born[j.UID], at, j.After)
			}
		}
	}
}

// TestI8_NothingLostNothingTwice: whatever order moves, edits, deletions and
// commits come in, each occurrence is committed once.
func TestI8_NothingLostNothingTwice(t *testing.T) {
	t.Parallel()
	base := setup(t)
	cases := 0
	rapid.Check(t, func(rt *rapid.T) {
		cases++
		keys := etcdkv.NewKeys(fmt.Sprintf("%scase%d", base.keys.Root(), cases))
		e := &env{srv: base.srv, cli: base.cli, keys: keys, runs: base.runs, clock: time.Date(2026, 5, 4, 10, 30, 15, 0, time.UTC)}
		c, err := New(Config{Node: "n1", Keys: keys, Meta: etcdkv.Meta{Schema: 1, Epoch: 1, Shards: 1}}, Deps{
			Door:   openDoor{},
			Client: base.cli, History: base.runs, Live: base.runs, Outputs: base.out, Minions: fakeMinions(nil), Now: e.now, Decode: decodeJSON,
		})
		if err != nil {
			rt.Fatal(err)
		}
		e.Control = c
		m := &model{env: e, t: rt, born: map[job.UID]time.Time{}, fired: map[job.FireID]int{}, pending: map[job.ShardID]*pendingCommit{}}
		e.apply(t, group("g", job.GroupSpec{}), group("h", job.GroupSpec{}))
		shards := []job.ShardID{0, m.shardIDs("g"), m.shardIDs("h")}
		name := rapid.SampledFrom([]string{"a", "b"})
		shard := rapid.SampledFrom(shards)
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			e.pass(time.Duration(rapid.IntRange(0, 1500).Draw(rt, "ms")) * time.Millisecond)
			switch rapid.SampledFrom([]string{"move", "move", "edit", "delete", "plan", "plan", "write", "write", "close"}).Draw(rt, "what") {
			case "move":
				m.put(name.Draw(rt, "job"), rapid.SampledFrom(shardNames()).Draw(rt, "group"), "")
			case "edit":
				n := name.Draw(rt, "job")
				if v, err := m.Job(rt.Context(), jobNamed(n)); err == nil {
					m.put(n, v.Spec.Group, rapid.SampledFrom([]string{"u", "v"}).Draw(rt, "user"))
				}
			case "delete":
				_, _ = m.Delete(rt.Context(), jobNamed(name.Draw(rt, "job"))) // there may be none
			case "plan":
				m.plan(shard.Draw(rt, "shard"), e.now().Add(300*time.Millisecond).Add(time.Duration(rapid.IntRange(0, 2000).Draw(rt, "ahead"))*time.Millisecond))
			case "write":
				m.write(shard.Draw(rt, "shard"))
			case "close":
				m.closeSlots(shard.Draw(rt, "shard"))
			}
		}
		m.check(shards)
	})
}

package scheduler

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/lock"
	"github.com/carillon-cron/carillon/scheduler/cluster"
)

// capped is a job on all minions that runs on so many at a time per rack, in the
// whole cluster.
func capped(most int) job.Spec {
	return job.Spec{
		Command: []string{"x"}, Overlap: job.OverlapAllow, Target: job.Target{Run: job.SpreadAll},
		Rollout: job.Rollout{ClusterMaxPer: map[string]int{"rack": most}},
	}
}

// racked has the world's minions be in racks, and accept without ending.
func (b *bed) racked(racks map[job.MinionID]string) {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	b.w.hold, b.w.racks = true, racks
	for m := range racks {
		b.w.hosts = append(b.w.hosts, m)
	}
}

// apart stores jobs that lie in different shards.
func (b *bed) apart(spec job.Spec, n int) []job.Job {
	b.t.Helper()
	var out []job.Job
	taken := map[job.ShardID]bool{}
	for i := 0; len(out) < n; i++ {
		key := job.Key{Namespace: "t", Name: fmt.Sprintf("j%d", i)}
		if s := etcdkv.ShardOf(key, b.meta.Shards); !taken[s] {
			taken[s] = true
			out = append(out, b.put(key.Name, spec))
		}
	}
	return out
}

// underWay returns how many tasks are under way.
func (b *bed) underWay() int {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	n := 0
	for _, r := range b.w.ran {
		if !r.State.Final() {
			n++
		}
	}
	return n
}

// endOne ends one of the tasks under way, and returns its rack; empty: there was
// none.
func (b *bed) endOne() (rack string) {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	for id, r := range b.w.ran {
		if !r.State.Final() {
			r.State, r.EndedAt = job.StateSucceeded, time.Now()
			b.w.ran[id] = r
			b.w.tell([]job.Report{r})
			return b.w.racks[id.Minion]
		}
	}
	return ""
}

// finish ends task after task until the runs are recorded, and nobody counts.
func (b *bed) finish(fires []job.FireID) {
	b.t.Helper()
	b.until("all runs have ended", func() bool {
		b.endOne()
		done := 0
		for _, f := range fires {
			done += b.recorded(func(r *job.Run) bool {
				return r.FireID == f && r.State == job.StateSucceeded && len(r.Tasks) == len(b.w.racks)
			})
		}
		return done == len(fires)
	})
	b.until("nobody counts", func() bool {
		resp, err := b.client.Get(context.Background(), b.keys.Permits(), clientv3.WithPrefix(), clientv3.WithCountOnly())
		return err == nil && resp.Count == 0
	})
}

func (b *bed) wantAtOnce(most int) {
	b.t.Helper()
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	for rack, n := range b.w.atOnce {
		if n > most {
			b.t.Errorf("I18: %d tasks ran at a time in rack %s, and %d may", n, rack, most)
		}
	}
	if len(b.w.atOnce) == 0 {
		b.t.Error("nothing ran")
	}
}

// TestI18_CapHoldsOverShardsAndNodes starts runs in several shards, which two
// nodes own, ends tasks, and kills and starts nodes, at random: there are never
// more tasks under way in a rack than the cap says.
func TestI18_CapHoldsOverShardsAndNodes(t *testing.T) {
	t.Parallel()
	const most = 2
	b := setup(t)
	b.ttl = mortal
	b.racked(map[job.MinionID]string{"m1": "a", "m2": "a", "m3": "a", "m4": "b", "m5": "b"})
	jobs := b.apart(capped(most), 3)
	var kills []func()
	nodes := 0
	start := func() {
		nodes++
		_, kill, _ := b.start(job.NodeID(fmt.Sprintf("n%d", nodes)))
		kills = append(kills, kill)
	}
	start()
	start()
	b.until("both nodes own shards", func() bool { return b.owned("n1") > 0 && b.owned("n2") > 0 })
	var fires []job.FireID
	fires = append(fires, b.trigger(jobs[0], nil), b.trigger(jobs[1], nil))
	b.until("both racks are full", func() bool { return b.underWay() == 2*most })
	acts := slices.Concat(slices.Repeat([]string{"start"}, 3), slices.Repeat([]string{"end"}, 15), slices.Repeat([]string{"kill"}, 3))
	for i, act := range rapid.Permutation(acts).Example(1) {
		switch act {
		case "start":
			fires = append(fires, b.trigger(jobs[i%len(jobs)], nil))
		case "end":
			n := b.orders()
			if rack := b.endOne(); rack != "" {
				b.until("another one has started, or all of the rack have", func() bool { return b.orders() > n || b.allOf(rack, len(fires)) })
			}
		case "kill":
			kills[0]()
			kills = kills[1:]
			start()
		}
	}
	b.finish(fires)
	b.wantAtOnce(most)
}

// orders counts the tasks that minions have.
func (b *bed) orders() int {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	return len(b.w.ran)
}

// allOf reports whether so many runs have been started on all minions of a rack.
func (b *bed) allOf(rack string, runs int) bool {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	left := 0
	for _, r := range b.w.racks {
		if r == rack {
			left += runs
		}
	}
	for id := range b.w.ran {
		if b.w.racks[id.Minion] == rack {
			left--
		}
	}
	return left <= 0
}

// TestI18_PermitsOutliveTheirOwner: a node is killed while tasks of its run are
// under way. They count on, for runs in other shards, too, until the next owner
// sees them end; and no task is started twice.
func TestI18_PermitsOutliveTheirOwner(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ttl = mortal
	b.racked(map[job.MinionID]string{"m1": "a", "m2": "a", "m3": "a"})
	jobs := b.apart(capped(2), 2)
	_, kill, _ := b.start("n1")
	fires := []job.FireID{b.trigger(jobs[0], nil)}
	b.until("two are under way", func() bool { return b.underWay() == 2 })
	kill()
	b.start("n2")
	fires = append(fires, b.trigger(jobs[1], nil))
	b.finish(fires)
	b.wantAtOnce(2)
	if n := b.orders(); n != 6 {
		t.Errorf("%d tasks ran, want 6", n)
	}
}

// TestI18_LeftoversAreCollected: those that count and whose runs are not open
// any more keep nobody waiting: neither the owner of their own shard, nor others
// where it has none.
func TestI18_LeftoversAreCollected(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.racked(map[job.MinionID]string{"m1": "own", "m2": "ownerless"})
	j := b.apart(capped(1), 1)[0]
	own := etcdkv.ShardOf(j.Key(), b.meta.Shards)
	for rack, shard := range map[string]job.ShardID{"own": own, "ownerless": 1<<31 + 7} {
		old := job.FireID{Job: job.UID{9}, At: 5, Trigger: job.TriggerManual}
		v := etcdkv.Permits{Schema: 1, Label: "rack", Value: rack}
		v.Add(old, shard, "gone")
		b.place(b.keys.Permit("rack", rack), v)
	}
	b.start("n")
	b.finish([]job.FireID{b.trigger(j, nil)})
}

// capShard is an owned shard without a loop: a test does its rounds.
func (b *bed) capShard(id job.ShardID) *shard {
	b.t.Helper()
	sess, err := lock.Open(b.t.Context(), lock.SessionConfig{Holder: "n", TTL: time.Minute, Epoch: 1, Marks: b.keys.Marks()}, lock.Deps{Client: b.client, Logger: zap.NewNop()})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = sess.Close(context.Background()) })
	own, err := sess.Claim(b.t.Context(), lock.Grant{Key: b.keys.Owner(id), Value: fmt.Sprint(rand.Int64())})
	if err != nil {
		b.t.Fatal(err)
	}
	met, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		b.t.Fatal(err)
	}
	cfg := Config{Node: "n", Identity: "n", Keys: b.keys, Meta: b.meta}.filled()
	return newShard(id, own, &cfg, &Deps{Client: b.client, Logger: zap.NewNop(), Cluster: cluster.New(nil, b.keys, b.meta)}, met)
}

// roundOf makes a round that asks for permits for tasks under the bound 2, and
// gives those of others back.
func (s *shard) roundOf(asks, drops []holder, keys ...cluster.Cap) *permitRound {
	r := &permitRound{shard: s.id, drops: map[holder][]cluster.Cap{}, keys: map[cluster.Cap]struct{}{}}
	r.fits(keys)
	for _, id := range asks {
		bounds := map[cluster.Cap]int{}
		for _, k := range keys {
			bounds[k] = 2
		}
		r.asks = append(r.asks, &permitAsk{f: &fire{}, t: &task{}, id: id, bounds: bounds})
	}
	for _, id := range drops {
		r.drops[id] = keys
	}
	return r
}

func aHolder(s *shard, n int) holder {
	return holder{fire: job.FireID{Job: job.UID{byte(s.id)}, At: int64(n), Trigger: job.TriggerManual}, minion: "m"}
}

// TestI18_RoundsAtATime: shards that ask for permits and give them back at the
// same time never have more of them together than the bound.
func TestI18_RoundsAtATime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	k := cluster.Cap{Label: "rack", Value: "a"}
	var mu sync.Mutex
	var wg sync.WaitGroup
	now := 0
	for i := range 3 {
		s := b.capShard(job.ShardID(i))
		wg.Go(func() {
			for n := range 20 {
				id := aHolder(s, n)
				r := s.roundOf([]holder{id}, nil, k)
				if err := s.doRound(t.Context(), r); err != nil {
					t.Error(err)
					return
				}
				if _, ok := r.granted[id]; !ok {
					continue
				}
				mu.Lock()
				if now++; now > 2 {
					t.Errorf("I18: %d have a permit, and 2 may", now)
				}
				mu.Unlock()
				time.Sleep(time.Millisecond) // lets the others try
				mu.Lock()
				now--
				mu.Unlock()
				if err := s.doRound(t.Context(), s.roundOf(nil, []holder{id}, k)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	resp, err := b.client.Get(t.Context(), b.keys.Permits(), clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || resp.Count != 0 {
		t.Errorf("%d keys are left, %v", resp.Count, err)
	}
}

// TestI18_FormerOwnerGetsNoPermit: once a shard has another owner, the former one
// can neither get permits nor give any back.
func TestI18_FormerOwnerGetsNoPermit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.capShard(1)
	a, c := cluster.Cap{Label: "rack", Value: "a"}, cluster.Cap{Label: "site", Value: "east/1"}
	has := s.roundOf([]holder{aHolder(s, 1), aHolder(s, 2), aHolder(s, 3)}, nil, a, c)
	if err := s.doRound(t.Context(), has); err != nil || len(has.granted) != 2 {
		t.Fatalf("granted %v, %v; want two of three", has.granted, err)
	}
	if err := s.own.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	next := b.capShard(1)
	for what, r := range map[string]*permitRound{
		"asks": s.roundOf([]holder{aHolder(s, 1)}, nil, a, c), "gives back": s.roundOf(nil, []holder{aHolder(s, 1)}, a, c),
	} {
		if err := s.tryRound(t.Context(), r); !errors.Is(err, lock.ErrFenced) {
			t.Errorf("a former owner %s: %v, want it to be fenced off", what, err)
		}
	}
	left, err := next.readPermits(t.Context())
	if err != nil || len(left) != 2 || len(left[aHolder(s, 1)]) != 2 {
		t.Errorf("the next owner reads %v, %v; want both, under two caps", left, err)
	}
}

// TestOpenRunsAreNoLeftovers: who counts stays while the fire is in a slot,
// whoever looks.
func TestOpenRunsAreNoLeftovers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.capShard(1)
	k := cluster.Cap{Label: "rack", Value: "a"}
	open := job.FireID{Job: job.UID{1}, At: 1, Trigger: job.TriggerManual}
	share, over := open, open
	share.Share, over.At = 7, 2
	sl := etcdkv.Slot{Entries: []etcdkv.SlotEntry{{Fire: open, State: etcdkv.EntryOpen}}}
	if _, err := b.client.Put(t.Context(), b.keys.Slot(2, 1), string(etcdkv.EncodeSlot(&sl))); err != nil {
		t.Fatal(err)
	}
	v := etcdkv.Permits{Schema: 1, Label: k.Label, Value: k.Value}
	own := job.FireID{Job: job.UID{3}, At: 3, Trigger: job.TriggerManual}
	v.Add(open, 2, "m1")
	v.Add(share, 2, "m1")
	v.Add(over, 2, "m1")
	v.Add(own, 1, "m1")
	b.place(b.keys.Permit(k.Label, k.Value), v)
	if err := s.removeLeftovers(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	resp, err := b.client.Get(t.Context(), b.keys.Permit(k.Label, k.Value))
	if err != nil || len(resp.Kvs) != 1 {
		t.Fatal(resp, err)
	}
	got, err := etcdkv.Decode[etcdkv.Permits]("", resp.Kvs[0].Value)
	if err != nil || got.Count() != 3 || got.Holds(over, "m1") {
		t.Errorf("%+v count, %v; want all but %v", got.Holders, err, over)
	}
}

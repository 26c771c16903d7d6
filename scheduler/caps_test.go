package scheduler

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
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

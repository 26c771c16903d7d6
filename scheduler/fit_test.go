package scheduler

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/boottime"
	"github.com/carillon-cron/carillon/internal/clock"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// clocks are those of a test's nodes, each off by what the test says, and of its
// minions.
type clocks struct {
	mu      sync.Mutex
	off     map[job.NodeID]*atomic.Int64
	of      map[job.NodeID]*clock.Clock
	minions int
}

func (c *clocks) PeerClock(_ context.Context, node job.NodeID) (clock.Reading, error) {
	c.mu.Lock()
	of := c.of[node]
	c.mu.Unlock()
	sent := boottime.Now()
	wall, sure := of.Witness()
	if !sure {
		return clock.Reading{}, clock.ErrDoubtful
	}
	return clock.Trip(wall, sent, boottime.Now()), nil
}

func (c *clocks) MinionClocks(int) []clock.Reading {
	sent := boottime.Now()
	return slices.Repeat([]clock.Reading{clock.Trip(time.Now().UnixNano(), sent, boottime.Now())}, c.minions)
}

// step makes a node's clock wrong by so much.
func (c *clocks) step(node job.NodeID, by time.Duration) { c.at(node).Store(int64(by)) }

func (c *clocks) at(node job.NodeID) *atomic.Int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.off[node] == nil {
		c.off[node] = &atomic.Int64{}
	}
	return c.off[node]
}

// clocked gives the nodes that are started from now on clocks of their own.
func (b *bed) clocked(minions int) *clocks {
	c := &clocks{off: map[job.NodeID]*atomic.Int64{}, of: map[job.NodeID]*clock.Clock{}, minions: minions}
	// A comparison is off by half of its round trip, which a busy machine makes long
	// (C1 of package clock). The steps are four times as long.
	b.w.off = 500 * time.Millisecond
	b.adjust = func(node job.NodeID, _ *Config, deps *Deps) {
		off := c.at(node)
		deps.Time = clock.New(clock.Config{}, clock.Deps{Wall: func() time.Time { return time.Now().Add(time.Duration(off.Load())) }})
		deps.Clocks = c
		c.mu.Lock()
		c.of[node] = deps.Time
		c.mu.Unlock()
	}
	return c
}

// slot stores the first slot of the first shard.
func (b *bed) slot(v *etcdkv.Slot) {
	b.t.Helper()
	if _, err := b.client.Put(context.Background(), b.keys.Slot(0, 1), string(etcdkv.EncodeSlot(v))); err != nil {
		b.t.Fatal(err)
	}
}

// more waits for more records.
func (b *bed) more(n int) {
	b.t.Helper()
	all := func(*job.Run) bool { return true }
	before := b.recorded(all)
	b.until("more runs", func() bool { return b.recorded(all) >= before+n })
}

// says reports whether a node says that it is not ready because of its clock.
func says(e *Engine) bool {
	return slices.ContainsFunc(e.Ready(), func(s string) bool { return strings.Contains(s, "its clock") })
}

// TestI7HoldsByTheClockOfMost: a node of several whose clock steps starts nothing
// early, says so, gives its shards up, and has them again once it is right. The jobs
// go on meanwhile.
func TestI7HoldsByTheClockOfMost(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]time.Duration{"8h ahead": 8 * time.Hour, "10s ahead": 10 * time.Second, "1h behind": -time.Hour, "2s ahead": 2 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			c := b.clocked(0)
			var jobs []job.Job
			for i := range 20 {
				jobs = append(jobs, b.put(fmt.Sprintf("j%d", i), every("500ms", job.OverlapAllow)))
			}
			e, _, _ := b.start("n1")
			b.start("n2")
			b.start("n3")
			b.seen(3)
			b.until("n1 owns shards", func() bool { return b.owned("n1") > 0 && len(e.Ready()) == 0 })
			b.until("n1 has been compared", func() bool { return c.of["n1"].State().Nodes == 2 }) // before, nobody knows
			b.more(20)
			c.step("n1", by)
			if by.Abs() > clock.DefaultBound {
				b.until("n1 has none", func() bool { return b.owned("n1") == 0 && says(e) })
				b.more(40)
				b.until("n1 has none still", func() bool { return b.owned("n1") == 0 && says(e) })
			}
			b.more(40)
			c.step("n1", 0)
			b.until("n1 owns shards again", func() bool { return b.owned("n1") > 0 && len(e.Ready()) == 0 })
			b.more(20)
			b.check(jobs, time.Now().Add(-time.Second))
			if n := b.recorded(func(r *job.Run) bool { return r.State != job.StateSucceeded }); n > 0 {
				t.Errorf("%d runs did not succeed", n)
			}
		})
	}
}

// TestI27AShardIsPassedOnUnread: a node whose clock is wrong gives a shard up that
// it is handed, though it has not read it.
func TestI27AShardIsPassedOnUnread(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := b.clocked(3)
	right, _, _ := b.start("n2")
	holds := func() bool {
		right.mu.RLock()
		defer right.mu.RUnlock()
		return len(right.shards) == b.meta.Shards
	}
	b.until("n2 owns all", func() bool { return holds() && len(right.Ready()) == 0 })
	c.step("n1", time.Hour)
	wrong, _, _ := b.start("n1")
	b.seen(2)
	b.until("n1 says that it is wrong, and n2 knows", func() bool {
		return wrong.keeper.Judged() && says(wrong) && right.deps.Cluster.Unfit("n1") && holds()
	})
	to, _ := right.deps.Cluster.Member("n1")
	right.mu.RLock()
	s := right.shards[0]
	right.mu.RUnlock()
	passed := make(chan error, 1)
	s.Yield(t.Context(), &to, func(err error) { passed <- err })
	if err := <-passed; err != nil {
		t.Fatal(err)
	}
	b.until("n2 owns all again", func() bool {
		right.mu.RLock()
		again := right.shards[0] != s
		right.mu.RUnlock()
		return again && holds()
	})
}

// TestAnOwnerAloneWithAMinion: a node alone starts nothing either while its clock is
// wrong, and goes on by itself afterwards.
func TestAnOwnerAloneWithAMinion(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 3} {
		t.Run(fmt.Sprintf("%d minions", n), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			c := b.clocked(n)
			jobs := []job.Job{b.put("j", every("200ms", job.OverlapAllow)), b.put("k", every("1h", job.OverlapAllow))}
			e, _, _ := b.start("n1")
			b.more(10)
			c.step("n1", 8*time.Hour)
			b.until("it says so", func() bool { return says(e) })
			orders := func() int {
				b.w.mu.Lock()
				defer b.w.mu.Unlock()
				return len(b.w.orders)
			}
			time.Sleep(500 * time.Millisecond) // for a step that had begun
			before := orders()
			asked := b.trigger(jobs[1], nil)
			time.Sleep(time.Second)
			if n := orders() - before; n > 0 {
				t.Errorf("it has sent %d orders with a clock that is wrong", n)
			}
			c.step("n1", 0)
			b.until("it is ready, and goes on", func() bool {
				return len(e.Ready()) == 0 && b.recorded(func(r *job.Run) bool { return r.FireID == asked }) == 1
			})
			b.more(10)
			b.check(jobs, time.Now().Add(-time.Second))
		})
	}
}

// TestACursorInTheFutureIsSetBack: a shard that a wrong clock has planned hours
// ahead fires on. What has run early does not run again, what was only recorded as
// missed does, at its time.
func TestACursorInTheFutureIsSetBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.meta.Shards, b.ttl = 1, mortal
	b.clocked(3)
	soon := time.Now().Add(6 * time.Second).UTC().Truncate(time.Second)
	at := func(name string) job.Job {
		return b.put(name, job.Spec{Schedules: []string{"@at " + soon.Format(time.RFC3339)}, Command: []string{"x"}})
	}
	ran, missed, skipped, open, fresh := at("ran"), at("missed"), at("skipped"), at("open"), at("fresh")
	beat := b.put("beat", every("200ms", job.OverlapAllow))
	id := func(j job.Job) job.FireID {
		return job.FireID{Job: j.UID, At: soon.UnixNano(), Trigger: job.TriggerSchedule}
	}
	for j, state := range map[*job.Job]job.State{&ran: job.StateSucceeded, &missed: job.StateMissed, &skipped: job.StateSkipped} {
		b.w.runs[id(*j).RunID()] = job.Run{RunID: id(*j).RunID(), FireID: id(*j), Namespace: "t", Job: j.Name, State: state, ScheduledAt: soon}
	}
	wrong := time.Now().Add(8 * time.Hour).UTC()
	b.place(b.keys.State(0), etcdkv.ShardState{Schema: 1, Cursor: wrong, Judged: wrong, JobsRev: 1 << 40, Seq: 1, Node: "n9", Claim: "c"})
	b.slot(&etcdkv.Slot{CommittedAt: wrong.UnixNano(), Node: "n9", Entries: []etcdkv.SlotEntry{
		{Fire: id(open), State: etcdkv.EntryOpen, Tasks: []etcdkv.SlotTask{{Minion: "m1", Attempt: 1}}},
	}})
	_, kill, _ := b.start("n1")
	b.more(5)
	begun := time.Now()
	kill() // the next owner knows as well
	b.start("n2")
	b.until("all that is to run has", func() bool {
		b.w.mu.Lock()
		defer b.w.mu.Unlock()
		for _, j := range []job.Job{missed, skipped, open, fresh} {
			if b.w.runs[id(j).RunID()].State != job.StateSucceeded {
				return false
			}
		}
		return true
	})
	b.more(5)
	beat.After = begun // what is due while nobody planned is the wrong clock's
	b.check([]job.Job{beat, ran, missed, skipped, open, fresh}, time.Now().Add(-time.Second))
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	for task := range b.w.ran {
		if task.Fire == id(ran) {
			t.Error("what had run ran again")
		}
	}
	resp, err := b.client.Get(t.Context(), b.keys.State(0))
	if err != nil {
		t.Fatal(err)
	}
	st, err := etcdkv.Decode[etcdkv.ShardState]("state", resp.Kvs[0].Value)
	if err != nil || !st.Ahead.Equal(wrong) || time.Until(st.Cursor) > time.Minute || time.Since(st.Judged) > time.Minute {
		t.Errorf("state %+v, %v", st, err)
	}
}

// TestWhatHistoryHasForgottenDoesNotRun: of an instant that was planned before, and
// of which no record can tell, it is said that it is not known whether it ran.
func TestWhatHistoryHasForgottenDoesNotRun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.meta.Shards = 1
	b.clocked(3)
	b.w.forgetful = true
	j := b.put("j", every("1s", job.OverlapAllow))
	wrong := time.Now().Add(time.Hour).UTC()
	b.place(b.keys.State(0), etcdkv.ShardState{Schema: 1, Cursor: wrong, JobsRev: 1 << 40, Node: "n9", Claim: "c"})
	b.start("n1")
	b.until("a record that says so", func() bool {
		return b.recorded(func(r *job.Run) bool {
			return r.FireID.Job == j.UID && r.State == job.StateSkipped && strings.Contains(r.Reason, "whether it ran then is not known")
		}) > 0
	})
}

// TestARunDoesNotWaitForAWrongClock: a run whose start was put off by a clock that
// was ahead starts as long after as it was to be.
func TestARunDoesNotWaitForAWrongClock(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.meta.Shards = 1
	b.clocked(3)
	j := b.put("j", job.Spec{Command: []string{"x"}})
	now := time.Now()
	wrong := now.Add(time.Hour)
	id := job.FireID{Job: j.UID, At: now.Add(-time.Second).UnixNano(), Trigger: job.TriggerSchedule}
	b.place(b.keys.State(0), etcdkv.ShardState{Schema: 1, Cursor: now, Judged: wrong, JobsRev: 1 << 40, Seq: 1, Node: "n9", Claim: "c"})
	b.slot(&etcdkv.Slot{CommittedAt: wrong.UnixNano(), Node: "n9", Entries: []etcdkv.SlotEntry{
		{Fire: id, State: etcdkv.EntryOpen, Tasks: []etcdkv.SlotTask{{Minion: "m1", Attempt: 1, NotBefore: wrong.Add(time.Second).UnixNano()}}},
	}})
	b.start("n1")
	b.until("it has run", func() bool {
		return b.recorded(func(r *job.Run) bool { return r.FireID == id && r.State == job.StateSucceeded }) == 1
	})
}

package scheduler

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// group stores a group; n tells its shard.
func (b *bed) group(n job.ShardID, spec job.GroupSpec) job.ShardID {
	b.t.Helper()
	shard := job.FirstGroupShard + n
	g := etcdkv.StoredGroup{Schema: 1, Group: job.Group{
		Metadata: job.Metadata{Namespace: "t", Name: fmt.Sprintf("g%d", n)}, Spec: spec, Shard: shard, Generation: 1,
	}}
	b.place(b.keys.Group(g.Key()), g)
	return shard
}

// putIn stores a job in a shard.
func (b *bed) putIn(shard job.ShardID, name string, spec job.Spec) job.Job {
	b.t.Helper()
	uid, err := job.NewUID()
	if err != nil {
		b.t.Fatal(err)
	}
	j := job.Job{Metadata: job.Metadata{Namespace: "t", Name: name}, Spec: spec, UID: uid, Generation: 1, After: time.Now().UTC()}
	b.place(b.keys.Job(shard, j.Key()), etcdkv.StoredJob{Schema: 1, Job: j})
	return j
}

// ended returns the ended runs of a job in the order of their instants.
func (b *bed) ended(j job.Job) []job.Run {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	var out []job.Run
	for _, r := range b.w.runs {
		if r.FireID.Job == j.UID && r.State.Final() {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b job.Run) int {
		return cmp.Or(a.ScheduledAt.Compare(b.ScheduledAt), cmp.Compare(a.Share, b.Share))
	})
	return out
}

// lined waits until nodes stand in line.
func (b *bed) lined(shard job.ShardID, n int) {
	b.t.Helper()
	b.until(fmt.Sprintf("%d nodes in line", n), func() bool {
		r, err := b.client.Get(context.Background(), b.keys.Lines(), clientv3.WithPrefix(), clientv3.WithCountOnly())
		return err == nil && int(r.Count) >= n
	})
	_ = shard
}

// TestRoundRobinTakesTurns: nodes fire in turn, each occurrence once.
func TestRoundRobinTakesTurns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	shard := b.group(0, job.GroupSpec{Mode: "roundrobin"})
	for _, n := range []job.NodeID{"a", "b", "c"} {
		b.start(n)
	}
	b.lined(shard, 3)
	b.seen(3)
	j := b.putIn(shard, "rr", every("400ms", job.OverlapAllow))
	b.until("12 runs", func() bool { return len(b.ended(j)) >= 12 })
	b.check([]job.Job{j}, b.ended(j)[11].ScheduledAt)
	runs := b.ended(j)[3:] // in the first round not everybody may have seen everybody in line
	turns := map[job.NodeID]int{}
	for i, r := range runs[:9] {
		if r.State != job.StateSucceeded {
			t.Errorf("run at %v is %s: %s", r.ScheduledAt, r.State, r.Reason)
		}
		turns[r.Node]++
		if i > 0 && runs[i-1].Node == r.Node {
			t.Errorf("%s fired twice in a row, at %v", r.Node, r.ScheduledAt)
		}
	}
	for n, k := range turns {
		// Who looks unwell for a moment, on a busy machine, is passed over.
		if k < 2 || k > 4 {
			t.Errorf("node %s fired %d of 9 times, want 3", n, k)
		}
	}
}

// TestRoundRobinGoesOnWithoutTheDead: the ring closes over a node that crashed.
func TestRoundRobinGoesOnWithoutTheDead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ttl = mortal
	shard := b.group(0, job.GroupSpec{Mode: "roundrobin"})
	b.start("a")
	_, kill, _ := b.start("b")
	b.start("c")
	b.lined(shard, 3)
	j := b.putIn(shard, "rr", every("400ms", job.OverlapAllow))
	b.until("3 runs", func() bool { return len(b.ended(j)) >= 3 })
	kill()
	n := len(b.ended(j))
	b.until("the others take turns", func() bool {
		runs := b.ended(j)
		if len(runs) < n+6 {
			return false
		}
		last := runs[len(runs)-4:]
		for i, r := range last {
			if r.Node == "b" || i > 0 && r.Node == last[i-1].Node {
				return false
			}
		}
		return true
	})
	runs := b.ended(j)
	b.check([]job.Job{j}, runs[len(runs)-1].ScheduledAt)
}

// TestTimesliceFollowsTheClock: who fires follows from the scheduled instant.
func TestTimesliceFollowsTheClock(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ttl = 5 * mortal // who is not lost must not look so
	ring := []job.NodeID{"a", "b", "c"}
	shard := b.group(0, job.GroupSpec{Mode: "timeslice", Slice: job.Duration(2 * time.Second), Nodes: ring})
	var kill func()
	for _, n := range ring {
		_, k, _ := b.start(n)
		if n == "b" {
			kill = k
		}
	}
	b.seen(3)
	j := b.putIn(shard, "ts", every("1s", job.OverlapAllow))
	want := func(r *job.Run) job.NodeID { return ring[r.ScheduledAt.Unix()/2%3] }
	b.until("8 runs", func() bool { return len(b.ended(j)) >= 8 })
	for _, r := range b.ended(j)[1:] { // the first may be due before everybody has seen everybody
		if r.Node != want(&r) {
			t.Errorf("%v was fired by %s, want %s", r.ScheduledAt, r.Node, want(&r))
		}
	}
	kill()
	n := len(b.ended(j))
	b.until("8 more runs", func() bool { return len(b.ended(j)) >= n+8 })
	runs := b.ended(j)
	b.check([]job.Job{j}, runs[len(runs)-1].ScheduledAt)
	for _, r := range runs[len(runs)-4:] {
		w := want(&r)
		if w == "b" {
			w = "c" // takes the lost one's slices over
		}
		if r.Node != w {
			t.Errorf("after the loss %v was fired by %s, want %s", r.ScheduledAt, r.Node, w)
		}
	}
}

// TestTimesliceSkipsTheLost: with onLoss skip the lost node's slices are
// recorded.
func TestTimesliceSkipsTheLost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	shard := b.group(0, job.GroupSpec{Mode: "timeslice", Slice: job.Duration(time.Second), Nodes: []job.NodeID{"a", "gone"}, OnLoss: job.LossSkip})
	b.start("a")
	j := b.putIn(shard, "ts", every("1s", job.OverlapAllow))
	b.until("6 runs", func() bool { return len(b.ended(j)) >= 6 })
	for _, r := range b.ended(j) {
		want := job.StateSucceeded
		if r.ScheduledAt.Unix()%2 == 1 {
			want = job.StateSkipped
		}
		if r.State != want || want == job.StateSkipped && r.Reason == "" {
			t.Errorf("%v is %s (%s), want %s", r.ScheduledAt, r.State, r.Reason, want)
		}
	}
}

// TestParallelShares: each node has its share of each occurrence.
func TestParallelShares(t *testing.T) {
	t.Parallel()
	b := setup(t)
	async, sync := b.group(0, job.GroupSpec{Mode: "parallel"}), b.group(1, job.GroupSpec{Mode: "parallel", Start: job.StartSync})
	for _, n := range []job.NodeID{"a", "b", "c"} {
		b.start(n)
	}
	b.seen(3)
	ja, js := b.putIn(async, "async", every("500ms", job.OverlapAllow)), b.putIn(sync, "sync", every("1s", job.OverlapAllow))
	b.until("3 shares of each of the first 3 occurrences, and 4 runs", func() bool {
		shares := b.ended(ja)
		return len(shares) >= 9 && shares[8].ScheduledAt.Sub(shares[0].ScheduledAt) == time.Second && len(b.ended(js)) >= 4
	})
	at := map[time.Time][]job.NodeID{}
	for _, r := range b.ended(ja)[:9] {
		if r.State != job.StateSucceeded {
			t.Errorf("share of %s at %v is %s: %s", r.Share, r.ScheduledAt, r.State, r.Reason)
		}
		at[r.ScheduledAt] = append(at[r.ScheduledAt], r.Share)
	}
	for when, nodes := range at {
		if !slices.Equal(nodes, []job.NodeID{"a", "b", "c"}) {
			t.Errorf("shares at %v are of %v, want each node's", when, nodes)
		}
	}
	for _, r := range b.ended(js)[:3] {
		if len(r.Tasks) != 3 || r.State != job.StateSucceeded {
			t.Errorf("run at %v is %s with %d tasks, want one with 3", r.ScheduledAt, r.State, len(r.Tasks))
		}
	}
}

// TestFailbackWaits: the first choice gets the lock back, not before the
// hold-off.
func TestFailbackWaits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ttl = mortal
	const holdOff = 2 * time.Second
	shard := b.group(0, job.GroupSpec{Mode: "failback", HoldOff: job.Duration(holdOff)})
	owner := func() job.NodeID { return b.owner(shard) }
	_, kill, _ := b.start("a") // the same priority as b; a comes first
	b.until("a owns", func() bool { return owner() == "a" })
	b.start("b")
	j := b.putIn(shard, "fb", every("1s", job.OverlapAllow))
	b.until("a run", func() bool { return len(b.ended(j)) > 0 })
	kill()
	b.until("b owns", func() bool { return owner() == "b" })
	began := time.Now()
	b.start("a")
	b.until("a owns again", func() bool { return owner() == "a" })
	if took := time.Since(began); took < holdOff {
		t.Errorf("the lock came back after %v, want the hold-off of %v to pass", took, holdOff)
	}
	n := len(b.ended(j))
	b.until("2 more runs", func() bool { return len(b.ended(j)) >= n+2 })
	runs := b.ended(j)
	b.check([]job.Job{j}, runs[len(runs)-1].ScheduledAt)
}

// owner returns the node that owns the shard now, empty if none does.
func (b *bed) owner(shard job.ShardID) job.NodeID {
	r, err := b.client.Get(context.Background(), b.keys.Owner(shard))
	if err != nil || len(r.Kvs) == 0 {
		return ""
	}
	o, err := etcdkv.Decode[etcdkv.Owner]("", r.Kvs[0].Value)
	if err != nil {
		return ""
	}
	return o.Node
}

// TestOrderedGroup: one run at a time over all jobs of the group.
func TestOrderedGroup(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.w.hold = true
	shard := b.group(0, job.GroupSpec{Ordered: true})
	b.start("a")
	j1, j2 := b.putIn(shard, "one", every("400ms", job.OverlapAllow)), b.putIn(shard, "two", every("1s", job.OverlapAllow))
	running := func() (ids []job.TaskID) {
		b.w.mu.Lock()
		defer b.w.mu.Unlock()
		for id, r := range b.w.ran {
			if !r.State.Final() {
				ids = append(ids, id)
			}
		}
		return ids
	}
	done := 0
	var last int64
	b.until("6 runs", func() bool {
		ids := running()
		if len(ids) > 1 {
			t.Fatalf("%d runs at a time in an ordered group", len(ids))
		}
		if len(ids) == 1 {
			if ids[0].Fire.At < last {
				t.Errorf("%v started after a later one", ids[0].Fire)
			}
			last = ids[0].Fire.At
			b.w.finish(ids[0])
			done++
		}
		return done >= 6
	})
	b.w.mu.Lock()
	b.w.hold = false
	b.w.mu.Unlock()
	for _, id := range running() {
		b.w.finish(id)
	}
	b.until("both jobs ran", func() bool { return len(b.ended(j1)) >= 2 && len(b.ended(j2)) >= 2 })
}

// finish ends a running task.
func (w *world) finish(id job.TaskID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.ran[id]
	r.State, r.EndedAt = job.StateSucceeded, time.Now()
	w.ran[id] = r
	w.tell([]job.Report{r})
}

// TestI3MoveBetweenShards moves a job to and fro while it fires: nothing is lost
// and nothing runs twice.
func TestI3MoveBetweenShards(t *testing.T) {
	t.Parallel()
	b := setup(t)
	home := b.group(0, job.GroupSpec{Mode: "failover"})
	away := b.group(1, job.GroupSpec{Mode: "roundrobin"})
	b.start("a")
	b.start("b")
	b.lined(away, 2)
	j := b.putIn(home, "mover", every("400ms", job.OverlapAllow))
	at := home
	for i := range 6 {
		b.until("a run", func() bool { return len(b.ended(j)) > i })
		to := away
		if at == away {
			to = home
		}
		b.move(&j, at, to)
		at = to
	}
	n := len(b.ended(j))
	b.until("2 more runs", func() bool { return len(b.ended(j)) >= n+2 })
	runs := b.ended(j)
	first := j
	first.After = runs[0].ScheduledAt.Add(-400 * time.Millisecond)
	b.check([]job.Job{first}, runs[len(runs)-1].ScheduledAt)
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	for id, times := range b.w.orders {
		if times > 1 {
			t.Logf("%v was ordered %d times", id, times) // a takeover may; the minion runs it once
		}
	}
	for _, r := range runs {
		if r.State != job.StateSucceeded {
			t.Errorf("run at %v is %s: %s", r.ScheduledAt, r.State, r.Reason)
		}
	}
}

// move does what package control does when a job's group changes.
func (b *bed) move(j *job.Job, from, to job.ShardID) {
	b.t.Helper()
	ctx := context.Background()
	for {
		state := b.keys.State(from)
		r, err := b.client.Get(ctx, state)
		if err != nil {
			b.t.Fatal(err)
		}
		var rev int64
		ops := []clientv3.Op{clientv3.OpDelete(b.keys.Job(from, j.Key()))}
		next := *j
		if len(r.Kvs) > 0 {
			rev = r.Kvs[0].ModRevision
			st, err := etcdkv.Decode[etcdkv.ShardState](state, r.Kvs[0].Value)
			if err != nil {
				b.t.Fatal(err)
			}
			if st.Cursor.After(next.After) {
				next.After = st.Cursor
			}
			st.Claim = fmt.Sprintf("move-%d", rev)
			ops = append(ops, clientv3.OpPut(state, b.encode(&st)))
		}
		ops = append(ops,
			clientv3.OpPut(b.keys.Job(to, j.Key()), b.encode(&etcdkv.StoredJob{Schema: 1, Job: next, MovedFrom: &from})),
			clientv3.OpPut(b.keys.MovedJob(from, j.UID), b.encode(&etcdkv.MovedJob{Schema: 1, To: to, Job: *j})),
			clientv3.OpDelete(b.keys.MovedJob(to, j.UID)))
		done, err := b.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(state), "=", rev)).Then(ops...).Commit()
		if err != nil {
			b.t.Fatal(err)
		}
		if done.Succeeded {
			*j = next
			return
		}
	}
}

func (b *bed) encode(v any) string {
	b.t.Helper()
	s, err := etcdkv.Encode(v)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// TestModeChangesWhileFiring: a group's mode may change at any time; nothing is
// lost, nothing is committed twice.
func TestModeChangesWhileFiring(t *testing.T) {
	t.Parallel()
	b := setup(t)
	specs := []job.GroupSpec{
		{Mode: "failover"}, {Mode: "roundrobin"}, {Mode: "timeslice", Slice: job.Duration(time.Second)},
		{Mode: "preempt"}, {Mode: "roundrobin-preempt", Grace: job.Duration(time.Second)}, {Mode: "balanced"},
		{Mode: "failback", HoldOff: job.Duration(time.Second)}, {Mode: "roundrobin", Ordered: true}, {Mode: "balanced", MaxConcurrent: 2},
	}
	shard := b.group(0, specs[0])
	for _, n := range []job.NodeID{"a", "b", "c"} {
		b.start(n)
	}
	var jobs []job.Job
	for i := range 3 {
		jobs = append(jobs, b.putIn(shard, fmt.Sprintf("j%d", i), every("200ms", job.OverlapAllow)))
	}
	for _, spec := range append(specs, specs...) {
		n := len(b.ended(jobs[0]))
		b.group(0, spec)
		b.until("3 runs in mode "+spec.Mode, func() bool { return len(b.ended(jobs[0])) >= n+3 })
	}
	runs := b.ended(jobs[0])
	b.check(jobs, runs[len(runs)-2].ScheduledAt.Add(-time.Second))
	for _, j := range jobs {
		for _, r := range b.ended(j) {
			if r.State != job.StateSucceeded {
				t.Errorf("run at %v is %s: %s", r.ScheduledAt, r.State, r.Reason)
			}
		}
	}
}

// TestGroupMutex: runs of two groups that name the same lock never run at a
// time, also when their owner crashes; and an outside holder keeps them out.
func TestGroupMutex(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ttl = mortal
	b.w.hold = true
	one := b.group(0, job.GroupSpec{Mode: "failover", Mutex: "m"})
	two := b.group(1, job.GroupSpec{Mode: "parallel", Mutex: "m"})
	_, kill, _ := b.start("a")
	j1, j2 := b.putIn(one, "one", every("500ms", job.OverlapQueueOne)), b.putIn(two, "two", every("500ms", job.OverlapQueueOne))
	running := func() (ids []job.TaskID) {
		b.w.mu.Lock()
		defer b.w.mu.Unlock()
		for id, r := range b.w.ran {
			if !r.State.Final() {
				ids = append(ids, id)
			}
		}
		return ids
	}
	step := func(n int) {
		done := 0
		b.until("runs", func() bool {
			ids := running()
			if len(ids) > 1 {
				t.Fatalf("%d runs hold the lock at a time: %v", len(ids), ids)
			}
			if len(ids) == 1 {
				b.w.finish(ids[0])
				done++
			}
			return done >= n
		})
	}
	step(4)
	b.until("a run", func() bool { return len(running()) == 1 })
	b.start("b")
	kill() // the run goes on, and so must its hold
	held := running()
	b.until("the dead owner's lease has ended, and b owns", func() bool { return b.owner(one) == "b" })
	if now := running(); len(now) != 1 || now[0] != held[0] {
		t.Errorf("after the owner's crash %v run, want %v alone", now, held)
	}
	step(4)
	if len(b.ended(j1)) == 0 || len(b.ended(j2)) == 0 {
		t.Errorf("%d and %d runs ended, want both jobs to have run", len(b.ended(j1)), len(b.ended(j2)))
	}
}

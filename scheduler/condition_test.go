package scheduler

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/job"
)

func (b *bed) remove(key string) {
	b.t.Helper()
	if _, err := b.client.Delete(context.Background(), key); err != nil {
		b.t.Fatal(err)
	}
}

// chain stores a job that runs after others.
func (b *bed) chain(name string, match job.Match, from ...string) job.Job {
	b.t.Helper()
	spec := job.Spec{Command: []string{"x"}, Overlap: job.OverlapAllow, After: &job.After{Jobs: from, Match: match}}
	j := b.put(name, spec)
	for _, f := range spec.After.Keys("t") {
		b.place(b.keys.Dependency(f, j.Key()), etcdkv.Dependency{
			Schema: 1, From: f, To: j.Key(), On: job.OnSuccess, Joined: match != job.MatchAny && len(from) > 1,
		})
	}
	return j
}

// TestAfterStartsOncePerEnd: each run's end starts the job that waits once,
// through crashes of the owners.
func TestAfterStartsOncePerEnd(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ttl = mortal
	down := b.chain("down", job.MatchAny, "up")
	up := b.put("up", every("100ms", job.OverlapAllow))
	for round := range 3 {
		_, kill, _ := b.start(job.NodeID(fmt.Sprintf("n%d", round)))
		before := len(b.ended(up))
		b.until("more runs", func() bool { return len(b.ended(up)) > before+20 })
		kill()
	}
	off := up
	off.Spec.Enabled, off.After = new(bool), time.Now().UTC()
	b.store(off)
	_, _, leave := b.start("last")
	cause := func(r *job.Run) job.RunID { return job.RunID(strings.Fields(r.Cause)[4]) }
	b.until("as many starts as ends", func() bool {
		ends := 0
		for _, r := range b.ended(up) {
			if r.State == job.StateSucceeded {
				ends++
			}
		}
		return len(b.ended(down)) >= ends && b.slots() == 0
	})
	leave()
	told := map[job.RunID]int{}
	for _, r := range b.ended(down) {
		told[cause(&r)]++
	}
	for _, r := range b.ended(up) {
		want := 0
		if r.State == job.StateSucceeded {
			want = 1
		}
		if n := told[r.RunID]; n != want {
			t.Errorf("run %s, which is %s, started the job that waits %d times, want %d", r.RunID, r.State, n, want)
		}
	}
}

// slots counts all that shards have not closed.
func (b *bed) slots() int {
	n := 0
	for s := range b.meta.Shards {
		for _, prefix := range []string{b.keys.Slots(job.ShardID(s)), b.keys.Ended(job.ShardID(s)), b.keys.Triggers(job.ShardID(s))} {
			r, err := b.client.Get(context.Background(), prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
			if err != nil {
				b.t.Fatal(err)
			}
			n += int(r.Count)
		}
	}
	return n
}

// TestAfterAllWaitsForEach: with match all the job starts when each of the
// others has ended since it was started last.
func TestAfterAllWaitsForEach(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.start("a")
	down := b.chain("down", job.MatchAll, "one", "two")
	one, two := b.put("one", job.Spec{Command: []string{"x"}}), b.put("two", job.Spec{Command: []string{"x"}})
	start := func(j job.Job) {
		before := len(b.ended(j))
		b.trigger(j, nil)
		b.until("a run of "+j.Name, func() bool { return len(b.ended(j)) > before })
	}
	for round := range 3 {
		start(one)
		start(one) // a second end of the same one is not the other's
		if n := len(b.ended(down)); n != round {
			t.Fatalf("started %d times before both have ended, want %d", n, round)
		}
		start(two)
		b.until("a start", func() bool { return len(b.ended(down)) > round })
	}
	b.until("nothing is left over", func() bool { return b.slots() == 0 })
	ran := append(b.ended(one), b.ended(two)...)
	b.w.mu.Lock()
	told := 0
	for id, o := range b.w.last {
		if id.Fire.Job != down.UID {
			continue
		}
		for i := range ran { // mostly one of two's; the end of one may be noted later
			if o.Env[job.EnvAfterRun] == string(ran[i].RunID) && o.Env[job.EnvAfterJob] == ran[i].Key().String() && o.Env[job.EnvAfterState] == string(job.StateSucceeded) {
				told++
			}
		}
	}
	b.w.mu.Unlock()
	if told != 3 {
		t.Errorf("%d of 3 commands know which run has started them", told)
	}
	if n := len(b.ended(down)); n != 3 {
		t.Errorf("started %d times, want once in each of 3 rounds", n)
	}
}

// TestWatchStartsOncePerChange: changes of a key start the job once each, also
// those that come when nobody owns the shard.
func TestWatchStartsOncePerChange(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ttl = mortal
	config := etcdtest.Prefix(t) + "config"
	j := b.put("w", job.Spec{Command: []string{"x"}, Overlap: job.OverlapAllow, Watch: &job.Watch{Key: config}})
	change := func(v string) {
		if _, err := b.client.Put(context.Background(), config, v); err != nil {
			t.Fatal(err)
		}
	}
	_, kill, _ := b.start("a")
	b.until("the watch stands", func() bool {
		r, err := b.client.Get(context.Background(), b.keys.Watched(j.UID))
		return err == nil && r.Count == 1
	})
	for i := range 3 {
		change(fmt.Sprint(i))
		b.until("a run", func() bool { return len(b.ended(j)) == i+1 })
	}
	kill()
	change("while nobody looks")
	b.start("b")
	b.until("a run of that too", func() bool { return len(b.ended(j)) == 4 })
	change("the last")
	b.until("its run", func() bool { return len(b.ended(j)) > 4 && b.slots() == 0 })
	if n := len(b.ended(j)); n != 5 {
		t.Errorf("%d runs after 5 changes", n)
	}
	for _, r := range b.ended(j) {
		if r.Trigger != "watch" || !strings.Contains(r.Cause, config+" changed") {
			t.Errorf("run by %s: %q", r.Trigger, r.Cause)
		}
	}
}

// TestPauseSkipsWithTheReason: while something is paused, what is due is skipped
// and says why; starts by hand go on.
func TestPauseSkipsWithTheReason(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.start("a")
	j := b.put("p", every("100ms", job.OverlapAllow))
	other := b.put("q", every("100ms", job.OverlapAllow))
	b.until("runs", func() bool { return len(b.ended(j)) > 2 })
	since := time.Now().UTC()
	key := b.keys.Pause(etcdkv.ScopeJob, "t", "p")
	b.place(key, etcdkv.Pause{Schema: 1, Scope: etcdkv.ScopeJob, Namespace: "t", Name: "p", By: "me", Reason: "new disk", Since: since})
	skipped := func() int {
		return b.recorded(func(r *job.Run) bool { return r.FireID.Job == j.UID && r.State == job.StateSkipped })
	}
	b.until("skips", func() bool { return skipped() > 3 })
	b.trigger(j, map[string]string{"region": "eu"})
	b.until("a start by hand", func() bool {
		return b.recorded(func(r *job.Run) bool {
			return r.FireID.Job == j.UID && r.Trigger == "manual" && r.State == job.StateSucceeded && r.Params["region"] == "eu" && r.Cause == "started by me"
		}) == 1
	})
	b.remove(key)
	resumed := time.Now()
	b.until("runs again", func() bool {
		return b.recorded(func(r *job.Run) bool {
			return r.FireID.Job == j.UID && r.State == job.StateSucceeded && r.ScheduledAt.After(resumed.Add(500*time.Millisecond))
		}) > 2
	})
	for _, r := range b.ended(j) {
		if r.State == job.StateSkipped && (!strings.Contains(r.Reason, "the job is paused since") || !strings.Contains(r.Reason, "by me: new disk") || r.ScheduledAt.Before(since)) {
			t.Errorf("skipped at %v: %s", r.ScheduledAt, r.Reason)
		}
	}
	if n := b.recorded(func(r *job.Run) bool { return r.FireID.Job == other.UID && r.State == job.StateSkipped }); n != 0 {
		t.Errorf("another job was skipped %d times", n)
	}
}

// TestI14_EndedPauseHoldsForWhatWasDue: an owner that comes to the instants of a pause
// when that has ended, and others before it, does not run them.
func TestI14_EndedPauseHoldsForWhatWasDue(t *testing.T) {
	t.Parallel()
	b := setup(t)
	spec := every("100ms", job.OverlapAllow)
	spec.Misfire = job.MisfireAll
	j := b.put("p", spec)
	began := time.Now()
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond).UTC() }
	time.Sleep(time.Second)
	b.place(b.keys.Pause(etcdkv.ScopeJob, "t", "p"), etcdkv.StoredPause{
		Pause:   etcdkv.Pause{Schema: 1, Scope: etcdkv.ScopeJob, Namespace: "t", Name: "p", By: "me", Since: at(600), Until: at(900)},
		Earlier: []etcdkv.Rest{{Since: at(200), Until: at(400), Reason: "new disk"}},
	})
	b.start("a")
	b.until("all that was due", func() bool {
		return b.recorded(func(r *job.Run) bool {
			return r.FireID.Job == j.UID && r.ScheduledAt.After(at(1000)) && r.State.Final()
		}) > 0 &&
			b.recorded(func(r *job.Run) bool {
				return r.FireID.Job == j.UID && r.ScheduledAt.Before(at(1000)) && r.State.Final()
			}) >= 9
	})
	for _, r := range b.ended(j) {
		within := func(from, to int) bool { return !r.ScheduledAt.Before(at(from)) && r.ScheduledAt.Before(at(to)) }
		switch paused := within(200, 400) || within(600, 900); {
		case paused && (r.State != job.StateSkipped || !strings.Contains(r.Reason, "paused since")), !paused && r.State == job.StateSkipped:
			t.Errorf("the instant %v after the beginning is %s: %s", r.ScheduledAt.Sub(began), r.State, r.Reason)
		}
	}
}

// TestPauseAfterFailures: a job is paused when so many runs in a row have
// failed, counted over owners that crash.
func TestPauseAfterFailures(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ttl = mortal
	b.w.fail = true
	spec := job.Spec{Command: []string{"x"}, PauseAfterFailures: 3}
	j := b.put("f", spec)
	for i, n := range []job.NodeID{"a", "b", "c"} {
		_, kill, _ := b.start(n)
		b.trigger(j, nil)
		b.until("a failed run", func() bool { return len(b.ended(j)) == i+1 })
		b.until("nothing open", func() bool { return b.slots() == 0 })
		r, err := b.client.Get(context.Background(), b.keys.Pauses(), clientv3.WithPrefix())
		if err != nil || i < 2 && r.Count != 0 {
			t.Fatalf("paused after %d failures: %v", i+1, err)
		}
		if i < 2 {
			kill()
		}
	}
	b.until("the pause", func() bool {
		r, err := b.client.Get(context.Background(), b.keys.Pause(etcdkv.ScopeJob, "t", "f"))
		return err == nil && r.Count == 1 && strings.Contains(string(r.Kvs[0].Value), "paused after 3 consecutive failures")
	})
}

// TestCountEndsTheSchedule: a schedule with a count has so many occurrences.
func TestCountEndsTheSchedule(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ttl = mortal
	spec := every("100ms", job.OverlapAllow)
	spec.Count = 5
	uid, err := job.NewUID()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	j := job.Job{Metadata: job.Metadata{Namespace: "t", Name: "count"}, Spec: spec, UID: uid, Generation: 1, After: now, CountedFrom: now}
	b.store(j)
	_, kill, _ := b.start("a")
	b.until("some", func() bool { return len(b.ended(j)) >= 2 })
	kill()
	b.start("b")
	b.until("all", func() bool { return len(b.ended(j)) >= 5 })
	after := b.put("after", every("100ms", job.OverlapAllow))
	b.until("well past", func() bool { return len(b.ended(after)) > 10 })
	if n := len(b.ended(j)); n != 5 {
		t.Errorf("%d occurrences, want 5", n)
	}
}

// TestBackfillRunsAWindow: each instant of the window runs once, in order, one
// at a time, through a crash; the schedule's own runs are not held up.
func TestBackfillRunsAWindow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ttl = mortal
	j := b.put("bf", job.Spec{Schedules: []string{"0 * * * *"}, Command: []string{"x"}})
	to := time.Now().UTC().Truncate(time.Hour)
	bf := etcdkv.Backfill{
		Schema: 1, ID: "x1", Job: j.UID, Key: j.Key(), By: "me", From: to.Add(-25 * time.Hour), To: to, Since: time.Now().UTC(),
		Every: job.Duration(10 * time.Millisecond),
	}
	_, kill, _ := b.start("a")
	b.place(b.keys.Backfill(bf.ID), bf)
	b.until("some runs", func() bool { return len(b.ended(j)) >= 5 })
	kill()
	b.start("b")
	b.until("it is over", func() bool {
		r, err := b.client.Get(context.Background(), b.keys.Backfill(bf.ID))
		return err == nil && r.Count == 0 && b.slots() == 0
	})
	var record etcdkv.Backfill
	b.read(b.keys.EndedBackfill(bf.ID), &record)
	if record.ID != bf.ID || record.EndedAt.IsZero() || record.EndedWhy != "" || !record.Done.Equal(to) {
		t.Errorf("its record is %+v", record)
	}
	var at []time.Time
	for _, r := range b.ended(j) {
		if r.Trigger != "backfill" || r.State != job.StateSucceeded || r.Cause != "backfill x1 by me" {
			t.Errorf("run at %v by %s is %s (%s)", r.ScheduledAt, r.Trigger, r.State, r.Cause)
		}
		at = append(at, r.ScheduledAt)
	}
	if len(at) != 25 || !slices.IsSortedFunc(at, time.Time.Compare) || !at[0].Equal(to.Add(-24*time.Hour)) || !at[24].Equal(to) {
		t.Errorf("%d runs: %v", len(at), at)
	}
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	for id := range b.w.orders { // also those that the next owner gave once more
		if id.Attempt != 1 {
			t.Errorf("%v was tried again", id)
		}
	}
}

// TestDeadline: a run that has not ended by its deadline is told of, and ended
// where the job wants that.
func TestDeadline(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.w.hold = true
	b.start("a")
	spec := job.Spec{Command: []string{"x"}, Deadline: job.Duration(300 * time.Millisecond), OnDeadline: job.DeadlineCancel}
	j := b.put("d", spec)
	b.trigger(j, nil)
	b.until("it is cancelled", func() bool { return len(b.ended(j)) == 1 })
	r := b.ended(j)[0]
	if r.State != job.StateCancelled || !strings.Contains(r.Reason, "deadline") || len(r.Alerts) != 1 || !strings.HasPrefix(r.Alerts[0], "deadline: ") {
		t.Errorf("run is %s (%s), alerts %q", r.State, r.Reason, r.Alerts)
	}
}

// TestCatchUpIsPaced: missed occurrences do not run all at once.
func TestCatchUpIsPaced(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.grace = 30 * time.Second
	spec := every("10s", job.OverlapAllow)
	spec.Misfire, spec.CatchUpEvery = job.MisfireAll, job.Duration(200*time.Millisecond)
	uid, err := job.NewUID()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	j := job.Job{Metadata: job.Metadata{Namespace: "t", Name: "late"}, Spec: spec, UID: uid, Generation: 1, After: now.Add(-100 * time.Second)}
	b.store(j)
	b.start("a")
	old := func() []job.Run {
		return slices.DeleteFunc(b.ended(j), func(r job.Run) bool { return r.ScheduledAt.After(now.Add(-30 * time.Second)) })
	}
	b.until("the late ones", func() bool { return len(old()) >= 6 })
	runs := old()
	for i, r := range runs {
		if d, least := r.DispatchedAt.Sub(r.CommittedAt), time.Duration(i)*200*time.Millisecond; d < least {
			t.Errorf("run %d began %v after it was committed, want %v at least", i, d, least)
		}
	}
}

// TestCalendarMoves: what a calendar closes is skipped with the reason, or moved
// to when it is open; a change of the calendar counts from then on.
func TestCalendarMoves(t *testing.T) {
	t.Parallel()
	b := setup(t)
	begin := time.Now().UTC()
	from := begin.Add(2 * time.Second).Truncate(time.Second)
	to := from.Add(2 * time.Second)
	cal := etcdkv.StoredCalendar{Schema: 1, Calendar: job.Calendar{Metadata: job.Metadata{Namespace: "t", Name: "c"}}}
	cal.Spec.Windows = []string{from.Format(time.RFC3339) + ".." + to.Format(time.RFC3339) + ": patching"}
	b.place(b.keys.Calendar(cal.Key()), cal)
	skips, moves := every("250ms", job.OverlapAllow), every("250ms", job.OverlapAllow)
	skips.Calendars, moves.Calendars, moves.OnExcluded = []string{"c"}, []string{"c"}, job.ExcludedNext
	moves.Schedules = nil
	for _, after := range []time.Duration{-500, 250, 1000, 1750, 2750} { // milliseconds after the window's beginning
		moves.Schedules = append(moves.Schedules, "@at "+from.Add(after*time.Millisecond).Format(time.RFC3339Nano))
	}
	missing := every("250ms", job.OverlapAllow)
	missing.Calendars = []string{"nope"}
	s, m, x := b.putSince("skips", skips, begin), b.putSince("moves", moves, begin), b.putSince("missing", missing, begin)
	b.start("a")
	past := to.Add(500 * time.Millisecond)
	b.until("well past", func() bool {
		runs := b.ended(m)
		return len(runs) > 0 && runs[len(runs)-1].ScheduledAt.After(past)
	})
	b.check([]job.Job{s, x}, past)
	inside := func(r job.Run) bool { return !r.ScheduledAt.Before(from) && r.ScheduledAt.Before(to) }
	n := 0
	for _, r := range b.ended(s) {
		if inside(r) {
			n++
		}
		if closed := r.State == job.StateSkipped && r.Reason == "calendar t/c: patching"; closed != inside(r) {
			t.Errorf("at %v: %s (%s)", r.ScheduledAt, r.State, r.Reason)
		}
	}
	if n != 8 {
		t.Errorf("%d occurrences in a window of 2 s, want 8", n)
	}
	atEnd := 0
	for _, r := range b.ended(m) {
		if inside(r) || r.State != job.StateSucceeded {
			t.Errorf("moved: at %v: %s (%s)", r.ScheduledAt, r.State, r.Reason)
		}
		if r.ScheduledAt.Equal(to) {
			atEnd++
		}
	}
	if all := len(b.ended(m)); atEnd != 1 || all != 3 {
		t.Errorf("%d runs, %d of them at the end of the window; want 3, and one", all, atEnd)
	}
	for _, r := range b.ended(x) {
		if r.State != job.StateSkipped || !strings.Contains(r.Reason, "its calendar t/nope is not there") {
			t.Errorf("without its calendar: %s (%s)", r.State, r.Reason)
		}
	}
}

// TestHerdGoesInSeveralSlots: more jobs at one instant than a slot holds are
// committed in several, each fire once, also when the owner dies among them.
func TestHerdGoesInSeveralSlots(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ttl = mortal
	b.meta.Shards = 1
	b.slotFires = 1000
	const herd = 4500
	begin := time.Now().UTC()
	at := begin.Truncate(time.Second).Add(5 * time.Second)
	for from := 0; from < herd; from += 100 {
		var ops []clientv3.Op
		for i := from; i < from+100; i++ {
			uid, err := job.NewUID()
			if err != nil {
				t.Fatal(err)
			}
			j := job.Job{
				Metadata: job.Metadata{Namespace: "t", Name: fmt.Sprintf("h%d", i)}, UID: uid, Generation: 1, After: begin,
				Spec: job.Spec{Schedules: []string{"@at " + at.Format(time.RFC3339)}, Command: []string{"x"}, Misfire: job.MisfireLatest},
			}
			text, err := etcdkv.Encode(&etcdkv.StoredJob{Schema: 1, Job: j})
			if err != nil {
				t.Fatal(err)
			}
			ops = append(ops, clientv3.OpPut(b.keys.Job(0, j.Key()), text))
		}
		if _, err := b.client.Txn(context.Background()).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	_, kill, _ := b.start("a")
	ran := func() int { // there are too many to look through them all the time
		b.w.mu.Lock()
		defer b.w.mu.Unlock()
		return b.w.inState[job.StateSucceeded]
	}
	b.until("the herd begins", func() bool { return ran() > 100 })
	kill()
	b.start("b")
	b.until("all have run", func() bool { return ran() == herd })
	b.until("nothing is left over", func() bool { return b.slots() == 0 })
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	if n := len(b.w.ran); n != herd {
		t.Errorf("%d tasks ran for %d fires", n, herd)
	}
	if len(b.w.early) > 0 {
		t.Errorf("I7: %d orders before their instant", len(b.w.early))
	}
}

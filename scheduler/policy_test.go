package scheduler

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// TestReplaceEndsTheEarlierRun: with overlap replace each run is ended by the
// next occurrence, and never two go on at a time.
func TestReplaceEndsTheEarlierRun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.w.hold = true
	b.start("a")
	j := b.put("r", every("500ms", job.OverlapReplace))
	b.until("4 replaced runs", func() bool {
		b.w.mu.Lock()
		running := 0
		for _, r := range b.w.ran {
			if !r.State.Final() {
				running++
			}
		}
		b.w.mu.Unlock()
		if running > 1 {
			t.Fatalf("%d runs at a time", running)
		}
		return b.recorded(func(r *job.Run) bool { return r.State == job.StateCancelled }) >= 4
	})
	for _, r := range b.ended(j) {
		// One that had not begun when the next came is skipped.
		superseded := r.State == job.StateSkipped && strings.HasPrefix(r.Reason, "superseded ")
		if !superseded && (r.State != job.StateCancelled || r.Reason == "") {
			t.Errorf("run at %v is %s (%s), want it cancelled by the next one", r.ScheduledAt, r.State, r.Reason)
		}
	}
}

// TestQueueAllKeepsOrder: occurrences wait up to the limit and start in order.
func TestQueueAllKeepsOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.w.hold = true
	b.start("a")
	spec := every("200ms", job.OverlapQueueAll)
	spec.OverlapLimit = 3
	j := b.put("q", spec)
	skipped := func() int {
		return b.recorded(func(r *job.Run) bool { return r.FireID.Job == j.UID && r.State == job.StateSkipped })
	}
	b.until("one runs, three wait, the others are skipped", func() bool { return skipped() >= 2 })
	var order []int64
	b.until("5 runs", func() bool {
		b.w.mu.Lock()
		var open []job.TaskID
		for id, r := range b.w.ran {
			if !r.State.Final() {
				open = append(open, id)
			}
		}
		b.w.mu.Unlock()
		if len(open) > 1 {
			t.Fatalf("%d runs at a time", len(open))
		}
		if len(open) == 1 {
			order = append(order, open[0].Fire.At)
			b.w.finish(open[0])
		}
		return len(order) >= 5
	})
	if !slices.IsSorted(order) {
		t.Errorf("runs started in the order %v", order)
	}
}

// TestJitterIsOfTheOccurrence: a start is as late as the occurrence says, and
// never before its instant.
func TestJitterIsOfTheOccurrence(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.start("a")
	spec := every("300ms", job.OverlapAllow)
	spec.Jitter = job.Duration(400 * time.Millisecond)
	j := b.put("jitter", spec)
	b.until("8 runs", func() bool { return len(b.ended(j)) >= 8 })
	spread := map[time.Duration]bool{}
	for _, r := range b.ended(j) {
		want := spec.Delay(r.FireID)
		if got := r.DispatchedAt.Sub(r.ScheduledAt); got < want {
			t.Errorf("occurrence at %v was sent after %v, its jitter is %v", r.ScheduledAt, got, want)
		}
		spread[want] = true
	}
	if len(spread) < 4 {
		t.Errorf("8 occurrences have %d different delays", len(spread))
	}
}

// TestStartAndEnd: nothing is due outside the bounds.
func TestStartAndEnd(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.start("a")
	begin := time.Now().UTC()
	from := begin.Add(time.Second).Truncate(time.Millisecond)
	to := from.Add(time.Second)
	spec := every("100ms", job.OverlapAllow)
	spec.StartAt, spec.EndAt = &from, &to
	j := b.putSince("window", spec, begin)
	after := b.put("after", every("100ms", job.OverlapAllow))
	b.until("the window has passed", func() bool {
		runs := b.ended(after)
		return len(runs) > 0 && runs[len(runs)-1].ScheduledAt.After(to.Add(500*time.Millisecond))
	})
	b.until("its runs", func() bool { return len(b.ended(j)) >= 9 })
	runs := b.ended(j)
	if len(runs) > 11 {
		t.Errorf("%d runs in a second's window, want about 10", len(runs))
	}
	for _, r := range runs {
		if r.ScheduledAt.Before(from) || r.ScheduledAt.After(to) {
			t.Errorf("run at %v, outside of %v to %v", r.ScheduledAt, from, to)
		}
	}
}

// TestI19_WhatNobodyWasSentIsNotRunning: fires that had no minion are taken over, with
// their start behind them. They are in nobody's way, and the overlap policy is asked of
// each of them, in their order.
func TestI19_WhatNobodyWasSentIsNotRunning(t *testing.T) {
	t.Parallel()
	for policy, want := range map[job.Overlap]struct{ ordered, skipped int }{
		job.OverlapSkip:     {1, 2},
		job.OverlapQueueAll: {1, 0},
		job.OverlapAllow:    {3, 0},
	} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, 0)
			e := d.job(job.Spec{Overlap: policy, Target: job.Target{Run: job.SpreadOne}})
			fires := make([]*fire, 3)
			for i := range fires {
				at := d.clock + int64(i+1)*int64(time.Second)
				fires[i] = d.fire(e, fire{id: job.FireID{Job: e.uid, At: at, Trigger: job.TriggerSchedule}, notBefore: at})
			}
			d.clock += int64(4 * time.Second) // its owner stands still
			d.hosts = []job.MinionID{"m00"}
			next, first := d.taken(fires[0])
			next.step()
			if n := next.sent["m00"]; n != want.ordered {
				t.Errorf("%d were ordered at once, want %d", n, want.ordered)
			}
			if len(next.runs) != want.skipped {
				t.Errorf("%d have ended: %v, want %d that were skipped", len(next.runs), next.runs, want.skipped)
			}
			next.says(first, "m00", job.StateSucceeded)
			if n := next.sent["m00"]; policy == job.OverlapQueueAll && n != 2 {
				t.Errorf("%d were ordered after the end of the first, want 2", n)
			}
		})
	}
}

// TestAMinionThatMovesHasOneTask: a minion goes from a node to another while a run is
// given its minions: at every other look it is out of reach. It has one task, and the
// run comes to its end.
func TestAMinionThatMovesHasOneTask(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]fire{"that match": {}, "that it is for": {hosts: []job.MinionID{"m00", "m01"}}} {
		for _, away := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, away at first %v", name, away), func(t *testing.T) {
				t.Parallel()
				d := newDesk(t, 2)
				is := away
				d.looked = func() {
					if d.hosts, d.away = []job.MinionID{"m00", "m01"}, nil; is {
						d.hosts, d.away = d.hosts[:1], []job.Uncontrollable{{Minion: "m01", Reason: "not connected"}}
					}
					is = !is
				}
				f := d.fire(d.job(job.Spec{}), f)
				var got []job.MinionID
				for _, t := range f.tasks {
					got = append(got, t.minion)
				}
				if !slices.Equal(got, []job.MinionID{"m00", "m01"}) {
					t.Errorf("tasks on %v, want one on each minion", got)
				}
				for _, m := range slices.Sorted(maps.Keys(d.sent)) {
					d.says(f, m, job.StateSucceeded)
				}
				d.wantRun(job.StateSucceeded, "")
			})
		}
	}
}

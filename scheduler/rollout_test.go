package scheduler

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/phase"
)

// TestRolloutModel drives a rollout's decisions with tasks that end at random,
// and holds them against its promises: never more at a time than the batch and
// the caps allow, nobody before the canaries have succeeded, and nothing new
// once it was stopped. It must also come to its end.
func TestRolloutModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(2, 40).Draw(rt, "tasks")
		spec := job.Rollout{}
		if rapid.Bool().Draw(rt, "batched") {
			spec.Batch = rapid.SampledFrom([]job.Amount{"1", "3", "10%", "50%", "100%"}).Draw(rt, "batch")
			if rapid.Bool().Draw(rt, "pauses") {
				spec.Pause = job.Duration(time.Minute)
			}
		}
		if rapid.Bool().Draw(rt, "bounded") {
			most := rapid.SampledFrom([]job.Amount{"0", "2", "10%"}).Draw(rt, "failures")
			spec.MaxFailures = &most
		}
		if rapid.Bool().Draw(rt, "capped") {
			spec.MaxPer = map[string]int{"rack": rapid.IntRange(1, 3).Draw(rt, "per rack")}
		}
		canaries := rapid.IntRange(0, min(3, n-1)).Draw(rt, "canaries")
		if canaries > 0 && rapid.Bool().Draw(rt, "by hand") {
			spec.Promote = job.PromoteManual
		}
		f := &fire{id: job.FireID{At: 1}, e: &entry{}, canaries: canaries}
		r := &rollout{spec: &spec, canaries: canaries, values: map[string][]string{}}
		for i := range n {
			f.tasks = append(f.tasks, &task{minion: job.MinionID(fmt.Sprint("m", i)), attempt: 1, saved: true})
			if spec.MaxPer != nil {
				r.values["rack"] = append(r.values["rack"], fmt.Sprint(i%4))
			}
		}
		s := &shard{}
		now := int64(1)
		var lastEnd int64
		inBatch := 0
		for round := 0; ; round++ {
			if round > 20*n {
				rt.Fatalf("no end after %d rounds; held: %q", round, r.held)
			}
			front := r.look(f.tasks)
			if why := r.stops(&front, n); why != "" {
				return // nothing is started any more
			}
			r.held = ""
			started := r.next(s, f, &front, now)
			for _, task := range started {
				task.phase = phase.Running
			}
			checkRollout(rt, &spec, r, f)
			if spec.Pause > 0 && len(started) > 0 && front.canaryOpen == 0 {
				if inBatch >= spec.Batch.Of(n, 1) {
					if now < lastEnd+int64(spec.Pause) {
						rt.Fatalf("the next batch began %v after the last end", time.Duration(now-lastEnd))
					}
					inBatch = 0
				}
				inBatch += len(started)
			}
			var running []*task
			for _, task := range f.tasks {
				if task.phase == phase.Running {
					running = append(running, task)
				}
			}
			if len(running) == 0 && len(front.waiting) == 0 {
				return
			}
			switch {
			case strings.Contains(r.held, "resume"):
				f.promoted = true
			case len(running) == 0:
				now += int64(10 * time.Second)
			default:
				victim := running[rapid.IntRange(0, len(running)-1).Draw(rt, "ends")]
				state := rapid.SampledFrom([]job.State{job.StateSucceeded, job.StateSucceeded, job.StateSucceeded, job.StateFailed, job.StateDeliveryTimeout}).Draw(rt, "state")
				victim.report, victim.phase = &job.Report{State: state}, phase.Ended
				now += int64(time.Second)
				lastEnd = now
			}
		}
	})
}

func checkRollout(rt *rapid.T, spec *job.Rollout, r *rollout, f *fire) {
	open, racks, canariesDone := 0, map[string]int{}, true
	for i, task := range f.tasks {
		if i < f.canaries && (!task.final() || task.report.State != job.StateSucceeded) {
			canariesDone = false
		}
		if task.phase != phase.Running {
			continue
		}
		open++
		if spec.MaxPer != nil {
			racks[r.values["rack"][i]]++
		}
		if i >= f.canaries && (!canariesDone || spec.Promote == job.PromoteManual && !f.promoted) {
			rt.Fatalf("task %d runs before the canaries are through", i)
		}
	}
	if spec.Batch != "" && open > spec.Batch.Of(len(f.tasks), 1) {
		rt.Fatalf("%d at a time, and the batch is %s of %d", open, spec.Batch, len(f.tasks))
	}
	for rack, n := range racks {
		if n > spec.MaxPer["rack"] {
			rt.Fatalf("%d at a time in rack %s, and %d may", n, rack, spec.MaxPer["rack"])
		}
	}
}

// TestVerdict: the worst task names the run; uncontrollable minions do not make
// a run fail in which another succeeded.
func TestVerdict(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		states []job.State
		want   job.State
		reason string
	}{
		{[]job.State{job.StateSucceeded}, job.StateSucceeded, ""},
		{[]job.State{job.StateSucceeded, job.StateFailed, job.StateFailed}, job.StateFailed, "failed on 2 of 3 minions, first m1: because"},
		{[]job.State{job.StateUncontrollable, job.StateSucceeded}, job.StateSucceeded, "uncontrollable on 1 of 2 minions, first m0: because"},
		{[]job.State{job.StateUncontrollable}, job.StateUncontrollable, "because"},
		{[]job.State{job.StateSkipped, job.StateFailed}, job.StateFailed, "failed on 1 of 2 minions, first m1: because"},
		{[]job.State{job.StateExpired, job.StateIndeterminate}, job.StateIndeterminate, "indeterminate on 1 of 2 minions, first m1: because"},
	} {
		var reports []*job.Report
		for i, s := range c.states {
			r := &job.Report{Task: job.TaskID{Minion: job.MinionID(fmt.Sprint("m", i))}, State: s}
			if s != job.StateSucceeded {
				r.Reason = "because"
			}
			reports = append(reports, r)
		}
		if state, reason := verdictOf(reports); state != c.want || reason != c.reason {
			t.Errorf("%v: %s, %q; want %s, %q", c.states, state, reason, c.want, c.reason)
		}
	}
}

// hosts has the world's minions be so many, which finish what they run one at a
// time; it returns what tells how many ran at a time at most.
func (b *bed) hosts(n int, every time.Duration) (most func() int) {
	b.w.mu.Lock()
	b.w.hold = true
	for i := range n {
		b.w.hosts = append(b.w.hosts, job.MinionID(fmt.Sprintf("m%02d", i)))
	}
	b.w.mu.Unlock()
	done := make(chan struct{})
	var wg sync.WaitGroup
	highest := 0
	wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			b.w.mu.Lock()
			running := 0
			var last job.TaskID
			for id, r := range b.w.ran {
				if r.State == job.StateRunning {
					running, last = running+1, id
				}
			}
			highest = max(highest, running)
			if running > 0 {
				r := b.w.ran[last]
				r.State, r.EndedAt = job.StateSucceeded, time.Now()
				b.w.ran[last] = r
				b.w.tell([]job.Report{r})
			}
			b.w.mu.Unlock()
		}
	})
	b.t.Cleanup(func() {
		close(done)
		wg.Wait()
	})
	return func() int {
		b.w.mu.Lock()
		defer b.w.mu.Unlock()
		return highest
	}
}

// TestI15_RolloutGoesOnWithTheNextOwner: an owner is killed in the middle of a
// rollout. The next one goes on where it was: no host runs it twice, and never
// are there more at a time than the batch allows.
func TestI15_RolloutGoesOnWithTheNextOwner(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ttl = mortal
	most := b.hosts(30, 20*time.Millisecond)
	j := b.put("j", job.Spec{
		Command: []string{"x"}, Target: job.Target{Run: job.SpreadAll}, Rollout: job.Rollout{Batch: "4", CanaryCount: 2, Order: job.OrderShuffle},
	})
	_, kill, _ := b.start("n1")
	b.start("n2")
	fire := b.trigger(j, nil)
	b.until("some have run", func() bool {
		b.w.mu.Lock()
		defer b.w.mu.Unlock()
		return len(b.w.ran) > 8
	})
	kill()
	b.until("it has ended everywhere", func() bool {
		return b.recorded(func(r *job.Run) bool { return r.FireID == fire && r.State == job.StateSucceeded && len(r.Tasks) == 30 }) == 1
	})
	if n := most(); n > 4 || n < 2 {
		t.Errorf("%d ran at a time, want at most 4", n)
	}
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	if len(b.w.ran) != 30 {
		t.Errorf("%d tasks ran, want 30", len(b.w.ran))
	}
}

// TestI16_WishOutlivesItsOwner: that a run is to be cancelled is known to the
// next owner, too, and the wish goes when the run has ended.
func TestI16_WishOutlivesItsOwner(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ttl = mortal
	b.hosts(3, time.Hour) // they do not end by themselves
	j := b.put("j", job.Spec{Command: []string{"x"}, Target: job.Target{Run: job.SpreadAll}})
	_, kill, _ := b.start("n1")
	fire := b.trigger(j, nil)
	b.until("it runs", func() bool {
		b.w.mu.Lock()
		defer b.w.mu.Unlock()
		return len(b.w.ran) == 3
	})
	kill()
	wish := b.keys.Wish(fire.RunID(), etcdkv.WishCancel)
	b.place(wish, etcdkv.Wish{Schema: 1, Kind: etcdkv.WishCancel, Fire: fire, Shard: b.shardOf(j), By: "ada", At: time.Now().Add(-time.Hour)})
	b.start("n2")
	b.until("it is cancelled", func() bool {
		return b.recorded(func(r *job.Run) bool {
			return r.FireID == fire && r.State == job.StateCancelled && strings.Contains(r.Reason, "cancelled by ada")
		}) == 1
	})
	b.until("the wish is gone", func() bool {
		resp, err := b.client.Get(context.Background(), wish)
		return err == nil && len(resp.Kvs) == 0
	})
}

// TestIdempotent: what may have run is tried again only where the job says that
// it does no harm.
func TestIdempotent(t *testing.T) {
	t.Parallel()
	unknown := &job.Report{State: job.StateIndeterminate}
	for _, c := range []struct {
		spec    job.Spec
		attempt int
		report  *job.Report
		want    bool
	}{
		{job.Spec{}, 1, unknown, false},
		{job.Spec{Retry: job.Retry{Attempts: 5}}, 1, unknown, false},
		{job.Spec{Idempotent: true}, 1, unknown, true},
		{job.Spec{Idempotent: true}, 3, unknown, false},
		{job.Spec{Idempotent: true, Retry: job.Retry{Attempts: 5}}, 3, unknown, true},
		{job.Spec{Idempotent: true}, 1, &job.Report{State: job.StateFailed}, false},
	} {
		if got := mayRetry(&c.spec, &task{attempt: c.attempt}, c.report); got != c.want {
			t.Errorf("%+v, attempt %d, %s: %v", c.spec, c.attempt, c.report.State, got)
		}
	}
}

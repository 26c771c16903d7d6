package scheduler

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

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

// TestI16_CommandOutlivesItsOwner: that a run is to be cancelled is known to the
// next owner, too, and the command goes when the run has ended.
func TestI16_CommandOutlivesItsOwner(t *testing.T) {
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
	command := b.keys.RunCommand(fire.RunID(), etcdkv.CommandCancel)
	b.place(command, etcdkv.RunCommand{Schema: 1, Kind: etcdkv.CommandCancel, Fire: fire, Shard: b.shardOf(j), By: "ada", At: time.Now().Add(-time.Hour)})
	b.start("n2")
	b.until("it is cancelled", func() bool {
		return b.recorded(func(r *job.Run) bool {
			return r.FireID == fire && r.State == job.StateCancelled && strings.Contains(r.Reason, "cancelled by ada")
		}) == 1
	})
	b.until("the command is gone", func() bool {
		resp, err := b.client.Get(context.Background(), command)
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

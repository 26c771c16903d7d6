package scheduler

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// read reads a record that is there.
func (b *bed) read(key string, v any) {
	b.t.Helper()
	r, err := b.client.Get(context.Background(), key)
	if err != nil || len(r.Kvs) != 1 {
		b.t.Fatalf("read %s: %d records, %v", key, len(r.Kvs), err)
	}
	if err := json.Unmarshal(r.Kvs[0].Value, v); err != nil {
		b.t.Fatal(err)
	}
}

// TestAllAttemptsAreRecorded: a run's record tells of each attempt, also of those
// that an earlier owner saw; exit codes are compared as shells count them.
func TestAllAttemptsAreRecorded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ttl = mortal
	b.w.fail, b.w.exit = true, &job.Exit{Code: -1, Signal: "SIGKILL"}
	_, kill, _ := b.start("a")
	j := b.put("r", job.Spec{Command: []string{"x"}, Retry: job.Retry{Attempts: 3, Backoff: job.Duration(50 * time.Millisecond), ExitCodes: []int{137}}})
	fire := b.trigger(j, nil)
	b.until("a second attempt", func() bool {
		b.w.mu.Lock()
		defer b.w.mu.Unlock()
		return b.w.orders[job.TaskID{Fire: fire, Minion: "m1", Attempt: 2}] > 0
	})
	kill()
	b.start("b")
	b.until("its end", func() bool { return len(b.ended(j)) == 1 })
	r := b.ended(j)[0]
	if len(r.Tasks) != 1 || r.Tasks[0].Attempt != 3 || r.State != job.StateFailed {
		t.Errorf("%s, tasks %+v", r.State, r.Tasks)
	}
	if len(r.Attempts) != 2 {
		t.Fatalf("attempts %+v, want two", r.Attempts)
	}
	for i, a := range r.Attempts {
		if a.Attempt != i+1 || a.Minion != "m1" || a.State != job.StateFailed || a.Exit == nil || a.Exit.ShellCode() != 137 || a.StartedAt.IsZero() || a.EndedAt.IsZero() {
			t.Errorf("attempt %d: %+v", i+1, a)
		}
	}
}

// TestDeletedJobIsNotTriedAgain: when a job is deleted, no attempt of its runs follows
// that its retry would have brought, and the record says why.
func TestDeletedJobIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	for name, held := range map[string]bool{"during an attempt": true, "between attempts": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.w.fail, b.w.hold = true, held
			b.start("a")
			pause := job.Duration(10 * time.Millisecond)
			j := b.put("r", job.Spec{Command: []string{"x"}, Retry: job.Retry{Attempts: 1 << 30, Backoff: pause, MaxBackoff: pause}})
			fire := b.trigger(j, nil)
			if held {
				b.until("the attempt is under way", func() bool { return len(b.running()) == 1 })
			} else {
				b.until("there are several attempts", func() bool {
					b.w.mu.Lock()
					defer b.w.mu.Unlock()
					return b.w.orders[job.TaskID{Fire: fire, Minion: "m1", Attempt: 3}] > 0
				})
			}
			b.erase(j, true)
			if held {
				// Another job of its shard, which comes later, is seen later.
				later := job.Key{Namespace: "t", Name: "later"}
				for etcdkv.ShardOf(later, b.meta.Shards) != b.shardOf(j) {
					later.Name += "r"
				}
				b.w.mu.Lock()
				b.w.hold, b.w.fail = false, false
				b.w.mu.Unlock()
				next := b.put(later.Name, job.Spec{Command: []string{"x"}})
				b.trigger(next, nil)
				b.until("the next job has run", func() bool { return len(b.ended(next)) == 1 })
				b.w.mu.Lock()
				b.w.hold, b.w.fail = true, true
				b.w.mu.Unlock()
			}
			b.until("the run has ended", func() bool {
				for _, id := range b.running() {
					b.w.breakDown(id)
				}
				return b.recordOf(fire).State.Final()
			})
			r := b.recordOf(fire)
			during := r.State == job.StateFailed && strings.HasSuffix(r.Reason, "not tried again, as the job was deleted meanwhile")
			between := r.State == job.StateCancelled && regexp.MustCompile(`^the job was deleted before attempt [0-9]+ was sent$`).MatchString(r.Reason)
			if !during && !between {
				t.Errorf("recorded as %s: %q, after %d attempts", r.State, r.Reason, len(r.Attempts))
			}
		})
	}
}

// breakDown has a running task fail.
func (w *world) breakDown(id job.TaskID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.ran[id]
	r.State, r.Reason, r.Exit, r.EndedAt = job.StateFailed, "exit code 1", &job.Exit{Code: 1}, time.Now()
	w.ran[id] = r
	w.tell([]job.Report{r})
}

// TestRunEndedByItsDeadlineHasFailed: a run that onDeadline cancels is a failure
// for pauseAfterFailures, and for jobs that start after a failure.
func TestRunEndedByItsDeadlineHasFailed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.w.hold = true
	b.start("a")
	j := b.put("d", job.Spec{Command: []string{"x"}, Deadline: job.Duration(300 * time.Millisecond), OnDeadline: job.DeadlineCancel, PauseAfterFailures: 1})
	after := job.Job{
		Metadata: job.Metadata{Namespace: "t", Name: "rescue"}, UID: job.UID{7}, Generation: 1, After: time.Now().UTC(),
		Spec: job.Spec{Command: []string{"x"}, After: &job.After{Jobs: []string{"d"}, On: job.OnFailure}},
	}
	b.store(after)
	b.place(b.keys.Dependency(j.Key(), after.Key()), etcdkv.Dependency{Schema: 1, From: j.Key(), To: after.Key(), On: job.OnFailure})
	b.trigger(j, nil)
	b.until("the pause", func() bool {
		r, err := b.client.Get(context.Background(), b.keys.Pause(etcdkv.ScopeJob, "t", "d"), clientv3.WithCountOnly())
		return err == nil && r.Count == 1
	})
	b.until("the job that waits for a failure", func() bool {
		b.w.mu.Lock()
		defer b.w.mu.Unlock()
		for id := range b.w.orders {
			if id.Fire.Job == after.UID {
				return true
			}
		}
		return false
	})
}

// TestAgeOutlivesALease: a node tells since when its process runs, also after it
// has lost its lease and joined again.
func TestAgeOutlivesALease(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ttl = mortal // so often the lease is looked at
	b.start("a")
	member := func() (m etcdkv.Member, ok bool) {
		r, err := b.client.Get(context.Background(), b.keys.Member("a"))
		if err != nil || len(r.Kvs) == 0 {
			return m, false
		}
		m, err = etcdkv.Decode[etcdkv.Member]("a", r.Kvs[0].Value)
		return m, err == nil
	}
	var before etcdkv.Member
	b.until("a member", func() bool {
		m, ok := member()
		before = m
		return ok
	})
	if _, err := b.client.Revoke(context.Background(), clientv3.LeaseID(before.Lease)); err != nil {
		t.Fatal(err)
	}
	b.until("it has joined again", func() bool {
		m, ok := member()
		return ok && m.Lease != before.Lease
	})
	if m, _ := member(); !m.StartedAt.Equal(before.StartedAt) {
		t.Errorf("started at %s, before %s", m.StartedAt, before.StartedAt)
	}
}

// TestPermanent: what a handler calls permanent, or the exit code of a command is by the
// job's word, ends the attempts, and the record says so; a handler's snooze is an attempt of
// a job that is in no queue.
func TestPermanent(t *testing.T) {
	t.Parallel()
	codes := job.Retry{Attempts: 5, PermanentExitCodes: []int{64}}
	only := job.Retry{Attempts: 5, ExitCodes: []int{75}}
	for name, c := range map[string]struct {
		retry  job.Retry
		report job.Report
		again  bool
		final  bool
	}{
		"failed":                   {job.Retry{Attempts: 5}, job.Report{State: job.StateFailed}, true, false},
		"permanent":                {job.Retry{Attempts: 5}, job.Report{State: job.StateFailed, Verdict: job.VerdictPermanent}, false, true},
		"snoozed":                  {job.Retry{Attempts: 5}, job.Report{State: job.StateFailed, Verdict: job.VerdictSnooze, After: job.Duration(time.Hour)}, true, false},
		"interrupted":              {job.Retry{Attempts: 5}, job.Report{State: job.StateFailed, Verdict: job.VerdictInterrupted}, true, false},
		"a permanent exit code":    {codes, job.Report{State: job.StateFailed, Exit: &job.Exit{Code: 64}}, false, true},
		"another exit code":        {codes, job.Report{State: job.StateFailed, Exit: &job.Exit{Code: 1}}, true, false},
		"none of those that count": {only, job.Report{State: job.StateFailed, Exit: &job.Exit{Code: 1}}, false, true},
		"a timeout":                {codes, job.Report{State: job.StateTimedOut, Exit: &job.Exit{Code: 64}}, true, false},
		"cancelled":                {job.Retry{Attempts: 5}, job.Report{State: job.StateCancelled}, false, false},
	} {
		spec := &job.Spec{Retry: c.retry}
		if got := mayRetry(spec, &task{attempt: 1}, &c.report); got != c.again {
			t.Errorf("%s: tried again %v, want %v", name, got, c.again)
		}
		if got := isPermanent(spec, &c.report); got != c.final {
			t.Errorf("%s: permanent %v, want %v", name, got, c.final)
		}
	}

	b := setup(t)
	b.w.fail, b.w.verdict = true, job.VerdictPermanent
	b.start("a")
	j := b.put("r", job.Spec{Command: []string{"go:mail"}, Retry: job.Retry{Attempts: 5, Backoff: job.Duration(time.Millisecond)}})
	fire := b.trigger(j, nil)
	b.until("its end", func() bool { return b.recordOf(fire).State.Final() })
	r := b.recordOf(fire)
	if r.State != job.StateFailed || len(r.Attempts) != 0 || len(r.Tasks) != 1 || r.Tasks[0].Attempt != 1 || !strings.HasSuffix(r.Tasks[0].Reason, whyPermanent) {
		t.Errorf("recorded as %s, attempts %+v, tasks %+v", r.State, r.Attempts, r.Tasks)
	}
}

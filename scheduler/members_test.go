package scheduler

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// TestMembersOfRuns: the owner of a shard tells of which open run a task is, who else is in
// it, and which runs are over; of all else it says that it is not so, or that it cannot say
// (package sharing, H1, H5, H8).
func TestMembersOfRuns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.w.hold, b.w.hosts = true, []job.MinionID{"m1", "m2"}
	e, _, leave := b.start("a")
	hour := job.Duration(time.Hour)
	j := b.put("r", job.Spec{Command: []string{"x"}, Target: job.Target{Run: job.SpreadAll}, Retry: job.Retry{Attempts: 2, Backoff: hour, MaxBackoff: hour}})
	fire, shard, ctx := b.trigger(j, nil), b.shardOf(j), t.Context()
	task := func(m job.MinionID, attempt int) job.TaskID {
		return job.TaskID{Fire: fire, Minion: m, Attempt: attempt}
	}
	refused := func(id job.TaskID) string {
		m, err := e.Member(ctx, shard, id, job.Token{})
		if err != nil {
			return err.Error()
		}
		return m.Refused
	}
	b.until("both tasks may be out", func() bool { return refused(task("m1", 1)) == "" && refused(task("m2", 1)) == "" })
	b.until("both tasks run", func() bool { return len(b.running()) == 2 })

	m, err := e.Member(ctx, shard, task("m1", 1), job.Token{})
	if err != nil || m.Fire != fire || m.Run != fire.RunID() || m.Job != j.Key() || m.Tasks != 2 || m.Owner == (job.Token{}) || m.Deleted {
		t.Errorf("a task of it: %+v, %v", m, err)
	}
	if again, err := e.Member(ctx, shard, task("m1", 1), m.Owner); err != nil || again != m {
		t.Errorf("as who was ordered under the owner's token: %+v, %v", again, err)
	}
	later := m.Owner
	later.Revision++
	if _, err := e.Member(ctx, shard, task("m1", 1), later); !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("a task that was ordered by a later owner: %v", err)
	}
	if _, err := e.Member(ctx, 99, task("m1", 1), job.Token{}); !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("a shard of nobody: %v", err)
	}
	other := fire
	other.At++
	for what, c := range map[string]struct {
		id  job.TaskID
		why string
	}{
		"another run":     {job.TaskID{Fire: other, Minion: "m1", Attempt: 1}, "its run is not open"},
		"another minion":  {task("m3", 1), "it has no place in its run"},
		"another attempt": {task("m1", 2), "it has no place in its run"},
	} {
		if got := refused(c.id); !strings.Contains(got, c.why) {
			t.Errorf("%s: %q, want %q", what, got, c.why)
		}
	}

	fellows := func() []job.Fellow {
		all, err := e.Fellows(ctx, shard, fire)
		if err != nil {
			t.Error(err)
		}
		slices.SortFunc(all, func(a, b job.Fellow) int { return strings.Compare(string(a.Minion), string(b.Minion)) })
		return all
	}
	if got, want := fellows(), []job.Fellow{{Minion: "m1", Attempt: 1}, {Minion: "m2", Attempt: 1}}; !slices.Equal(got, want) {
		t.Errorf("the tasks are %+v, want %+v", got, want)
	}
	b.w.breakDown(task("m1", 1))
	b.until("another attempt is to come", func() bool { return fellows()[0].Attempt == 2 })
	if got := refused(task("m1", 1)); !strings.Contains(got, "it has no place in its run") {
		t.Errorf("the attempt that has ended: %q", got)
	}
	if got := refused(task("m1", 2)); !strings.Contains(got, "no minion has it now") {
		t.Errorf("the attempt that is to come: %q", got)
	}
	if none, err := e.Fellows(ctx, shard, other); err != nil || none != nil {
		t.Errorf("the tasks of another run: %+v, %v", none, err)
	}

	// One that has ended is told as such while others go on, and its run is over with the last.
	short := b.putOn(shard, job.Spec{Command: []string{"x"}, Target: job.Target{Run: job.SpreadAll}})
	last := b.trigger(short, nil)
	b.until("both tasks of the other run", func() bool { return len(b.running()) == 3 })
	ended := job.TaskID{Fire: last, Minion: "m1", Attempt: 1}
	b.w.breakDown(ended)
	b.until("one has ended", func() bool {
		m, err := e.Member(ctx, shard, ended, job.Token{})
		return err == nil && m.Refused == "it has ended"
	})
	all, err := e.Fellows(ctx, shard, last)
	if i := slices.IndexFunc(all, func(f job.Fellow) bool { return f.Minion == "m1" }); err != nil || i < 0 || all[i].State != job.StateFailed {
		t.Errorf("the tasks of a run of which one has ended: %+v, %v", all, err)
	}
	closed := func() []job.FireID {
		over, token, err := e.Closed(ctx, shard, []job.FireID{fire, last, other})
		if err != nil || token != m.Owner {
			t.Errorf("by token %v: %v", token, err)
		}
		return over
	}
	if got := closed(); !slices.Equal(got, []job.FireID{other}) {
		t.Errorf("runs that are over: %v, want one that has never begun", got)
	}
	b.w.breakDown(job.TaskID{Fire: last, Minion: "m2", Attempt: 1})
	b.until("its end", func() bool { return slices.Equal(closed(), []job.FireID{last, other}) })

	b.erase(j, true)
	b.until("the job is deleted", func() bool {
		m, err := e.Member(ctx, shard, task("m2", 1), job.Token{})
		return err == nil && m.Deleted && m.Refused == ""
	})
	leave()
	if _, _, err := e.Closed(ctx, shard, nil); !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("a node that has left: %v", err)
	}
}

// putOn stores a job that lies in a shard.
func (b *bed) putOn(shard job.ShardID, spec job.Spec) job.Job {
	b.t.Helper()
	name := "on"
	for b.shardOf(job.Job{Metadata: job.Metadata{Namespace: "t", Name: name}}) != shard {
		name += "n"
	}
	return b.put(name, spec)
}

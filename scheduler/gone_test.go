package scheduler

import (
	"context"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/cluster"
)

// leaves has a minion lose its last session now.
func (d *desk) leaves(m job.MinionID) {
	if d.left == nil {
		d.left = map[job.MinionID]int64{}
	}
	d.left[m] = d.clock
}

// wait lets time pass in steps, as a shard's goroutine does it.
func (d *desk) wait(t time.Duration) {
	for end := d.clock + int64(t); d.clock < end; {
		d.pass(min(time.Second, time.Duration(end-d.clock)))
		d.answered()
		d.step()
	}
}

func (d *desk) wantNoRun(when string) {
	d.t.Helper()
	if len(d.runs) != 0 {
		d.t.Fatalf("%s: recorded %+v, want nothing yet", when, d.runs)
	}
}

// TestI29_LostAfter: the run of a minion that does not come back ends lostAfter
// after that has gone, and no sooner, whatever its time-out is; and the next run
// starts.
func TestI29_LostAfter(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spec  job.Spec
		after time.Duration
	}{
		"given":   {job.Spec{LostAfter: job.Duration(40 * time.Second)}, 40 * time.Second},
		"default": {job.Spec{Timeout: job.Duration(24 * time.Hour)}, job.DefaultLostAfter},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, 1)
			e := d.job(c.spec)
			f := d.fire(e, fire{})
			d.says(f, "m00", job.StateRunning)
			d.wait(time.Minute)
			d.leaves("m00")
			left := d.clock
			d.wait(c.after - time.Second)
			d.wantNoRun("before lostAfter")
			next := d.fire(e, fire{})
			d.wantRun(job.StateSkipped, "")
			d.close(next)
			d.runs = nil
			d.wait(2*goneEvery + time.Second)
			d.wantRun(job.StateIndeterminate, "minion m00 was connected to no node from "+time.Unix(0, left).UTC().Format(time.RFC3339))
			d.wantRun(job.StateIndeterminate, "it had started the task, and whether that still runs is not known")
			d.left, d.reached = nil, nil
			if d.fire(e, fire{}); d.sent["m00"] != 2 {
				t.Errorf("ordered %d times in all, want that the next run starts", d.sent["m00"])
			}
		})
	}
}

// TestI29_MinionThatComesBackInTime: nothing ends because of a minion that was gone
// for less, however often.
func TestI29_MinionThatComesBackInTime(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	f := d.fire(d.job(job.Spec{LostAfter: job.Duration(time.Minute)}), fire{})
	d.says(f, "m00", job.StateRunning)
	for range 10 {
		d.leaves("m00")
		d.wait(50 * time.Second)
		d.left = nil
		d.wait(20 * time.Second)
	}
	d.wantNoRun("it was never gone for a minute")
	d.says(f, "m00", job.StateSucceeded)
	d.wantRun(job.StateSucceeded, "")
}

// TestI29_EtcdIsAsked: a minion that has gone to another node while this one's view
// stood still is not gone.
func TestI29_EtcdIsAsked(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	f := d.fire(d.job(job.Spec{LostAfter: job.Duration(time.Minute)}), fire{})
	d.says(f, "m00", job.StateRunning)
	d.leaves("m00")
	d.reached = map[job.MinionID]bool{"m00": true}
	d.wait(10 * time.Minute)
	d.wantNoRun("etcd says that it is connected")
	d.reached = nil
	d.wait(3 * goneEvery)
	d.wantRun(job.StateIndeterminate, "longer than lostAfter (1m0s)")
}

// TestI29_TakenOver: a new owner waits for a minion that is gone for as long as the
// old one would have, and for one that is back asks.
func TestI29_TakenOver(t *testing.T) {
	t.Parallel()
	spec := job.Spec{LostAfter: job.Duration(10 * time.Minute)}
	begin := func() (*desk, *fire) {
		d := newDesk(t, 1)
		f := d.fire(d.job(spec), fire{})
		d.says(f, "m00", job.StateRunning)
		d.leaves("m00")
		d.wait(2 * time.Minute)
		return d.taken(f)
	}
	d, _ := begin()
	d.wait(7 * time.Minute)
	d.wantNoRun("nine minutes")
	d.wait(time.Minute + 3*goneEvery)
	d.wantRun(job.StateIndeterminate, "whether it ran the task is not known")

	d, f := begin()
	d.wait(5 * time.Minute) // longer than an order may take, which is how long an answer may
	d.left = nil
	d.wait(2 * time.Second)
	if d.asked == 0 {
		t.Error("a minion that is back was not asked")
	}
	d.wantNoRun("it has not answered yet")
	d.says(f, "m00", job.StateSucceeded)
	d.wantRun(job.StateSucceeded, "")
}

// TestI29_CancelAndForget: a run whose minion is gone ends at once when somebody
// cancels it, or has the minion forgotten, and the reason says what is not known.
// One whose minion has just lost its session is not given up for that.
func TestI29_CancelAndForget(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do   func(d *desk, f *fire)
		want string
	}{
		"cancel": {func(d *desk, f *fire) {
			d.cancelFor(f, &etcdkv.RunCommand{By: "ann", Reason: "no use"}, d.clock)
		}, "cancelled by ann: no use; minion m00 was connected to no node from 1970-01-01T01:01:00Z on; it had started the task"},
		"forget": {func(d *desk, _ *fire) { d.forgotten = "m00" }, "minion m00 was forgotten; it was connected to no node from 1970-01-01T01:01:00Z on; it had started the task"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, 1)
			f := d.fire(d.job(job.Spec{}), fire{})
			d.says(f, "m00", job.StateRunning)
			d.wait(time.Minute)
			d.leaves("m00")
			c.do(d, f)
			d.wait(goneGrace - 2*time.Second)
			d.wantNoRun("it may be on its way to another node")
			d.wait(2*time.Second + 2*goneEvery)
			d.wantRun(job.StateIndeterminate, c.want)
		})
	}
}

// TestI30_OrderOnItsWay: a task that was sent just now does not end before the lease
// has ended that its order carries, so that nothing of it starts afterwards.
func TestI30_OrderOnItsWay(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	d.leaves("m00")
	d.wait(time.Minute)
	f := d.fire(d.job(job.Spec{}), fire{})
	d.wantSent("m00")
	d.cancelFor(f, &etcdkv.RunCommand{By: "ann"}, d.clock)
	sent := d.clock
	for len(d.runs) == 0 && time.Duration(d.clock-sent) < time.Minute {
		d.wait(time.Second)
	}
	if took := time.Duration(d.clock - sent); took < d.cfg.LeaseTTL || took > d.cfg.LeaseTTL+leaseMargin+2*goneEvery {
		t.Errorf("ended %v after the order was sent, want not much later than its lease, %v", took, d.cfg.LeaseTTL)
	}
	d.wantRun(job.StateIndeterminate, "whether it ran the task is not known")
}

// TestI30_LateWordMendsTheRecord: what a minion says that is back is recorded as
// what is known of the run that it was, and is no other one.
func TestI30_LateWordMendsTheRecord(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		report job.Report
		want   job.State
	}{
		"it has run":         {job.Report{Known: true, State: job.StateSucceeded, Spooled: true}, job.StateSucceeded},
		"it was not started": {job.Report{Returned: true, Reason: "was not started before its lease ended"}, job.StateExpired},
		"it is not known":    {job.Report{Known: true, State: job.StateIndeterminate, Spooled: true}, job.StateIndeterminate},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, 1)
			f := d.fire(d.job(job.Spec{}), fire{})
			d.says(f, "m00", job.StateRunning)
			d.leaves("m00")
			d.wait(job.DefaultLostAfter + 3*goneEvery)
			d.wantRun(job.StateIndeterminate, "")
			d.recorded = map[job.RunID]job.Run{d.runs[0].RunID: d.runs[0]}
			d.close(f)
			d.left = nil
			sent := d.sent["m00"]
			c.report.Task, c.report.Shard = f.taskID(f.tasks[0]), 1
			d.onReport(&c.report)
			d.answered()
			d.wait(time.Minute)
			if got := d.runs[len(d.runs)-1]; got.State != c.want || got.RunID != f.id.RunID() || len(got.Tasks) != 1 {
				t.Errorf("recorded %+v, want the run as %s", got, c.want)
			}
			if d.sent["m00"] != sent {
				t.Error("it was ordered again")
			}
		})
	}
}

// TestI30_CancelledIsEndedThere: what was cancelled while its minion was gone is
// ended there when that is back, once.
func TestI30_CancelledIsEndedThere(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	f := d.fire(d.job(job.Spec{}), fire{})
	d.says(f, "m00", job.StateRunning)
	d.leaves("m00")
	d.wait(time.Minute)
	d.cancelFor(f, &etcdkv.RunCommand{By: "ann"}, d.clock)
	d.wait(2 * goneEvery)
	d.wantRun(job.StateIndeterminate, "cancelled by ann")
	clear(d.cancelled)
	d.wait(20 * time.Minute)
	if len(d.cancelled) != 0 {
		t.Fatal("a minion that is gone was told")
	}
	d.left = nil
	d.wait(2 * goneEvery)
	if !d.cancelled["m00"] {
		t.Error("the minion is back, and was not told to end the task")
	}
	clear(d.cancelled)
	d.wait(time.Minute)
	if len(d.cancelled) != 0 {
		t.Error("it was told again")
	}
}

// TestI30_EndedRunIsCancelledThere: what may still run of a run that has ended, as its
// minion was gone for longer than lostAfter, is ended there when somebody wants so:
// once the minion is connected, and once.
func TestI30_EndedRunIsCancelledThere(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	d.deps.Client = clientv3.NewCtxClient(context.Background())
	d.deps.Client.KV = noStore{}
	f := d.fire(d.job(job.Spec{}), fire{})
	d.says(f, "m00", job.StateRunning)
	d.leaves("m00")
	d.wait(job.DefaultLostAfter + 3*goneEvery)
	d.wantRun(job.StateIndeterminate, "longer than lostAfter")
	d.close(f)
	id := f.taskID(f.tasks[0])
	command := etcdkv.RunCommand{
		Kind: etcdkv.CommandCancel, Fire: f.id, By: "ann", At: time.Unix(0, d.clock), Tasks: []job.TaskID{id}, Until: time.Unix(0, d.clock).Add(time.Hour),
	}
	d.deps.Cluster.SetRunCommands(cluster.RunCommands{1: {"w": {ModRevision: 7, Value: command}}})
	d.tendCommands(d.clock)
	d.wait(20 * time.Minute)
	d.tendCommands(d.clock)
	d.deps.bestEffort.wg.Wait()
	if _, granted := d.granted["w"]; granted || len(d.cancelled) != 0 {
		t.Fatalf("told %v while the minion is gone; the command is dropped: %v", d.cancelled, granted)
	}
	d.left = nil
	d.wait(2 * goneEvery)
	d.tendCommands(d.clock)
	if _, granted := d.granted["w"]; !granted || !d.cancelled["m00"] {
		t.Errorf("the minion is back, and was told %v; the command is dropped: %v", d.cancelled, granted)
	}
	clear(d.cancelled)
	d.wait(time.Minute)
	if len(d.cancelled) != 0 {
		t.Error("it was told again")
	}
}

// TestI29_OpenRunSaysThatItsMinionIsGone: in place of that it runs.
func TestI29_OpenRunSaysThatItsMinionIsGone(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 2)
	f := d.fire(d.job(job.Spec{}), fire{})
	d.says(f, "m00", job.StateRunning)
	d.says(f, "m01", job.StateRunning)
	d.wait(time.Minute)
	d.leaves("m01")
	left := time.Unix(0, d.clock).UTC()
	d.wait(time.Minute)
	run := d.live("", "")[0]
	if !run.GoneSince.IsZero() || !run.Tasks[0].GoneSince.IsZero() || !run.Tasks[1].GoneSince.Equal(left) {
		t.Errorf("with one of two gone: %+v", run)
	}
	d.says(f, "m00", job.StateSucceeded)
	run = d.live("", "")[0]
	if !run.GoneSince.Equal(left) || !strings.Contains(run.Reason, "m01, since "+left.Format(time.RFC3339)) {
		t.Errorf("with the last one gone: %+v", run)
	}
}

package queues

import (
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/queue"
)

// ends reports the end of an attempt with a verdict.
func (c *cluster) ends(o job.Order, v job.Verdict, checkpoint string) {
	now := time.Now().UTC()
	c.m.Reports([]job.Report{{
		Task: o.Task, Shard: o.Shard, Known: true, State: job.StateFailed, Reason: "because", StartedAt: now, EndedAt: now, Spooled: true,
		Verdict: v, Checkpoint: checkpoint,
	}})
}

// TestVerdicts: what is snoozed or interrupted is tried again and counts as no attempt, with
// the last checkpoint; what is permanent is given up at once.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	c := open(t, job.QueueSpec{Retry: job.Retry{Attempts: 2, Backoff: job.Duration(time.Millisecond)}}, map[job.MinionID]string{"m1": me + "9"})
	c.put(queue.Item{ID: "a"}, queue.Item{ID: "b"})
	c.ends(c.order("a", 1), job.VerdictInterrupted, "1")
	if o := c.order("a", 2); o.Env[job.EnvCheckpoint] != "1" {
		t.Errorf("the second attempt has the checkpoint %q", o.Env[job.EnvCheckpoint])
	}
	c.ends(c.order("a", 2), job.VerdictSnooze, "2")
	c.ends(c.order("a", 3), "", "")
	if o := c.order("a", 4); o.Env[job.EnvCheckpoint] != "2" {
		t.Errorf("the fourth attempt has the checkpoint %q", o.Env[job.EnvCheckpoint])
	}
	c.ends(c.order("a", 4), "", "") // the second one that counts
	c.ends(c.order("b", 1), job.VerdictPermanent, "")
	c.stats(queue.Stats{Dead: 2})
	if run, _ := c.history.get(c.order("b", 1).RunID); run.State != job.StateFailed || run.Attempt != 1 {
		t.Errorf("record: %+v", run)
	}
}

// TestCheckpointOutlivesItsMinion: what a minion has told while it worked goes to the next
// one, once the first is lost; meanwhile its progress is shown.
func TestCheckpointOutlivesItsMinion(t *testing.T) {
	t.Parallel()
	c := open(t, job.QueueSpec{}, map[job.MinionID]string{"m1": me + "1"})
	c.put(queue.Item{ID: "x"})
	o := c.order("x", 1)
	tell := func(checkpoint string) {
		c.m.Reports([]job.Report{{
			Task: o.Task, Shard: o.Shard, Known: true, State: job.StateRunning, StartedAt: time.Now(), Checkpoint: checkpoint, Progress: &job.Progress{Percent: 40, Text: "page 4"},
		}})
	}
	tell("3")
	tell("4")
	await.Until(t, "the progress", func() bool {
		got, err := c.client.Get(t.Context(), c.keys.QueueStatus(c.queue.Key()))
		if err != nil || len(got.Kvs) == 0 {
			return false
		}
		s, err := etcdkv.Decode[etcdkv.QueueStatus]("", got.Kvs[0].Value)
		return err == nil && len(s.Workers) == 1 && len(s.Workers[0].Items) == 1 && s.Workers[0].Items[0].Progress != nil && s.Workers[0].Items[0].Progress.Percent == 40
	})
	// The next dispatcher knows it from etcd alone.
	await.Until(t, "the checkpoint", func() bool {
		got, err := c.client.Get(t.Context(), c.keys.QueueOf("team", "report").Marker(0, "x"))
		if err != nil || len(got.Kvs) == 0 {
			return false
		}
		m, err := etcdkv.Decode[etcdkv.QueueMarker]("", got.Kvs[0].Value)
		return err == nil && m.Checkpoint == "4"
	})
	c.stop()
	c.start()
	c.minions.lose("m1")
	c.minions.mu.Lock()
	c.minions.offers["m2"] = me + "1"
	c.minions.mu.Unlock()
	if now := c.order("x", 2); now.Task.Minion != "m2" || now.Env[job.EnvCheckpoint] != "4" {
		t.Errorf("the next minion is %s, with the checkpoint %q", now.Task.Minion, now.Env[job.EnvCheckpoint])
	}
}

package scheduler

import (
	"context"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// boot has the host of a minion start at a time.
func (b *bed) boot(m job.MinionID, id string, at time.Time) {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	if b.w.facts == nil {
		b.w.facts = map[job.MinionID]map[string]string{}
	}
	b.w.facts[m] = map[string]string{job.FactBootID: id, job.FactBootTime: at.UTC().Format(time.RFC3339)}
}

// startsStored counts what is stored of the boots for which a job was started, with the
// key that says since when it is looked after.
func (b *bed) startsStored(j job.Job) int {
	r, err := b.client.Get(context.Background(), b.keys.HostStarts(j.UID), clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		b.t.Fatal(err)
	}
	return int(r.Count)
}

// TestOnStartRunsOncePerBoot: a job runs on each minion whose host has started, once for
// each boot, whoever owns it; not on hosts that were up before, and not when the minion is
// restarted.
func TestOnStartRunsOncePerBoot(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ttl = mortal
	b.w.hosts = []job.MinionID{"m1", "m2", "old"}
	for _, m := range b.w.hosts {
		b.boot(m, "first", time.Now().Add(-time.Hour))
	}
	j := b.put("up", job.Spec{Command: []string{"x"}, OnStart: true})
	_, kill, _ := b.start("a")
	b.until("it is looked after", func() bool { return b.startsStored(j) == 1 })
	later := time.Now().Add(time.Hour) // by their own clocks
	b.boot("m1", "second", later)
	b.until("a run on m1", func() bool { return len(b.ended(j)) == 1 })
	kill()
	b.boot("m2", "while nobody looks", later)
	_, kill, _ = b.start("b")
	b.until("a run on m2", func() bool { return len(b.ended(j)) == 2 })
	kill()
	// m1 has run it for its boot; an owner that does not know of that from its own memory
	// starts it for the next one only.
	root := b.keys.HostStarts(j.UID)
	b.place(root+"m1", etcdkv.HostStart{Schema: etcdkv.Schema, Boot: "second", At: time.Now().Add(-time.Minute)})
	b.start("c")
	b.boot("m1", "third", later)
	b.until("a run of m1's next boot", func() bool { return len(b.ended(j)) >= 3 && b.slots() == 0 })
	ran := map[string]int{}
	for _, r := range b.ended(j) {
		if r.Trigger != "watch" || len(r.Tasks) != 1 || r.State != job.StateSucceeded || !strings.Contains(r.Cause, "the host of minion "+string(r.Tasks[0].Minion)+" has started") {
			t.Errorf("%s by %s on %+v: %s", r.State, r.Trigger, r.Tasks, r.Cause)
			continue
		}
		ran[string(r.Tasks[0].Minion)]++
	}
	if ran["m1"] != 2 || ran["m2"] != 1 || ran["old"] != 0 || len(b.ended(j)) != 3 {
		t.Errorf("ran %v", ran)
	}
}

// TestOnStartAfterAbsence: a minion that was not known for a while, as while a node has just
// started, is started for its next boot only, also if that was in the meantime.
func TestOnStartAfterAbsence(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.w.hosts = []job.MinionID{"same", "again"}
	now := time.Now()
	b.boot("same", "first", now.Add(-2*time.Minute))
	b.boot("again", "second", now.Add(-time.Second))
	hosts := b.w.hosts
	b.w.hosts = []job.MinionID{"other"}
	j := b.put("up", job.Spec{Command: []string{"x"}, OnStart: true})
	root := b.keys.HostStarts(j.UID)
	b.place(root, etcdkv.HostStart{Schema: etcdkv.Schema, At: now.Add(-time.Hour)})
	for _, m := range hosts {
		b.place(root+string(m), etcdkv.HostStart{Schema: etcdkv.Schema, Boot: "first", At: now.Add(-time.Minute)})
	}
	b.start("a")
	b.until("both are forgotten", func() bool { return b.startsStored(j) == 1 })
	b.w.mu.Lock()
	b.w.hosts = hosts
	b.w.mu.Unlock()
	b.until("a run", func() bool { return len(b.ended(j)) > 0 && b.slots() == 0 })
	for _, r := range b.ended(j) {
		if len(r.Tasks) != 1 || r.Tasks[0].Minion != "again" {
			t.Errorf("ran on %+v: %s", r.Tasks, r.Cause)
		}
	}
}

// TestOnStartWhileDisabled: a boot that came while the job was disabled starts nothing
// afterwards, and what is known of minions goes with them.
func TestOnStartWhileDisabled(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.w.hosts = []job.MinionID{"m1"}
	b.boot("m1", "first", time.Now().Add(time.Hour))
	j := b.put("off", job.Spec{Command: []string{"x"}, OnStart: true, Enabled: new(bool)})
	b.start("a")
	b.until("the boot has passed", func() bool { return b.startsStored(j) == 2 })
	j.Spec.Enabled = nil
	b.store(j)
	other := b.put("on", job.Spec{Command: []string{"x"}, OnStart: true})
	b.until("a run of another job", func() bool { return len(b.ended(other)) == 1 })
	if n := len(b.ended(j)); n != 0 {
		t.Errorf("started %d times for a boot in whose time it was disabled", n)
	}
	b.w.mu.Lock()
	b.w.hosts = []job.MinionID{"m3"}
	b.w.mu.Unlock()
	b.boot("m3", "its first", time.Now().Add(time.Hour))
	b.until("m1 is forgotten, and m3 known", func() bool {
		r, err := b.client.Get(context.Background(), b.keys.HostStarts(other.UID), clientv3.WithPrefix(), clientv3.WithKeysOnly())
		return err == nil && len(r.Kvs) == 2 && strings.HasSuffix(string(r.Kvs[1].Key), "/m3")
	})
}

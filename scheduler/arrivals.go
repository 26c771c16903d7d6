package scheduler

import (
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// triggers are the starts that were asked for, and that wait for the next plan.
type triggers struct {
	now func() int64
	log *zap.Logger

	all map[string]arrived
	// read: they have been listed. fresh: there may be something to start among them.
	read, fresh bool
}

// arrived is a trigger, written as of a revision, and when it came here.
type arrived struct {
	etcdkv.Trigger

	rev, at int64
}

// apply applies a batch of the trigger view.
func (t *triggers) apply(b etcdkv.Batch) {
	t.read = true
	for i := range b.Events {
		ev := &b.Events[i]
		if ev.Value == nil {
			delete(t.all, ev.Key)
			continue
		}
		v, err := etcdkv.Decode[etcdkv.Trigger](ev.Key, ev.Value)
		if err != nil {
			t.log.Error("trigger cannot be read and is ignored", zap.String("key", ev.Key), zap.Error(err))
			continue
		}
		t.all[ev.Key] = arrived{Trigger: v, rev: ev.ModRevision, at: t.now()}
		t.fresh = true
	}
}

// jobAwaited is how long a trigger waits for its job, which may have been stored
// together with it: the views of jobs and of triggers come apart.
const jobAwaited = int64(5 * time.Second)

// awaitsJob reports whether a trigger's job may yet come into view, which is of a
// revision.
func (t *triggers) awaitsJob(key string, jobsRev, now int64) bool {
	a := t.all[key]
	return a.rev > jobsRev && now < a.at+jobAwaited
}

// has reports whether a fire may yet come of a start that is stored: however long that
// waits, such as for a shard that had no owner.
func (t *triggers) has(id job.FireID) bool {
	if !t.read {
		return true
	}
	for _, a := range t.all {
		if a.Fire == id {
			return true
		}
	}
	return false
}

// take takes a trigger for a plan.
func (t *triggers) take(b *batch, key string) {
	if a, ok := t.all[key]; ok {
		if b.taken == nil {
			b.taken = map[string]arrived{}
		}
		b.taken[key] = a
		delete(t.all, key)
	}
	b.triggers = append(b.triggers, key)
}

// takeBack gives those back that a plan has taken.
func (t *triggers) takeBack(b *batch) {
	for key, a := range b.taken {
		t.all[key] = a
		t.fresh = true
	}
}

package scheduler

import (
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// onTriggers applies a batch of the trigger view.
func (s *shard) onTriggers(b etcdkv.Batch) {
	s.triggersRead = true
	for i := range b.Events {
		ev := &b.Events[i]
		if ev.Value == nil {
			delete(s.triggers, ev.Key)
			continue
		}
		t, err := etcdkv.Decode[etcdkv.Trigger](ev.Key, ev.Value)
		if err != nil {
			s.log.Error("trigger cannot be read and is ignored", zap.String("key", ev.Key), zap.Error(err))
			continue
		}
		s.triggers[ev.Key] = arrived{Trigger: t, rev: ev.ModRevision, at: s.deps.now()}
		s.triggersNew = true
	}
}

// arrived is a trigger, written as of a revision, and when it came here.
type arrived struct {
	etcdkv.Trigger

	rev, at int64
}

// jobAwaited is how long a trigger waits for its job, which may have been stored
// together with it: the views of jobs and of triggers come apart.
const jobAwaited = int64(5 * time.Second)

// awaits reports whether a trigger's job may yet come into view.
func (s *shard) awaits(key string, now int64) bool {
	a := s.triggers[key]
	return a.rev > s.jobsRev && now < a.at+jobAwaited
}

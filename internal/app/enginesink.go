package app

import (
	"sync/atomic"

	"github.com/carillon-cron/carillon/internal/queues"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler"
)

// engineSink lets the hub, which is made first, reach the engine.
type engineSink struct {
	engine atomic.Pointer[scheduler.Engine]
	queues atomic.Pointer[queues.Dispatch]
}

func (s *engineSink) Reports(r []job.Report) {
	q := s.queues.Load()
	if q == nil {
		return
	}
	r = q.Reports(r)
	if e := s.engine.Load(); e != nil && len(r) > 0 {
		e.Reports(r)
	}
}

// ofQueues takes what is told of the items of jobs.
func (s *engineSink) ofQueues(r []job.Report) {
	if e := s.engine.Load(); e != nil {
		e.Reports(r)
	}
}

func (s *engineSink) revoked(id job.MinionID) {
	if e := s.engine.Load(); e != nil {
		e.Revoked(id)
	}
}

func (s *engineSink) LiveRuns(namespace, name string) ([]job.Run, []job.ShardID) {
	e, q := s.engine.Load(), s.queues.Load()
	if e == nil || q == nil {
		return nil, nil
	}
	runs, of := e.LiveRuns(namespace, name)
	return append(runs, q.LiveRuns(namespace, name)...), of
}

// topicDepth bounds what waits for one minion: a minion that is alone may be
// handed a whole herd of fires at once.
const topicDepth = 20_000

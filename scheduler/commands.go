package scheduler

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/phase"
)

// A command is a key that says what somebody wants of an open run. It stays until
// it is carried out or the run is recorded, so a new owner sees it, too.

// commandOldest is how long a command for a run that nobody knows is kept: its start
// may not have been committed yet.
const commandOldest = 2 * time.Minute

// wakeForCommands wakes the shards about whose runs somebody wants something.
func (e *Engine) wakeForCommands() {
	for id := range e.deps.Cluster.RunCommands() {
		e.mu.RLock()
		s := e.shards[id]
		e.mu.RUnlock()
		if s != nil {
			s.do(func() {}) // a step looks at them
		}
	}
}

// tendCommands does what people want of the shard's open runs.
func (s *shard) tendCommands(now int64) {
	commands := s.deps.Cluster.RunCommands()[s.id]
	if len(commands) == 0 {
		clear(s.granted)
		clear(s.gone.recalling)
	}
	for key, w := range commands {
		if s.granted[key] == w.ModRevision {
			continue
		}
		f := s.fireOf(w.Value.Fire)
		switch {
		case f == nil && len(w.Value.Tasks) > 0:
			if s.gone.recallFor(key, &w) {
				continue // until all have been told
			}
		case f == nil && (now-w.Value.At.UnixNano() < int64(commandOldest) || s.triggers.has(w.Value.Fire)):
			continue
		case f == nil || f.ended():
		case f.phase == phase.FireOrphaned:
			continue
		case w.Value.Kind == etcdkv.CommandPromote:
			s.promoteRollout(f)
		case w.Value.Kind == etcdkv.CommandCancel:
			s.cancelFor(f, &w.Value, now)
			continue // until it has ended
		}
		s.forgetCommand(key, w.ModRevision)
	}
}

// cancelledBy says who wants a run ended, and why.
func cancelledBy(w *etcdkv.RunCommand) string {
	why := "cancelled"
	if w.By != "" {
		why += " by " + w.By
	}
	if w.Reason != "" {
		why += ": " + w.Reason
	}
	return why
}

// cancelFor ends a run because somebody wants it to.
func (s *shard) cancelFor(f *fire, w *etcdkv.RunCommand, now int64) {
	why := cancelledBy(w)
	switch {
	case f.phase == phase.FireHeldBack, f.isOpen() && f.tasks[0].minion == "":
		s.end(f, job.StateCancelled, why)
	case f.isOpen() && f.endWhy != why: // also when it is to be replaced later
		f.endAt, f.endWhy, f.withdrawn = now, why, true
		s.reconcileAt(f, now)
		s.gone.look()
	}
}

// forgetCommand removes a command that is carried out, or can be no more. When nobody has
// time for that, the next step asks again.
func (s *shard) forgetCommand(key string, rev int64) {
	begun := s.deps.bestEffort.do(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, briefTimeout)
		defer cancel()
		if _, err := s.deps.Client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", rev)).
			Then(clientv3.OpDelete(key)).Commit(); err != nil {
			s.log.Debug("command not removed yet", zap.String("key", key), zap.Error(err))
			s.do(func() { delete(s.granted, key) })
		}
	})
	if begun {
		s.granted[key] = rev
	}
}

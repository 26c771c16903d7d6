package scheduler

import (
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// pausedAt returns why the job does not fire at an instant; empty: it does.
func (s *shard) pausedAt(e *entry, at int64) string {
	paused := s.deps.Cluster.Pauses()
	if len(paused) == 0 {
		return ""
	}
	var group job.Key
	if s.turns != nil {
		if g := s.turns.group(); g != nil {
			group = g.Key
		}
	}
	return paused.Why(e.key, group, at)
}

// countFailure keeps count of a job's runs in a row that did not succeed, and
// pauses the job when there are too many. The count, and the pause, go with the
// next commit.
func (s *shard) countFailure(f *fire, state job.State) {
	if f.e.Gone || f.e.Optional == nil || f.e.Optional.PauseAfter == 0 {
		return
	}
	n, counted := s.state.Failures[f.e.uid]
	switch {
	case state == job.StateSucceeded && counted:
		s.setFailures(f.e.uid, 0)
	case state == job.StateSucceeded, !job.OnFailure.Meets(state):
	case n+1 < f.e.Optional.PauseAfter:
		s.setFailures(f.e.uid, n+1)
	default:
		s.setFailures(f.e.uid, 0)
		s.pausing = append(s.pausing, etcdkv.Pause{
			Schema: etcdkv.Schema, Scope: etcdkv.ScopeJob, Namespace: f.e.key.Namespace, Name: f.e.key.Name, By: etcdkv.PausedByFailures,
			Reason: fmt.Sprintf(etcdkv.PausedAfter+"%s (last: %s, %s)", failureWords(n+1), f.id.RunID(), state),
			Since:  time.Unix(0, s.deps.now()).UTC(),
		})
		s.notices.tell(f, job.AlertPaused, s.pausing[len(s.pausing)-1].Reason)
		s.met.alerts.WithLabelValues(alertPaused).Inc()
	}
}

// setFailures changes a count; the next commit stores it.
func (s *shard) setFailures(uid job.UID, n int) {
	next := make(map[job.UID]int, len(s.state.Failures)+1)
	for u, c := range s.state.Failures {
		next[u] = c
	}
	next[uid] = n
	if n == 0 {
		delete(next, uid)
	}
	s.state.Failures, s.ringDirty = next, true
}

// failureWords returns "1 failure" or "3 consecutive failures".
func failureWords(n int) string {
	if n == 1 {
		return "1 failure"
	}
	return fmt.Sprintf("%d consecutive failures", n)
}

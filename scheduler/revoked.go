package scheduler

import (
	"fmt"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/phase"
)

// onRevoked takes that nothing more will be heard of a minion.
func (s *shard) onRevoked(id job.MinionID) {
	if s.synced && s.own.Held() {
		s.endRevoked(id)
	} // else whoever has the shard next looks at each task
}

// endRevoked ends what a minion runs, or may run, of which nothing more will be
// heard (I22). What it was not sent yet is seen to at its dispatch.
func (s *shard) endRevoked(id job.MinionID) {
	now := s.deps.now()
	for _, f := range s.fires {
		if f.ended() || f.phase == phase.FireOrphaned {
			continue
		}
		for _, t := range f.tasks {
			if !f.ended() && t.minion == id && t.phase.MayBeOut() {
				s.giveUpRevoked(f, t, now)
			}
		}
	}
}

// giveUpRevoked ends a task that was sent, or may have been, if nothing more will
// be heard of its minion. It reports whether it did.
func (s *shard) giveUpRevoked(f *fire, t *task, now int64) bool {
	if !s.deps.Minions.Revoked(t.minion) {
		return false
	}
	what := "whether it ran the task is not known"
	if t.phase.AtMinion() {
		what = "it had started the task, and whether that still runs is not known"
	}
	s.finish(f, t, now, job.StateIndeterminate, fmt.Sprintf("minion %s: its certificate was revoked, so it cannot be controlled; %s", t.minion, what))
	return true
}

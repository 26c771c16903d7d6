package scheduler

import (
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// pauses are what is paused, and was: an owner may come to what was due in a pause
// when that has ended. Things are paused while any of theirs holds. The zero pauses
// pause nothing.
type pauses map[pausedThing][]*etcdkv.Pause

// pausedThing is what one pause is about; see etcdkv.Scope.
type pausedThing struct {
	scope etcdkv.Scope
	key   job.Key
}

func (c *Cluster) onPauses() {
	entries, rev := c.paused.Snapshot()
	view := make(pauses, len(entries))
	for _, e := range entries {
		p := &e.Value
		of := pausedThing{scope: p.Scope}
		switch p.Scope {
		case etcdkv.ScopeAll:
		case etcdkv.ScopeNamespace:
			of.key.Namespace = p.Namespace
		case etcdkv.ScopeGroup, etcdkv.ScopeJob:
			of.key = job.Key{Namespace: p.Namespace, Name: p.Name}
		}
		view[of] = append(view[of], p.All()...)
	}
	c.pauses.Store(&view)
	c.pausesRev.Store(rev)
}

// why returns why a job does not fire at an instant; empty: it does. The group's
// name is empty for jobs without one.
func (v pauses) why(key, group job.Key, at int64) string {
	for _, of := range [...]pausedThing{
		{etcdkv.ScopeJob, key}, {etcdkv.ScopeGroup, group},
		{etcdkv.ScopeNamespace, job.Key{Namespace: key.Namespace}}, {scope: etcdkv.ScopeAll},
	} {
		for _, p := range v[of] {
			if p.HoldsAt(time.Unix(0, at)) {
				return pauseWords(p)
			}
		}
	}
	return ""
}

func pauseWords(p *etcdkv.Pause) string {
	what := "everything"
	switch p.Scope {
	case etcdkv.ScopeJob:
		what = "the job"
	case etcdkv.ScopeGroup:
		what = "the group " + p.Name
	case etcdkv.ScopeNamespace:
		what = "the namespace " + p.Namespace
	case etcdkv.ScopeAll:
	}
	text := fmt.Sprintf("%s is paused since %s", what, p.Since.UTC().Format(time.RFC3339))
	if !p.Until.IsZero() {
		text += " until " + p.Until.UTC().Format(time.RFC3339)
	}
	return text + p.Order()
}

// storedPause is a pause that a shard makes, as it is stored: those before it that have
// ended stay. Who ends one meanwhile has it forgotten.
func (c *Cluster) storedPause(key string, p *etcdkv.Pause) *etcdkv.StoredPause {
	out := &etcdkv.StoredPause{Pause: *p}
	if entries, _ := c.paused.Snapshot(); entries != nil {
		if old, ok := entries[key]; ok {
			out.Earlier = append(out.Earlier, old.Value.Earlier...)
			if old.Value.EndedAt(p.Since) {
				out.Rest(&old.Value.Pause)
			}
		}
	}
	return out
}

// pausedAt returns why the job does not fire at an instant; empty: it does.
func (s *shard) pausedAt(e *entry, at int64) string {
	v := *s.deps.Cluster.pauses.Load()
	if len(v) == 0 {
		return ""
	}
	var group job.Key
	if s.turns != nil {
		if g := s.turns.group(); g != nil {
			group = g.key
		}
	}
	return v.why(e.key, group, at)
}

// countFailure keeps count of a job's runs in a row that did not succeed, and
// pauses the job when there are too many. The count, and the pause, go with the
// next commit.
func (s *shard) countFailure(f *fire, state job.State) {
	if f.e.gone || f.e.rare == nil || f.e.rare.pauseAfter == 0 {
		return
	}
	n, counted := s.state.Failures[f.e.uid]
	switch {
	case state == job.StateSucceeded && counted:
		s.setFailures(f.e.uid, 0)
	case state == job.StateSucceeded, !job.OnFailure.Meets(state):
	case n+1 < f.e.rare.pauseAfter:
		s.setFailures(f.e.uid, n+1)
	default:
		s.setFailures(f.e.uid, 0)
		s.pausing = append(s.pausing, etcdkv.Pause{
			Schema: etcdkv.Schema, Scope: etcdkv.ScopeJob, Namespace: f.e.key.Namespace, Name: f.e.key.Name, By: etcdkv.PausedByFailures,
			Reason: fmt.Sprintf(etcdkv.PausedAfter+"%s (last: %s, %s)", failureWords(n+1), f.id.RunID(), state),
			Since:  time.Unix(0, s.deps.now()).UTC(),
		})
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

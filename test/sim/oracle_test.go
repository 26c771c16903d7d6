package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// judge holds what ran and what is recorded against the schedules, for all that
// was due by an instant.
func (w *world) judge(until time.Time) {
	for _, b := range w.fleet.broken {
		w.t.Error(b)
	}
	for task, n := range w.fleet.starts {
		if n > 1 {
			w.t.Errorf("S2: %v was started %d times", task, n)
		}
	}
	w.judgeAttempts()
	w.judgeRecords()
	w.judgeOwed(until)
	w.judgeOrder()
	for _, fire := range w.asked {
		if r, ok := w.store.runs[fire.RunID()]; !ok || !r.State.Final() {
			w.t.Errorf("S1: the start by hand at %v has no record", fire.Time())
		}
	}
	for _, kv := range w.srv.Dump() {
		for _, part := range []string{"/slots/", "/triggers/", "/ended/", "/moved/"} {
			if strings.Contains(string(kv.Key), part) {
				w.t.Errorf("S6: left over: %s", kv.Key)
			}
		}
	}
}

// judgeAttempts looks at fires that were tried more than once.
func (w *world) judgeAttempts() {
	tried := map[job.FireID][]job.TaskID{}
	for task := range w.fleet.starts {
		tried[task.Fire] = append(tried[task.Fire], task)
	}
	for fire, tasks := range tried {
		slices.SortFunc(tasks, func(a, b job.TaskID) int { return a.Attempt - b.Attempt })
		for i := 1; i < len(tasks); i++ {
			before := w.fleet.each[tasks[i-1].Minion].journal[tasks[i-1]]
			if tasks[i].Attempt == tasks[i-1].Attempt {
				w.t.Errorf("S2: %v was started as %v and as %v", fire, tasks[i-1], tasks[i])
			} else if !before.State.Retryable() || before.EndedAt.After(w.fleet.each[tasks[i].Minion].journal[tasks[i]].StartedAt) {
				w.t.Errorf("S2: %v was tried again though attempt %d is %s", fire, tasks[i-1].Attempt, before.State)
			}
		}
	}
}

// judgeRecords holds records against what ran.
func (w *world) judgeRecords() {
	recorded := map[job.FireID]job.Run{}
	for _, r := range w.store.runs {
		recorded[r.FireID] = r
		if !r.State.Final() {
			w.t.Errorf("S1: the record of %v has not ended: %s", r.FireID, r.State)
		}
		switch r.State {
		case job.StateSucceeded, job.StateFailed:
			last := r.Tasks[len(r.Tasks)-1]
			if w.fleet.starts[job.TaskID{Fire: r.FireID, Minion: last.Minion, Attempt: last.Attempt}] == 0 {
				w.t.Errorf("S5: %v is recorded as %s, and never ran", r.FireID, r.State)
			}
		case job.StateIndeterminate:
			for _, t := range r.Tasks {
				id := job.TaskID{Fire: r.FireID, Minion: t.Minion, Attempt: t.Attempt}
				if said := w.fleet.each[t.Minion].journal[id]; t.State == job.StateIndeterminate && said != nil && said.State.Final() {
					w.t.Errorf("S5: %v is recorded as %s, and its minion has said that it is %s", id, t.State, said.State)
				}
			}
		default: // the reason says what it was
		}
		if r.Reason == "" && r.State != job.StateSucceeded && r.State != job.StateFailed {
			w.t.Errorf("S1: %v is %s without a reason", r.FireID, r.State)
		}
	}
	for task := range w.fleet.starts {
		r, ok := recorded[task.Fire]
		if !ok {
			w.t.Errorf("S5: %v ran, and has no record", task)
			continue
		}
		switch r.State {
		case job.StateSkipped, job.StateMissed, job.StateUndeliverable:
			w.t.Errorf("S5: %v ran, and is recorded as %s: %s", task, r.State, r.Reason)
		default: // it may have run
		}
	}
}

// judgeOwed looks for occurrences without a record, and records that are none.
func (w *world) judgeOwed(until time.Time) {
	rows := map[job.UID][]job.Run{}
	for _, r := range w.store.runs {
		rows[r.FireID.Job] = append(rows[r.FireID.Job], r)
	}
	for _, p := range w.jobs {
		have := map[int64]bool{}
		for _, r := range rows[p.UID] {
			if r.FireID.Trigger == job.TriggerSchedule {
				have[r.FireID.At] = true
			}
		}
		for _, r := range rows[p.UID] {
			if r.Count <= 1 {
				continue
			}
			left := r.Count - 1 // those that have a record of their own are not of the row
			for _, at := range p.among(r.ScheduledAt, r.Until) {
				if left > 0 && !have[at.UnixNano()] {
					have[at.UnixNano()] = true
					left--
				}
			}
		}
		limit := 1 << 20
		if p.Spec.Count > 0 {
			limit = p.Spec.Count
		}
		for i, v := range p.versions {
			from, to := v.after, until
			if v.holds.After(from) {
				from = v.holds
			}
			if i+1 < len(p.versions) && p.versions[i+1].after.Before(to) {
				to = p.versions[i+1].after
			}
			for _, at := range v.set.Between(from, to, limit) {
				if !have[at.UnixNano()] {
					w.t.Errorf("S1: %s at %v (%v) has no record", p.Name, at.Format(time.RFC3339Nano), at.Sub(w.begun))
				}
			}
		}
		for _, r := range rows[p.UID] {
			if at := r.FireID.Time(); r.FireID.Trigger == job.TriggerSchedule && !p.due(at) {
				w.t.Errorf("S8: %s at %v (%v) is %s, and was due by no schedule that held then: %s", p.Name, at.Format(time.RFC3339Nano), at.Sub(w.begun), r.State, r.Reason)
			}
		}
		n := len(have)
		if p.Spec.Count > 0 && n > p.Spec.Count {
			w.t.Errorf("S1: %s has %d occurrences, want at most %d", p.Name, n, p.Spec.Count)
		}
	}
}

// due reports whether an instant was one by a schedule that held then, or that may have
// been committed before it was replaced.
func (p *planned) due(at time.Time) bool {
	for i, v := range p.versions {
		if next, ok := v.set.Next(at.Add(-1)); !ok || !next.Equal(at) || !at.After(v.after) {
			continue
		}
		if i+1 == len(p.versions) || !at.After(p.versions[i+1].after) || !at.After(p.versions[i+1].holds) {
			return true
		}
	}
	return false
}

// among returns the instants that were due from one to another.
func (p *planned) among(from, to time.Time) []time.Time {
	var out []time.Time
	for _, v := range p.versions {
		for _, at := range v.set.Between(from.Add(-1), to, 1<<20) {
			if p.due(at) {
				out = append(out, at)
			}
		}
	}
	slices.SortFunc(out, time.Time.Compare)
	return slices.CompactFunc(out, time.Time.Equal)
}

// judgeOrder looks at what ran in ordered groups.
func (w *world) judgeOrder() {
	shards := map[job.UID]job.ShardID{}
	for _, p := range w.jobs {
		shards[p.UID] = p.shard
	}
	ran := map[job.ShardID][]*job.Report{}
	for _, m := range w.fleet.each {
		for task, r := range m.journal {
			if shard := shards[task.Fire.Job]; w.ordered[shard] && !r.StartedAt.IsZero() {
				ran[shard] = append(ran[shard], &r.Report)
			}
		}
	}
	for shard, all := range ran {
		slices.SortFunc(all, func(a, b *job.Report) int { return a.StartedAt.Compare(b.StartedAt) })
		for i := 1; i < len(all); i++ {
			before, r := all[i-1], all[i]
			if r.StartedAt.Before(before.EndedAt) {
				w.t.Errorf("S7: in ordered group %v %v started %v before %v ended; %s; %s", shard, r.Task, before.EndedAt.Sub(r.StartedAt), before.Task, w.told(r), w.told(before))
			}
			if r.Task.Fire.At < before.Task.Fire.At {
				w.t.Errorf("S7: in ordered group %v %v started after %v, which is later; %s; %s", shard, r.Task, before.Task, w.told(r), w.told(before))
			}
		}
	}
}

// told is what is known of a task that ran.
func (w *world) told(r *job.Report) string {
	since := func(t time.Time) time.Duration { return t.Sub(w.begun) }
	run := w.store.runs[r.Task.Fire.RunID()]
	return fmt.Sprintf("%v ran from %v to %v, and is %s (%s), committed by %s at %v, dispatched at %v, token %v:\n%s",
		r.Task, since(r.StartedAt), since(r.EndedAt), run.State, run.Reason, run.Node, since(run.CommittedAt), since(run.DispatchedAt), run.Token,
		strings.Join(w.fleet.tales[r.Task.Fire], "\n"))
}

package sim

import (
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
		default:
			if r.Reason == "" {
				w.t.Errorf("S1: %v is %s without a reason", r.FireID, r.State)
			}
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
			if r.FireID.Trigger != job.TriggerSchedule {
				continue
			}
			if r.Count <= 1 {
				have[r.FireID.At] = true
				continue
			}
			for _, at := range p.versions[0].set.Between(r.ScheduledAt.Add(-1), r.Until, r.Count) {
				have[at.UnixNano()] = true
			}
		}
		if len(p.versions) > 2 { // edited: what was due around an edit depends on when its owner saw it
			w.judgeEdited(p, have)
			continue
		}
		limit := 1 << 20
		if p.Spec.Count > 0 {
			limit = p.Spec.Count
		}
		for _, at := range p.versions[0].set.Between(p.versions[0].after, until, limit) {
			if !have[at.UnixNano()] {
				w.t.Errorf("S1: %s at %v (%v) has no record", p.Name, at.Format(time.RFC3339Nano), at.Sub(w.begun))
			}
		}
		n := len(have)
		if p.Spec.Count > 0 && n > p.Spec.Count {
			w.t.Errorf("S1: %s has %d occurrences, want at most %d", p.Name, n, p.Spec.Count)
		}
	}
}

// judgeEdited checks that each occurrence of an edited job belongs to one of its
// schedules, and that none is missing where one had held for long.
func (w *world) judgeEdited(p *planned, have map[int64]bool) {
	const slack = 2 * time.Second
	for at := range have {
		t, fits := time.Unix(0, at), false
		for _, v := range p.versions {
			if next, ok := v.set.Next(t.Add(-1)); ok && next.Equal(t) {
				fits = true
			}
		}
		if !fits {
			w.t.Errorf("S1: %s was due at %v by none of its schedules", p.Name, t)
		}
	}
	for i, v := range p.versions[:len(p.versions)-1] {
		to := p.versions[i+1].after.Add(-2 * time.Minute) // its owner had come so far for certain
		for _, at := range v.set.Between(v.after.Add(slack), to, 1<<20) {
			if !have[at.UnixNano()] {
				w.t.Errorf("S1: %s at %v has no record", p.Name, at)
			}
		}
	}
}

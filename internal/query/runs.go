package query

import (
	"slices"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// LateAfter is how long after its instant a run may start, or have not started, before a
// list calls it late.
const LateAfter = time.Minute

// runKeys is the table of what a list of runs is asked by.
func runKeys() []key {
	states := append(stateWords(func(job.State) bool { return true }), "open", "ended", Bad)
	return []key{
		{"name", "a part of a job's name, or a glob", pattern},
		{"namespace", "a namespace, or a glob", pattern},
		{"job", "a job's name or NAMESPACE/NAME, or a glob", pattern},
		{"state", "a state of runs, open, ended or bad", oneOf(states...)},
		{"trigger", "what started it", oneOf(triggers()...)},
		{"minion", "a minion, or a glob", pattern},
		{"node", "the node that committed it, or a glob", pattern},
		{"reason", "a part of its reason", nil},
		{"late", "yes or no", yesNo},
		{"partly", "yes or no", yesNo},
		{"since", "an instant, or how long ago", instants},
		{"until", "an instant, or how long ago", instants},
	}
}

func triggers() []string {
	var all []string
	for t := job.TriggerSchedule; t.Known(); t++ {
		all = append(all, t.String())
	}
	return all
}

// Runs is a query of runs. The zero value selects all.
type Runs struct {
	words []word
	now   time.Time
}

// ParseRuns reads a query of runs at an instant. The error is a *job.InvalidError.
func ParseRuns(text string, now time.Time) (Runs, error) {
	words, err := parse(text, runKeys())
	return Runs{words, now}, err
}

// Any reports whether there are words at all.
func (q Runs) Any() bool { return len(q.words) > 0 }

// Since is the instant before which no run is selected; zero: there is none. As runs come
// newest first, the list ends there.
func (q Runs) Since() time.Time {
	var last time.Time
	for i := range q.words {
		w := &q.words[i]
		if w.key != "since" || w.not || len(w.values) != 1 {
			continue
		}
		if at, _ := instant(w.values[0], q.now); at.After(last) {
			last = at
		}
	}
	return last
}

// Selects reports whether all words hold of a run.
func (q Runs) Selects(r *job.Run) bool {
	return holds(q.words, func(key, v string) bool {
		switch key {
		case "name":
			return named(v, r.Key())
		case "namespace":
			return is(v, r.Namespace)
		case "job":
			return is(v, r.Job) || strings.Contains(v, "/") && isGlob(v) && named(v, r.Key()) || v == r.Key().String()
		case "state":
			return stated(v, r.State)
		case "trigger":
			return v == r.Trigger
		case "minion":
			return slices.ContainsFunc(r.Tasks, func(t job.Task) bool { return is(v, string(t.Minion)) })
		case "node":
			return is(v, string(r.Node))
		case "reason":
			return strings.Contains(r.Reason, v)
		case "late":
			return yes(v, Late(r, q.now))
		case "partly":
			return yes(v, r.Partly())
		case "since":
			at, _ := instant(v, q.now)
			return !r.ScheduledAt.Before(at)
		default:
			at, _ := instant(v, q.now)
			return !r.ScheduledAt.After(at)
		}
	})
}

func stated(v string, s job.State) bool {
	switch v {
	case "open":
		return !s.Final()
	case "ended":
		return s.Final()
	}
	return result(v, s)
}

// Late reports whether a run has started late, or should have started by now.
func Late(r *job.Run, now time.Time) bool {
	at := r.FirstStartedAt()
	if at.IsZero() {
		if r.State.Final() {
			return false
		}
		at = now
	}
	return at.Sub(r.ScheduledAt) > LateAfter
}

package query

import (
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/job"
)

// None is the last result of a job that has none yet, and the group of one without.
const None = "none"

// Bad are all results that were not as they should be.
const Bad = "bad"

// The states of a job.
const (
	Running = "running"
	Waiting = "waiting"
	Idle    = "idle"
)

// jobKeys is the table of what a list of jobs is asked by.
func jobKeys() []key {
	results := append(stateWords(job.State.Final), Bad, None)
	return []key{
		{"name", "a part of a name, or a glob", pattern},
		{"namespace", "a namespace, or a glob", pattern},
		{"label", "KEY or KEY=VALUE", nil},
		{"group", "a group, a glob, or none", pattern},
		{"target", "a part of what its target says", nil},
		{"by", "schedule, after, watch, start, webhook or hand", oneOf("schedule", "after", "watch", "start", "webhook", "hand")},
		{"state", "running, waiting or idle", oneOf(Running, Waiting, Idle)},
		{"last", "how its last run ended", oneOf(results...)},
		{"late", "yes or no", yesNo},
		{"paused", "yes or no", yesNo},
		{"enabled", "yes or no", yesNo},
		{"aside", "yes or no", yesNo},
	}
}

// stateWords are the states that have a trait.
func stateWords(has func(job.State) bool) []string {
	var all []string
	for _, s := range job.States() {
		if has(s) {
			all = append(all, string(s))
		}
	}
	return all
}

// Words tell people which keys a list takes, and what each of them takes.
type Words struct{ Key, Takes string }

// JobWords are those of lists of jobs, RunWords those of lists of runs.
func JobWords() []Words { return wordsOf(jobKeys()) }

// RunWords are those of lists of runs.
func RunWords() []Words { return wordsOf(runKeys()) }

func wordsOf(keys []key) []Words {
	all := make([]Words, len(keys))
	for i, k := range keys {
		all[i] = Words{k.name, k.takes}
	}
	return all
}

// Jobs is a query of jobs. The zero value selects all.
type Jobs struct{ words []word }

// ParseJobs reads a query of jobs. The error is a *job.InvalidError.
func ParseJobs(text string) (Jobs, error) {
	words, err := parse(text, jobKeys())
	return Jobs{words}, err
}

// Job is what a query of jobs looks at.
type Job struct {
	Key     job.Key
	Labels  map[string]string
	Group   string
	Enabled bool
	// Target is what its target says, and By are what it starts by.
	Target []string
	By     []string

	// Running and Waiting count its open runs; Late: one has not started that was due
	// a while ago.
	Running, Waiting int
	Late             bool
	Paused, Aside    bool
	// Last is how its last run ended; empty: none has.
	Last job.State
}

// Any reports whether there are words at all.
func (q Jobs) Any() bool { return len(q.words) > 0 }

// Asks reports whether one of the keys is asked by, so that it must be known.
func (q Jobs) Asks(keys ...string) bool {
	return slices.ContainsFunc(q.words, func(w word) bool { return slices.Contains(keys, w.key) })
}

// Selects reports whether all words hold of a job.
func (q Jobs) Selects(j *Job) bool {
	return holds(q.words, func(key, v string) bool {
		switch key {
		case "name":
			return named(v, j.Key)
		case "namespace":
			return is(v, j.Key.Namespace)
		case "label":
			return labeled(v, j.Labels)
		case "group":
			return v == None && j.Group == "" || is(v, j.Group)
		case "target":
			return slices.ContainsFunc(j.Target, func(t string) bool { return strings.Contains(t, v) })
		case "by":
			return slices.Contains(j.By, v)
		case "state":
			return v == j.State()
		case "last":
			return result(v, j.Last)
		case "late":
			return yes(v, j.Late)
		case "paused":
			return yes(v, j.Paused)
		case "enabled":
			return yes(v, j.Enabled)
		default:
			return yes(v, j.Aside)
		}
	})
}

// State is what a job does now: running, waiting or idle.
func (j *Job) State() string {
	switch {
	case j.Running > 0:
		return Running
	case j.Waiting > 0:
		return Waiting
	}
	return Idle
}

// result holds a word against how something ended.
func result(v string, s job.State) bool {
	switch v {
	case None:
		return s == ""
	case Bad:
		return s != "" && s.Bad()
	}
	return v == string(s)
}

// ByOf tells what a job starts by.
func ByOf(s *job.Spec) []string {
	var by []string
	if len(s.Schedules) > 0 {
		by = append(by, "schedule")
	}
	if s.After != nil {
		by = append(by, "after")
	}
	if s.Watch != nil {
		by = append(by, "watch")
	}
	if s.OnStart {
		by = append(by, "start")
	}
	if s.Webhook != nil {
		by = append(by, "webhook")
	}
	if by == nil {
		by = append(by, "hand")
	}
	return by
}

// TargetOf tells what a target says, for people to look for.
func TargetOf(t *job.Target) []string {
	all := slices.Clone(t.Names)
	for k, v := range t.Labels {
		all = append(all, k+"="+v)
	}
	if t.Match != "" {
		all = append(all, t.Match)
	}
	if t.Prefer != "" {
		all = append(all, t.Prefer)
	}
	slices.Sort(all)
	return all
}

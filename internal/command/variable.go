package command

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/job"
)

// shareVariable tells a task of a parallel run which part is its own; the
// scheduler sets it.
const shareVariable = job.EnvPrefix + "SHARE"

// payloadVariable has the payload of an item of a queue, which is told to who may see logs
// only: why an item was refused is told to more.
const payloadVariable = job.EnvPrefix + "PAYLOAD"

// ownForm returns what the values of a variable look like that Carillon itself sets; nil: it
// sets none of that name, or its value is what somebody else says, as parameters and
// payloads are. A rule need not name such a variable: which of them a start has depends on
// how often an item was tried and on what has started a job, and not on who orders it. A
// value of another form is not Carillon's.
func ownForm(name string) func(value string) bool {
	switch name {
	case shareVariable, job.EnvQueue:
		return func(v string) bool { return job.CheckName(v) == nil }
	case job.EnvItem, job.EnvItemTask:
		return isWord
	case job.EnvItemPlan:
		return func(v string) bool {
			upstream, plan, ok := strings.Cut(v, "/")
			return ok && isWord(upstream) && isWord(plan)
		}
	case job.EnvItemToken:
		return func(v string) bool { _, err := job.ParseToken(v); return err == nil }
	case job.EnvItemFire:
		return func(v string) bool { _, err := job.ParseFireID(v); return err == nil }
	case job.EnvItemJob, job.EnvAfterJob:
		return func(v string) bool { _, err := job.ParseKey(v); return err == nil }
	case job.EnvAfterRun:
		return func(v string) bool { return job.RunID(v).Valid() }
	case job.EnvAfterState:
		return func(v string) bool { return job.State(v).Final() && slices.Contains(job.States(), job.State(v)) }
	case job.EnvCheckpoint:
		return func(v string) bool { return len(v) <= job.MaxCheckpoint && json.Valid([]byte(v)) }
	}
	return nil
}

// isWord reports whether a text may be the id of an item or of a plan.
func isWord(v string) bool {
	return v != "" && !strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r == '/' || r > '~' })
}

// admitsOwn reports whether a variable is one of Carillon's own, which no rule has to name.
func (s *Start) admitsOwn(name, value string) bool {
	if name == payloadVariable {
		return value == "" // it says nothing
	}
	form := ownForm(name)
	return form != nil && (s.undecided(value) || form(value))
}

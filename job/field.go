package job

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Field tells of a field that users write when it has an effect, and what to
// write instead of its zero. The tables of fields drive the checks, the
// descriptions in the schema, and docs/jobs.md.
type Field struct {
	// Path is as in problems, without the indexes of lists: "spec.steps[].args".
	Path string
	// Needs is what the field has an effect with, as in "a schedule". Empty: it
	// always has one.
	Needs string
	// Zero says what to write instead of zero, an empty text or an empty list,
	// which are refused. Empty: zero means zero, or nothing.
	Zero string
}

// row is a field of T, and when it has an effect.
type row[T any] struct {
	// path is the field's in T, as in "retry.backoff".
	path string
	// needs, and zero, are as in Field.
	needs, zero string
	// met reports whether what the field needs is given, whether the field is or
	// not. Nil: it needs nothing.
	met func(*T) bool
	// instead says what to write; empty: nothing but to leave the field out.
	instead func(*T) string
}

// timed is a spec, and what its schedules have to do with zones and dialects.
type timed struct {
	*Spec
	Timing
}

// Timing is what only package schedule can tell of the schedules of a job.
type Timing struct {
	// Fields: one is written in the fields of cron, or depends on the dialect
	// otherwise. Zoned: one goes by the clock of the job's zone. Jumping: one goes
	// by a clock that may jump, and does not run through.
	Fields, Zoned, Jumping bool
	// Most is how many instants there are at all; 0: no bound is known.
	Most int
	// InZone is what to write for schedules that have no zone.
	InZone string
}

const (
	leaveOut     = "leave it out"
	needSchedule = "a schedule"
)

func says[T any](text string) func(*T) string { return func(*T) string { return text } }

func scheduled(s *Spec) bool { return len(s.Schedules) > 0 }

// retried reports whether a task may be tried again.
func retried(s *Spec) bool { return s.Retry.Attempts > 1 || s.Idempotent }

// onSchedule is a field that bears on nothing but the occurrences of a schedule.
func onSchedule(path, zero string) row[Spec] {
	return row[Spec]{path: path, zero: zero, needs: needSchedule, met: scheduled, instead: says[Spec]("give schedule")}
}

// specRows are the fields of a job.
func specRows() []row[Spec] {
	canaries := func(s *Spec) bool { return s.Rollout.Canary != "" || s.Rollout.CanaryCount != 0 }
	return []row[Spec]{
		{path: "schedules", zero: "leave it out for a job that is started by hand, or by after, watch, onStart or webhook"},
		{path: "group", zero: "leave it out for a job that is balanced over all nodes"},
		{path: "enabled", needs: needSchedule + ", as only that is switched off", met: func(s *Spec) bool { return s.IsEnabled() || scheduled(s) || s.OnStart },
			instead: says[Spec]("give schedule; a job without one starts by hand, or by after, watch, onStart or webhook, which `carillon pause` holds back")},
		{path: "command", zero: "give the program and its arguments"},
		{path: "stdin", zero: "leave it out for none", needs: "command, with a program", met: func(s *Spec) bool { return len(s.Command) > 0 && process(s) },
			instead: func(s *Spec) string {
				if s.Script != nil || len(s.Steps) > 0 {
					return "write it into the script, as a here-document"
				}
				return "give command"
			}},
		{path: "script"},
		{path: "script.interpreter", zero: "leave it out for /bin/sh"},
		{path: "script.source", zero: "give the text of the script"},
		{path: "steps", zero: "leave it out, and give command or script"},
		{path: "dispatch"},
		{path: "dispatch.queue", zero: "give the name of a queue"},
		{path: "dispatch.priority"},
		{path: "dispatch.key", zero: "leave it out for items that do not wait for one another"},
		{path: "params", zero: "leave it out; any parameter may be given then"},
		itselfOnly(row[Spec]{path: "env"}),
		{path: "workingDir", zero: "leave it out for the minion's work directory", needs: "a command that is a process", met: process, instead: noProcess},
		{path: "user", zero: "leave it out for the minion's own account", needs: "a command that is a process", met: process, instead: noProcess},
		{path: "limits", zero: "leave it out for no bounds", needs: "a command that is a process", met: process, instead: noProcess},
		{path: "limits.memory", zero: "leave it out for no bound; the least is " + Size(MinLimitMemory).String()},
		{path: "limits.pids", zero: "leave it out for no bound"},
		{path: "limits.cpu", zero: "leave it out for no bound; the least is " + Cores(MinLimitCPU).String()},
		itselfOnly(row[Spec]{path: "target", zero: "leave it out for any one minion"}),
		{path: "target.names", zero: "leave it out for minions of any name"},
		{path: "target.labels", zero: "leave it out for minions with any labels"},
		{path: "target.match", zero: "leave it out for every minion"},
		{path: "target.run", zero: "leave it out for " + string(SpreadOne)},
		{path: "target.count", zero: "say on how many minions, 1 or more", needs: "run: " + string(SpreadAny), met: func(s *Spec) bool { return s.Target.Run == SpreadAny },
			instead: says[Spec]("give run: " + string(SpreadAny))},
		{path: "target.prefer", zero: "leave it out where no minion comes before another", needs: "a choice of minions", met: func(s *Spec) bool { return s.Target.Run != SpreadAll },
			instead: says[Spec](fmt.Sprintf("give target.run: %s, %s with a count, or %s with by", SpreadOne, SpreadAny, SpreadEach))},
		{path: "target.by", zero: "give the name of a label, such as site", needs: "run: " + string(SpreadEach), met: func(s *Spec) bool { return s.Target.Run == SpreadEach },
			instead: says[Spec]("give run: " + string(SpreadEach))},
		{path: "rollout", zero: "leave it out to start everywhere at once", needs: "several minions", met: func(s *Spec) bool { return s.Target.EffectiveRun() != SpreadOne },
			instead: says[Spec](fmt.Sprintf("give target.run: %s, or %s with a count", SpreadAll, SpreadAny))},
		{path: "rollout.canary", zero: "leave it out for none"},
		{path: "rollout.canaryCount", zero: "leave it out for all that canary matches, or for none if there is no canary"},
		{path: "rollout.promote", zero: "leave it out for " + string(PromoteSuccess), needs: "canaries", met: canaries, instead: says[Spec]("give canary or canaryCount")},
		{path: "rollout.batch", zero: "at least 1 has to run at a time; leave it out for all"},
		{path: "rollout.pause", zero: "leave it out to start the next minion as one ends; for batches that wait for one another, give 1ms or more",
			needs: "batch", met: func(s *Spec) bool { return s.Rollout.Batch != "" }, instead: says[Spec]("give batch")},
		{path: "rollout.maxFailures"},
		{path: "rollout.order", zero: "leave it out for " + string(OrderName)},
		{path: "rollout.orderBy", zero: leaveOut, needs: "order: " + string(OrderLabel), met: func(s *Spec) bool { return s.Rollout.Order == OrderLabel },
			instead: says[Spec]("give order: " + string(OrderLabel))},
		{path: "rollout.maxPer", zero: "leave it out for no bound"},
		{path: "rollout.clusterMaxPer", zero: "leave it out for no bound"},
		itselfOnly(row[Spec]{path: "timeout", zero: "leave it out for the default, " + short(DefaultTimeout) + "; no run is without a bound: the longest is " + short(MaxTimeout)}),
		itselfOnly(row[Spec]{path: "lostAfter", zero: "leave it out for the default, " + short(DefaultLostAfter) + "; the longest is " + short(MaxLostAfter)}),
		itselfOnly(row[Spec]{path: "retry", zero: "leave it out for no retry"}),
		{path: "retry.attempts", zero: "leave it out, or write 1, for no retry; it counts the first attempt"},
		{path: "retry.backoff", zero: "leave it out for the default, " + short(DefaultBackoff) + "; for hardly any pause write 1ms", needs: "attempts: 2 or more, or idempotent",
			met: retried, instead: says[Spec]("give attempts")},
		{path: "retry.maxBackoff", zero: "leave it out for the default, " + short(DefaultMaxBackoff) + "; the longest is " + short(MaxTimeout), needs: "attempts: 3 or more, or idempotent, as the first pause is backoff",
			met: func(s *Spec) bool { return s.Retry.Attempts > 2 || s.Idempotent }, instead: says[Spec]("give attempts")},
		{path: "retry.exitCodes", zero: "leave it out for any failure", needs: "attempts: 2 or more", met: func(s *Spec) bool { return s.Retry.Attempts > 1 }, instead: says[Spec]("give attempts")},
		{path: "retry.permanentExitCodes", zero: leaveOut, needs: "attempts: 2 or more", met: func(s *Spec) bool { return s.Retry.Attempts > 1 }, instead: says[Spec]("give attempts")},
		{path: "overlap", zero: "leave it out for " + string(OverlapSkip)},
		{path: "overlapLimit", zero: fmt.Sprintf("leave it out for the default, %d; if none is to wait, write overlap: %s", DefaultOverlapLimit, OverlapSkip),
			needs: "overlap: " + string(OverlapQueueAll), met: func(s *Spec) bool { return s.Overlap == OverlapQueueAll }, instead: says[Spec]("give overlap: " + string(OverlapQueueAll))},
		{path: "overlapGrace", zero: fmt.Sprintf("leave it out for the default, %s; to end the earlier run at once, write overlap: %s", short(DefaultOverlapGrace), OverlapReplace),
			needs: "overlap: " + string(OverlapReplaceAfterGrace), met: func(s *Spec) bool { return s.Overlap == OverlapReplaceAfterGrace },
			instead: says[Spec]("give overlap: " + string(OverlapReplaceAfterGrace))},
		onSchedule("jitter", ""),
		onSchedule("calendars", "leave it out for any day"),
		{path: "onExcluded", zero: "leave it out for " + string(ExcludedSkip), needs: "calendars", met: func(s *Spec) bool { return len(s.Calendars) > 0 },
			instead: says[Spec]("name a calendar")},
		onSchedule("misfire", "leave it out for "+string(MisfireLatest)),
		{path: "catchUp", zero: "leave it out for no bound; to run nothing of what was missed, write misfire: " + string(MisfireSkip),
			needs: "a schedule, and misfire: " + string(MisfireLatest) + " or " + string(MisfireAll),
			met:   func(s *Spec) bool { return scheduled(s) && s.Misfire != MisfireSkip },
			instead: func(s *Spec) string {
				if scheduled(s) {
					return "give another misfire"
				}
				return "give schedule"
			}},
		{path: "catchUpEvery", zero: "leave it out for the default, " + short(DefaultCatchUpEvery) + "; for hardly any pause write 1ms",
			needs: "a schedule, and misfire: " + string(MisfireAll), met: func(s *Spec) bool { return scheduled(s) && s.Misfire == MisfireAll },
			instead: says[Spec]("give misfire: " + string(MisfireAll))},
		{path: "pauseAfterFailures", zero: "leave it out for a job that is never paused", needs: "a schedule, after, watch, onStart or webhook",
			met: func(s *Spec) bool {
				return scheduled(s) || s.After != nil || s.Watch != nil || s.OnStart || s.Webhook != nil
			},
			instead: says[Spec]("give one of them; what is started by hand is not held back by a pause")},
		{path: "deadline", zero: "leave it out for none"},
		{path: "onDeadline", zero: "leave it out for " + string(DeadlineAlert), needs: "deadline", met: func(s *Spec) bool { return s.Deadline != 0 }, instead: says[Spec]("give deadline")},
		{path: "lateAfter", zero: "leave it out for no alert; for one of nearly each run, write 1ms"},
		{path: "after"},
		{path: "after.jobs", zero: "name the jobs whose end starts this one"},
		{path: "after.on", zero: "leave it out for " + string(OnSuccess)},
		{path: "after.match", zero: "leave it out for " + string(MatchAll), needs: "two jobs or more", met: func(s *Spec) bool { return s.After == nil || len(s.After.Jobs) > 1 },
			instead: says[Spec]("name another job")},
		{path: "watch"},
		{path: "watch.key", zero: "give the key to watch"},
		{path: "watch.prefix"},
		itselfOnly(row[Spec]{path: "onStart"}),
		{path: "webhook"},
		{path: "webhook.tokenSha256", zero: "give the SHA-256 of the token, or leave it out for a webhook that is signed"},
		{path: "webhook.signed"},
		{path: "webhook.maxPerMinute", zero: "leave it out for " + strconv.Itoa(DefaultHooksPerMinute)},
		{path: "ping"},
		{path: "ping.url", zero: "give the check's address, or urlFile"},
		{path: "ping.urlFile", zero: "leave it out, and give url"},
		itselfOnly(row[Spec]{path: "idempotent"}),
	}
}

// HandlerPrefix begins the name of a handler that runs inside of the minion.
const HandlerPrefix = "go:"

// process reports whether what runs is a process of its own.
func process(s *Spec) bool {
	return runsItself(s) && (len(s.Command) == 0 || !strings.HasPrefix(s.Command[0], HandlerPrefix))
}

func noProcess(s *Spec) string {
	if s.Dispatch != nil {
		return "a queue says it for its items"
	}
	return s.Command[0] + " runs inside of the minion"
}

// timingRows are the fields of a job that only package schedule can tell of.
func timingRows() []row[timed] {
	const jumping = "a schedule by the clock of a time zone that jumps, which is not due in each hour"
	giveZone := func(t *timed) string {
		if t.Zoned && (t.TimeZone == "" || t.TimeZone == "UTC") {
			return "give timeZone: the clock of UTC never jumps"
		}
		return "give one; what is due in each hour, @every and @at run through jumps"
	}
	recurs := func(t *timed) bool { return scheduled(t.Spec) && t.Most != 1 }
	giveSchedule := func(t *timed) string {
		if !scheduled(t.Spec) {
			return "give schedule"
		}
		return ""
	}
	return []row[timed]{
		{path: "timeZone", zero: "leave it out for UTC", needs: "a schedule by the clock, as in 0 9 * * * or @daily, that does not name a zone itself",
			met: func(t *timed) bool { return t.Zoned },
			instead: func(t *timed) string {
				if !scheduled(t.Spec) || t.InZone == "" {
					return giveSchedule(t)
				}
				return "for the clock of " + t.TimeZone + " write " + t.InZone
			}},
		{path: "dialect", zero: "leave it out for " + string(DialectCarillon), needs: "a schedule in fields, as in 0 9 * * *", met: func(t *timed) bool { return t.Fields },
			instead: says[timed]("give one; @every, @at and the like are the same in each dialect")},
		{path: "startAt", needs: "a schedule that comes more than once", met: recurs, instead: giveSchedule},
		{path: "endAt", needs: "a schedule that comes more than once", met: recurs, instead: giveSchedule},
		{path: "count", zero: "leave it out for no bound; for a job that does not fire, write enabled: false", needs: "a schedule that comes more often than that",
			met: func(t *timed) bool { return scheduled(t.Spec) && (t.Most == 0 || t.Count < t.Most) }, instead: giveSchedule},
		{path: "dst", zero: "leave it out"},
		{path: "dst.gap", zero: "leave it out", needs: jumping, met: func(t *timed) bool { return t.Jumping }, instead: giveZone},
		{path: "dst.fold", zero: "leave it out", needs: jumping, met: func(t *timed) bool { return t.Jumping }, instead: giveZone},
	}
}

// stepRows are the fields of a step.
func stepRows() []row[Step] {
	return []row[Step]{
		{path: "name", zero: "leave it out for the script's name, or step-1 and so on"},
		{path: "script", zero: "name a script of the library"},
		{path: "command", zero: "give the program and its arguments"},
		{path: "shell", zero: "give a line for /bin/sh"},
		{path: "args", zero: leaveOut, needs: "shell", met: func(st *Step) bool { return st.Shell != "" },
			instead: func(st *Step) string {
				if st.Script != "" {
					return "a script of the library says its arguments itself"
				}
				return "write the arguments of a command behind its program"
			}},
		{path: "params", zero: leaveOut},
		{path: "if", zero: "leave it out for " + string(IfSuccess)},
		{path: "continueOnFailure"},
		{path: "timeout", zero: "leave it out for the script's, or no bound but the job's"},
	}
}

// paramRows are the fields of a parameter.
func paramRows() []row[Param] {
	number := func(d *Param) bool { return d.EffectiveType() == ParamInt || d.EffectiveType() == ParamNumber }
	texts := func(d *Param) bool { return d.EffectiveType() == ParamString || d.EffectiveType() == ParamPath }
	numbers := fmt.Sprintf("type: %s or %s", ParamInt, ParamNumber)
	words := fmt.Sprintf("type: %s or %s", ParamString, ParamPath)
	return []row[Param]{
		{path: "name", zero: "give a name of letters, digits and '_'"},
		{path: "type", zero: "leave it out for " + string(ParamString)},
		{path: "description"},
		{path: "default", zero: "leave it out; the parameter is not set then", needs: "a parameter that is not required", met: func(d *Param) bool { return !d.Required },
			instead: says[Param]("give one of the two")},
		{path: "required"},
		{path: "values", zero: "list the values that are allowed", needs: "type: " + string(ParamEnum), met: func(d *Param) bool { return d.EffectiveType() == ParamEnum },
			instead: says[Param]("give type: " + string(ParamEnum))},
		{path: "pattern", zero: "leave it out for any text", needs: words, met: texts},
		{path: "min", zero: "leave it out for no bound", needs: numbers, met: number},
		{path: "max", zero: "leave it out for no bound", needs: numbers, met: number},
		{path: "maxLength", zero: "leave it out for no bound", needs: words, met: texts},
		{path: "sensitive", needs: words, met: texts},
	}
}

// scriptRows are the fields of a script of the library.
func scriptRows() []row[ScriptSpec] {
	return []row[ScriptSpec]{
		{path: "category"}, {path: "description"},
		{path: "interpreter", zero: "leave it out for /bin/sh"},
		{path: "source", zero: "give the text of the script"},
		{path: "args", zero: leaveOut},
		{path: "params", zero: leaveOut},
		{path: "timeout", zero: "leave it out for the job's"},
		{path: "env"},
		{path: "user", zero: "leave it out for that of the job"},
	}
}

// groupRows are the fields of a group. Which of them a mode reads is told by
// package scheduler/mode.
func groupRows() []row[GroupSpec] {
	return []row[GroupSpec]{
		{path: "mode", zero: "leave it out for " + DefaultMode},
		{path: "nodes", zero: "nobody could fire; leave it out for every node"},
		{path: "sites", zero: "leave it out for all sites alike"},
		{path: "pin", zero: "leave it out for nodes with any labels"},
		{path: "spread", zero: leaveOut},
		{path: "ordered"},
		{path: "maxConcurrent", zero: "leave it out for no bound; to hold all runs back, use `carillon pause group`"},
		{path: "mutex", zero: "leave it out for none"},
		{path: "holdOff", zero: "leave it out for the default, " + short(DefaultHoldOff) + "; to give the lock back at once, write 1ms"},
		{path: "grace", zero: "leave it out for the default, " + short(DefaultGrace) + "; for hardly any, write 1ms"},
		{path: "slice", zero: "give the length of a slice, such as 10m"},
		{path: "onLoss", zero: "leave it out for " + string(LossTakeover)},
		{path: "start", zero: "leave it out for " + string(StartAsync)},
	}
}

// queueRows are the fields of a queue.
func queueRows() []row[QueueSpec] {
	return []row[QueueSpec]{
		{path: "command", zero: "give the program and its arguments"},
		{path: "script"},
		{path: "script.interpreter", zero: "leave it out for /bin/sh"},
		{path: "script.source", zero: "give the text of the script"},
		{path: "env"},
		{path: "workingDir", zero: "leave it out for the minion's work directory"},
		{path: "user", zero: "leave it out for the minion's own account"},
		{path: "limits", zero: "leave it out for no bounds"},
		{path: "limits.memory", zero: "leave it out for no bound; the least is " + Size(MinLimitMemory).String()},
		{path: "limits.pids", zero: "leave it out for no bound"},
		{path: "limits.cpu", zero: "leave it out for no bound; the least is " + Cores(MinLimitCPU).String()},
		{path: "target", zero: "leave it out for every minion that offers to work on the queue"},
		{path: "target.match", zero: "leave it out for every minion that offers to work on the queue"},
		{path: "timeout", zero: "leave it out for the default, " + short(DefaultTimeout) + "; no item is without a bound: the longest is " + short(MaxTimeout)},
		{path: "lostAfter", zero: "leave it out for the default, " + short(DefaultLostAfter) + "; the longest is " + short(MaxLostAfter)},
		{path: "retry", zero: fmt.Sprintf("leave it out for the default, %d attempts", DefaultQueueAttempts)},
		{path: "retry.attempts", zero: fmt.Sprintf("leave it out for the default, %d; for no retry write 1", DefaultQueueAttempts)},
		{path: "retry.backoff", zero: "leave it out for the default, " + short(DefaultBackoff) + "; for hardly any pause write 1ms", needs: "attempts: 2 or more",
			met: func(q *QueueSpec) bool { return q.EffectiveRetry().Attempts > 1 }, instead: says[QueueSpec]("give more attempts")},
		{path: "retry.maxBackoff", zero: "leave it out for the default, " + short(DefaultMaxBackoff) + "; the longest is " + short(MaxTimeout), needs: "attempts: 3 or more, as the first pause is backoff",
			met: func(q *QueueSpec) bool { return q.EffectiveRetry().Attempts > 2 }, instead: says[QueueSpec]("give more attempts")},
		{path: "retry.exitCodes", zero: "leave it out for any failure", needs: "attempts: 2 or more", met: func(q *QueueSpec) bool { return q.EffectiveRetry().Attempts > 1 }, instead: says[QueueSpec]("give more attempts")},
		{path: "retry.permanentExitCodes", zero: leaveOut, needs: "attempts: 2 or more", met: func(q *QueueSpec) bool { return q.EffectiveRetry().Attempts > 1 }, instead: says[QueueSpec]("give more attempts")},
		{path: "aging", zero: "leave it out for priorities that stay as they are; the least is " + short(MinQueueAging)},
		{path: "maxItems", zero: fmt.Sprintf("leave it out for the default, %d; to take no items, use `carillon queue drain`", DefaultQueueItems)},
		{path: "payloadSchema", zero: "leave it out for payloads that are any text"},
		{path: "dedupWindow", zero: "leave it out for a queue whose items have no de-duplication keys"},
		{path: "expireAfter", zero: "leave it out for items that wait as long as it takes"},
	}
}

// secretRows are the fields of a secret.
func secretRows() []row[SecretSpec] {
	return []row[SecretSpec]{
		{path: "description"},
		{path: "sealed", zero: "seal the value: carillon secret seal NAME"},
		{path: "recipients", zero: "give the keys to which the value is sealed"},
	}
}

// calendarRows are the fields of a calendar.
func calendarRows() []row[CalendarSpec] {
	return []row[CalendarSpec]{
		{path: "timeZone", zero: "leave it out for UTC"},
		{path: "weekdays", zero: "leave it out if all days are business days"},
		{path: "closed", zero: "leave it out for none"},
		{path: "open", zero: "leave it out for none", needs: "weekdays or closed", instead: says[CalendarSpec]("give one of them; no other day is closed"),
			met: func(c *CalendarSpec) bool { return len(c.Weekdays)+len(c.Closed) > 0 }},
		{path: "windows", zero: "leave it out for none"},
		{path: "ics", zero: "leave it out for none"},
	}
}

// ruleRows are the fields of a role.
func ruleRows() []row[RoleSpec] {
	return []row[RoleSpec]{
		{path: "rules", zero: "give a rule; a role without one allows nothing"},
		{path: "rules[].verbs", zero: "give verbs, or \"*\" for all"},
		{path: "rules[].resources", zero: "give kinds of things, or \"*\" for all"},
		{path: "rules[].namespaces", zero: "leave it out for all namespaces"},
		{path: "rules[].labels", zero: "leave it out for things with any labels"},
		{path: "rules[].targets", zero: "leave it out for every minion"},
		{path: "rules[].runAs", zero: "leave it out for any account"},
		{path: "rules[].commands", zero: "leave it out for any command"},
	}
}

// bindingRows are the fields of a binding of a role.
func bindingRows() []row[RoleBindingSpec] {
	return []row[RoleBindingSpec]{
		{path: "role", zero: "give the name of a role"},
		{path: "subjects", zero: "say who has the role"},
		{path: "subjects[].kind", zero: "write user, group, token or account"},
		{path: "subjects[].name", zero: "give a name"},
		{path: "namespaces", zero: "leave it out for all namespaces"},
	}
}

// Fields lists the fields of a kind of manifest.
func Fields(kind string) []Field {
	var out []Field
	switch kind {
	case KindJob:
		out = append(fieldsOf(timingRows(), "spec."), fieldsOf(specRows(), "spec.")...)
		out = append(out, fieldsOf(stepRows(), "spec.steps[].")...)
		out = append(out, fieldsOf(paramRows(), "spec.params[].")...)
	case KindGroup:
		out = fieldsOf(groupRows(), "spec.")
	case KindCalendar:
		out = fieldsOf(calendarRows(), "spec.")
	case KindScript:
		out = append(fieldsOf(scriptRows(), "spec."), fieldsOf(paramRows(), "spec.params[].")...)
	case KindQueue:
		out = fieldsOf(queueRows(), "spec.")
	case KindSecret:
		out = fieldsOf(secretRows(), "spec.")
	case KindNotifier:
		out = fieldsOf(notifierRows(), "spec.")
	case KindDefaults:
		out = fieldsOf(defaultsRows(), "spec.")
	case KindHostGroup:
		out = []Field{{Path: "spec.match", Zero: "write a target such as web[1-20] or os == \"linux\""}}
	case KindRole:
		out = fieldsOf(ruleRows(), "spec.")
	case KindRoleBinding:
		out = fieldsOf(bindingRows(), "spec.")
	}
	return append(out, Field{Path: "metadata.namespace", Zero: "leave it out for " + DefaultNamespace}, Field{Path: "metadata.name", Zero: "give a name"},
		Field{Path: "metadata.labels"}, Field{Path: "metadata.annotations"})
}

func fieldsOf[T any](rows []row[T], prefix string) []Field {
	out := make([]Field, len(rows))
	for i, r := range rows {
		out[i] = Field{Path: prefix + r.path, Needs: r.needs, Zero: r.zero}
	}
	return out
}

// CheckTiming tells of the fields of a spec that have no effect on its schedules.
// Told are the problems that are told already; they are returned, too.
func (s *Spec) CheckTiming(t Timing, told []Problem) []Problem {
	p := problems(told)
	effects(&p, "spec.", timingRows(), &timed{Spec: s, Timing: t}, reflect.ValueOf(s).Elem())
	return p
}

// effects tells of the fields of v that are given and have no effect, but of those of
// which something is told already.
func effects[T any](p *problems, prefix string, rows []row[T], of *T, v reflect.Value) {
	for _, r := range rows {
		told := func(o Problem) bool { return o.Path == prefix+r.path }
		if r.met == nil || r.met(of) || !isGiven(v, r.path) || slices.ContainsFunc(*p, told) {
			continue
		}
		text := "has an effect only with " + r.needs + "; leave it out"
		if r.instead != nil {
			if instead := r.instead(of); instead != "" {
				text = "has an effect only with " + r.needs + ": " + instead + ", or leave it out"
			}
		}
		p.add(prefix+r.path, "%s", text)
	}
}

// isGiven reports whether the field at a path holds anything.
func isGiven(v reflect.Value, path string) bool {
	for name := range strings.SplitSeq(path, ".") {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return false
			}
			v = v.Elem()
		}
		v = byName(v, name)
	}
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.Len() > 0
	}
	return !v.IsZero()
}

// byName returns the field of a struct that has a name in JSON.
func byName(v reflect.Value, name string) reflect.Value {
	for i := range v.NumField() {
		if tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); tag == name {
			return v.Field(i)
		}
	}
	panic("job: no field " + strconv.Quote(name) + " in " + v.Type().String())
}

// short writes a duration without zeros behind: 1h, 30s.
func short(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = strings.TrimSuffix(text, zero[1:])
		}
	}
	return text
}

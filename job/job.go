package job

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"time"
)

// APIVersion is the version of the manifests that this release reads.
const APIVersion = "carillon/v1"

// KindJob is the kind of a job's manifest.
const KindJob = "Job"

// Metadata names and describes an object.
type Metadata struct {
	// Namespace holds the name apart from others. Empty: DefaultNamespace.
	Namespace string `json:"namespace,omitempty"`
	// Name is unique in the namespace: letters, digits, '.', '_' and '-'.
	Name string `json:"name"`
	// Labels are short words by which objects are selected.
	Labels map[string]string `json:"labels,omitempty"`
	// Annotations are texts that Carillon keeps, and does not read.
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Key returns the object's address.
func (m Metadata) Key() Key { return Key{Namespace: m.Namespace, Name: m.Name} }

// Spec is what a user writes about a job. Its JSON form is the manifest's.
// Field order here is the order in which `carillon get -o yaml` prints.
type Spec struct {
	// Schedules are cron expressions, "@every 5m", "@at 2027-01-01T00:00:00Z",
	// "@hourly" and the like. None: the job runs only when it is asked to.
	Schedules []string `json:"schedules,omitempty"`
	// TimeZone is an IANA zone name: by its clock the schedule is due, and what is to
	// come is shown. A schedule such as */5 * * * * is due at the same instants in
	// most zones; apply warns then, and does not refuse it, as the rules of zones
	// change. Empty: UTC.
	TimeZone string `json:"timeZone,omitempty"`
	// Dialect says how the fields of Schedules are read. Empty: DialectCarillon.
	Dialect Dialect `json:"dialect,omitempty"`
	// DST says what the schedule does when the clocks of its zone jump. Zero:
	// what is left out runs at the end of the gap, and what comes twice runs
	// the first time.
	DST DST `json:"dst,omitzero"`
	// Group is the name of the group, in the job's namespace, whose mode says
	// which node fires the job. Empty: none; the job is balanced over all nodes.
	Group string `json:"group,omitempty"`
	// Enabled: a job that is not enabled keeps its definition but does not
	// fire by schedule. Nil: enabled.
	Enabled *bool `json:"enabled,omitempty"`

	// Command is the program and its arguments; no shell is involved.
	// Exactly one of Command, Script, Steps and Dispatch is given.
	Command []string `json:"command,omitempty"`
	// Stdin is the standard input of Command. It ends with the end of a line. Rules that
	// say what may be started see a script of /bin/sh that hands it over. Empty: it has
	// none.
	Stdin string `json:"stdin,omitempty"`
	// Script is a text that an interpreter runs.
	Script *Script `json:"script,omitempty"`
	// Steps are several things that are done one after the other.
	Steps []Step `json:"steps,omitempty"`
	// Dispatch has each occurrence be an item of a queue, which says what runs, and
	// where. Nil: the job says so itself.
	Dispatch *QueueDispatch `json:"dispatch,omitempty"`
	// Params are what a run may be started with; each reaches the command as the
	// variable CARILLON_PARAM_NAME. None: any may be given.
	Params []Param `json:"params,omitempty"`
	// Env is added to the small environment that the minion gives a command. A value
	// is a text, or {secret: {file: PATH}} (or env or exec) for what the minion finds
	// out itself, and with mask: true keeps out of the output.
	Env map[string]EnvValue `json:"env,omitempty"`
	// WorkingDir is where the command starts. Empty: the minion's work directory.
	WorkingDir string `json:"workingDir,omitempty"`
	// User is the account that runs the command. Empty: the minion's own.
	User string `json:"user,omitempty"`
	// Limits bound what the command may use, with all its processes; a minion
	// whose host cannot hold it to them rejects the task. Zero: no bounds.
	Limits Limits `json:"limits,omitzero"`

	// Target says on which minions. Zero: on any one.
	Target Target `json:"target,omitzero"`
	// Rollout says in which order and how many at a time, when there are several.
	// Zero: all at once.
	Rollout Rollout `json:"rollout,omitzero"`

	// Timeout ends a command that runs longer, with its whole process tree.
	// Zero: DefaultTimeout.
	Timeout Duration `json:"timeout,omitempty"`
	// LostAfter is how long the minion of a task may be connected to no node;
	// then the task ends as indeterminate, and the job's next run may start as
	// Overlap says. Zero: DefaultLostAfter.
	LostAfter Duration `json:"lostAfter,omitempty"`
	// Retry says what to do after a failed attempt. Zero: nothing.
	Retry Retry `json:"retry,omitzero"`
	// Overlap says what happens to an occurrence that is due while an earlier
	// run of the job has not ended. Empty: OverlapSkip.
	Overlap Overlap `json:"overlap,omitempty"`
	// OverlapLimit bounds how many occurrences OverlapQueueAll keeps waiting.
	// Zero: DefaultOverlapLimit.
	OverlapLimit int `json:"overlapLimit,omitempty"`
	// OverlapGrace is how long OverlapReplaceAfterGrace lets the earlier run go
	// on. Zero: DefaultOverlapGrace.
	OverlapGrace Duration `json:"overlapGrace,omitempty"`
	// StartAt bounds the schedule: no occurrence is due before it. Nil: no bound.
	StartAt *time.Time `json:"startAt,omitempty"`
	// EndAt bounds the schedule: no occurrence is due after it. Nil: no bound.
	EndAt *time.Time `json:"endAt,omitempty"`
	// Jitter spreads starts: each occurrence starts up to this long after its
	// instant, always the same for the same occurrence. Zero: at its instant.
	Jitter Duration `json:"jitter,omitempty"`
	// Calendars are those that the job keeps to: NAME, or NAMESPACE/NAME. None: it
	// runs on any day.
	Calendars []string `json:"calendars,omitempty"`
	// OnExcluded says what happens to an occurrence at a time at which a calendar
	// is closed. Empty: ExcludedSkip.
	OnExcluded OnExcluded `json:"onExcluded,omitempty"`
	// Misfire says what happens to occurrences that could not start in time.
	// Empty: MisfireLatest.
	Misfire Misfire `json:"misfire,omitempty"`
	// CatchUp is how far back Misfire may run what was missed; older occurrences
	// are recorded as missed. Zero: as far as they go.
	CatchUp Duration `json:"catchUp,omitempty"`
	// CatchUpEvery is how long after one another occurrences start whose instants
	// have passed before anybody could plan them. Zero: DefaultCatchUpEvery.
	CatchUpEvery Duration `json:"catchUpEvery,omitempty"`
	// Count bounds the schedule: so many occurrences are due since the schedule
	// was saved, or since StartAt. Zero: no bound.
	Count int `json:"count,omitempty"`
	// PauseAfterFailures pauses the job when so many of its runs in a row did
	// not succeed. Zero: never.
	PauseAfterFailures int `json:"pauseAfterFailures,omitempty"`
	// Deadline is how long after its instant a run has to have ended. Zero: none.
	Deadline Duration `json:"deadline,omitempty"`
	// OnDeadline says what happens to a run that has not. Empty: DeadlineAlert.
	OnDeadline OnDeadline `json:"onDeadline,omitempty"`
	// LateAfter: a run that begins this long after its instant is reported
	// as late. Zero: none is.
	LateAfter Duration `json:"lateAfter,omitempty"`
	// After has the job start when other jobs' runs end. Nil: it does not. The command
	// finds the run that has started it in CARILLON_AFTER_RUN_ID, its job in
	// CARILLON_AFTER_JOB and the state in which it ended in CARILLON_AFTER_STATE.
	After *After `json:"after,omitempty"`
	// Watch has the job start when a key in etcd changes. Nil: it does not.
	Watch *Watch `json:"watch,omitempty"`
	// OnStart has the job start on each minion of its target whose host has started: once
	// for each boot of the machine, however often the minion itself is restarted. Whatever
	// target.run says, it runs on that one. In a container the boot is that of the machine
	// below it.
	OnStart bool `json:"onStart,omitempty"`
	// Webhook has the job start when its address is called. Nil: it has none.
	Webhook *Webhook `json:"webhook,omitempty"`
	// Ping is a check of healthchecks.io, or of what speaks as it does, that is told when a
	// run begins, and whether it succeeded or failed. Nil: there is none.
	Ping *Ping `json:"ping,omitempty"`
	// Idempotent: running an occurrence twice does no harm, so one whose outcome
	// cannot be known is tried again, up to three times in all or as often as
	// Retry says.
	Idempotent bool `json:"idempotent,omitempty"`
}

// Script is an inline text with its interpreter.
type Script struct {
	// Interpreter is the program and leading arguments; the script's path is
	// added as the last one. Empty: ["/bin/sh"].
	Interpreter []string `json:"interpreter,omitempty"`
	// Source is the script's text.
	Source string `json:"source"`
}

// Job is a stored job: a user's spec and what Carillon adds to it.
type Job struct {
	Metadata
	Spec Spec `json:"spec"`

	// UID outlives renames and edits.
	UID UID `json:"uid"`
	// Generation counts the edits of the spec, from 1.
	Generation int64 `json:"generation"`
	// After is the instant from which the present schedule holds: no
	// occurrence at or before it belongs to this schedule.
	After time.Time `json:"after"`
	// CountedFrom is since when Spec.Count counts; zero: there is no such bound.
	CountedFrom time.Time `json:"countedFrom,omitzero"`
	// ExpiresAt is when a job goes that was made for one run only; zero: never.
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
	// Bounds are what those who stored the job might have it start. Empty: they might
	// have it start anything anywhere.
	Bounds Bounds `json:"bounds,omitempty"`
	// AppliedBy is who applied the job as it is, as records show who asks: what minions'
	// lists call its author. Empty: it is not known, as of jobs that an earlier release
	// has stored.
	AppliedBy string `json:"appliedBy,omitempty"`
	// CreatedAt and UpdatedAt are for people; nothing is decided by them.
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
}

// Limits and defaults of jobs.
const (
	DefaultTimeout    = time.Hour
	MaxTimeout        = 30 * 24 * time.Hour
	MinTimeout        = 10 * time.Millisecond
	DefaultLostAfter  = 5 * time.Minute
	MinLostAfter      = 10 * time.Second
	MaxLostAfter      = MaxTimeout
	MaxJitter         = 24 * time.Hour
	MaxCatchUpWindow  = 366 * 24 * time.Hour
	MaxSchedules      = 64
	MaxScriptBytes    = 256 << 10
	MaxSpecBytes      = 512 << 10
	MaxLabels         = 64
	MaxAnnotationsLen = 256 << 10
)

// IsEnabled reports whether the job fires by its schedule.
func (s *Spec) IsEnabled() bool { return s.Enabled == nil || *s.Enabled }

// EffectiveTimeout returns Timeout, or its default; for a job that is dispatched to a queue,
// whose items have the queue's, more than any.
func (s *Spec) EffectiveTimeout() time.Duration {
	if s.Dispatch != nil {
		return neverTimesOut
	}
	if s.Timeout == 0 {
		return DefaultTimeout
	}
	return time.Duration(s.Timeout)
}

// EffectiveLostAfter returns LostAfter, or its default.
func (s *Spec) EffectiveLostAfter() time.Duration {
	if s.LostAfter == 0 {
		return DefaultLostAfter
	}
	return time.Duration(s.LostAfter)
}

// EffectiveOverlap returns Overlap, or its default.
func (s *Spec) EffectiveOverlap() Overlap {
	if s.Overlap == "" {
		if s.OnStart { // the run of one host is in no other's way
			return OverlapAllow
		}
		return OverlapSkip
	}
	return s.Overlap
}

// EffectiveMisfire returns Misfire, or its default.
func (s *Spec) EffectiveMisfire() Misfire {
	if s.Misfire == "" {
		return MisfireLatest
	}
	return s.Misfire
}

// EffectiveOverlapLimit returns OverlapLimit, or its default; 1 where one may wait.
func (s *Spec) EffectiveOverlapLimit() int {
	switch {
	case s.Overlap == OverlapQueueOne:
		return 1
	case s.OverlapLimit == 0:
		return DefaultOverlapLimit
	}
	return s.OverlapLimit
}

// EffectiveOverlapGrace returns OverlapGrace, or its default.
func (s *Spec) EffectiveOverlapGrace() time.Duration {
	switch {
	case s.Overlap == OverlapReplace:
		return 0
	case s.OverlapGrace == 0:
		return DefaultOverlapGrace
	}
	return time.Duration(s.OverlapGrace)
}

// Delay returns how long after its instant an occurrence starts: a part of
// Jitter that follows from the occurrence alone.
func (s *Spec) Delay(id FireID) time.Duration {
	if s.Jitter <= 0 || id.Trigger != TriggerSchedule {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write(id.Job[:]) // a hash never fails
	_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, uint64(id.At)))
	return time.Duration(h.Sum64() % uint64(s.Jitter))
}

// Timing returns what of the spec says when the job is due.
func (s *Spec) Timing() Spec {
	return Spec{
		Schedules: s.Schedules, TimeZone: s.TimeZone, Dialect: s.Dialect, DST: s.DST, StartAt: s.StartAt, EndAt: s.EndAt,
		Count: s.Count, Calendars: s.Calendars, OnExcluded: s.OnExcluded,
	}
}

// SameSchedule reports whether s and o are due at the same instants: an edit
// between them does not touch what is planned.
func (s *Spec) SameSchedule(o *Spec) bool {
	if len(s.Schedules) != len(o.Schedules) || s.TimeZone != o.TimeZone || s.IsEnabled() != o.IsEnabled() {
		return false
	}
	if s.Dialect != o.Dialect || s.DST != o.DST || s.Count != o.Count {
		return false
	}
	if !slices.Equal(s.Calendars, o.Calendars) || s.OnExcluded != o.OnExcluded {
		return false
	}
	if !sameTime(s.StartAt, o.StartAt) || !sameTime(s.EndAt, o.EndAt) {
		return false
	}
	for i := range s.Schedules {
		if s.Schedules[i] != o.Schedules[i] {
			return false
		}
	}
	return true
}

func sameTime(a, b *time.Time) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Equal(*b)
}

// Duration is a time.Duration that reads and writes as "1m30s".
type Duration time.Duration

// String returns the form that time.ParseDuration reads.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalJSON implements json.Marshaler.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON implements json.Unmarshaler.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("duration %s: want a string such as \"90s\" or \"1h30m\"", b)
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("duration %q: want a number with a unit, such as \"90s\" or \"1h30m\"", s)
	}
	*d = Duration(v)
	return nil
}

package job

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// KindDefaults is the kind of a manifest with the defaults of a namespace.
const KindDefaults = "Defaults"

// DefaultsName is the name that the defaults of each namespace have.
const DefaultsName = "defaults"

// DefaultsSpec is what a user writes of the defaults of a namespace: what its jobs get, as
// they are applied, where they do not say it themselves and it has an effect. Jobs that are
// stored already keep what they have until they are applied again. Its JSON form is the
// manifest's.
type DefaultsSpec struct {
	// Description is for people.
	Description string `json:"description,omitempty"`
	// TimeZone is that of schedules by the clock, an IANA zone name. Empty: UTC.
	TimeZone string `json:"timeZone,omitempty"`
	// User is the account that runs commands. Empty: the minion's own.
	User string `json:"user,omitempty"`
	// Env are variables of commands; those of a job come before them. Secrets do not
	// stand here.
	Env map[string]string `json:"env,omitempty"`
	// Timeout ends commands that run longer. Empty: 1h.
	Timeout Duration `json:"timeout,omitempty"`
	// Retry says what to do after a failed attempt. Empty: nothing.
	Retry Retry `json:"retry,omitzero"`
	// PauseAfterFailures pauses jobs when so many of their runs in a row did not succeed.
	// 0: never.
	PauseAfterFailures int `json:"pauseAfterFailures,omitempty"`
	// LateAfter is how long after its instant a run may begin until it is reported as
	// late. Empty: none is.
	LateAfter Duration `json:"lateAfter,omitempty"`
}

// Defaults are the stored defaults of a namespace.
type Defaults struct {
	Metadata
	Spec DefaultsSpec `json:"spec"`

	// CreatedAt and UpdatedAt are for people; nothing is decided by them.
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
}

// defaultsRows are the fields of defaults.
func defaultsRows() []row[DefaultsSpec] {
	return []row[DefaultsSpec]{
		{path: "description"},
		{path: "timeZone", zero: "leave it out for UTC"},
		{path: "user", zero: "leave it out for the minion's own account"},
		{path: "env"},
		{path: "timeout", zero: "leave it out for " + short(DefaultTimeout)},
		{path: "retry", zero: "leave it out for no retry"},
		{path: "retry.attempts", zero: "leave it out, or write 1, for no retry; it counts the first attempt"},
		{path: "retry.backoff", zero: "leave it out for the default, " + short(DefaultBackoff)},
		{path: "retry.maxBackoff", zero: "leave it out for the default, " + short(DefaultMaxBackoff)},
		{path: "retry.exitCodes", zero: "leave it out for any failure"},
		{path: "retry.permanentExitCodes", zero: leaveOut},
		{path: "pauseAfterFailures", zero: "leave it out for jobs that are never paused"},
		{path: "lateAfter", zero: "leave it out for no alert"},
	}
}

// Validate returns what is wrong with defaults, but for their zone.
func (s *DefaultsSpec) Validate() []Problem {
	p := problems{}
	if s.User != "" {
		checkUser(&p, s.User)
	}
	checkEnv(&p, s.Env)
	if t := time.Duration(s.Timeout); t != 0 && (t < MinTimeout || t > MaxTimeout) {
		p.add("spec.timeout", "%s is out of range; %s to %s are allowed", short(t), short(MinTimeout), short(MaxTimeout))
	}
	s.Retry.check(&p)
	p.rangeOf("spec.pauseAfterFailures", s.PauseAfterFailures, MaxPauseAfter)
	p.spanOf("spec.lateAfter", s.LateAfter, time.Millisecond, MaxDeadline)
	effects(&p, "spec.", defaultsRows(), s, reflect.ValueOf(s).Elem())
	return p
}

// fill is a default that a job does not say itself. A spec with try
// has more wrong with it where the default has no effect.
type fill struct {
	words    string
	set, try func(*Spec)
}

// fills are the defaults that a spec does not say itself.
func (s *DefaultsSpec) fills(of *Spec) []fill {
	var out []fill
	add := func(given bool, words string, set func(*Spec)) {
		if given {
			out = append(out, fill{words: words, set: set, try: set})
		}
	}
	add(s.TimeZone != "" && of.TimeZone == "", "timeZone "+s.TimeZone, func(to *Spec) { to.TimeZone = s.TimeZone })
	add(s.User != "" && of.User == "", "user "+s.User, func(to *Spec) { to.User = s.User })
	if names := s.missing(of); len(names) > 0 {
		out = append(out, fill{words: "env " + strings.Join(names, " "), set: s.setEnv(names), try: func(to *Spec) { to.Env = map[string]EnvValue{names[0]: {Text: s.Env[names[0]]}} }})
	}
	add(s.Timeout != 0 && of.Timeout == 0, "timeout "+short(time.Duration(s.Timeout)), func(to *Spec) { to.Timeout = s.Timeout })
	add(!isZero(s.Retry) && isZero(of.Retry), "retry", func(to *Spec) { to.Retry = s.Retry })
	add(s.PauseAfterFailures != 0 && of.PauseAfterFailures == 0, "pauseAfterFailures", func(to *Spec) { to.PauseAfterFailures = s.PauseAfterFailures })
	add(s.LateAfter != 0 && of.LateAfter == 0, "lateAfter "+short(time.Duration(s.LateAfter)), func(to *Spec) { to.LateAfter = s.LateAfter })
	return out
}

// missing are the variables that a spec does not have.
func (s *DefaultsSpec) missing(of *Spec) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		if _, given := of.Env[name]; !given {
			names = append(names, name)
		}
	}
	return names
}

func (s *DefaultsSpec) setEnv(names []string) func(*Spec) {
	return func(to *Spec) {
		env := maps.Clone(to.Env)
		if env == nil {
			env = map[string]EnvValue{}
		}
		for _, name := range names {
			env[name] = EnvValue{Text: s.Env[name]}
		}
		to.Env = env
	}
}

func isZero(v any) bool { return reflect.ValueOf(v).IsZero() }

// Fill gives a spec the defaults that it does not say itself, and returns which, in words.
// One with which validate finds more wrong than without is left out: it has no effect there,
// or does not go with what the spec says itself. The problems are those of the whole that
// the spec has not had before.
func (s *DefaultsSpec) Fill(of *Spec, validate func(*Spec) []Problem) ([]string, []Problem) {
	fills := s.fills(of)
	if len(fills) == 0 {
		return nil, nil
	}
	var told []string
	before := validate(of)
	for _, f := range fills {
		next := *of
		f.try(&next)
		if len(validate(&next)) > len(before) {
			continue
		}
		f.set(of)
		told = append(told, f.words)
	}
	if after := validate(of); len(after) > len(before) {
		return told, slices.DeleteFunc(after, func(p Problem) bool { return slices.Contains(before, p) })
	}
	return told, nil
}

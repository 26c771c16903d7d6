package job

import (
	"math"
	"slices"
	"time"
)

// Overlap says what happens to an occurrence that is due while an earlier run
// of its job has not ended.
type Overlap string

// The overlap policies.
const (
	// OverlapSkip records the occurrence as skipped. The default.
	OverlapSkip Overlap = "skip"
	// OverlapAllow starts it beside the earlier one.
	OverlapAllow Overlap = "allow"
	// OverlapQueueOne keeps one occurrence waiting until the earlier run ends;
	// further ones are skipped.
	OverlapQueueOne Overlap = "queue-one"
	// OverlapQueueAll keeps occurrences waiting, in their order, up to
	// Spec.OverlapLimit of them; further ones are skipped.
	OverlapQueueAll Overlap = "queue-all"
	// OverlapReplace ends the earlier run, with its process tree, and starts
	// the occurrence when it has ended.
	OverlapReplace Overlap = "replace"
	// OverlapReplaceAfterGrace lets the earlier run go on for
	// Spec.OverlapGrace, and ends it then.
	OverlapReplaceAfterGrace Overlap = "replace-after-grace"
)

// Limits and defaults of the overlap policies.
const (
	DefaultOverlapLimit = 100
	MaxOverlapLimit     = 10_000
	DefaultOverlapGrace = 30 * time.Second
	MaxOverlapGrace     = 24 * time.Hour
)

// Overlaps lists the overlap policies, the default first.
func Overlaps() []Overlap {
	return []Overlap{OverlapSkip, OverlapAllow, OverlapQueueOne, OverlapQueueAll, OverlapReplace, OverlapReplaceAfterGrace}
}

// Misfire says what happens to occurrences that nobody could start in time,
// because the cluster was down or could not write.
type Misfire string

// The misfire policies.
const (
	// MisfireLatest runs the latest one and records the others as missed. The default.
	MisfireLatest Misfire = "latest"
	// MisfireSkip records all of them as missed.
	MisfireSkip Misfire = "skip"
	// MisfireAll runs all of them, at most MaxCatchUp; older ones are recorded as missed.
	MisfireAll Misfire = "all"
)

// Misfires lists the misfire policies, the default first.
func Misfires() []Misfire { return []Misfire{MisfireLatest, MisfireSkip, MisfireAll} }

// MaxCatchUp bounds how many missed occurrences of one job MisfireAll runs.
const MaxCatchUp = 1000

// OnDeadline says what happens to a run that has not ended by its deadline.
type OnDeadline string

// What happens to it.
const (
	// DeadlineAlert only tells of it. The default.
	DeadlineAlert OnDeadline = "alert"
	// DeadlineCancel ends the run, with its process tree.
	DeadlineCancel OnDeadline = "cancel"
)

// OnDeadlines lists what may become of it, the default first.
func OnDeadlines() []OnDeadline { return []OnDeadline{DeadlineAlert, DeadlineCancel} }

// Limits and defaults of counts and rates.
const (
	// MaxCount bounds Spec.Count: its last instant is searched for.
	MaxCount = 10_000
	// DefaultCatchUpEvery is the pace at which missed occurrences are run.
	DefaultCatchUpEvery = 100 * time.Millisecond
	MaxCatchUpEvery     = 24 * time.Hour
	MaxPauseAfter       = 1000
	MaxDeadline         = 30 * 24 * time.Hour
	MinAlert            = time.Millisecond
)

// EffectiveCatchUpEvery returns CatchUpEvery, or its default.
func (s *Spec) EffectiveCatchUpEvery() time.Duration {
	if s.CatchUpEvery == 0 {
		return DefaultCatchUpEvery
	}
	return time.Duration(s.CatchUpEvery)
}

// Retry says how often and when a failed attempt is tried again.
type Retry struct {
	// Attempts is how often a task is tried in all. Zero: once.
	Attempts int `json:"attempts,omitempty"`
	// Backoff is the pause before the second attempt; it doubles each time.
	// Zero: DefaultBackoff.
	Backoff Duration `json:"backoff,omitempty"`
	// MaxBackoff caps the pause. Zero: DefaultMaxBackoff.
	MaxBackoff Duration `json:"maxBackoff,omitempty"`
	// ExitCodes: a command that failed is tried again only if its exit code is
	// one of these; after a signal that is 128 and the signal's number. Empty: any failure is. Other kinds of failure, such as a
	// timeout, are tried again in any case.
	ExitCodes []int `json:"exitCodes,omitempty"`
	// PermanentExitCodes: a command that failed is not tried again if its exit code is one
	// of these; ExitCodes is the other way round, and one of the two is given at most.
	// Empty: no exit code is permanent by itself.
	PermanentExitCodes []int `json:"permanentExitCodes,omitempty"`
}

// Allows reports whether an attempt that ended so may be followed by another.
func (r *Retry) Allows(state State, exit *Exit) bool {
	if !state.Retryable() {
		return false
	}
	switch {
	case state != StateFailed:
		return true
	case len(r.PermanentExitCodes) > 0:
		return exit == nil || !slices.Contains(r.PermanentExitCodes, exit.ShellCode())
	case len(r.ExitCodes) > 0:
		return exit != nil && slices.Contains(r.ExitCodes, exit.ShellCode())
	}
	return true
}

// Limits and defaults of retries.
const (
	DefaultBackoff    = time.Second
	DefaultMaxBackoff = 5 * time.Minute
	MaxAttempts       = 100
)

// Delay returns the pause before attempt n; attempts count from 1.
func (r Retry) Delay(n int) time.Duration {
	if n <= 1 {
		return 0
	}
	base, limit := time.Duration(r.Backoff), time.Duration(r.MaxBackoff)
	if base == 0 {
		base = DefaultBackoff
	}
	if limit == 0 {
		limit = DefaultMaxBackoff
	}
	d := float64(base) * math.Pow(2, float64(n-2))
	if d > float64(limit) {
		return limit
	}
	return time.Duration(d)
}

package phase

// Fire is how far a fire has come, as its owner knows. The zero value is FireDue.
type Fire uint8

// The phases of a fire; see the package's doc.
const (
	FireDue Fire = iota
	FireHeldBack
	FireStarted
	FireEnding
	FireDropped
	FireSkipped
	FireMissed
	FireOrphaned
	FireEnded

	firePhases = iota
)

// followers are the phases that may follow, as bits. No phase follows on itself.
func (f Fire) followers() uint16 {
	switch f {
	case FireDue:
		return 1<<FireHeldBack | 1<<FireStarted | 1<<FireDropped | 1<<FireSkipped | 1<<FireOrphaned | 1<<FireEnded
	case FireHeldBack:
		return 1<<FireStarted | 1<<FireOrphaned | 1<<FireEnded
	case FireStarted:
		return 1<<FireDue | 1<<FireEnding | 1<<FireEnded
	case FireEnding:
		return 1<<FireDropped | 1<<FireEnded
	case FireDropped:
		return 1 << FireEnded
	case FireSkipped, FireMissed:
		return 1<<FireOrphaned | 1<<FireEnded
	case FireOrphaned:
		return 1<<FireDue | 1<<FireHeldBack | 1<<FireSkipped | 1<<FireMissed | 1<<FireEnded
	case FireEnded:
	}
	return 0
}

// MayBecome reports whether another phase may follow.
func (f Fire) MayBecome(next Fire) bool { return next < firePhases && f.followers()&(1<<next) != 0 }

// IsOpen reports whether the fire is one to be run, or that runs: it is not held back,
// not one that only leaves a record, and has not ended.
func (f Fire) IsOpen() bool {
	return f == FireDue || f == FireStarted || f == FireEnding || f == FireDropped
}

// Runs reports whether it counts as running, and so may be in the way of others of
// its job.
func (f Fire) Runs() bool { return f == FireStarted || f == FireEnding }

// IsEnding reports whether it is being ended: nothing of it is started any more.
func (f Fire) IsEnding() bool { return f == FireEnding || f == FireDropped }

// String returns the phase's name.
func (f Fire) String() string {
	if f >= firePhases {
		return "?"
	}
	return [firePhases]string{"due", "held back", "started", "ending", "dropped", "skipped", "missed", "orphaned", "ended"}[f]
}

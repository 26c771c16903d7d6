package job

// State is the state of a run or of a task. What is to be known of each stands in
// one table, traits.
type State string

// The states. All but the first three are final.
const (
	// StatePending: committed, not started yet.
	StatePending State = "pending"
	// StateQueued: waits for an earlier run of the same job to end.
	StateQueued State = "queued"
	// StateRunning: a minion has accepted it.
	StateRunning State = "running"

	// StateSucceeded: the command ended with exit code 0.
	StateSucceeded State = "succeeded"
	// StateFailed: the command ended otherwise, or could not be started.
	StateFailed State = "failed"
	// StateTimedOut: the command ran longer than its timeout and was killed.
	StateTimedOut State = "timed-out"
	// StateCancelled: ended by a request.
	StateCancelled State = "cancelled"
	// StateDeliveryTimeout: it never reached the minion in time.
	StateDeliveryTimeout State = "delivery-timeout"
	// StateExpired: it reached the minion, and was too late.
	StateExpired State = "expired"
	// StateDropped: pushed out of a full topic before it reached the minion.
	StateDropped State = "dropped"
	// StateUndeliverable: no minion matched the target.
	StateUndeliverable State = "undeliverable"
	// StateRejected: the minion refused it, with a reason.
	StateRejected State = "rejected"
	// StateIndeterminate: it may or may not have run; nobody can tell.
	StateIndeterminate State = "indeterminate"
	// StateUncontrollable: not sent, because the minion matched the target and
	// was uncontrollable.
	StateUncontrollable State = "uncontrollable"
	// StateSkipped: not started, by a policy.
	StateSkipped State = "skipped"
	// StateMissed: could not be started in time, and the misfire policy did not run it.
	StateMissed State = "missed"
)

// States lists all states.
func States() []State {
	return []State{
		StatePending, StateQueued, StateRunning,
		StateSucceeded, StateFailed, StateTimedOut, StateCancelled, StateDeliveryTimeout, StateExpired, StateDropped,
		StateUndeliverable, StateRejected, StateIndeterminate, StateUncontrollable, StateSkipped, StateMissed,
	}
}

// ending says what a state is to those who wait for a run's end.
type ending int

const (
	noEnd    ending = iota // it goes on, or never began
	success                // as it should
	failure                // not as it should
	otherEnd               // neither
)

// traits are what there is to know of a state.
type traits struct {
	final  bool
	ending ending
	// started: the command of a task that ended so was started.
	started bool
	// retryable: a task that ended so may be tried again without the risk of
	// running twice at the same time.
	retryable bool
	// stops: a task that ended so counts among the failures that stop a rollout. It
	// was started, or may have been. What never reached its minion does not count,
	// as with SSM's Run Command.
	stops bool
	// severity orders final states: a run's state is the worst of its tasks'.
	severity int
	// exitCode is that of a program that waits for the run.
	exitCode int
	// mark is its sign.
	mark string
}

// traits is the table of states. One that a later version made is taken for a
// failure of which nothing else is known.
func (s State) traits() traits {
	switch s {
	case StatePending, StateQueued, "":
		return traits{mark: "…", exitCode: 1}
	case StateRunning:
		return traits{mark: "▶", exitCode: 1}
	case StateSucceeded:
		return traits{final: true, ending: success, started: true, severity: 0, exitCode: 0, mark: "✓"}
	case StateSkipped:
		return traits{final: true, ending: noEnd, severity: 1, exitCode: 1, mark: "–"}
	case StateUncontrollable:
		return traits{final: true, ending: failure, severity: 2, exitCode: 1, mark: "✗"}
	case StateCancelled:
		return traits{final: true, ending: otherEnd, severity: 3, exitCode: 1, mark: "■"}
	case StateRejected:
		return traits{final: true, ending: failure, retryable: true, stops: true, severity: 4, exitCode: 1, mark: "✗"}
	case StateUndeliverable:
		return traits{final: true, ending: failure, retryable: true, severity: 5, exitCode: 1, mark: "✗"}
	case StateDropped:
		return traits{final: true, ending: failure, retryable: true, severity: 6, exitCode: 1, mark: "✗"}
	case StateDeliveryTimeout:
		return traits{final: true, ending: failure, retryable: true, severity: 7, exitCode: 1, mark: "✗"}
	case StateMissed:
		return traits{final: true, ending: noEnd, severity: 8, exitCode: 1, mark: "–"}
	case StateExpired:
		return traits{final: true, ending: failure, retryable: true, severity: 9, exitCode: 1, mark: "✗"}
	case StateFailed:
		return traits{final: true, ending: failure, started: true, retryable: true, stops: true, severity: 10, exitCode: 1, mark: "✗"}
	case StateTimedOut:
		return traits{final: true, ending: failure, started: true, retryable: true, stops: true, severity: 11, exitCode: 124, mark: "✗"}
	case StateIndeterminate:
		return traits{final: true, ending: failure, stops: true, severity: 12, exitCode: 1, mark: "?"}
	}
	return traits{final: true, ending: failure, stops: true, severity: 13, exitCode: 1, mark: "✗"}
}

// Final reports whether a run or task in this state has ended.
func (s State) Final() bool { return s.traits().final }

// Retryable reports whether a task that ended so may be tried again without
// the risk of running twice at the same time.
func (s State) Retryable() bool { return s.traits().retryable }

// Started reports whether the command of a task that ended so was started.
func (s State) Started() bool { return s.traits().started }

// StopsRollout reports whether a task that ended so counts among the failures that
// stop a rollout.
func (s State) StopsRollout() bool { return s.traits().stops }

// WorseThan reports whether a run with tasks that ended so and so has the state of
// this one.
func (s State) WorseThan(o State) bool { return s.traits().severity > o.traits().severity }

// ExitCode is the exit code of a program that waits for a run that ended so: 0
// succeeded, 124 timed out, 1 all others.
func (s State) ExitCode() int { return s.traits().exitCode }

// Mark is the state's sign: of a shape of its own, since not everybody sees colours.
func (s State) Mark() string { return s.traits().mark }

package job

// State is the state of a run or of a task. What is to be known of each stands in
// one table.
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
	// unheard: the minion of a task that ended so was not reached, or nobody knows what
	// it did.
	unheard bool
	// told: a minion may report it of a task; step: a step of a task may end so.
	told, step bool
	// severity orders final states: a run's state is the worst of its tasks'.
	severity int
	// exitCode is that of a program that waits for the run.
	exitCode int
	// mark is its sign.
	mark string
}

// stateRow is what the table has of a state.
type stateRow struct {
	state State
	traits
}

// stateTable has a row for each state, in the order in which they are listed: those that
// are looked for most often come first.
var stateTable = [...]stateRow{
	{StatePending, traits{mark: "…", exitCode: 1}},
	{StateQueued, traits{mark: "…", exitCode: 1}},
	{StateRunning, traits{told: true, mark: "▶", exitCode: 1}},
	{StateSucceeded, traits{final: true, ending: success, started: true, told: true, step: true, severity: 0, exitCode: 0, mark: "✓"}},
	{StateFailed, traits{final: true, ending: failure, started: true, retryable: true, stops: true, told: true, step: true, severity: 10, exitCode: 1, mark: "✗"}},
	{StateTimedOut, traits{final: true, ending: failure, started: true, retryable: true, stops: true, told: true, step: true, severity: 11, exitCode: 124, mark: "✗"}},
	{StateCancelled, traits{final: true, ending: otherEnd, told: true, step: true, severity: 3, exitCode: 1, mark: "■"}},
	{StateDeliveryTimeout, traits{final: true, ending: failure, retryable: true, unheard: true, severity: 7, exitCode: 1, mark: "✗"}},
	{StateExpired, traits{final: true, ending: failure, retryable: true, unheard: true, told: true, severity: 9, exitCode: 1, mark: "✗"}},
	{StateDropped, traits{final: true, ending: failure, retryable: true, unheard: true, severity: 6, exitCode: 1, mark: "✗"}},
	{StateUndeliverable, traits{final: true, ending: failure, retryable: true, unheard: true, severity: 5, exitCode: 1, mark: "✗"}},
	{StateRejected, traits{final: true, ending: failure, retryable: true, stops: true, told: true, severity: 4, exitCode: 1, mark: "✗"}},
	{StateIndeterminate, traits{final: true, ending: failure, stops: true, unheard: true, told: true, severity: 12, exitCode: 1, mark: "?"}},
	{StateUncontrollable, traits{final: true, ending: failure, unheard: true, severity: 2, exitCode: 1, mark: "✗"}},
	{StateSkipped, traits{final: true, ending: noEnd, step: true, severity: 1, exitCode: 1, mark: "–"}},
	{StateMissed, traits{final: true, ending: noEnd, severity: 8, exitCode: 1, mark: "–"}},
}

// unknownState is the row of a state that a later version made: it is taken for a failure
// of which nothing else is known.
var unknownState = traits{final: true, ending: failure, stops: true, severity: 13, exitCode: 1, mark: "✗"}

// States lists all states.
func States() []State { return listed(func(*stateRow) bool { return true }) }

// TaskStates lists the states that a minion may report of a task; the others are for
// nodes to say.
func TaskStates() []State { return listed(func(r *stateRow) bool { return r.told }) }

// StepStates lists the states in which a step may end.
func StepStates() []State { return listed(func(r *stateRow) bool { return r.step }) }

// listed returns the states with a trait.
func listed(has func(*stateRow) bool) []State {
	var out []State
	for i := range stateTable {
		if has(&stateTable[i]) {
			out = append(out, stateTable[i].state)
		}
	}
	return out
}

// traits returns the state's row. No state is as pending.
func (s State) traits() *traits {
	if s == "" {
		return &stateTable[0].traits
	}
	for i := range stateTable {
		if stateTable[i].state == s {
			return &stateTable[i].traits
		}
	}
	return &unknownState
}

// Final reports whether a run or task in this state has ended.
func (s State) Final() bool { return s.traits().final }

// Bad reports whether it ended not as it should: what somebody will want to look at.
func (s State) Bad() bool { return s.traits().ending == failure }

// Retryable reports whether a task that ended so may be tried again without
// the risk of running twice at the same time.
func (s State) Retryable() bool { return s.traits().retryable }

// Started reports whether the command of a task that ended so was started.
func (s State) Started() bool { return s.traits().started }

// StopsRollout reports whether a task that ended so counts among the failures that
// stop a rollout.
func (s State) StopsRollout() bool { return s.traits().stops }

// Unheard reports whether the minion of a task that ended so was not reached, or nobody
// knows what it did.
func (s State) Unheard() bool { return s.traits().unheard }

// WorseThan reports whether a run with tasks that ended so and so has the state of
// this one.
func (s State) WorseThan(o State) bool { return s.traits().severity > o.traits().severity }

// ExitCode is the exit code of a program that waits for a run that ended so: 0
// succeeded, 124 timed out, 1 all others.
func (s State) ExitCode() int { return s.traits().exitCode }

// Mark is the state's sign: of a shape of its own, since not everybody sees colours.
func (s State) Mark() string { return s.traits().mark }

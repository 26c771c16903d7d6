package plan

// State is what has become of a task of a plan.
type State string

// The states. A task is Pending until it is put into its queue: it waits for other tasks, for
// its time, or for room. It is Skipped if a task that it waits for did not succeed, and Replaced
// if an amendment of the plan has put another one of its id in its place.
const (
	Pending   State = "pending"
	Queued    State = "queued"
	Running   State = "running"
	Succeeded State = "succeeded"
	Failed    State = "failed"
	Expired   State = "expired"
	Cancelled State = "cancelled"
	Skipped   State = "skipped"
	Replaced  State = "replaced"
)

// nextStates says what may follow each state. Between attempts a task stays Running.
func nextStates(s State) []State {
	switch s {
	case Pending:
		return []State{Queued, Running, Succeeded, Failed, Expired, Cancelled, Skipped, Replaced}
	case Queued:
		return []State{Running, Succeeded, Failed, Expired, Cancelled, Replaced}
	case Running:
		return []State{Succeeded, Failed, Expired, Cancelled}
	case Succeeded, Failed, Expired, Cancelled, Skipped, Replaced:
	}
	return nil
}

// States are all states.
func States() []State {
	return []State{Pending, Queued, Running, Succeeded, Failed, Expired, Cancelled, Skipped, Replaced}
}

// May reports whether a task may go from one state to another one. What is seen late may
// have passed states by: a task that has ended may not have been seen running.
func (s State) May(next State) bool {
	for _, one := range nextStates(s) {
		if one == next {
			return true
		}
	}
	return false
}

// Final reports whether a task in this state has ended.
func (s State) Final() bool { return s != "" && nextStates(s) == nil && s.known() }

func (s State) known() bool {
	switch s {
	case Pending, Queued, Running, Succeeded, Failed, Expired, Cancelled, Skipped, Replaced:
		return true
	}
	return false
}

package phase

// Task is how far a task has come. The zero value is Waiting.
type Task uint8

// The phases of a task; see the package's doc.
const (
	Waiting Task = iota
	Sent
	Unknown
	Held
	Running
	Ended

	phases = iota
)

// followers are the phases that may follow, as bits. A phase may always stay as it
// is, but for Ended: a task ends once.
func (t Task) followers() uint8 {
	const always = 1<<Held | 1<<Running | 1<<Ended // a minion's word may come at any time
	switch t {
	case Waiting, Sent:
		return always | 1<<Waiting | 1<<Sent
	case Unknown:
		return always | 1<<Unknown | 1<<Waiting | 1<<Sent
	case Held:
		return always | 1<<Waiting | 1<<Unknown
	case Running:
		return 1<<Running | 1<<Ended | 1<<Waiting | 1<<Unknown
	case Ended:
	}
	return 0
}

// MayBecome reports whether another phase may follow.
func (t Task) MayBecome(next Task) bool { return next < phases && t.followers()&(1<<next) != 0 }

// AtMinion reports whether its minion has it, by its word.
func (t Task) AtMinion() bool { return t == Held || t == Running }

// MayBeOut reports whether an order of it may be at its minion, or on its way: it is
// not known that there is none, and it has not ended.
func (t Task) MayBeOut() bool { return t == Sent || t == Unknown || t.AtMinion() }

// String returns the phase's name.
func (t Task) String() string {
	if t >= phases {
		return "?"
	}
	return [phases]string{"waiting", "sent", "unknown", "held", "running", "ended"}[t]
}

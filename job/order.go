package job

import "time"

// Order tells a minion to start one attempt of a task.
type Order struct {
	Task  TaskID
	Shard ShardID
	// Token fences the order: a minion refuses one that is lower than the
	// highest it has seen for the shard.
	Token Token
	// Term numbers the beginnings of the owner with its shard under Token, the
	// first is 1: it may lose its memory of the shard and keep the token. It counts
	// on with each question whose answer must not be an earlier one's. 0: not told,
	// by an owner of an earlier release.
	Term  uint32 `json:",omitzero"`
	Key   Key
	RunID RunID
	// Subject is who has caused the start, as records show who asks: who asked for the
	// run or put the item, or, where a schedule, another job, a key or a webhook starts
	// it, who applied the job. Author is who applied the job, or the queue, as it is.
	// Empty: it is not known.
	Subject string `json:",omitempty"`
	Author  string `json:",omitempty"`
	// JobAuthor is, of an item, who applied the job that has put it. Empty: somebody put it.
	JobAuthor string `json:",omitempty"`

	Command []string
	Script  *Script
	// ScriptSHA256 is the hash of a script's text whose Source is empty here: the
	// minion asks for it.
	ScriptSHA256 string `json:",omitempty"`
	// Steps are done one after the other; Command and Script are empty then.
	Steps []OrderStep `json:",omitempty"`
	Env   map[string]string
	// Secrets are variables whose values the minion finds out just before the start, and
	// sensitive parameters.
	Secrets    map[string]OrderSecret `json:",omitempty"`
	WorkingDir string
	User       string
	// Limits bound the command. A minion that cannot enforce them rejects the order.
	Limits Limits `json:",omitzero"`

	ScheduledAt time.Time
	// NotAfter: a minion that has not accepted the order by then refuses it.
	NotAfter time.Time
	// HoldUntil: a minion starts nothing after it, because the lease of the owner
	// that sent the order may end then, and another own the shard. It is on the
	// monotonic clock of whoever has the order: the time since the machine's start.
	// Zero: not known, and nothing is refused because of it.
	HoldUntil time.Duration `json:",omitzero"`
	// Timeout is the longest the command may run.
	Timeout time.Duration
	// Item is what goes to a queue that stands in the minion's place; such an order is
	// sent to no minion, and to no other node.
	Item *OrderItem `json:"-"`
}

// OrderSecret is a variable of an order that is a secret. Its JSON form is that in the
// journals of minions.
type OrderSecret struct {
	// Secret says where the minion finds the value. Nil: Value is it.
	Secret *SecretRef `json:"secret,omitempty"`
	// Sealed is what the minion opens, where Secret names a secret of the cluster. Empty
	// then: there was no such secret when the order was sent.
	Sealed string `json:"sealed,omitempty"`
	// Value is that of a sensitive parameter, which who started the run has given.
	Value string `json:"value,omitempty"`
	// Mask: where the command writes the value, its output has *** instead.
	Mask bool `json:"mask,omitempty"`
}

// Report says what a minion, or the way to it, knows about one attempt of a
// task. State is StateRunning once accepted, or a final state.
// Known is false in the answer to a question about a task that the minion has
// never accepted: it has not run and may be ordered (again).
type Report struct {
	Task  TaskID
	Shard ShardID
	Known bool
	State State
	// Reason explains the state to people.
	Reason string

	StartedAt time.Time
	EndedAt   time.Time
	Exit      *Exit
	Stdout    Output
	Stderr    Output
	// Steps tell how the steps of the order ended, if it has any.
	Steps []StepResult `json:",omitempty"`
	// Returned, with Known false: whatever the minion has said before, it has not
	// started the task, and never will by an order that it has had. It may be
	// ordered again, there.
	Returned bool `json:",omitzero"`
	// Token and Term are those of the question, order or cancel that the report
	// answers. Zero: it answers none, or comes from an earlier release.
	Token Token  `json:",omitzero"`
	Term  uint32 `json:",omitzero"`
	// Instance names the process of the minion that has said so: another begins with
	// what the one before has left on the disk. Empty: it is not told, as of what is
	// Spooled, of what no minion has said, and by earlier releases of nodes.
	Instance string `json:",omitzero"`
	// Spooled: the minion keeps the report, and sends it again, until it is
	// acknowledged.
	Spooled bool
	// Verdict is what a handler says of the end beside the state, After for how long it
	// wants to be left alone. Empty: nothing.
	Verdict Verdict  `json:",omitzero"`
	After   Duration `json:",omitzero"`
	// Progress is how far a task is that runs. Nil: it has not said.
	Progress *Progress `json:",omitempty"`
	// Checkpoint is where whoever does the item next is to go on: JSON, at most
	// MaxCheckpoint bytes. Empty: none was given.
	Checkpoint string `json:",omitzero"`
	// Item is that of a queue in the minion's place. Only the node itself says it.
	Item *TaskItem `json:"-"`
}

// Minion is what is known of a minion.
type Minion struct {
	ID MinionID `json:"id"`
	// Labels are granted: by the token that it joined with, or by an operator.
	// Requested are those that it asks for and has not been granted: they match
	// nothing. Facts are its own word.
	Labels    map[string]string `json:"labels,omitempty"`
	Requested map[string]string `json:"requestedLabels,omitempty"`
	Facts     map[string]string `json:"facts,omitempty"`
	Version   string            `json:"version,omitempty"`
	// Since is when it was first seen.
	Since time.Time `json:"since"`
	// ConnectedSince is since when it is connected. Zero: it is not, or that is not
	// known.
	ConnectedSince time.Time `json:"connectedSince,omitzero"`

	// Node is where it is connected; empty when it is not.
	Node NodeID `json:"node,omitempty"`
	// Trouble is why it gets no orders, TroubleSince since when, as far as is
	// known. Empty: it does.
	Trouble      string    `json:"trouble,omitempty"`
	TroubleSince time.Time `json:"troubleSince,omitzero"`
	// Running is how many tasks it runs, as last reported.
	Running int `json:"running"`
}

// FactBootID and FactBootTime are the facts by which a minion tells which boot of its host
// this is, and when it was.
const (
	FactBootID   = "bootId"
	FactBootTime = "bootTime"
)

// FactUnsignedOrders is the fact by which a minion tells whether it takes orders that no
// node has signed. A minion of a release that does not tell, and one whose connection is
// plain, has no such fact.
const FactUnsignedOrders = "unsignedOrders"

// The values of FactUnsignedOrders.
const (
	// UnsignedRefused: it takes none.
	UnsignedRefused = "refused"
	// UnsignedUntilSigned: it takes them until the first signed one comes.
	UnsignedUntilSigned = "until-signed"
	// UnsignedAllowed: it was started with --unsigned-orders.
	UnsignedAllowed = "allowed"
)

// Ref points at one attempt of a task, in the name of its shard's owner. It
// asks what became of the task, or cancels it.
type Ref struct {
	Task  TaskID
	Shard ShardID
	Token Token
	// Term is as that of an Order.
	Term uint32
}

// Uncontrollable is a minion that gets no orders.
type Uncontrollable struct {
	Minion MinionID `json:"minion"`
	// Reason tells why; Since is since when.
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

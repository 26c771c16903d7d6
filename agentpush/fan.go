package agentpush

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
)

// A run on many minions goes to a peer once, with the names of those of them
// that the peer holds, and not once per minion.

// linkFan bounds the messages of one batch on a link.
const linkFan = 8192

// sameFan reports whether two messages are orders that differ in their minion
// only. One attempt's orders that were made at one moment do: they have the same
// end. Those that another node has signed it has signed one by one.
func sameFan(a, b *message) bool {
	if a.signedElsewhere() || b.signedElsewhere() {
		return false
	}
	x, ok1 := a.body.(*agentpb.Order)
	y, ok2 := b.body.(*agentpb.Order)
	return ok1 && ok2 && x.GetRunId() == y.GetRunId() && x.GetNotAfter() == y.GetNotAfter() && x.GetHoldUntil() == y.GetHoldUntil() &&
		x.GetShard() == y.GetShard() && x.GetTokenEpoch() == y.GetTokenEpoch() && x.GetTokenRevision() == y.GetTokenRevision() && x.GetTerm() == y.GetTerm() &&
		x.GetTask().GetAttempt() == y.GetTask().GetAttempt() && x.GetTask().GetShare() == y.GetTask().GetShare() && x.GetRunId() != ""
}

// fan puts orders into a batch, those that differ in their minion only as one,
// and returns them in the order in which they are numbered. The caller holds
// l.mu.
func (l *link) fan(b *agentpb.Batch, orders []*message) []*message {
	var single, fanned []*message
	for i := 0; i < len(orders); {
		n := 1
		for l.fans && i+n < len(orders) && sameFan(orders[i], orders[i+n]) {
			n++
		}
		if n == 1 {
			b.Orders = append(b.Orders, order(orders[i]))
			single = append(single, orders[i])
			i++
			continue
		}
		f := &agentpb.Fan{Order: withMinion(order(orders[i]), ""), Minions: make([]string, n)}
		for k := range n {
			f.Minions[k] = string(orders[i+k].minion())
		}
		b.Fans = append(b.Fans, f)
		fanned = append(fanned, orders[i:i+n]...)
		i += n
	}
	return append(single, fanned...)
}

// signedElsewhere: another node has signed the order.
func (m *message) signedElsewhere() bool { return m.from != nil && m.proof.By() != nil }

func order(m *message) *agentpb.Order {
	o, _ := m.body.(*agentpb.Order)
	return o
}

// withMinion returns an order for a minion that shares all else with o, also
// what a newer release has put into it.
func withMinion(o *agentpb.Order, minion string) *agentpb.Order {
	out := &agentpb.Order{}
	from, to := o.ProtoReflect(), out.ProtoReflect()
	from.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		to.Set(field, v)
		return true
	})
	to.SetUnknown(from.GetUnknown())
	t := o.GetTask()
	out.Task = &agentpb.TaskID{Job: t.GetJob(), At: t.GetAt(), Trigger: t.GetTrigger(), Attempt: t.GetAttempt(), Minion: minion, Share: t.GetShare()}
	return out
}

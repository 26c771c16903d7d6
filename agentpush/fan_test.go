package agentpush

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
)

// TestFanCarriesAllOfAnOrder: whatever fields orders have, a fan's order for a
// minion is the one that was sent, and its batch numbers messages as they are
// expanded.
func TestFanCarriesAllOfAnOrder(t *testing.T) {
	t.Parallel()
	full := &agentpb.Order{}
	fill(full.ProtoReflect(), 3)
	full.ProtoReflect().SetUnknown(protoreflect.RawFields{0xf8, 0x7f, 1})
	var sent []*message
	for i := range 5 {
		o := proto.CloneOf(full)
		o.Task.Minion = fmt.Sprint("m", i)
		if i == 3 {
			o.NotAfter++ // of another moment
		}
		sent = append(sent, &message{body: o})
	}
	l := &link{peerWord: peerWord{fans: true}}
	b := &agentpb.Batch{}
	numbered := l.fan(b, sent)
	if len(b.GetFans()) != 1 || len(b.GetOrders()) != 2 {
		t.Fatalf("%d fans, %d orders", len(b.GetFans()), len(b.GetOrders()))
	}
	got := b.GetOrders()
	for _, f := range b.GetFans() {
		for _, m := range f.GetMinions() {
			got = append(got, withMinion(f.GetOrder(), m))
		}
	}
	for i, m := range numbered {
		if !proto.Equal(order(m), got[i]) {
			t.Errorf("message %d came as %v", i, got[i])
		}
	}
}

// fill gives every field of a message a value.
func fill(m protoreflect.Message, depth int) {
	if depth == 0 {
		return
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.IsMap() && f.MapValue().Kind() == protoreflect.StringKind:
			m.Mutable(f).Map().Set(protoreflect.ValueOfString("k").MapKey(), protoreflect.ValueOfString("v"))
		case f.IsMap():
		case f.IsList() && f.Kind() == protoreflect.MessageKind:
			fill(m.Mutable(f).List().AppendMutable().Message(), depth-1)
		case f.IsList():
			m.Mutable(f).List().Append(value(f))
		case f.Kind() == protoreflect.MessageKind:
			fill(m.Mutable(f).Message(), depth-1)
		default:
			m.Set(f, value(f))
		}
	}
}

func value(f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(string(f.Name()))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(f.Name()))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(7)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(7)
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(7)
	}
	return protoreflect.ValueOfInt64(7)
}

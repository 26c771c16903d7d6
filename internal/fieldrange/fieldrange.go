package fieldrange

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Range is what a field may hold.
type Range struct {
	// Any: every value of the field's type is legal. For numbers, booleans and
	// messages only.
	Any bool
	// Min and Max bound a number.
	Min, Max int64
	// Bytes is the longest string or bytes, or the encoded size of a message.
	Bytes int
	// Items is how many values a repeated field or a map may have.
	Items int
	// OneOf are the strings that are legal; nil: all. Check tells what is wrong
	// with a string; nil: nothing more.
	OneOf []string
	Check func(string) error
	// Key and Value are the ranges of a map's keys and values.
	Key, Value *Range
}

// Table has the ranges of fields, by "Message.field".
type Table map[string]Range

// Error tells which field is out of its range.
type Error struct {
	// Field is the path of the field, as in reports.reports.reason.
	Field string
	// Is is what it has, Bound what would be right.
	Is, Bound string
}

func (e *Error) Error() string {
	return fmt.Sprintf("field %s %s; %s", e.Field, e.Is, e.Bound)
}

// Checker checks messages of one type. It may be used by many goroutines.
type Checker struct {
	root  *message
	bytes int
}

type message struct {
	fields map[protowire.Number]*field
	// slots is how many fields there are.
	slots int
}

type field struct {
	name  string
	slot  int
	kind  protoreflect.Kind
	list  bool
	isMap bool
	Range
	// of is the type of a message, nil otherwise.
	of *message
	// key and value are those of a map.
	key, value *field
}

// New makes a checker for messages of a type that have at most so many bytes.
func New(root protoreflect.MessageDescriptor, bytes int, table Table) (*Checker, error) {
	b := builder{table: table, used: map[string]bool{}, known: map[protoreflect.FullName]*message{}}
	c := &Checker{root: b.message(root), bytes: bytes}
	for name := range table {
		if !b.used[name] {
			b.fail("%s: there is no such field", name)
		}
	}
	return c, errors.Join(b.errs...)
}

type builder struct {
	table Table
	used  map[string]bool
	known map[protoreflect.FullName]*message
	errs  []error
}

func (b *builder) fail(format string, args ...any) {
	b.errs = append(b.errs, fmt.Errorf("range of "+format, args...))
}

func (b *builder) message(d protoreflect.MessageDescriptor) *message {
	if m := b.known[d.FullName()]; m != nil {
		return m
	}
	m := &message{fields: map[protowire.Number]*field{}}
	b.known[d.FullName()] = m
	for i := range d.Fields().Len() {
		fd := d.Fields().Get(i)
		name := string(d.Name()) + "." + string(fd.Name())
		r, ok := b.table[name]
		if b.used[name] = true; !ok {
			b.fail("%s is missing: say which values are legal", name)
			continue
		}
		f := &field{name: string(fd.Name()), slot: m.slots, kind: fd.Kind(), list: fd.IsList(), isMap: fd.IsMap(), Range: r}
		m.slots++
		m.fields[fd.Number()] = f
		if (f.list || f.isMap) != (r.Items > 0) {
			b.fail("%s: Items belong to repeated fields and maps, and to each of them", name)
		}
		if f.isMap {
			b.pair(f, fd, name)
			continue
		}
		b.value(f, fd, name)
	}
	return m
}

// pair reads the ranges of a map.
func (b *builder) pair(f *field, fd protoreflect.FieldDescriptor, name string) {
	if f.Key == nil || f.Value == nil {
		b.fail("%s: a map needs ranges of Key and Value", name)
		return
	}
	f.key = &field{name: "key", kind: fd.MapKey().Kind(), Range: *f.Key}
	f.value = &field{name: "value", kind: fd.MapValue().Kind(), Range: *f.Value}
	b.value(f.key, fd.MapKey(), name+".key")
	b.value(f.value, fd.MapValue(), name+".value")
}

// value holds a range against the type of its field.
func (b *builder) value(f *field, fd protoreflect.FieldDescriptor, name string) {
	switch wireType(f.kind) {
	case protowire.VarintType:
		if !f.Any && f.Min == 0 && f.Max == 0 {
			b.fail("%s: a number needs Min and Max, or Any", name)
		}
	case protowire.BytesType:
		if f.kind == protoreflect.MessageKind {
			f.of = b.message(fd.Message())
			if !f.Any && f.Bytes == 0 {
				b.fail("%s: a message needs Bytes, or Any", name)
			}
			return
		}
		if f.Bytes == 0 && f.OneOf == nil {
			b.fail("%s: a text needs Bytes or OneOf", name)
		}
	default:
		b.fail("%s: kind %s has no ranges yet", name, f.kind)
	}
}

// wireType returns how values of a kind are encoded, -1 for those that are not
// used here.
func wireType(k protoreflect.Kind) protowire.Type {
	switch k {
	case protoreflect.BoolKind, protoreflect.Int32Kind, protoreflect.Int64Kind, protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		return protowire.VarintType
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return protowire.BytesType
	default:
		return -1
	}
}

// Check holds an encoded message against the table. What is out of its range is
// an *Error; what is no message at all is another error.
func (c *Checker) Check(b []byte) error {
	if len(b) > c.bytes {
		return &Error{Field: "(all)", Is: fmt.Sprintf("has %d bytes", len(b)), Bound: atMost(c.bytes, "bytes")}
	}
	return c.root.check(b)
}

// within adds the field that an error lies in to its path.
func within(name string, err error) error {
	var e *Error
	if errors.As(err, &e) {
		e.Field = strings.TrimSuffix(name+"."+e.Field, ".")
	}
	return err
}

func atMost(n int, what string) string { return fmt.Sprintf("at most %d %s are allowed", n, what) }

func (m *message) check(b []byte) error {
	var few [32]int32
	counts := few[:]
	if m.slots > len(few) {
		counts = make([]int32, m.slots)
	}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		f := m.fields[num]
		if f == nil || !f.encodedAs(typ) {
			// A decoder keeps what it does not know, in its bytes.
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				return protowire.ParseError(n)
			}
			b = b[n:]
			continue
		}
		n, count, err := f.consume(b, typ)
		if err != nil {
			return within(f.name, err)
		}
		b = b[n:]
		counts[f.slot] += int32(count) // at most the bytes of a message
		if most := max(f.Items, 1); int(counts[f.slot]) > most {
			return &Error{f.name, fmt.Sprintf("has more than %d values", most), atMost(most, "of them")}
		}
	}
	return nil
}

// encodedAs reports whether a decoder takes what is encoded so for the field.
func (f *field) encodedAs(typ protowire.Type) bool {
	return typ == wireType(f.kind) || f.packs() && typ == protowire.BytesType
}

// packs reports whether values of the field may come many in one.
func (f *field) packs() bool { return f.list && wireType(f.kind) == protowire.VarintType }

// consume checks what begins at b, and returns its length and how many values it
// has.
func (f *field) consume(b []byte, typ protowire.Type) (n, count int, err error) {
	if typ == protowire.VarintType {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return 0, 0, protowire.ParseError(n)
		}
		return n, 1, f.number(v)
	}
	v, n := protowire.ConsumeBytes(b)
	if n < 0 {
		return 0, 0, protowire.ParseError(n)
	}
	switch {
	case f.packs():
		for len(v) > 0 {
			x, m := protowire.ConsumeVarint(v)
			if m < 0 {
				return 0, 0, protowire.ParseError(m)
			}
			if err := f.number(x); err != nil {
				return 0, 0, err
			}
			v = v[m:]
			count++
		}
		return n, count, nil
	case f.isMap:
		return n, 1, f.entry(v)
	}
	return n, 1, f.text(v)
}

// entry checks one entry of a map.
func (f *field) entry(b []byte) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		part := f.key
		if num == 2 {
			part = f.value
		}
		if num > 2 || !part.encodedAs(typ) {
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				return protowire.ParseError(n)
			}
			b = b[n:]
			continue
		}
		n, _, err := part.consume(b, typ)
		if err != nil {
			return within(part.name, err)
		}
		b = b[n:]
	}
	return nil
}

func (f *field) number(v uint64) error {
	if f.Any || f.kind == protoreflect.BoolKind {
		return nil
	}
	var n int64
	switch f.kind {
	case protoreflect.Int32Kind:
		n = int64(int32(v)) // as a decoder cuts it
	case protoreflect.Uint32Kind:
		n = int64(uint32(v)) // as a decoder cuts it
	case protoreflect.Uint64Kind:
		n = int64(min(v, math.MaxInt64)) // bounded here
	default:
		n = int64(v) // how negative numbers are encoded
	}
	if n < f.Min || n > f.Max {
		return &Error{"", fmt.Sprintf("is %d", n), fmt.Sprintf("%d to %d are allowed", f.Min, f.Max)}
	}
	return nil
}

// text checks a string, bytes or a message.
func (f *field) text(v []byte) error {
	if f.Bytes > 0 && len(v) > f.Bytes {
		return &Error{"", fmt.Sprintf("has %d bytes", len(v)), atMost(f.Bytes, "bytes")}
	}
	if f.of != nil {
		return f.of.check(v)
	}
	if f.OneOf != nil && !slices.ContainsFunc(f.OneOf, func(s string) bool { return s == string(v) }) {
		return &Error{"", fmt.Sprintf("has %d bytes and is none of those that there are", len(v)), "allowed are " + quoted(f.OneOf)}
	}
	if f.Check != nil {
		if err := f.Check(string(v)); err != nil {
			return &Error{"", fmt.Sprintf("has %d bytes and is not legal", len(v)), err.Error()}
		}
	}
	return nil
}

func quoted(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = fmt.Sprintf("%q", w)
	}
	return strings.Join(out, ", ")
}

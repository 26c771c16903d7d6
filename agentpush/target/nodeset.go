package target

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"unicode"
)

// MaxNames is how many names a set may have while it is read. It keeps a few
// characters such as web[1-999999999] from filling the memory.
const MaxNames = 1 << 18

// NodeSet is a set of names. The zero value is an empty set. It is not safe to
// change it while others use it.
type NodeSet struct{ names map[string]struct{} }

// NewNodeSet returns the set of these names. They are taken as they are:
// nothing in them is expanded.
func NewNodeSet(names ...string) NodeSet {
	s := NodeSet{make(map[string]struct{}, len(names))}
	for _, n := range names {
		s.names[n] = struct{}{}
	}
	return s
}

// ParseNodeSet reads names with ranges in brackets and the operators of sets:
// `,` adds, `!` takes away, `&` keeps what both have, and `^` what one of them
// has. They apply from left to right. No text is the empty set. What is wrong
// comes back as a *SyntaxError, and so does a set of more than MaxNames names.
func ParseNodeSet(source string) (NodeSet, error) {
	faults := &faults{source: source}
	out := NodeSet{}
	if strings.TrimSpace(source) == "" {
		return out, nil
	}
	op := byte(',')
	for rest := 0; rest <= len(source); {
		end := operandEnd(source, rest)
		operand := parseNames(source, rest, end, faults)
		if len(faults.problems) == 0 {
			out.apply(op, operand)
			if out.Len() > MaxNames {
				faults.add(rest, "more than %d names", MaxNames)
			}
		}
		if end == len(source) {
			break
		}
		op, rest = source[end], end+1
	}
	if err := faults.err(); err != nil {
		return NodeSet{}, err
	}
	return out, nil
}

const setOperators = ",!&^"

// operandEnd returns where the operand that begins at from ends: at an operator
// outside of brackets, or with the source.
func operandEnd(source string, from int) int {
	inside := false
	for i := from; i < len(source); i++ {
		switch c := source[i]; {
		case c == '[':
			inside = true
		case c == ']':
			inside = false
		case !inside && strings.IndexByte(setOperators, c) >= 0:
			return i
		}
	}
	return len(source)
}

// parseNames reads the operand source[from:end] and expands it.
func parseNames(source string, from, end int, faults *faults) NodeSet {
	word := strings.TrimRightFunc(source[from:end], unicode.IsSpace)
	at := from + len(word)
	word = strings.TrimLeftFunc(word, unicode.IsSpace)
	at -= len(word)
	if word == "" {
		faults.add(at, "a name is missing")
		return NodeSet{}
	}
	problems := len(faults.problems)
	p := parsePattern(word, at, faults)
	for offset, r := range outsideBrackets(word) {
		if !isNameRune(r) {
			faults.add(at+offset, "%q cannot be in a name; letters, digits and . _ - : can", r)
		}
	}
	for _, t := range p {
		if t.class != nil {
			faults.add(at, "%q has a class of characters, which a set of names cannot hold; only numbers can be in brackets", word)
		}
	}
	if len(faults.problems) > problems {
		return NodeSet{}
	}
	if p.count() > MaxNames {
		faults.add(at, "%q is more than %d names", word, MaxNames)
		return NodeSet{}
	}
	out := NodeSet{make(map[string]struct{}, p.count())}
	p.expand("", func(name string) { out.names[name] = struct{}{} })
	return out
}

// outsideBrackets yields the runes of a word that are in no brackets.
func outsideBrackets(word string) func(func(int, rune) bool) {
	return func(yield func(int, rune) bool) {
		inside := false
		for i, r := range word {
			switch {
			case r == '[':
				inside = true
			case r == ']':
				inside = false
			case !inside && !yield(i, r):
				return
			}
		}
	}
}

// isNameRune reports whether names may have r without being quoted.
func isNameRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '.' || r == '_' || r == '-' || r == ':'
}

// count returns how many names the pattern stands for, duplicates included, and
// the largest number when they are too many to count.
func (p pattern) count() uint64 {
	total := uint64(1)
	for _, t := range p {
		if t.spans == nil {
			continue
		}
		var sum uint64
		for _, s := range t.spans {
			sum += s.count()
		}
		high, low := bits.Mul64(total, sum)
		if high != 0 || low > 1<<62 {
			return 1 << 62
		}
		total = low
	}
	return total
}

// expand calls f with each name of a pattern that has no globs.
func (p pattern) expand(prefix string, f func(string)) {
	if len(p) == 0 {
		f(prefix)
		return
	}
	if p[0].spans == nil {
		p[1:].expand(prefix+p[0].text, f)
		return
	}
	for _, s := range p[0].spans {
		n := s.lo
		for range s.count() {
			p[1:].expand(prefix+s.text(n), f)
			n += s.step
		}
	}
}

func (s *NodeSet) apply(op byte, other NodeSet) {
	switch op {
	case ',':
		*s = s.Union(other)
	case '!':
		*s = s.Difference(other)
	case '&':
		*s = s.Intersection(other)
	case '^':
		*s = s.SymmetricDifference(other)
	default:
		panic(fmt.Sprintf("target: no operator of sets: %q", op))
	}
}

// Len returns how many names the set has.
func (s NodeSet) Len() int { return len(s.names) }

// Has reports whether the name is in the set.
func (s NodeSet) Has(name string) bool {
	_, ok := s.names[name]
	return ok
}

// Equal reports whether both sets have the same names.
func (s NodeSet) Equal(other NodeSet) bool { return maps.Equal(s.names, other.names) }

// Add puts names into the set, as they are.
func (s *NodeSet) Add(names ...string) {
	if s.names == nil {
		s.names = make(map[string]struct{}, len(names))
	}
	for _, n := range names {
		s.names[n] = struct{}{}
	}
}

// Union returns a new set of the names that are in any of the two.
func (s NodeSet) Union(other NodeSet) NodeSet {
	out := NodeSet{make(map[string]struct{}, len(s.names)+len(other.names))}
	maps.Copy(out.names, s.names)
	maps.Copy(out.names, other.names)
	return out
}

// Difference returns a new set of the names of s that are not in other.
func (s NodeSet) Difference(other NodeSet) NodeSet {
	return s.filter(func(n string) bool { return !other.Has(n) })
}

// Intersection returns a new set of the names that are in both.
func (s NodeSet) Intersection(other NodeSet) NodeSet { return s.filter(other.Has) }

// SymmetricDifference returns a new set of the names that are in one of the two
// only.
func (s NodeSet) SymmetricDifference(other NodeSet) NodeSet {
	return s.Difference(other).Union(other.Difference(s))
}

func (s NodeSet) filter(keep func(string) bool) NodeSet {
	out := NodeSet{make(map[string]struct{}, len(s.names))}
	for n := range s.names {
		if keep(n) {
			out.names[n] = struct{}{}
		}
	}
	return out
}

// Names returns the names in their natural order: web2 before web10.
func (s NodeSet) Names() []string {
	out := make([]string, 0, len(s.names))
	for _, f := range s.families() {
		f.sort()
		for _, m := range f.members {
			out = append(out, f.name(m))
		}
	}
	return slices.Clip(out)
}

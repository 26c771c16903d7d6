package target

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// family is all names of a set that differ in their numbers only. Each number
// is an axis; a member is a point.
type family struct {
	// texts surround the axes: there is one more of them.
	texts   []string
	members [][]string
}

// families returns the names of the set by family, in the order in which they
// are written.
func (s NodeSet) families() []*family {
	type key struct {
		// shape has a % for each number. That is where it sorts: after a name
		// that ends there, and before any character of a name.
		shape string
		axes  int
	}
	byKey := map[key]*family{}
	for name := range s.names {
		texts, numbers := dissect(name)
		k := key{strings.Join(texts, "%"), len(numbers)}
		f := byKey[k]
		if f == nil {
			f = &family{texts: texts}
			byKey[k] = f
		}
		f.members = append(f.members, numbers)
	}
	keys := slices.SortedFunc(maps.Keys(byKey), func(a, b key) int {
		return cmp.Or(strings.Compare(a.shape, b.shape), cmp.Compare(a.axes, b.axes))
	})
	out := make([]*family, len(keys))
	for i, k := range keys {
		out[i] = byKey[k]
	}
	return out
}

// dissect splits a name into its numbers and the texts around them. A run of
// more digits than a number can have is text.
func dissect(name string) (texts, numbers []string) {
	text, i := 0, 0
	for i < len(name) {
		if !isDigit(name[i]) {
			i++
			continue
		}
		end := i
		for end < len(name) && isDigit(name[end]) {
			end++
		}
		if end-i <= maxDigits {
			texts, numbers = append(texts, name[text:i]), append(numbers, name[i:end])
			text = end
		}
		i = end
	}
	return append(texts, name[text:]), numbers
}

// name returns the name of a member.
func (f *family) name(numbers []string) string {
	var b strings.Builder
	for i, n := range numbers {
		b.WriteString(f.texts[i] + n)
	}
	b.WriteString(f.texts[len(f.texts)-1])
	return b.String()
}

func (f *family) sort() {
	slices.SortFunc(f.members, func(a, b []string) int { return slices.CompareFunc(a, b, compareNumbers) })
}

// compareNumbers orders numbers by length, then by value. So numbers of one
// length stand together, with or without leading zeros.
func compareNumbers(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}

// foldNumbers writes sorted numbers with ranges: 1-3,7 or 08-11.
func foldNumbers(numbers []string) string {
	var b strings.Builder
	for i := 0; i < len(numbers); {
		first, last := numbers[i], i
		for last+1 < len(numbers) && follows(first, numbers[last], numbers[last+1]) {
			last++
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(first)
		if last > i {
			b.WriteString("-" + numbers[last])
		}
		i = last + 1
	}
	return b.String()
}

// follows reports whether next continues a range that began with first and has
// come to last.
func follows(first, last, next string) bool {
	if isPadded(first) && len(next) != len(first) || !isPadded(first) && isPadded(next) {
		return false
	}
	return number(next) == number(last)+1
}

// write appends the family in bracket form to out.
func (f *family) write(out []string) []string {
	f.sort()
	if len(f.texts) == 1 {
		return append(out, f.texts[0])
	}
	for _, b := range f.boxes() {
		numbers := make([]string, len(b.axes))
		for i, axis := range b.axes {
			numbers[i] = foldNumbers(axis)
			if len(axis) > 1 {
				numbers[i] = "[" + numbers[i] + "]"
			}
		}
		out = append(out, f.name(numbers))
	}
	return out
}

// String writes the set in bracket form, as short as merging gets it, such as
// db1,web[001-120,130]. ParseNodeSet reads it, if all names can be read.
func (s NodeSet) String() string {
	var out []string
	for _, f := range s.families() {
		out = f.write(out)
	}
	return strings.Join(out, ",")
}

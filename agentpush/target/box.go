package target

import (
	"cmp"
	"slices"
	"strings"
)

// box is a product of sets of numbers: r[1-2]n[1-4] is one. Boxes of a family
// share no member.
type box struct {
	axes [][]string
	// keys are texts that are equal for equal axes.
	keys []string
	// grown is the axis that has grown since its key was made; -1: none.
	grown int
}

// maxSlowBoxes is how many boxes are compared each with each other. More are
// merged with their neighbours only.
const maxSlowBoxes = 2048

// boxes covers the members, which are sorted, with few boxes. It joins two boxes
// that differ on one axis, in an order in which those stand side by side; that
// is not always the least number of boxes, but it is what ClusterShell prints.
func (f *family) boxes() []*box {
	axes := len(f.texts) - 1
	if axes == 1 {
		whole := &box{axes: make([][]string, 1), grown: -1}
		for _, m := range f.members {
			whole.axes[0] = append(whole.axes[0], m[0])
		}
		return []*box{whole}
	}
	boxes := make([]*box, len(f.members))
	for i, m := range f.members {
		b := &box{keys: slices.Clone(m), grown: -1}
		for _, n := range m {
			b.axes = append(b.axes, []string{n})
		}
		boxes[i] = b
	}
	for changed, slow := true, false; changed; {
		slices.SortStableFunc(boxes, compareBoxes)
		boxes, changed = mergePass(boxes, slow)
		if !changed && !slow && len(boxes) <= maxSlowBoxes {
			changed, slow = true, true
		}
	}
	return boxes
}

// compareBoxes puts large boxes first, and equally large ones by their axes.
func compareBoxes(a, b *box) int {
	if c := cmp.Compare(b.size(), a.size()); c != 0 {
		return c
	}
	for i := range a.axes {
		x, y := a.axes[i], b.axes[i]
		if c := cmp.Or(
			cmp.Compare(len(y), len(x)),
			strings.Compare(x[0], y[0]),
			strings.Compare(x[len(x)-1], y[len(y)-1]),
		); c != 0 {
			return c
		}
	}
	return 0
}

func (b *box) size() int {
	n := 1
	for _, axis := range b.axes {
		n *= len(axis)
	}
	return n
}

// mergePass merges each box with those that follow it, up to the first that it
// cannot be merged with; with slow, beyond that one too.
func mergePass(boxes []*box, slow bool) (left []*box, changed bool) {
	merged := make([]bool, len(boxes))
	for i, b := range boxes {
		if merged[i] {
			continue
		}
		for j := i + 1; j < len(boxes); j++ {
			if merged[j] {
				continue
			}
			if axis := b.mergeable(boxes[j]); axis >= 0 {
				b.merge(boxes[j], axis)
				merged[j], changed = true, true
			} else if !slow {
				break
			}
		}
		b.settle()
		left = append(left, b)
	}
	return left, changed
}

// mergeable returns the only axis on which the boxes differ, -1 if they differ
// on more. They differ on one at least: boxes share no member.
func (b *box) mergeable(other *box) int {
	axis := -1
	for i := range b.keys {
		if i == b.grown || b.keys[i] == other.keys[i] {
			continue
		}
		if axis >= 0 {
			return -1
		}
		axis = i
	}
	if b.grown < 0 || axis < 0 {
		return max(axis, b.grown)
	}
	// The grown axis matters only here, so its key is made as seldom as can be.
	grown := b.grown
	b.settle()
	if b.keys[grown] != other.keys[grown] {
		return -1
	}
	return axis
}

func (b *box) merge(other *box, axis int) {
	if b.grown != axis {
		b.settle()
	}
	b.axes[axis] = append(b.axes[axis], other.axes[axis]...)
	b.grown = axis
}

// settle sorts the axis that has grown, and makes its key.
func (b *box) settle() {
	if b.grown < 0 {
		return
	}
	axis := b.axes[b.grown]
	slices.SortFunc(axis, compareNumbers)
	b.keys[b.grown] = strings.Join(axis, ",")
	b.grown = -1
}

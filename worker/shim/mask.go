package shim

import (
	"bytes"
	"slices"
	"strings"
)

// masked stands for a text that is kept out of output.
const masked = "***"

// minLine is the least size of a line of a text with several that is kept out by
// itself: programs print such texts line by line, or indented.
const minLine = 8

// Masker keeps texts out of a stream, however it is cut into pieces. What may yet
// become one of them is held back until that is known: never more than the longest
// of them has. Texts that overlap one another in the stream may leave a part of the
// later one.
type Masker struct {
	texts [][]byte // the longest first
	first [256]bool
	held  []byte
}

// NewMasker returns one for some texts, and for the long lines of those with several.
func NewMasker(texts []string) *Masker {
	m := &Masker{}
	add := func(text string) {
		if text != "" {
			m.texts = append(m.texts, []byte(text))
			m.first[text[0]] = true
		}
	}
	for _, text := range texts {
		add(text)
		if lines := strings.Split(text, "\n"); len(lines) > 1 {
			for _, line := range lines {
				if line = strings.TrimSpace(line); len(line) >= minLine {
					add(line)
				}
			}
		}
	}
	slices.SortStableFunc(m.texts, func(a, b []byte) int { return len(b) - len(a) })
	return m
}

// Mask returns what may be told of the stream with p behind what came before.
func (m *Masker) Mask(p []byte) []byte { return m.mask(p, false) }

// Rest returns what was held back, at the end of the stream.
func (m *Masker) Rest() []byte { return m.mask(nil, true) }

func (m *Masker) mask(p []byte, end bool) []byte {
	in := append(m.held, p...)
	m.held = nil
	out := make([]byte, 0, len(in))
	for i := 0; i < len(in); {
		if !m.first[in[i]] {
			out = append(out, in[i])
			i++
			continue
		}
		n, more := m.at(in[i:])
		switch {
		case more && !end:
			m.held = slices.Clone(in[i:])
			return out
		case n > 0:
			out = append(out, masked...)
			i += n
		default:
			out = append(out, in[i])
			i++
		}
	}
	return out
}

// at returns the size of the longest text that b begins with, 0 for none, and
// whether all of b is the beginning of a longer one.
func (m *Masker) at(b []byte) (n int, more bool) {
	for _, text := range m.texts {
		switch {
		case len(text) > len(b):
			more = more || bytes.HasPrefix(text, b)
		case bytes.HasPrefix(b, text):
			return len(text), more
		}
	}
	return 0, more
}

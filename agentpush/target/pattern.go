package target

import (
	"strings"
	"unicode/utf8"
)

// pattern is a name with ranges, globs and classes in it.
type pattern []part

// part is one piece of a pattern: exactly one of its fields is used.
type part struct {
	text  string
	spans []span
	class *class
	// star stands for any characters, and one for a single one.
	star, one bool
}

// class is a set of characters.
type class struct {
	// text is what the brackets hold.
	text    string
	negated bool
	// ranges are pairs of first and last.
	ranges [][2]rune
}

func (c *class) contains(r rune) bool {
	for _, p := range c.ranges {
		if p[0] <= r && r <= p[1] {
			return !c.negated
		}
	}
	return c.negated
}

// maxParts is how many parts a pattern may have: matching takes time for each.
const maxParts = 64

// parsePattern reads a word that stands at the given offset of the source, and
// adds what is wrong with it to faults.
func parsePattern(word string, at int, faults *faults) pattern {
	var p pattern
	for i := 0; i < len(word); {
		switch word[i] {
		case '*':
			if len(p) == 0 || !p[len(p)-1].star {
				p = append(p, part{star: true})
			}
			i++
		case '?':
			p = append(p, part{one: true})
			i++
		case ']':
			faults.add(at+i, "a ] without its [")
			return nil
		case '[':
			end := strings.IndexByte(word[i:], ']')
			if end < 0 {
				faults.add(at+i, "a [ without its ]")
				return nil
			}
			inner := word[i+1 : i+end]
			if strings.Trim(inner, "0123456789,-/ ") == "" {
				p = append(p, part{spans: parseSpans(inner, at+i+1, p.endsInDigit(), faults)})
			} else {
				p = append(p, part{class: parseClass(inner, at+i+1, faults)})
			}
			i += end + 1
		default:
			n := strings.IndexAny(word[i:], "*?[]")
			if n < 0 {
				n = len(word) - i
			}
			p = append(p, part{text: word[i : i+n]})
			i += n
		}
	}
	if len(p) > maxParts {
		faults.add(at, "a name with %d pieces; wildcards, brackets and the texts between them may be %d at most", len(p), maxParts)
	}
	return p
}

// endsInDigit reports whether a number that follows would touch another one.
func (p pattern) endsInDigit() bool {
	if len(p) == 0 {
		return false
	}
	last := p[len(p)-1]
	return last.spans != nil || last.text != "" && isDigit(last.text[len(last.text)-1])
}

func parseSpans(inner string, at int, afterDigit bool, faults *faults) []span {
	spans := []span{}
	for _, text := range strings.Split(inner, ",") {
		trimmed := strings.TrimSpace(text)
		s, err := parseSpan(trimmed)
		switch {
		case err != nil:
			faults.add(at, "%v", err)
		case afterDigit && s.lo != s.hi && s.grows():
			// x1[8-10] is read as x[18-110] by some, and as x18, x19, x110 by others.
			faults.add(at, "%q gets longer right after a digit, which can be read in two ways; split it by length, as in 8-9,10", trimmed)
		default:
			spans = append(spans, s)
		}
		at += len(text) + 1
	}
	return spans
}

func parseClass(inner string, at int, faults *faults) *class {
	c := &class{text: inner}
	rest := inner
	if strings.HasPrefix(rest, "^") {
		c.negated, rest = true, rest[1:]
	} else if strings.HasPrefix(rest, "!") {
		faults.add(at, "a class is negated by ^, as in [^a-z]")
	}
	runes := []rune(rest)
	for len(runes) > 0 {
		if len(runes) >= 3 && runes[1] == '-' {
			if runes[0] > runes[2] {
				faults.add(at, "%q goes down; write the smaller character first", string(runes[:3]))
			}
			c.ranges = append(c.ranges, [2]rune{runes[0], runes[2]})
			runes = runes[3:]
			continue
		}
		c.ranges = append(c.ranges, [2]rune{runes[0], runes[0]})
		runes = runes[1:]
	}
	if len(c.ranges) == 0 {
		faults.add(at, "a class without characters; write it as in [a-z]")
	}
	return c
}

// match reports whether the pattern admits the whole name. It takes time in
// proportion to both, whatever the pattern: it walks all ways to match at once.
func (p pattern) match(name string) bool {
	if len(p) > 0 && p[0].text != "" {
		rest, ok := strings.CutPrefix(name, p[0].text)
		if !ok || len(p) == 1 {
			return ok && rest == ""
		}
		p, name = p[1:], rest
	}
	var space [2][128]bool
	here, next := space[0][:], space[1][:]
	if len(name) >= len(here) {
		here, next = make([]bool, len(name)+1), make([]bool, len(name)+1)
	}
	here, next = here[:len(name)+1], next[:len(name)+1]
	here[0] = true // here[i]: the parts so far admit name[:i]
	for _, part := range p {
		clear(next)
		alive := false
		for i, ok := range here {
			if ok {
				alive = part.advance(name, i, next) || alive
			}
		}
		if !alive {
			return false
		}
		here, next = next, here
	}
	return here[len(name)]
}

// advance marks in next where the part can end when it begins at name[i].
func (t *part) advance(name string, i int, next []bool) (any bool) {
	rest := name[i:]
	switch {
	case t.star:
		for j := i; j < len(next); j++ {
			next[j] = true
		}
		return true
	case t.spans != nil:
		for n := 1; n <= min(len(rest), maxDigits) && isDigit(rest[n-1]); n++ {
			for _, s := range t.spans {
				if s.contains(rest[:n]) {
					next[i+n], any = true, true
				}
			}
		}
		return any
	case t.one || t.class != nil:
		r, size := utf8.DecodeRuneInString(rest)
		if size == 0 || t.class != nil && !t.class.contains(r) {
			return false
		}
		next[i+size] = true
		return true
	}
	if !strings.HasPrefix(rest, t.text) {
		return false
	}
	next[i+len(t.text)] = true
	return true
}

// String returns the pattern as it is read.
func (p pattern) String() string {
	var b strings.Builder
	for _, t := range p {
		switch {
		case t.star:
			b.WriteByte('*')
		case t.one:
			b.WriteByte('?')
		case t.spans != nil:
			b.WriteByte('[')
			for i, s := range t.spans {
				if i > 0 {
					b.WriteByte(',')
				}
				b.WriteString(s.String())
			}
			b.WriteByte(']')
		case t.class != nil:
			b.WriteString("[" + t.class.text + "]")
		default:
			b.WriteString(t.text)
		}
	}
	return b.String()
}

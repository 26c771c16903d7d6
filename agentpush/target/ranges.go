package target

import (
	"fmt"
	"strconv"
	"strings"
)

// maxDigits is the longest number that is handled as one.
const maxDigits = 18

// span is a range of numbers inside brackets: lo, lo+step, ... up to hi.
type span struct {
	lo, hi, step uint64
	// width is the length of each number with its leading zeros; 0: no number
	// has any.
	width int
}

// parseSpan reads "7", "1-9", "001-120" or "0-10/2".
func parseSpan(s string) (span, error) {
	bounds, stepText, stepped := strings.Cut(s, "/")
	from, to, ranged := strings.Cut(bounds, "-")
	from, to, stepText = strings.TrimSpace(from), strings.TrimSpace(to), strings.TrimSpace(stepText)
	if !ranged {
		to = from
	}
	switch {
	case s == "":
		return span{}, fmt.Errorf("an empty range; write a number such as 7, or a range such as 1-9")
	case !isNumber(from) || !isNumber(to):
		return span{}, fmt.Errorf("%q is no range of numbers; write 7, 1-9 or 1-9/2", s)
	case len(from) > maxDigits || len(to) > maxDigits:
		return span{}, fmt.Errorf("%q has a number with more than %d digits", s, maxDigits)
	case stepped && !ranged:
		return span{}, fmt.Errorf("%q has a step but no range; write it as in 0-10/2", s)
	case stepped && (!isNumber(stepText) || len(stepText) > maxDigits):
		return span{}, fmt.Errorf("%q has no number as its step; write it as in 0-10/2", s)
	case (isPadded(from) || isPadded(to)) && len(from) != len(to):
		return span{}, fmt.Errorf("%q mixes lengths; with leading zeros both ends must have as many digits, as in 008-120", s)
	}
	out := span{lo: number(from), hi: number(to), step: 1}
	if isPadded(from) {
		out.width = len(from)
	}
	if stepped {
		out.step = number(stepText)
	}
	if out.step == 0 {
		return span{}, fmt.Errorf("%q has a step of 0; the least is 1", s)
	}
	if out.lo > out.hi {
		return span{}, fmt.Errorf("%q goes down; write the smaller number first", s)
	}
	return out, nil
}

// count returns how many numbers the span has.
func (s span) count() uint64 { return (s.hi-s.lo)/s.step + 1 }

// text writes one number of the span.
func (s span) text(n uint64) string {
	t := strconv.FormatUint(n, 10)
	return strings.Repeat("0", max(0, s.width-len(t))) + t
}

// contains reports whether digits is how the span writes one of its numbers.
func (s span) contains(digits string) bool {
	if s.width == 0 && isPadded(digits) || s.width != 0 && len(digits) != s.width || len(digits) > maxDigits {
		return false
	}
	n := number(digits)
	return n >= s.lo && n <= s.hi && (n-s.lo)%s.step == 0
}

// grows reports whether the numbers of the span differ in length.
func (s span) grows() bool { return len(s.text(s.lo)) != len(s.text(s.hi)) }

// String returns the span as it is read.
func (s span) String() string {
	switch {
	case s.lo == s.hi && s.step == 1:
		return s.text(s.lo)
	case s.step == 1:
		return s.text(s.lo) + "-" + s.text(s.hi)
	}
	return s.text(s.lo) + "-" + s.text(s.hi) + "/" + strconv.FormatUint(s.step, 10)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// isPadded reports whether a number is written with leading zeros.
func isPadded(digits string) bool { return len(digits) > 1 && digits[0] == '0' }

// number returns the value of at most maxDigits digits.
func number(digits string) uint64 {
	var n uint64
	for i := range len(digits) {
		n = n*10 + uint64(digits[i]-'0')
	}
	return n
}

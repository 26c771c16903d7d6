package schedule

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// special are the days that depend on the month: L, W and #. Bits of days and
// weekdays are numbered as in fields.
type special struct {
	// last has bit n for L-n, lastWork for L-nW, near for nW.
	last, lastWork, near uint32
	// lastDow has the weekdays of 5L; nth those of 5#n, at n-1.
	lastDow uint8
	nth     [5]uint8
	// exact: near has no day in months that do not have it.
	exact bool
}

// specialToken reads a token with L, W or #. It returns false if it is none.
func (c *compiler) specialToken(at int, token string) (plain string, ok bool, err error) {
	upper := strings.ToUpper(token)
	is := at == domField && strings.ContainsAny(upper, "LW") ||
		at == dowField && (strings.Contains(upper, "#") || strings.HasSuffix(upper, "L"))
	switch {
	case !is:
		return "", false, nil
	case !c.special:
		return "", true, fmt.Errorf("the dialect %s has no L, W and #", c.opts.Dialect)
	case at == domField:
		return "", true, c.specialDay(upper)
	case upper == "L":
		return strconv.Itoa(int(time.Saturday)), true, nil // the last day of the week, as in Quartz
	}
	return "", true, c.specialWeekday(upper)
}

// specialDay reads L, L-3, LW, L-3W or 15W.
func (c *compiler) specialDay(token string) error {
	body, work := strings.CutSuffix(token, "W")
	rest, last := strings.CutPrefix(body, "L")
	if !last {
		day, err := units[domField].value(body)
		if err != nil {
			return fmt.Errorf("%q: %w; W stands behind one day, as in 15W, or behind L", token, err)
		}
		c.days.near |= 1 << day
		c.days.exact = c.exactNear
		return nil
	}
	before := 0
	if rest != "" {
		n, ok := number(strings.TrimPrefix(rest, "-"))
		if !ok || rest[0] != '-' || n > 30 {
			return fmt.Errorf("%q: behind L is a number of days from 1 to 30, as in L-3", token)
		}
		before = n
	}
	if work {
		c.days.lastWork |= 1 << before
	} else {
		c.days.last |= 1 << before
	}
	return nil
}

// specialWeekday reads 5L or 5#3.
func (c *compiler) specialWeekday(token string) error {
	if dayText, nthText, ok := strings.Cut(token, "#"); ok {
		day, err := c.weekday.value(dayText)
		n, isNumber := number(nthText)
		switch {
		case err != nil:
			return err
		case !isNumber || n < 1 || n > len(c.days.nth):
			return fmt.Errorf("%q: behind # is which one in the month, from 1 to %d, as in FRI#3", token, len(c.days.nth))
		}
		c.days.nth[n-1] |= 1 << c.robfigDay(day)
		return nil
	}
	day, err := c.weekday.value(strings.TrimSuffix(token, "L"))
	if err != nil {
		return err
	}
	c.days.lastDow |= 1 << c.robfigDay(day)
	return nil
}

// hash reads H, H(0-29), H/15 or H(0-29)/10: a value, or a start of steps, that
// follows from the seed.
func (c *compiler) hash(at int, token string) (string, error) {
	if !c.grammar.hash {
		return "", fmt.Errorf("the dialect %s has no H", c.opts.Dialect)
	}
	if at == yearField {
		return "", errors.New("there is no H for years")
	}
	u := c.unit(at)
	low, high := u.min, u.max
	switch at {
	case domField:
		high = 28 // every month has it
	case dowField:
		low, high = 0, sunday-1
	}
	body, stepText, hasStep := strings.Cut(token[1:], "/")
	if body != "" {
		inner, ok := strings.CutPrefix(body, "(")
		inner, closed := strings.CutSuffix(inner, ")")
		if !ok || !closed || !strings.Contains(inner, "-") {
			return "", fmt.Errorf("%q: behind H is a range in parentheses or a step, as in H(0-29) or H/15", token)
		}
		var err error
		if low, high, err = c.bounds(u, inner, true); err != nil {
			return "", err
		}
		if low > high {
			return "", fmt.Errorf("the range %s runs backwards", inner)
		}
	}
	c.hashed = true
	h := fnv.New64a()
	_, _ = h.Write([]byte(c.opts.Seed + "\x00" + u.name)) // a hash never fails
	sum := h.Sum64()
	if !hasStep {
		v := low + int(sum%uint64(high-low+1))
		if at == dowField {
			v = c.robfigDay(v)
		}
		return strconv.Itoa(v), nil
	}
	step, ok := number(stepText)
	if !ok || step == 0 || step > high-low+1 {
		return "", fmt.Errorf("the step %q is not a whole number from 1 to %d", stepText, high-low+1)
	}
	low += int(sum % uint64(step))
	if at == dowField {
		return c.weekdayList(low, high, step), nil
	}
	return written(low, high, step), nil
}

// ofMonth returns the special days of a month of n days, as bits 1 to 31.
// first is the weekday of the 1st.
func (sp *special) ofMonth(n, first int) uint32 {
	var out uint32
	for set := sp.last; set != 0; set &= set - 1 {
		if d := n - bits.TrailingZeros32(set); d >= 1 {
			out |= 1 << d
		}
	}
	for set := sp.near; set != 0; set &= set - 1 {
		if d := bits.TrailingZeros32(set); d <= n || !sp.exact {
			out |= 1 << workday(min(d, n), n, first)
		}
	}
	for set := sp.lastWork; set != 0; set &= set - 1 {
		if d := n - bits.TrailingZeros32(set); d >= 1 {
			out |= 1 << workday(d, n, first)
		}
	}
	return out
}

// workday returns the day from Monday to Friday that is nearest to d, in the
// same month of n days.
func workday(d, n, first int) int {
	switch time.Weekday((first + d - 1) % 7) {
	case time.Saturday:
		if d == 1 {
			return d + 2
		}
		return d - 1
	case time.Sunday:
		if d == n {
			return d - 2
		}
		return d + 1
	}
	return d
}

// ofWeek returns the days of a month, as bits 1 to 31, which the special
// weekdays are. first is the weekday of the 1st.
func (sp *special) ofWeek(n, first int) uint32 {
	var out uint32
	for d := 1; d <= n; d++ {
		wd := (first + d - 1) % 7
		if sp.nth[(d-1)/7]>>wd&1 != 0 || d+7 > n && sp.lastDow>>wd&1 != 0 {
			out |= 1 << d
		}
	}
	return out
}

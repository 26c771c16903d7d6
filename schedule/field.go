package schedule

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/robfig/cron/v3"
)

// unit is one field of an expression: what it is called and may hold.
type unit struct {
	name     string
	min, max int
	names    []string // of the values from min on
}

var (
	months   = []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}
	weekdays = []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}
	// units are the fields but the weekday, which depends on the dialect.
	units = [...]unit{
		secondField: {"second", 0, 59, nil},
		minuteField: {"minute", 0, 59, nil},
		hourField:   {"hour", 0, 23, nil},
		domField:    {"day of month", 1, 31, nil},
		monthField:  {"month", 1, 12, months},
		yearField:   {"year", firstYear, lastYear, nil},
	}
)

// The fields by their place.
const (
	secondField = iota
	minuteField
	hourField
	domField
	monthField
	dowField
	yearField
)

// sunday is what robfig/cron does not know Sunday by.
const sunday = 7

// compiler reads the fields of one expression.
type compiler struct {
	*grammar

	opts Options
	days special
	// none: the field at this place holds nothing that robfig/cron knows.
	none   [yearField + 1]bool
	hashed bool
	// warn takes what the dialect allows, though it does less than it says; nil:
	// nobody wants it.
	warn func(string)
}

// unit returns the field at a place.
func (c *compiler) unit(at int) *unit {
	if at == dowField {
		return &c.weekday
	}
	return &units[at]
}

// allowed tells what the field at a place may hold.
func (c *compiler) allowed(at int) string {
	u := c.unit(at)
	text := fmt.Sprintf("%d-%d", u.min, u.max)
	if u.names != nil {
		text += fmt.Sprintf(" or %s-%s", u.names[0], u.names[len(u.names)-1])
	}
	text += ", ranges (2-5), lists (2,5), steps (*/2) and *"
	if c.special && at == domField {
		text += ", also L, L-3, LW and 15W"
	}
	if c.special && at == dowField {
		text += ", also 5L and 5#3"
	}
	return text
}

// compileFields checks the fields, and has robfig/cron compile what it knows.
func (s *Schedule) compileFields(given []string, g *grammar, opts Options, warn func(string)) error {
	if hint := meant(given, g, opts); hint != "" {
		return errors.New(hint)
	}
	if !slices.Contains(g.counts, len(given)) {
		return fmt.Errorf("has %s; give %s", counted(len(given), "field"), g.examples())
	}
	if len(given) == 5 {
		given = append([]string{"0"}, given...)
	}
	c := compiler{grammar: g, opts: opts, warn: warn}
	var wrong []string
	plain := make([]string, len(given))
	for i, text := range given {
		p, err := c.plain(i, text)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("%s %q: %v; allowed are %s", c.unit(i).name, text, err, c.allowed(i)))
		}
		plain[i] = p
	}
	if g.oneDay && (given[domField] == "?") == (given[dowField] == "?") {
		wrong = append(wrong, fmt.Sprintf("day of month %q and day of week %q: exactly one of them has to be ?", given[domField], given[dowField]))
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	const all = cron.Second | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow
	text := strings.Join(plain[:yearField], " ")
	parsed, err := cron.NewParser(all).Parse(text)
	if err != nil {
		return err
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return errors.New("is no schedule of fields")
	}
	spec.Dom, spec.Dow = c.star(spec.Dom, given[domField]), c.star(spec.Dow, given[dowField])
	s.fields = fieldsOf(spec)
	if c.none[domField] {
		s.fields.dom = 0
	}
	if c.none[dowField] {
		s.fields.dow = 0
	}
	x := extra{days: c.days}
	if len(plain) > yearField && given[yearField] != "*" {
		x.years = yearsOf(plain[yearField])
	}
	if x != (extra{}) {
		s.fields.extra = &x
	}
	s.hashed = c.hashed
	s.jumps = jumpsOf(opts.DST)
	if s.fields.everyHour() {
		s.jumps = skipGap | runFirst | runSecond // S1
	}
	if _, ok := s.fields.next(0, math.MaxInt64); !ok {
		return errors.New("never comes due: there is no such date")
	}
	return nil
}

// star marks a field as not restricted, or as restricted. Vixie cron looks at
// the first character, robfig/cron at entries without a step.
func (c *compiler) star(bits uint64, text string) uint64 {
	open := text[0] == '*' || text[0] == '?'
	if c.strictStar {
		open = slices.ContainsFunc(strings.Split(text, ","), func(token string) bool {
			body, step, _ := strings.Cut(token, "/")
			return (body == "*" || body == "?") && (step == "" || strings.TrimLeft(step, "0") == "1")
		})
	}
	if open {
		return bits | starBit
	}
	return bits &^ starBit
}

// plain checks a field, and writes it in numbers that robfig/cron knows. It
// notes what robfig/cron does not know.
func (c *compiler) plain(at int, text string) (string, error) {
	if text == "?" && c.oneDay && at != domField && at != dowField {
		return "", errors.New("? is for day of month and day of week only")
	}
	var out []string
	for token := range strings.SplitSeq(text, ",") {
		p, err := c.plainToken(at, token)
		if err != nil {
			return "", err
		}
		if p != "" {
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		c.none[at] = true
		return "1", nil
	}
	return strings.Join(out, ","), nil
}

func (c *compiler) plainToken(at int, token string) (string, error) {
	u := c.unit(at)
	if token == "" {
		return "", errors.New("an entry of the list is empty")
	}
	if token[0] == 'H' || token[0] == 'h' {
		return c.hash(at, token)
	}
	if p, ok, err := c.specialToken(at, token); ok {
		return p, err
	}
	body, stepText, hasStep := strings.Cut(token, "/")
	step := 1
	if hasStep {
		n, ok := number(stepText)
		switch {
		case !ok || n == 0:
			return "", fmt.Errorf("the step %q is not a whole number above 0", stepText)
		case c.oneDay && n > u.max:
			return "", fmt.Errorf("the step %s is larger than the field; the largest is %d", stepText, u.max-u.min)
		}
		step = n
	}
	if body == "" && c.oneDay {
		body = "*" // Quartz takes "/5"
	}
	if body == "*" || body == "?" {
		if err := c.checkStep(stepText, step, u.min, u.max); err != nil {
			return "", err
		}
		switch {
		case at == yearField:
			return written(u.min, u.max, step), nil
		case hasStep:
			return body + "/" + stepText, nil
		}
		return body, nil
	}
	low, high, err := c.bounds(u, body, hasStep)
	if err != nil {
		return "", err
	}
	if low > high {
		if !c.wraps || at == yearField {
			return "", fmt.Errorf("the range %s runs backwards; write two, as in %d-%d,%d-%d", body, low, u.max, u.min, high)
		}
		return c.wrapped(at, low, high, step), nil
	}
	if err := c.checkStep(stepText, step, low, high); err != nil {
		return "", err
	}
	if at != dowField {
		return written(low, high, step), nil
	}
	return c.weekdayList(low, high, step), nil
}

// bounds reads a value or a range.
func (c *compiler) bounds(u *unit, body string, hasStep bool) (low, high int, err error) {
	first, last, isRange := strings.Cut(body, "-")
	switch {
	case isRange && first == "":
		return 0, 0, fmt.Errorf("%q has no number before the dash; the least is %d, and a range is written as in %d-%d", body, u.min, u.min, u.min+4)
	case isRange && last == "":
		return 0, 0, fmt.Errorf("the range %q has no end; write both, as in %s%d", body, body, u.max)
	}
	if low, err = u.value(first); err != nil {
		return 0, 0, err
	}
	switch {
	case isRange:
		if high, err = u.value(last); err != nil {
			return 0, 0, err
		}
		if u.max == sunday && u.min == 0 && high == 0 && low > 0 && strings.EqualFold(last, weekdays[0]) {
			high = sunday // FRI-SUN
		}
	case !hasStep:
		high = low
	case u.max == sunday && u.min == 0 && low < sunday:
		high = sunday - 1 // "1/2" goes to Saturday
	default:
		high = u.max
	}
	return low, high, nil
}

func written(low, high, step int) string { return fmt.Sprintf("%d-%d/%d", low, high, step) }

// wrapped writes a range that goes over the end of the field as a list.
func (c *compiler) wrapped(at, low, high, step int) string {
	u := c.unit(at)
	size := u.max - u.min + 1
	var out []string
	for v := low; v <= high+size; v += step {
		n := (v-u.min)%size + u.min
		if at == dowField {
			n = c.robfigDay(n)
		}
		out = append(out, strconv.Itoa(n))
	}
	return strings.Join(out, ",")
}

// weekdayList writes weekdays as a list.
func (c *compiler) weekdayList(low, high, step int) string {
	var days []string
	for d := low; d <= high; d += step {
		days = append(days, strconv.Itoa(c.robfigDay(d)))
	}
	return strings.Join(days, ",")
}

// robfigDay returns a weekday of the dialect as robfig/cron numbers it.
func (c *compiler) robfigDay(d int) int { return (d - c.weekday.min) % sunday }

// value reads a number or a name.
func (u *unit) value(text string) (int, error) {
	for i, n := range u.names {
		if strings.EqualFold(n, text) {
			return u.min + i, nil
		}
	}
	n, ok := number(text)
	switch {
	case !ok && u.names != nil:
		return 0, fmt.Errorf("%q is neither a number nor a name%s", text, u.nearName(text))
	case !ok:
		return 0, fmt.Errorf("%q is not a number", text)
	case n < u.min || n > u.max:
		return 0, fmt.Errorf("%s is out of range", text)
	}
	return n, nil
}

// number reads digits, and nothing else.
func number(text string) (int, bool) {
	const longest = 6
	if text == "" || len(text) > longest || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}

package importer

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/schedule"
)

// calendarNames are what systemd calls calendar events.
var calendarNames = map[string]string{
	"minutely": "*-*-* *:*:00", "hourly": "*-*-* *:00:00", "daily": "*-*-* 00:00:00", "weekly": "Mon *-*-* 00:00:00",
	"monthly": "*-*-01 00:00:00", "quarterly": "*-01,04,07,10-01 00:00:00", "semiannually": "*-01,07-01 00:00:00",
	"yearly": "*-01-01 00:00:00", "annually": "*-01-01 00:00:00",
	"biannually": "*-01,07-01 00:00:00", "bi-annually": "*-01,07-01 00:00:00", "semi-annually": "*-01,07-01 00:00:00",
}

var dayNames = []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}

// onCalendar writes a calendar event of systemd as a schedule. Zone is the one that it
// names; empty: none.
func onCalendar(text string) (expr, zone string, err error) {
	words := strings.Fields(text)
	if len(words) > 1 {
		if last := words[len(words)-1]; isZone(last) {
			zone, words = last, words[:len(words)-1]
		}
	}
	if len(words) == 1 {
		if whole, ok := calendarNames[strings.ToLower(words[0])]; ok {
			words = strings.Fields(whole)
		}
		if at, ok := strings.CutPrefix(words[0], "@"); ok {
			n, err := strconv.ParseInt(at, 10, 64)
			if err != nil || n < 0 || n > 1<<33 {
				return "", "", fmt.Errorf("%q is not a number of seconds since 1970", words[0])
			}
			return "@at " + time.Unix(n, 0).UTC().Format(time.RFC3339), "", nil
		}
	}
	weekday, date, clock := "", "*-*-*", ""
	for i, w := range words {
		switch {
		case strings.Contains(w, ":") && i == len(words)-1:
			clock = w
		case strings.ContainsAny(w, "-~") && (w[0] == '*' || w[0] >= '0' && w[0] <= '9'):
			date = w
		case i == 0:
			weekday = w
		default:
			return "", "", fmt.Errorf("%q is neither a weekday, a date, a time nor a zone", w)
		}
	}
	if len(words) == 0 {
		return "", "", errors.New("is empty")
	}
	if clock == "" {
		clock = "00:00:00"
	}
	var c calendarEvent
	if err := errors.Join(c.weekday(weekday), c.date(date), c.clock(clock)); err != nil {
		return "", "", err
	}
	expr, err = c.fields()
	return expr, zone, err
}

// isZone reports whether a word is a time zone and nothing else.
func isZone(w string) bool {
	if strings.EqualFold(w, "utc") {
		return true
	}
	return (strings.Contains(w, "/") || strings.ToUpper(w) == w) && strings.ContainsFunc(w, func(r rune) bool { return r >= 'A' && r <= 'Z' }) && schedule.CheckZone(w) == nil
}

// calendarEvent is a calendar event in the fields of cron.
type calendarEvent struct {
	second, minute, hour, day, month, year string
	// days are the weekdays; none: all. daysOf are the days of the month where they
	// are numbers; none: all. fromEnd are those counted from the end, from 1.
	days, daysOf, fromEnd []int
}

func (c *calendarEvent) weekday(text string) error {
	if text == "" {
		return nil
	}
	for token := range strings.SplitSeq(strings.TrimSuffix(text, ","), ",") {
		first, last, isRange := strings.Cut(token, "..")
		if !isRange {
			first, last, isRange = strings.Cut(token, "-")
		}
		from := dayOf(first)
		to := from
		if isRange {
			to = dayOf(last)
		}
		if from < 0 || to < 0 {
			return fmt.Errorf("%q is no weekday", token)
		}
		for d := from; ; d = (d + 1) % 7 {
			c.days = append(c.days, d)
			if d == to {
				break
			}
		}
	}
	slices.Sort(c.days)
	c.days = slices.Compact(c.days)
	if len(c.days) == 7 {
		c.days = nil
	}
	return nil
}

func dayOf(text string) int {
	return slices.IndexFunc(dayNames, func(name string) bool { return strings.EqualFold(text, name) || strings.EqualFold(text, name[:3]) })
}

func (c *calendarEvent) date(text string) error {
	head, tail, tilde := strings.Cut(text, "~")
	parts := strings.Split(head, "-")
	if tilde {
		parts = append(parts, tail)
	}
	if len(parts) == 2 {
		parts = append([]string{"*"}, parts...)
	}
	if len(parts) != 3 {
		return fmt.Errorf("the date %q is not as in 2027-01-31, *-01-31, 01-31 or *-02~01", text)
	}
	var err error
	if c.year, _, err = component("year", parts[0], 1970, 2199); err != nil {
		return err
	}
	if c.month, _, err = component("month", parts[1], 1, 12); err != nil {
		return err
	}
	name := "day"
	if tilde {
		name = daysFromEnd
	}
	day, values, err := component(name, parts[2], 1, 31)
	if err != nil {
		return err
	}
	if tilde {
		if values == nil {
			values = numbers(1, 31, 1)
		}
		c.fromEnd = values
		return nil
	}
	c.day, c.daysOf = day, values
	return nil
}

func (c *calendarEvent) clock(text string) error {
	parts := strings.Split(text, ":")
	if len(parts) == 2 {
		parts = append(parts, "00")
	}
	if len(parts) != 3 {
		return fmt.Errorf("the time %q is not as in 02:30 or 02:30:00", text)
	}
	if whole, fraction, ok := strings.Cut(parts[2], "."); ok {
		if strings.Trim(fraction, "0") != "" {
			return fmt.Errorf("the time %q has fractions of a second, which schedules have not; @every has milliseconds", text)
		}
		parts[2] = whole
	}
	var err error
	for i, field := range []*string{&c.hour, &c.minute, &c.second} {
		name := []string{"hour", "minute", "second"}[i]
		if *field, _, err = component(name, parts[i], 0, []int{23, 59, 59}[i]); err != nil {
			return err
		}
	}
	return nil
}

// daysFromEnd are days that are counted from the end of the month, the last one is 1.
const daysFromEnd = "day from the end"

// component reads a part of a date or time: *, numbers, lists, ranges a..b, and
// repetitions a/b. Values are the numbers; nil: all.
func component(name, text string, low, high int) (field string, values []int, err error) {
	if text == "*" {
		return "*", nil, nil
	}
	for token := range strings.SplitSeq(text, ",") {
		body, stepText, repeats := strings.Cut(token, "/")
		step := 1
		if repeats {
			n, err := strconv.Atoi(stepText)
			if err != nil || n < 1 {
				return "", nil, fmt.Errorf("the %s %q: the repetition %q is not a whole number above 0", name, text, stepText)
			}
			step = n
		}
		first, last, isRange := strings.Cut(body, "..")
		from, err := strconv.Atoi(first)
		if body == "*" && repeats {
			from, err = low, nil
		}
		to := from
		switch {
		case err != nil:
		case isRange:
			to, err = strconv.Atoi(last)
		case repeats:
			to = high
		}
		if name == daysFromEnd && repeats && !isRange && err == nil && from <= high { // towards the end
			to, from = from, (from-1)%step+1
		}
		if err != nil || from < low || to > high || from > to {
			return "", nil, fmt.Errorf("the %s %q is not %d to %d, a list, a range (%d..%d) or a repetition (%d/2)", name, text, low, high, low, low+1, low)
		}
		values = append(values, numbers(from, to, step)...)
	}
	slices.Sort(values)
	values = slices.Compact(values)
	if len(values) == high-low+1 {
		return "*", nil, nil
	}
	return list(values), values, nil
}

func numbers(from, to, step int) []int {
	var out []int
	for v := from; v <= to; v += step {
		out = append(out, v)
	}
	return out
}

// list writes rising numbers as cron does: ranges and steps where there are any.
func list(values []int) string {
	var out []string
	for i := 0; i < len(values); {
		n := 1
		step := 0
		if i+1 < len(values) {
			step = values[i+1] - values[i]
			for i+n < len(values) && values[i+n]-values[i+n-1] == step {
				n++
			}
		}
		switch {
		case n >= 3 && step == 1:
			out = append(out, fmt.Sprintf("%d-%d", values[i], values[i+n-1]))
		case n >= 3:
			out = append(out, fmt.Sprintf("%d-%d/%d", values[i], values[i+n-1], step))
		default:
			n = 1
			out = append(out, strconv.Itoa(values[i]))
		}
		i += n
	}
	return strings.Join(out, ",")
}

// fields writes the event in fields. A weekday and a day of the month both have to
// match, which fields say in few ways.
func (c *calendarEvent) fields() (string, error) {
	day, weekday := c.day, "*"
	if len(c.days) > 0 {
		weekday = list(c.days)
	}
	restricted := c.daysOf != nil || c.fromEnd != nil
	switch {
	case restricted && c.days != nil:
		var words []string
		if c.fromEnd != nil {
			if !slices.Equal(c.fromEnd, numbers(1, 7, 1)) {
				return "", errors.New("a weekday and days from the end of the month together are possible for the last seven only (~07/1): that is the last one of the month")
			}
			for _, d := range c.days {
				words = append(words, fmt.Sprintf("%dL", d))
			}
		} else {
			weeks, ok := weeksOf(c.daysOf)
			if !ok {
				return "", errors.New("a weekday and days of the month together: both have to match by systemd, and fields say that of whole weeks only (01..07 is the first one of the month, and so on); have the command look at the date, as in [ \"$(date +%d)\" -le 10 ] || exit 0")
			}
			for _, d := range c.days {
				for _, n := range weeks {
					words = append(words, fmt.Sprintf("%d#%d", d, n))
				}
			}
		}
		day, weekday = "*", strings.Join(words, ",")
	case c.fromEnd != nil:
		var words []string
		for _, n := range c.fromEnd {
			if n == 1 {
				words = append(words, "L")
			} else {
				words = append(words, fmt.Sprintf("L-%d", n-1))
			}
		}
		day = strings.Join(words, ",")
	}
	out := strings.Join([]string{c.minute, c.hour, day, c.month, weekday}, " ")
	if c.second != "0" || c.year != "*" {
		out = c.second + " " + out
	}
	if c.year != "*" {
		out += " " + c.year
	}
	return out, nil
}

// weeksOf returns which weeks of a month days are: 1 to 7 is the first.
func weeksOf(days []int) ([]int, bool) {
	var weeks []int
	for n := 1; n <= 5; n++ {
		first := (n-1)*7 + 1
		week := numbers(first, min(first+6, 31), 1)
		switch in := slices.DeleteFunc(slices.Clone(week), func(d int) bool { return !slices.Contains(days, d) }); {
		case len(in) == len(week):
			weeks = append(weeks, n)
		case len(in) > 0:
			return nil, false
		}
	}
	return weeks, len(weeks) > 0
}

// timeSpan reads a time of systemd, as in 1h 30min or 90: of seconds. It is false for
// what is none, and for infinity.
func timeSpan(text string) (time.Duration, bool) {
	text = strings.TrimSpace(text)
	var total time.Duration
	for text != "" {
		digits := 0
		for digits < len(text) && (text[digits] >= '0' && text[digits] <= '9' || text[digits] == '.') {
			digits++
		}
		n, err := strconv.ParseFloat(text[:digits], 64)
		if err != nil {
			return 0, false
		}
		text = strings.TrimLeft(text[digits:], " ")
		letters := 0
		for letters < len(text) && (text[letters] >= 'a' && text[letters] <= 'z' || text[letters] >= 'A' && text[letters] <= 'Z') {
			letters++
		}
		unit, ok := spanUnits[text[:letters]]
		if !ok {
			return 0, false
		}
		text = strings.TrimLeft(text[letters:], " ")
		if part := n * float64(unit); part > float64(100*365*24*time.Hour) {
			return 0, false
		} else if total += time.Duration(part); total > 100*365*24*time.Hour {
			return 0, false
		}
	}
	return total, true
}

var spanUnits = map[string]time.Duration{
	"": time.Second, "us": time.Microsecond, "usec": time.Microsecond, "ms": time.Millisecond, "msec": time.Millisecond,
	"s": time.Second, "sec": time.Second, "second": time.Second, "seconds": time.Second,
	"m": time.Minute, "min": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hour": time.Hour, "hours": time.Hour,
	"d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour, "w": 7 * 24 * time.Hour, "week": 7 * 24 * time.Hour, "weeks": 7 * 24 * time.Hour,
	"M": 2629800 * time.Second, "month": 2629800 * time.Second, "months": 2629800 * time.Second,
	"y": 31557600 * time.Second, "year": 31557600 * time.Second, "years": 31557600 * time.Second,
}

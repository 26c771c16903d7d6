package schedule

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Words tells the schedule in English, as in "every day at 02:00,
// Europe/Berlin". The zone is told unless it is UTC.
func (s *Schedule) Words() string {
	switch s.kind {
	case kindEvery:
		return "every " + lasting(time.Duration(s.nanos))
	case kindAt:
		return "once, at " + time.Unix(0, s.nanos).UTC().Format(time.RFC3339Nano)
	case kindFields:
	}
	text := s.fields.words()
	if s.loc != time.UTC {
		text += ", " + s.loc.String()
	}
	return text
}

// lasting writes a duration in the largest unit that divides it.
func lasting(d time.Duration) string {
	for _, u := range []struct {
		d    time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		if d%u.d == 0 {
			return every(int(d/u.d), u.name)
		}
	}
	return every(int(d/time.Millisecond), "millisecond")
}

// every writes what follows the word "every": "hour", "2 hours".
func every(n int, unit string) string {
	if n == 1 {
		return unit
	}
	return strconv.Itoa(n) + " " + unit + "s"
}

// values are what one field holds, in rising order.
type values struct {
	is  []int
	all bool
	// step is above 0 when the values are the least one and every step-th
	// after it; even when they go on so into the next round.
	step int
	even bool
}

func valuesOf(set uint64, low, high int) values {
	v := values{is: make([]int, 0, bits.OnesCount64(set))}
	for n := low; n <= high; n++ {
		if set>>n&1 != 0 {
			v.is = append(v.is, n)
		}
	}
	size := high - low + 1
	v.all = len(v.is) == size
	if v.all || len(v.is) < 2 || v.is[0] != low {
		return v
	}
	step := v.is[1] - low
	for i, n := range v.is {
		if n != low+i*step {
			return v
		}
	}
	if step > 1 && len(v.is) == (size-1)/step+1 && (len(v.is) > 2 || size%step == 0) {
		v.step, v.even = step, size%step == 0
	}
	return v
}

// only reports whether n is the only value.
func (v values) only(n int) bool { return len(v.is) == 1 && v.is[0] == n }

// row reports whether the values follow one another without a hole.
func (v values) row() bool { return len(v.is) > 1 && v.is[len(v.is)-1]-v.is[0] == len(v.is)-1 }

// maxTimes is how many times of day are listed one by one.
const maxTimes = 6

func (f *fields) words() string { return f.dateless() + f.extra.yearWords() }

// dateless is as words, without the years.
func (f *fields) dateless() string {
	second, minute, hour := valuesOf(f.second, 0, 59), valuesOf(f.minute, 0, 59), valuesOf(uint64(f.hour), 0, 23)
	on, in := f.dayWords()
	interval := minute.even && len(minute.is) > 2 || hour.even && len(hour.is) > 2 && minute.only(0) && second.only(0)
	if len(second.is) == 1 && !hour.all && !interval && len(minute.is)*len(hour.is) <= maxTimes {
		at := "at " + timesOfDay(hour.is, minute.is, second.is[0])
		if on == "" {
			return "every day" + in + " " + at
		}
		return at + on + in
	}
	return timeWords(second, minute, hour) + on + in
}

func timesOfDay(hours, minutes []int, second int) string {
	var times []string
	for _, h := range hours {
		for _, m := range minutes {
			t := fmt.Sprintf("%02d:%02d", h, m)
			if second != 0 {
				t += fmt.Sprintf(":%02d", second)
			}
			times = append(times, t)
		}
	}
	return list(times, "and")
}

// timeWords tells a time that comes more than a few times a day.
func timeWords(second, minute, hour values) string {
	onMinute := second.only(0)
	switch {
	case onMinute && minute.only(0):
		return "every " + ofUnit(hour, "hour")
	case onMinute && (minute.all || minute.even):
		return "every " + ofUnit(minute, "minute") + within(hour)
	case onMinute:
		return "at " + numbered(minute, "minute") + ofHours(hour)
	}
	text := "at " + numbered(second, "second")
	if second.all || second.even {
		text = "every " + ofUnit(second, "second")
		if minute.all {
			return text + within(hour)
		}
	}
	text += " of "
	switch {
	case minute.all || minute.even:
		return text + "every " + nth(minute, "minute") + within(hour)
	default:
		return text + numbered(minute, "minute") + ofHours(hour)
	}
}

// ofHours writes " of every hour", " of hour 9".
func ofHours(hour values) string {
	if len(hour.is) == 1 {
		return " of hour " + strconv.Itoa(hour.is[0])
	}
	return " of every " + nth(hour, "hour")
}

// ofUnit writes what follows "every" for values of a unit of their own:
// "minute", "5 minutes", "hour from 8 to 18".
func ofUnit(v values, unit string) string {
	if v.all || v.even {
		return every(max(v.step, 1), unit)
	}
	return nth(v, unit)
}

// nth writes what follows "of every": "hour", "2nd hour", "hour from 8 to 18".
func nth(v values, unit string) string {
	switch {
	case v.all:
		return unit
	case v.even:
		return ordinal(v.step) + " " + unit
	case v.row():
		return fmt.Sprintf("%s from %d to %d", unit, v.is[0], v.is[len(v.is)-1])
	}
	return unit + " among " + numbers(v.is)
}

// within tells the hours in which something happens all the time.
func within(hour values) string {
	switch {
	case hour.all:
		return ""
	case hour.even:
		return " in every " + ordinal(hour.step) + " hour"
	case hour.row() || len(hour.is) == 1:
		return fmt.Sprintf(" from %02d:00 to %02d:59", hour.is[0], hour.is[len(hour.is)-1])
	}
	return " in the hours " + numbers(hour.is)
}

// numbered writes "minute 5", or "minutes 5 and 20".
func numbered(v values, unit string) string {
	if len(v.is) == 1 {
		return unit + " " + strconv.Itoa(v.is[0])
	}
	return unit + "s " + numbers(v.is)
}

func numbers(is []int) string { return ranges(is, strconv.Itoa) }

// ranges writes rows of three and more as "a to c".
func ranges(is []int, name func(int) string) string {
	var parts []string
	for i := 0; i < len(is); {
		j := i
		for j+1 < len(is) && is[j+1] == is[j]+1 {
			j++
		}
		if j-i < 2 {
			j = i
			parts = append(parts, name(is[i]))
		} else {
			parts = append(parts, name(is[i])+" to "+name(is[j]))
		}
		i = j + 1
	}
	return list(parts, "and")
}

// list joins words with commas, and the last with "and" or "or".
func list(parts []string, last string) string {
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	n := len(parts) - 1
	return strings.Join(parts[:n], ", ") + " " + last + " " + parts[n]
}

func ordinal(n int) string {
	suffix := "th"
	if n/10%10 != 1 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return strconv.Itoa(n) + suffix
}

// dayWords tells the days, as in " on Monday", and the months, as in " in
// June". Either is empty when it is not restricted.
func (f *fields) dayWords() (on, in string) {
	dom, month, dow := valuesOf(uint64(f.dom), 1, 31), valuesOf(uint64(f.month), 1, 12), valuesOf(uint64(f.dow), 0, 6)
	if !month.all {
		in = ranges(month.is, func(m int) string { return time.Month(m).String() })
	}
	anyDate, anyWeekday := dom.all, dow.all
	date := ""
	switch {
	case dom.all, len(dom.is) == 0:
	case dom.step > 0:
		date = "every " + ordinal(dom.step) + " day from the 1st of "
	default:
		date = "the " + ranges(dom.is, ordinal) + " of "
	}
	if more := f.extra.dateWords(); more != "" {
		date = strings.TrimSuffix(date, " of ")
		date = list(slices.DeleteFunc([]string{date, more}, func(s string) bool { return s == "" }), "and") + " of "
	}
	weekday := func(last string) string {
		var parts []string
		if len(dow.is) > 0 {
			parts = append(parts, weekdayWords(dow.is, last))
		}
		return list(append(parts, f.extra.weekdayWords()...), last)
	}
	switch {
	case anyDate && anyWeekday, f.either && (anyDate || anyWeekday):
		on = "" // one of them is always met
	case anyDate:
		on = " on " + weekday("and")
		if len(dow.is) == 0 {
			on += " of the month"
		}
	case anyWeekday && in != "":
		return " on " + date + in, ""
	case anyWeekday:
		on = " on " + date + "the month"
	case f.either:
		on = " on " + date + "the month or on " + weekday("and")
	default:
		on = " on " + date + "the month if it is " + weekday("or")
	}
	if in != "" {
		in = " in " + in
	}
	return on, in
}

// dateWords tells the days that L and W name.
func (x *extra) dateWords() string {
	if x == nil {
		return ""
	}
	var parts []string
	lastOf := func(set uint32, last, before string) {
		for n := range 31 {
			switch {
			case set>>n&1 == 0:
			case n == 0:
				parts = append(parts, last)
			case n == 1:
				parts = append(parts, before+"1 day before the last day")
			default:
				parts = append(parts, before+every(n, "day")+" before the last day")
			}
		}
	}
	lastOf(x.days.last, "the last day", "the day ")
	lastOf(x.days.lastWork, "the last working day", "the working day nearest to ")
	for d := 1; d <= 31; d++ {
		if x.days.near>>d&1 != 0 {
			which := "the "
			if x.days.exact && d > daysIn(2027, 2) {
				which = "an existing " // months without that day are left out
			}
			parts = append(parts, "the working day nearest "+which+ordinal(d))
		}
	}
	return list(parts, "and")
}

// weekdayWords tells the weekdays that # and L name.
func (x *extra) weekdayWords() []string {
	if x == nil {
		return nil
	}
	var parts []string
	for n, set := range x.days.nth {
		for d := time.Sunday; d <= time.Saturday; d++ {
			if set>>d&1 != 0 {
				parts = append(parts, "the "+ordinal(n+1)+" "+d.String())
			}
		}
	}
	for d := time.Sunday; d <= time.Saturday; d++ {
		if x.days.lastDow>>d&1 != 0 {
			parts = append(parts, "the last "+d.String())
		}
	}
	return parts
}

// yearWords tells the years, as in ", only in 2027".
func (x *extra) yearWords() string {
	if x == nil || x.years == nil {
		return ""
	}
	var is []int
	for y := firstYear; y <= lastYear; y++ {
		if x.years.has(y) {
			is = append(is, y)
		}
	}
	return ", only in " + numbers(is)
}

// weekdayWords lists weekdays from Monday on.
func weekdayWords(is []int, last string) string {
	fromMonday := slices.Clone(is)
	for i, d := range fromMonday {
		if d == 0 {
			fromMonday[i] = sunday
		}
	}
	slices.Sort(fromMonday)
	name := func(d int) string { return time.Weekday(d % sunday).String() }
	if last == "or" {
		parts := make([]string, len(fromMonday))
		for i, d := range fromMonday {
			parts[i] = name(d)
		}
		return list(parts, last)
	}
	return ranges(fromMonday, name)
}

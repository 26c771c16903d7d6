package schedule

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// Words tells the schedule in English.
func (s *Schedule) Words() string {
	switch {
	case s.every > 0:
		return "every " + spell(s.every)
	case !s.at.IsZero():
		return "once, at " + s.at.Format(time.RFC3339)
	}
	text := s.timeWords() + s.dayWords()
	if s.loc != time.UTC {
		text += ", " + s.loc.String()
	}
	return text
}

// spell writes a duration as people say it.
func spell(d time.Duration) string {
	for _, u := range []struct {
		d    time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		if d%u.d == 0 {
			return plural(int(d/u.d), u.name)
		}
	}
	return d.String()
}

func plural(n int, unit string) string {
	if n == 1 {
		return unit
	}
	return strconv.Itoa(n) + " " + unit + "s"
}

// field is the values of one field.
type field struct {
	values []int
	all    bool
	// step is above 0 when the values are 0, step, 2*step... up to the end.
	step int
}

func readField(b uint64, lo, hi int) field {
	f := field{}
	for v := lo; v <= hi; v++ {
		if has(b, v) {
			f.values = append(f.values, v)
		}
	}
	f.all = len(f.values) == hi-lo+1
	if len(f.values) > 2 && !f.all && f.values[0] == lo {
		step := f.values[1] - f.values[0]
		if len(f.values) == (hi-lo)/step+1 {
			f.step = step
			for i, v := range f.values {
				if v != lo+i*step {
					f.step = 0
				}
			}
		}
	}
	return f
}

func (s *Schedule) timeWords() string {
	sec, minute, hour := readField(s.spec.Second, 0, 59), readField(s.spec.Minute, 0, 59), readField(s.spec.Hour, 0, 23)
	one := func(f field) bool { return len(f.values) == 1 }
	switch {
	case one(sec) && one(minute) && !hour.all && hour.step == 0 && len(hour.values) <= 6:
		times := make([]string, len(hour.values))
		for i, h := range hour.values {
			times[i] = fmt.Sprintf("%02d:%02d", h, minute.values[0])
			if sec.values[0] != 0 {
				times[i] += fmt.Sprintf(":%02d", sec.values[0])
			}
		}
		return "at " + list(times)
	case one(sec) && sec.values[0] == 0 && one(minute) && hour.all && minute.values[0] == 0:
		return "every hour"
	case one(sec) && sec.values[0] == 0 && minute.all && hour.all:
		return "every minute"
	case sec.all && minute.all && hour.all:
		return "every second"
	}
	var parts []string
	if !one(sec) || sec.values[0] != 0 {
		parts = append(parts, unitWords(sec, "second"))
	}
	if !minute.all || len(parts) == 0 {
		parts = append(parts, unitWords(minute, "minute"))
	}
	if !hour.all {
		parts = append(parts, unitWords(hour, "hour"))
	}
	return strings.Join(parts, " of ")
}

func unitWords(f field, unit string) string {
	switch {
	case f.all:
		return "every " + unit
	case f.step > 0:
		return "every " + plural(f.step, unit)
	}
	return unit + " " + numbers(f.values)
}

// numbers writes values, with rows of three or more as ranges.
func numbers(v []int) string { return ranges(v, strconv.Itoa) }

func ranges(v []int, name func(int) string) string {
	var parts []string
	for i := 0; i < len(v); {
		j := i
		for j+1 < len(v) && v[j+1] == v[j]+1 {
			j++
		}
		if j-i >= 2 {
			parts = append(parts, name(v[i])+" to "+name(v[j]))
			i = j + 1
			continue
		}
		parts = append(parts, name(v[i]))
		i++
	}
	return list(parts)
}

// list joins words with commas and "and".
func list(parts []string) string {
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	return strings.Join(parts[:len(parts)-1], ", ") + " and " + parts[len(parts)-1]
}

func (s *Schedule) dayWords() string {
	dom, month, dow := readField(s.spec.Dom, 1, 31), readField(s.spec.Month, 1, 12), readField(s.spec.Dow, 0, 6)
	var days []string
	if !dom.all {
		if dom.step > 0 {
			days = append(days, "every "+plural(dom.step, "day")+" of the month")
		} else {
			days = append(days, "day "+numbers(dom.values)+" of the month")
		}
	}
	if !dow.all {
		days = append(days, ranges(dow.values, func(d int) string { return time.Weekday(d).String() }))
	}
	join := " or "
	if bits.OnesCount64(s.spec.Dom&starBit|s.spec.Dow&starBit) > 0 {
		join = " and "
	}
	text := ""
	switch {
	case len(days) > 0:
		text = " on " + strings.Join(days, join)
	case !s.everyHour:
		text = " every day"
	}
	if !month.all {
		text += " in " + ranges(month.values, func(m int) string { return time.Month(m).String() })
	}
	return text
}

package calendar

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/teambition/rrule-go"
)

// rule says on which days, and at which times of them, an event comes again
// (RFC 5545, 3.3.10). Whether it does on a day is worked out from that day
// alone, so a look costs the same however long ago the event began. It is
// immutable.
type rule struct {
	freq     rrule.Frequency
	interval int
	// wkst is the first day of its weeks.
	wkst time.Weekday

	from, until time.Time // both with
	loc         *time.Location
	// first and firstWeek are the day of from, and the first of its week.
	first, firstWeek int

	// Bits; none: all. The second of a pair counts from the end.
	months               uint16
	monthDays, monthLast uint32
	yearDays, yearLast   []int
	weeks, weeksLast     uint64
	weekdays             uint8
	// nth are weekdays such as the second Monday.
	nth []nthDay
	// times are the seconds of the day, in order; picks are the occurrences of
	// each period that are taken, from 1 or from -1.
	times []int
	picks []int
}

type nthDay struct {
	day time.Weekday
	n   int
}

// Bounds of rules, so that a look at one is cheap.
const (
	maxInterval = 10_000
	maxTimes    = 288 // each five minutes
	maxRuleList = 400
	maxRepeats  = 10_000 // COUNT
)

// newRule reads the value of an RRULE whose first occurrence is from. Steps are
// those that may be spent on following a COUNT.
func newRule(text string, from time.Time, steps *int) (*rule, error) {
	const maxText = 4096
	if len(text) > maxText {
		return nil, fmt.Errorf("has %d characters; at most %d are allowed", len(text), maxText)
	}
	opts, err := rrule.StrToROptionInLocation(text, from.Location())
	if err != nil {
		return nil, err
	}
	if err := checkRule(opts); err != nil {
		return nil, err
	}
	from = from.Truncate(time.Second)
	r := &rule{freq: opts.Freq, interval: max(opts.Interval, 1), wkst: weekdayOf(opts.Wkst), from: from, loc: from.Location(), until: lastEnd(), picks: opts.Bysetpos}
	r.first = dayNumber(from.Date())
	r.firstWeek = r.first - daysSince(r.wkst, from.Weekday())
	if !opts.Until.IsZero() && opts.Until.Before(r.until) {
		r.until = opts.Until
	}
	r.days(opts)
	r.timesOf(opts)
	if len(r.times) > maxTimes {
		return nil, fmt.Errorf("BYHOUR, BYMINUTE and BYSECOND make %d times a day; at most %d are allowed", len(r.times), maxTimes)
	}
	if opts.Count > 0 {
		return r, r.count(opts.Count, steps)
	}
	return r, nil
}

// lastEnd is where all rules end: beyond it nothing is due.
func lastEnd() time.Time { return time.Date(2261, 12, 31, 23, 59, 59, 0, time.UTC) }

// checkRule refuses what cannot be, or not be looked at cheaply.
func checkRule(o *rrule.ROption) error {
	within := func(name string, values []int, low, high int, also bool) error {
		if len(values) > maxRuleList {
			return fmt.Errorf("%s has %d values; at most %d are allowed", name, len(values), maxRuleList)
		}
		for _, v := range values {
			if (v < low || v > high) && (!also || v > -low || v < -high) {
				return fmt.Errorf("%s has %d; %d to %d are allowed", name, v, low, high)
			}
		}
		return nil
	}
	switch {
	case o.Freq > rrule.DAILY:
		return errors.New("events that recur more often than daily are not understood")
	case len(o.Byeaster) > 0:
		return errors.New("BYEASTER is not understood; write the days")
	case o.Interval < 0 || o.Interval > maxInterval:
		return fmt.Errorf("INTERVAL is %d; 1 to %d are allowed", o.Interval, maxInterval)
	case o.Count < 0 || o.Count > maxRepeats:
		return fmt.Errorf("COUNT is %d; 1 to %d are allowed", o.Count, maxRepeats)
	case len(o.Byweekday) > maxRuleList:
		return fmt.Errorf("BYDAY has %d values; at most %d are allowed", len(o.Byweekday), maxRuleList)
	}
	for _, d := range o.Byweekday {
		if n := d.N(); n < -53 || n > 53 {
			return fmt.Errorf("BYDAY has %d; 1 to 53 are allowed", n)
		}
	}
	for _, err := range []error{
		within("BYSECOND", o.Bysecond, 0, 59, false), within("BYMINUTE", o.Byminute, 0, 59, false), within("BYHOUR", o.Byhour, 0, 23, false),
		within("BYMONTH", o.Bymonth, 1, 12, false), within("BYMONTHDAY", o.Bymonthday, 1, 31, true), within("BYYEARDAY", o.Byyearday, 1, 366, true),
		within("BYWEEKNO", o.Byweekno, 1, 53, true), within("BYSETPOS", o.Bysetpos, 1, 366, true),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// weekdayOf turns rrule's weekday, which begins with Monday.
func weekdayOf(d rrule.Weekday) time.Weekday { return time.Weekday((d.Day() + 1) % 7) }

// days reads what says on which days it is; without any of it, that is the day
// of the first occurrence.
func (r *rule) days(o *rrule.ROption) {
	if len(o.Byweekno)+len(o.Byyearday)+len(o.Bymonthday)+len(o.Byweekday) == 0 {
		switch r.freq {
		case rrule.YEARLY:
			if len(o.Bymonth) == 0 {
				o.Bymonth = []int{int(r.from.Month())}
			}
			o.Bymonthday = []int{r.from.Day()}
		case rrule.MONTHLY:
			o.Bymonthday = []int{r.from.Day()}
		case rrule.WEEKLY:
			r.weekdays = 1 << r.from.Weekday()
		default: // every day
		}
	}
	for _, m := range o.Bymonth {
		r.months |= 1 << m
	}
	for _, d := range o.Bymonthday {
		if d > 0 {
			r.monthDays |= 1 << d
		} else {
			r.monthLast |= 1 << -d
		}
	}
	for _, d := range o.Byyearday {
		if d > 0 {
			r.yearDays = append(r.yearDays, d)
		} else {
			r.yearLast = append(r.yearLast, -d)
		}
	}
	for _, w := range o.Byweekno {
		if w > 0 {
			r.weeks |= 1 << w
		} else {
			r.weeksLast |= 1 << -w
		}
	}
	for _, d := range o.Byweekday {
		if d.N() == 0 || r.freq > rrule.MONTHLY {
			r.weekdays |= 1 << weekdayOf(d)
		} else {
			r.nth = append(r.nth, nthDay{weekdayOf(d), d.N()})
		}
	}
}

// timesOf reads the times of the day; without any, it is that of the first
// occurrence.
func (r *rule) timesOf(o *rrule.ROption) {
	set := func(values []int, otherwise int) []int {
		if len(values) == 0 {
			return []int{otherwise}
		}
		values = slices.Clone(values)
		slices.Sort(values)
		return slices.Compact(values)
	}
	h, m, s := r.from.Clock()
	for _, hour := range set(o.Byhour, h) {
		for _, minute := range set(o.Byminute, m) {
			for _, second := range set(o.Bysecond, s) {
				r.times = append(r.times, hour*3600+minute*60+second)
			}
		}
	}
}

// count ends the rule with the occurrence of that number.
func (r *rule) count(n int, steps *int) error {
	for day := r.first; ; day++ {
		*steps--
		var times []int
		if r.matches(day) {
			*steps -= r.cost()
			times = r.on(day)
		}
		if *steps < 0 {
			return errors.New("COUNT takes too long to follow; give UNTIL instead")
		}
		for _, s := range times {
			at := r.at(day, s)
			switch {
			case at.After(r.until):
				return nil
			case at.Before(r.from):
				continue
			}
			if n--; n == 0 {
				r.until = at
				return nil
			}
		}
		if day > dayNumber(2262, 1, 1) {
			return nil
		}
	}
}

// cost is what one call of on costs at most, in steps.
func (r *rule) cost() int {
	day := 1 + (len(r.yearDays)+len(r.yearLast)+len(r.nth))/8
	if len(r.picks) == 0 {
		return day
	}
	return r.longestPeriod()*day + len(r.picks)
}

func (r *rule) longestPeriod() int {
	switch r.freq {
	case rrule.YEARLY:
		return 366
	case rrule.MONTHLY:
		return 31
	case rrule.WEEKLY:
		return 7
	default:
		return 1
	}
}

// at returns the instant at a second of a day.
func (r *rule) at(day, second int) time.Time {
	y, m, d := dateOfNumber(day)
	return time.Date(y, m, d, second/3600, second/60%60, second%60, 0, r.loc)
}

// last returns the last occurrence that is not after t and lies less than long
// before it, or the whole days, and is not left out.
func (r *rule) last(t time.Time, days int, skip func(time.Time) bool) (time.Time, bool) {
	if t.Before(r.from) {
		return time.Time{}, false
	}
	today := dayNumber(t.In(r.loc).Date())
	for day := today; day >= max(today-days, r.first); day-- {
		times := r.on(day)
		for _, s := range slices.Backward(times) {
			at := r.at(day, s)
			if at.After(t) || at.After(r.until) || skip(at) {
				continue
			}
			return at, !at.Before(r.from)
		}
	}
	return time.Time{}, false
}

// on returns the times of a day at which the event begins.
func (r *rule) on(day int) []int {
	if !r.matches(day) {
		return nil
	}
	if len(r.picks) == 0 {
		return r.times
	}
	begin, end := r.period(day)
	before, all := 0, 0 // matching days of the period: before this one, and in all
	for d := begin; d < end; d++ {
		if r.matches(d) {
			if all++; d < day {
				before++
			}
		}
	}
	var out []int
	for i, s := range r.times {
		place := before*len(r.times) + i + 1
		if slices.Contains(r.picks, place) || slices.Contains(r.picks, place-all*len(r.times)-1) {
			out = append(out, s)
		}
	}
	return out
}

// period returns the first day of the period that a day lies in, and the one
// after its last.
func (r *rule) period(day int) (begin, end int) {
	y, m, _ := dateOfNumber(day)
	switch r.freq {
	case rrule.YEARLY:
		return dayNumber(y, 1, 1), dayNumber(y+1, 1, 1)
	case rrule.MONTHLY:
		return dayNumber(y, m, 1), dayNumber(y, m+1, 1)
	case rrule.WEEKLY:
		begin = day - daysSince(r.wkst, weekdayOn(day))
		return begin, begin + 7
	default:
		return day, day + 1
	}
}

// matches reports whether a day lies in a period that counts and is one of the
// days named.
func (r *rule) matches(day int) bool {
	y, m, d := dateOfNumber(day)
	fy, fm, _ := r.from.Date()
	periods := 0
	switch r.freq {
	case rrule.YEARLY:
		periods = y - fy
	case rrule.MONTHLY:
		periods = (y-fy)*12 + int(m-fm)
	case rrule.WEEKLY:
		periods = floorDiv(day-r.firstWeek, 7)
	default:
		periods = day - r.first
	}
	if periods < 0 || periods%r.interval != 0 || r.months != 0 && r.months>>m&1 == 0 {
		return false
	}
	if r.monthDays|r.monthLast != 0 {
		left := dayNumber(y, m+1, 1) - day // 1 on the last day
		if r.monthDays>>d&1 == 0 && r.monthLast>>left&1 == 0 {
			return false
		}
	}
	if len(r.yearDays)+len(r.yearLast) > 0 {
		if !slices.Contains(r.yearDays, day-dayNumber(y, 1, 1)+1) && !slices.Contains(r.yearLast, dayNumber(y+1, 1, 1)-day) {
			return false
		}
	}
	if r.weeks|r.weeksLast != 0 {
		week, all := weekOf(day, r.wkst)
		if r.weeks>>week&1 == 0 && r.weeksLast>>(all-week+1)&1 == 0 {
			return false
		}
	}
	if r.weekdays == 0 && len(r.nth) == 0 {
		return true
	}
	weekday := weekdayOn(day)
	return r.weekdays>>weekday&1 != 0 || r.isNth(day, weekday)
}

// isNth reports whether a day is one such as the second Monday, of the month if
// months are named or the rule is monthly, else of the year.
func (r *rule) isNth(day int, weekday time.Weekday) bool {
	if len(r.nth) == 0 {
		return false
	}
	y, m, _ := dateOfNumber(day)
	begin, end := dayNumber(y, 1, 1), dayNumber(y+1, 1, 1)
	if r.freq == rrule.MONTHLY || r.months != 0 {
		begin, end = dayNumber(y, m, 1), dayNumber(y, m+1, 1)
	}
	n, last := (day-begin)/7+1, -((end-1-day)/7 + 1)
	return slices.Contains(r.nth, nthDay{weekday, n}) || slices.Contains(r.nth, nthDay{weekday, last})
}

// weekOf returns the number of the week that a day lies in, and how many weeks
// that year has. The first week is the first with four days of the year.
func weekOf(day int, wkst time.Weekday) (week, all int) {
	y, _, _ := dateOfNumber(day)
	begin := firstWeek(y, wkst)
	next := firstWeek(y+1, wkst)
	switch {
	case day < begin:
		begin, next = firstWeek(y-1, wkst), begin
	case day >= next:
		begin, next = next, firstWeek(y+2, wkst)
	}
	return (day-begin)/7 + 1, (next - begin) / 7
}

// firstWeek returns the day with which the first week of a year begins.
func firstWeek(y int, wkst time.Weekday) int {
	fourth := dayNumber(y, 1, 4)
	return fourth - daysSince(wkst, weekdayOn(fourth))
}

// daysSince returns how many days before a weekday the given first day of the
// week lies.
func daysSince(first, d time.Weekday) int { return int(d-first+7) % 7 }

const secondsOfDay = 24 * 60 * 60

// dayNumber numbers days, 1970-01-01 being 0; it takes month 13.
func dayNumber(y int, m time.Month, d int) int {
	return floorDiv(int(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix()), secondsOfDay)
}

func dateOfNumber(day int) (int, time.Month, int) {
	return time.Unix(int64(day)*secondsOfDay, 0).UTC().Date()
}

func weekdayOn(day int) time.Weekday { return time.Weekday(((day+int(time.Thursday))%7 + 7) % 7) }

func floorDiv(a, b int) int {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

package schedule

import (
	"fmt"
	"math/bits"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// fields are the values of an expression's fields as bits, over wall-clock
// time. Wall-clock times are seconds since 1970-01-01T00:00:00 on that clock.
type fields struct {
	second, minute uint64
	hour, dom      uint32
	month          uint16
	dow            uint8
	// either: day or weekday is enough; else both have to match.
	either bool
	// extra is what few expressions have; nil: nothing.
	extra *extra
}

// extra is what few expressions have.
type extra struct {
	days  special
	years *years // nil: all
}

// allows reports whether the year is allowed.
func (x *extra) allows(y int) bool { return x == nil || x.years == nil || x.years.has(y) }

// The years that an expression may name.
const (
	firstYear = 1970
	lastYear  = 2261
)

// years is a set of the years from firstYear to lastYear.
type years [(lastYear-firstYear)/64 + 1]uint64

// yearsOf reads ranges with steps, as in 2027-2030/1,2040-2040/1.
func yearsOf(text string) *years {
	var set years
	for token := range strings.SplitSeq(text, ",") {
		var low, high, step int
		_, _ = fmt.Sscanf(token, "%d-%d/%d", &low, &high, &step) // as written
		for y := low; y <= high; y += step {
			set[(y-firstYear)/64] |= 1 << ((y - firstYear) % 64)
		}
	}
	return &set
}

// has reports whether the year is in the set.
func (s *years) has(y int) bool {
	return y >= firstYear && y <= lastYear && s[(y-firstYear)/64]>>((y-firstYear)%64)&1 != 0
}

// starBit is what robfig/cron sets in a field that is not restricted.
const starBit = 1 << 63

func fieldsOf(s *cron.SpecSchedule) fields {
	const minutes = 1<<60 - 1
	// The library's bits lie within the bounds of each field.
	return fields{
		second: s.Second & minutes, minute: s.Minute & minutes, hour: uint32(s.Hour & (1<<24 - 1)),
		dom: uint32(s.Dom & (1<<32 - 2)), month: uint16(s.Month & (1<<13 - 2)), dow: uint8(s.Dow & (1<<7 - 1)),
		either: (s.Dom|s.Dow)&starBit == 0,
	}
}

// everyHour reports whether each hour of the day is among the hours.
func (f *fields) everyHour() bool { return f.hour == 1<<24-1 }

// cycle is for how many years the search goes on: dates repeat, with their
// weekdays, every 400 years, and years that are named lie within 600 of each
// other. So what is not found in a cycle does not exist.
const cycle = 600

// next returns the first matching wall-clock time that is not before w. It does
// not look in the months that begin after last.
func (f *fields) next(w, last int64) (int64, bool) {
	today := floorDiv(w, day)
	y, m, d := civil(today)
	if f.extra.allows(y) && f.month>>m&1 != 0 && f.days(y, m)>>d&1 != 0 {
		if s, ok := f.timeOfDay(int(w - today*day)); ok {
			return today*day + s, true
		}
	}
	after := ^uint32(0) << d << 1 // days of this month that are yet to come
	for end := y + cycle; y <= end; after = ^uint32(0) {
		if !f.extra.allows(y) {
			if y, m = y+1, 1; daysTo(y, m)*day > last {
				break
			}
			continue
		}
		if f.month>>m&1 != 0 {
			if b := f.days(y, m) & after; b != 0 {
				first := daysTo(y, m) + int64(bits.TrailingZeros32(b)) - 1
				return first*day + f.firstTime(), true
			}
		}
		if m++; m > 12 {
			y, m = y+1, 1
		}
		if daysTo(y, m)*day > last {
			break
		}
	}
	return 0, false
}

// timeOfDay returns the first matching second of a day that is not before sod.
func (f *fields) timeOfDay(sod int) (int64, bool) {
	h, m, s := sod/3600, sod/60%60, sod%60
	if f.hour>>h&1 != 0 {
		if f.minute>>m&1 != 0 {
			if b := f.second >> s; b != 0 {
				return int64(sod + bits.TrailingZeros64(b)), true
			}
		}
		if b := f.minute >> (m + 1); b != 0 {
			return int64(h*3600 + (m+1+bits.TrailingZeros64(b))*60 + bits.TrailingZeros64(f.second)), true
		}
	}
	if b := f.hour >> (h + 1); b != 0 {
		return int64((h+1+bits.TrailingZeros32(b))*3600 + bits.TrailingZeros64(f.minute)*60 + bits.TrailingZeros64(f.second)), true
	}
	return 0, false
}

// firstTime returns the first matching second of a day.
func (f *fields) firstTime() int64 {
	return int64(bits.TrailingZeros32(f.hour)*3600 + bits.TrailingZeros64(f.minute)*60 + bits.TrailingZeros64(f.second))
}

// days returns the matching days of a month, as bits 1 to 31.
func (f *fields) days(y, m int) uint32 {
	exist := uint32(1)<<(daysIn(y, m)+1) - 2
	// Weekdays as bits, turned so that bit 0 is the weekday of the 1st, five
	// weeks in a row.
	first := int((daysTo(y, m)%7 + 7 + int64(time.Thursday)) % 7) // 1970-01-01 was a Thursday
	week := uint64(f.dow)>>first | uint64(f.dow)<<(7-first)&(1<<7-1)
	weekdays := uint32((week * (1 | 1<<7 | 1<<14 | 1<<21 | 1<<28)) << 1 & (1<<32 - 1)) // masked
	days := f.dom
	if x := f.extra; x != nil {
		days |= x.days.ofMonth(daysIn(y, m), first)
		weekdays |= x.days.ofWeek(daysIn(y, m), first)
	}
	if f.either {
		return (days | weekdays) & exist
	}
	return days & weekdays & exist
}

func daysIn(y, m int) int {
	switch m {
	case 2:
		if y%4 == 0 && (y%100 != 0 || y%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// Years from March on, in eras of 400 years: see Howard Hinnant,
// "chrono-Compatible Low-Level Date Algorithms".
const (
	eraDays = 146097
	toEpoch = 719468 // days from 0000-03-01 to 1970-01-01
)

// daysTo returns the days from 1970-01-01 to the first of a month.
func daysTo(y, m int) int64 {
	if m <= 2 {
		y--
		m += 12
	}
	era := floorDiv(int64(y), 400)
	yoe := int64(y) - era*400
	doy := int64(153*(m-3)+2) / 5
	return era*eraDays + yoe*365 + yoe/4 - yoe/100 + doy - toEpoch
}

// civil returns the date that lies n days after 1970-01-01.
func civil(n int64) (y, m, d int) {
	n += toEpoch
	era := floorDiv(n, eraDays)
	doe := n - era*eraDays
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	d = int(doy - (153*mp+2)/5 + 1)
	m = int(mp) + 3
	if m > 12 {
		m -= 12
		yoe++
	}
	return int(yoe + era*400), m, d
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

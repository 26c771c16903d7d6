package job

import (
	"reflect"
	"time"
)

// KindCalendar is the kind of a calendar's manifest.
const KindCalendar = "Calendar"

// CalendarSpec is what a user writes about a calendar: when jobs that name it
// are not to run. Its JSON form is the manifest's.
type CalendarSpec struct {
	// TimeZone is the IANA zone in which days and times are meant. Empty: UTC.
	TimeZone string `json:"timeZone,omitempty"`
	// Weekdays are the days of the week that are business days, as in MON or
	// MON-FRI; the others are closed. None: all are business days.
	Weekdays []string `json:"weekdays,omitempty"`
	// Closed are days that are closed: 2027-12-24, 12-25 for every year, or
	// 2027-08-01..2027-08-14; a name may follow.
	Closed []string `json:"closed,omitempty"`
	// Open are days that are open though Weekdays or Closed say otherwise, in
	// the same form.
	Open []string `json:"open,omitempty"`
	// Windows are times that are closed: two instants,
	// 2027-08-01T20:00:00Z..2027-08-02T04:00:00Z, or a cron expression and how
	// long, 0 2 * * SUN for 2h; a name may follow a colon and a blank.
	Windows []string `json:"windows,omitempty"`
	// ICS is the text of an iCalendar file; its events are closed.
	ICS string `json:"ics,omitempty"`
}

// Calendar is a stored calendar.
type Calendar struct {
	Metadata
	Spec CalendarSpec `json:"spec"`

	// CreatedAt and UpdatedAt are for people; nothing is decided by them.
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
}

// OnExcluded says what happens to an occurrence at a time at which a calendar of
// the job is closed.
type OnExcluded string

// What happens to it.
const (
	// ExcludedSkip records it as skipped. The default.
	ExcludedSkip OnExcluded = "skip"
	// ExcludedNext moves it to when all the job's calendars are open next: to the
	// same time of the next open day, or to the end of a window. Several that
	// move to the same instant are one.
	ExcludedNext OnExcluded = "next"
)

// OnExcludeds lists what may become of it, the default first.
func OnExcludeds() []OnExcluded { return []OnExcluded{ExcludedSkip, ExcludedNext} }

// Limits of calendars.
const (
	MaxCalendars     = 16   // of one job
	MaxCalendarDays  = 5000 // in each of its lists
	MaxCalendarBytes = 512 << 10
)

// CheckEffects tells of the fields of a calendar that have no effect.
func (c *CalendarSpec) CheckEffects() []Problem {
	var p problems
	effects(&p, "spec.", calendarRows(), c, reflect.ValueOf(c).Elem())
	return p
}

// Package calendar says when jobs are not to run: on closed days, in windows of
// maintenance, during the events of an iCalendar file. It is pure: no clock and
// no I/O but for time zones.
//
// # Invariants
//
//	C1  An instant that Resolve moves to is closed in none of the calendars.
//	C2  Resolve depends on nothing but the instant and the calendars, moves
//	    forward only, and ends: what is closed for longer than a year is never
//	    open.
//	C3  An instant that no calendar closes stays where it is.
//	C4  Whether calendars are closed at an instant is found in at most Cost steps,
//	    which is known beforehand and bounded by MaxCost; a calendar that would
//	    need more is refused by New. A search over many instants takes its steps
//	    from a Work, and ends when there are none left. Steps are counted, so the
//	    answer is the same on every host.
//
// # Tests
//
// Rules are compared with a reference day by day over years: twenty seconds under the
// race detector.
package calendar

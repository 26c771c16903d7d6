package calendar

import (
	"fmt"
	"time"
)

// Cost is how many steps a look takes at most: a call of Closed.
func (s Set) Cost() int {
	cost := 1
	for _, c := range s {
		cost += c.cost
	}
	return cost
}

// TooMuch tells that a job cannot have these calendars, for a look at all of them
// would take too many steps; empty: it would not.
func (s Set) TooMuch() string {
	if cost := s.Cost(); cost > MaxCost {
		return fmt.Sprintf("its calendars have so much that comes again that a look at them takes %d steps; at most %d are allowed", cost, MaxCost)
	}
	return ""
}

// SearchSteps is how many steps a search for the next instant of a job may take:
// some tens of milliseconds.
const SearchSteps = 2_000_000

// TooFar tells that a search was ended by its Work.
const TooFar = "its next instant cannot be found in the steps allowed: its calendars are closed for too long, for a schedule that is due so often; " +
	"use onExcluded: skip, a schedule that is due less often, or calendars with less that comes again"

// Work bounds a search by the steps that it may take, so that how long it takes
// depends on nothing else. The zero Work allows none.
type Work struct{ left int }

// NewWork returns what allows so many steps.
func NewWork(steps int) *Work { return &Work{steps} }

// Take uses up steps. It reports false when there were not enough left; then
// none is left.
func (w *Work) Take(steps int) bool {
	if w.left < steps {
		w.left = -1
		return false
	}
	w.left -= steps
	return true
}

// Over reports whether a search had to end because there was no step left.
func (w *Work) Over() bool { return w.left < 0 }

// Left returns how many steps are left.
func (w *Work) Left() int { return max(w.left, 0) }

// longestClosed is how far ahead an open time is looked for.
const longestClosed = 366 * 24 * time.Hour

// Resolve returns when an occurrence runs that is due at an instant: then, or
// when all calendars are open next, which is at the same time of an open day, by
// the clock of the job's zone, or at the end of a window. It is false when that
// is not within a year, or when work is Over. The reason tells why it is moved;
// empty: it is not.
func (s Set) Resolve(t time.Time, zone *time.Location, work *Work) (at time.Time, why string, ok bool) {
	at = t
	cost := s.Cost()
	for at.Sub(t) < longestClosed && work.Take(cost) {
		reason, until, closed := s.Closed(at)
		if !closed {
			return at.UTC(), why, true
		}
		if why == "" {
			why = reason
		}
		at = next(t, at, until, zone)
	}
	return time.Time{}, why, false
}

// next returns the time to look at after one that is closed until an instant:
// the occurrence's time of day on the day on which that instant lies, or on the
// one after, if a day or more is closed; else the instant itself.
func next(t, at, until time.Time, zone *time.Location) time.Time {
	local := t.In(zone)
	end := until.In(zone)
	y, m, d := end.Date()
	same := time.Date(y, m, d, local.Hour(), local.Minute(), local.Second(), local.Nanosecond(), zone)
	if same.Before(until) {
		if dateOf(at.In(zone)) == dateOf(end) {
			return until // a window within the day
		}
		same = time.Date(y, m, d+1, local.Hour(), local.Minute(), local.Second(), local.Nanosecond(), zone)
	}
	if !same.After(at) {
		return until
	}
	return same
}

// movedFrom is how far back instants are looked for that are moved beyond the
// present one: nothing is closed for longer.
const movedFrom = 370 * 24 * time.Hour

// NextMoved returns the first instant after t to which an instant of a schedule is
// moved by Resolve; due gives the schedule's first instant after another. It is
// false when there is none, or when work is Over.
func (s Set) NextMoved(t time.Time, zone *time.Location, work *Work, due func(time.Time) (time.Time, bool)) (best time.Time, found bool) {
	const stepsOfDue = 20
	for n, ok := due(s.closedSince(t, work)); ok && (!found || n.Before(best)) && work.Take(stepsOfDue); n, ok = due(n) {
		if at, _, ok := s.Resolve(n, zone, work); ok && at.After(t) && (!found || at.Before(best)) {
			best, found = at, true
		}
	}
	return best, found && !work.Over()
}

// closedSince returns an instant before which nothing is moved beyond t: the
// calendars were open for two days after it, as far as a look each hour tells.
func (s Set) closedSince(t time.Time, work *Work) time.Time {
	const day = 24 * time.Hour
	cost := s.Cost()
	open := time.Duration(0)
	at := t
	for ; t.Sub(at) < movedFrom && open < 2*day && work.Take(cost); at = at.Add(-time.Hour) {
		if _, _, closed := s.Closed(at); closed {
			open = 0
			continue
		}
		open += time.Hour
	}
	return at
}

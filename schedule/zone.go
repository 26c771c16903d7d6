package schedule

import (
	"errors"
	"fmt"
	"time"
	_ "time/tzdata" // for hosts without a time zone database; see the package comment
)

// LoadZone returns the zone of an IANA name. The empty name is UTC; "Local"
// is refused, because it differs from node to node.
func LoadZone(name string) (*time.Location, error) {
	if name == "Local" {
		return nil, errors.New(`time zone "Local" differs between nodes; give an IANA name such as "Europe/Berlin"`)
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf(`time zone %q is not known; give an IANA name such as "Europe/Berlin" or "UTC"`, name)
	}
	if loc.String() == "UTC" {
		return time.UTC, nil
	}
	return loc, nil
}

// day is longer than any change of a zone's offset: the largest are a calendar
// day, in zones that moved over the date line. All times here are in seconds.
const (
	day     = 24 * 60 * 60
	maxJump = 2 * day
)

// span is a time during which a zone has one offset: start <= t < end, where
// wall clock = t + offset.
type span struct{ start, end, offset int64 }

// spanAt returns the span that holds the instant.
func spanAt(loc *time.Location, at int64) span {
	t := time.Unix(at, 0).In(loc)
	_, offset := t.Zone()
	s := span{start: firstInstant, end: lastInstant + 1, offset: int64(offset)}
	start, end := t.ZoneBounds()
	if !start.IsZero() {
		s.start = start.Unix()
	}
	if !end.IsZero() {
		s.end = end.Unix()
	}
	if s.end <= at {
		// On 31 December of leap years beyond its table, ZoneBounds ends the
		// year a day early. The year does end with the day, in UTC.
		s.end = (floorDiv(at, day) + 1) * day
	}
	return s
}

// offsetAt returns the zone's offset at an instant.
func offsetAt(loc *time.Location, at int64) int64 {
	_, offset := time.Unix(at, 0).In(loc).Zone()
	return int64(offset)
}

package schedule

import (
	_ "embed" // for the names of zones
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // for hosts without a time zone database; see the package comment

	"github.com/carillon-cron/carillon/job"
)

// zoneNames are the names of the IANA database of the release that built this,
// one a line. A host may know more.
//
//go:embed zones.txt
var zoneNames string

// CheckZone refuses names that LoadZone takes, or may take on some hosts, though
// they are no zones that mean the same everywhere: files beside the zones, other
// ways to write a path, zones that count leap seconds, other capitals.
func CheckZone(name string) error {
	first, _, _ := strings.Cut(name, "/")
	switch {
	case name == "":
		return nil
	case slices.Contains([]string{"Local", "localtime", "posixrules"}, name):
		return fmt.Errorf(`time zone %q differs between nodes; give an IANA name such as "Europe/Berlin"`, name)
	case name == "Factory":
		return errors.New(`time zone "Factory" is for devices of which nobody has said where they are; give an IANA name such as "Europe/Berlin" or "UTC"`)
	case path.Clean(name) != name || strings.HasPrefix(name, "/") || strings.HasPrefix(name, "."):
		return fmt.Errorf(`time zone %q is a path; give an IANA name such as "Europe/Berlin" or "UTC"`, name)
	case first == "right":
		return fmt.Errorf("time zone %q counts leap seconds, as no clock of a node does; write %q", name, strings.TrimPrefix(name, "right/"))
	case first == "posix":
		return fmt.Errorf("time zone %q is not on every host; write %q", name, strings.TrimPrefix(name, "posix/"))
	}
	if !strings.Contains(name, "\n") && strings.Contains("\n"+zoneNames, "\n"+name+"\n") {
		return nil
	}
	if near, ok := job.Nearest(name, strings.Fields(zoneNames)); ok && strings.EqualFold(near, name) {
		return unknownZone(name) // file systems that do not tell capitals apart have it
	}
	_, err := LoadZone(name)
	return err
}

func unknownZone(name string) error {
	hint := `give an IANA name such as "Europe/Berlin" or "UTC"`
	if near, ok := job.Nearest(strings.ReplaceAll(name, " ", "_"), strings.Fields(zoneNames)); ok {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return fmt.Errorf("time zone %q is not known; %s", name, hint)
}

// LoadZone returns the zone of an IANA name. The empty name is UTC; "Local"
// is refused, because it differs from node to node.
func LoadZone(name string) (*time.Location, error) {
	if name == "Local" {
		return nil, errors.New(`time zone "Local" differs between nodes; give an IANA name such as "Europe/Berlin"`)
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, unknownZone(name)
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

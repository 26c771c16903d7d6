package cli

import (
	"maps"
	"slices"
	"strconv"
	"time"
)

// stampLayout is how an instant is shown to people, with its zone.
const stampLayout = "2006-01-02 15:04:05 MST"

// stamp shows an instant in the viewer's zone; "" when it is zero.
func (a *app) stamp(t time.Time) string { return stampIn(t, a.zone) }

func stampIn(t time.Time, zone *time.Location) string {
	if t.IsZero() {
		return ""
	}
	return t.In(zone).Format(stampLayout)
}

// exact shows an instant with milliseconds; "" when it is zero.
func (a *app) exact(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(a.zone).Format("2006-01-02 15:04:05.000 MST")
}

// relative shows how far an instant is from now: "in 42s", "3m5s ago"; "" when
// it is zero.
func (a *app) relative(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := t.Sub(a.now())
	switch {
	case d >= time.Second:
		return "in " + short(d)
	case d <= -time.Second:
		return short(-d) + " ago"
	}
	return "now"
}

// age shows how long ago an instant was; "" when it is zero.
func (a *app) age(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return short(max(0, a.now().Sub(t)))
}

// span shows the time between two instants; "" unless both are there.
func span(from, to time.Time) string {
	if from.IsZero() || to.IsZero() {
		return ""
	}
	return short(to.Sub(from))
}

// short shows a duration in its two largest units.
func short(d time.Duration) string {
	if d < 0 {
		return "-" + short(-d)
	}
	whole := func(d, unit time.Duration) string { return strconv.FormatInt(int64(d/unit), 10) }
	two := func(big time.Duration, bigName string, small time.Duration, smallName string) string {
		s := whole(d, big) + bigName
		if rest := d % big; rest >= small {
			s += whole(rest, small) + smallName
		}
		return s
	}
	const day = 24 * time.Hour
	switch {
	case d < time.Second:
		return whole(d, time.Millisecond) + "ms"
	case d < 10*time.Second:
		return strconv.FormatFloat(float64(d.Truncate(100*time.Millisecond))/float64(time.Second), 'f', -1, 64) + "s"
	case d < time.Minute:
		return whole(d, time.Second) + "s"
	case d < time.Hour:
		return two(time.Minute, "m", time.Second, "s")
	case d < day:
		return two(time.Hour, "h", time.Minute, "m")
	}
	return two(day, "d", time.Hour, "h")
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

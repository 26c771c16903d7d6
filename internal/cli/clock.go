package cli

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// stampLayout is how an instant is shown to people, with its zone.
const stampLayout = "2006-01-02 15:04:05 MST"

// clock is the clock and the viewer's time zone.
type clock struct {
	now  func() time.Time
	zone *time.Location
}

// stamp shows an instant in the viewer's zone; "" when it is zero.
func (c *clock) stamp(t time.Time) string { return stampIn(t, c.zone) }

func stampIn(t time.Time, zone *time.Location) string {
	if t.IsZero() {
		return ""
	}
	return t.In(zone).Format(stampLayout)
}

// exact shows an instant with milliseconds; "" when it is zero.
func (c *clock) exact(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(c.zone).Format("2006-01-02 15:04:05.000 MST")
}

// relative shows how far an instant is from now: "in 42s", "3m5s ago"; "" when
// it is zero.
func (c *clock) relative(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := t.Sub(c.now())
	switch {
	case d >= time.Second:
		return "in " + short(d)
	case d <= -time.Second:
		return short(-d) + " ago"
	}
	return "now"
}

// age shows how long ago an instant was; "" when it is zero.
func (c *clock) age(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return short(max(0, c.now().Sub(t)))
}

// took is how long a run took, or has been running so far.
func (c *clock) took(r job.Run) time.Duration {
	switch {
	case r.StartedAt.IsZero():
		return 0
	case r.EndedAt.IsZero():
		return c.now().Sub(r.StartedAt)
	}
	return r.EndedAt.Sub(r.StartedAt)
}

// fromNow reads a time from now: "now", "-2h" or "+30m", and days as in "-7d".
func (c *clock) fromNow(text string) (time.Time, bool) {
	if text == "now" {
		return c.now(), true
	}
	if !strings.HasPrefix(text, "-") && !strings.HasPrefix(text, "+") {
		return time.Time{}, false
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil {
			return c.now().AddDate(0, 0, n), true
		}
	}
	d, err := time.ParseDuration(text)
	return c.now().Add(d), err == nil
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

package webui

import (
	"html/template"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// funcs are what templates may call.
func (u *UI) funcs() template.FuncMap {
	return template.FuncMap{
		"when":   func(t time.Time) moment { return momentOf(t, u.now()) },
		"span":   span,
		"size":   size,
		"mark":   markOf,
		"jobURL": func(ns, name string) string { return "/jobs/" + url.PathEscape(ns) + "/" + url.PathEscape(name) },
		"runURL": func(id job.RunID) string { return "/runs/" + url.PathEscape(string(id)) },
		"words":  func(s []string) string { return strings.Join(s, " ") },
	}
}

// moment is an instant as pages show it. The zero moment is "–".
type moment struct {
	// ISO is for programs, Text for people, Relative how far it is from now.
	ISO, Text, Relative string
}

func momentOf(t, now time.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	t = t.UTC()
	return moment{ISO: t.Format(time.RFC3339Nano), Text: t.Format("2006-01-02 15:04:05 UTC"), Relative: relative(t.Sub(now))}
}

// relative says how far an instant is from now: "in 42s", "3m5s ago". live.js
// has the same words, and keeps them true.
func relative(d time.Duration) string {
	switch {
	case d >= time.Second:
		return "in " + short(d)
	case d <= -time.Second:
		return short(-d) + " ago"
	}
	return "now"
}

// span is the time between two instants; "" unless both are there.
func span(from, to time.Time) string {
	if from.IsZero() || to.IsZero() {
		return ""
	}
	return short(to.Sub(from))
}

// short shows a duration in its two largest units.
func short(d time.Duration) string {
	const day = 24 * time.Hour
	two := func(big time.Duration, bigName string, small time.Duration, smallName string) string {
		s := strconv.FormatInt(int64(d/big), 10) + bigName
		if rest := d % big; rest >= small {
			s += strconv.FormatInt(int64(rest/small), 10) + smallName
		}
		return s
	}
	switch {
	case d < 0:
		return "-" + short(-d)
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Truncate(100*time.Millisecond).Seconds(), 'f', -1, 64) + "s"
	case d < time.Minute:
		return strconv.FormatInt(int64(d/time.Second), 10) + "s"
	case d < time.Hour:
		return two(time.Minute, "m", time.Second, "s")
	case d < day:
		return two(time.Hour, "h", time.Minute, "m")
	}
	return two(day, "d", time.Hour, "h")
}

// size shows a number of bytes.
func size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 {
		return strconv.FormatInt(n, 10) + " B"
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + " " + units[i]
}

// mark is the sign of a state: a class for its color and shape, and a glyph, so
// that nobody has to tell colors apart.
type mark struct{ Class, Glyph string }

func markOf(s job.State) mark {
	switch s {
	case job.StateSucceeded:
		return mark{"good", "✓"}
	case job.StatePending, job.StateQueued:
		return mark{"wait", "…"}
	case job.StateRunning:
		return mark{"busy", "▸"}
	case job.StateIndeterminate, "":
		return mark{"doubt", "?"}
	case job.StateMissed:
		return mark{"doubt", "!"}
	case job.StateSkipped, job.StateCancelled:
		return mark{"idle", "–"}
	}
	return mark{"bad", "✕"}
}

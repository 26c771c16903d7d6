package webui

import (
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// functions are what the templates may call.
func functions() template.FuncMap {
	return template.FuncMap{
		"utc": utc, "iso": iso, "ago": ago, "mark": job.State.Mark, "took": took, "after": after, "late": late, "join": strings.Join,
		"set":   func(t time.Time) bool { return !t.IsZero() },
		"began": func(r job.Run) time.Time { return r.FirstStartedAt() },
		"again": func(r job.Run) bool { return !r.FirstStartedAt().Equal(r.StartedAt) },
		"inc":   func(i int) int { return i + 1 },
		"owner": owner,
	}
}

// utc writes an instant for people; iso for programs.
func utc(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

func iso(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// ago says how far away an instant is.
func ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := time.Until(t).Round(time.Second)
	if d > 0 {
		return "in " + short(d)
	}
	return short(-d) + " ago"
}

// short writes a duration with its two largest units.
func short(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s")
	}
	return d.String()
}

// took is how long something ran, or has been running; none that is negative, which
// a clock that was set back meanwhile would make of it.
func took(start, end time.Time) string {
	if start.IsZero() {
		return "–"
	}
	if end.IsZero() {
		return max(time.Since(start), 0).Round(time.Second).String() + " so far"
	}
	return max(end.Sub(start), 0).Round(time.Millisecond).String()
}

// after is how long after one instant another one was, or before it, as commits are.
func after(first, second time.Time) string {
	d := second.Sub(first).Round(time.Millisecond)
	if d < 0 {
		return (-d).String() + " before"
	}
	return d.String()
}

// late is how long after its instant a run started, by the first of its attempts.
func late(r job.Run) string {
	first := r.FirstStartedAt()
	if first.IsZero() {
		return "–"
	}
	d := first.Sub(r.ScheduledAt).Round(time.Millisecond)
	if d < 0 {
		return (-d).String() + " early"
	}
	return d.String()
}

// owner is the path of the page of the job of a run, or of the queue of an item.
func owner(r job.Run) string {
	key := r.Key()
	if queue, is := key.QueueOfRuns(); is && r.FireID.Job.IsQueue() {
		return "/queues/" + queue.String()
	}
	return "/jobs/" + key.String()
}

package webui

import (
	"fmt"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// Days of the map, beside today.
const (
	daysBack  = 6
	daysAhead = 2
)

// heatDay is a day of a job, hour by hour, in its zone.
type heatDay struct {
	Day   string
	Hours [24]heatHour
}

// heatHour is what became of the runs of an hour; Planned: the schedule is due in it, and
// it lies ahead.
type heatHour struct {
	Good, Bad, Off, Open int
	Planned              bool
}

// Class is the worst of the hour.
func (h heatHour) Class() string {
	switch {
	case h.Bad > 0:
		return "bad"
	case h.Open > 0:
		return "open"
	case h.Off > 0 && h.Good == 0:
		return "off"
	case h.Good > 0:
		return "good"
	case h.Planned:
		return "planned"
	}
	return ""
}

// Mark says it without colours.
func (h heatHour) Mark() string {
	return map[string]string{"bad": "✗", "open": "▶", "off": "–", "good": "✓", "planned": "·"}[h.Class()]
}

// Words tell how many of each there are.
func (h heatHour) Words() string {
	var out []string
	for _, part := range []struct {
		n    int
		what string
	}{{h.Bad, "not as they should be"}, {h.Open, "not ended"}, {h.Off, "not run"}, {h.Good, "succeeded"}} {
		if part.n > 0 {
			out = append(out, fmt.Sprintf("%d %s", part.n, part.what))
		}
	}
	if h.Planned {
		out = append(out, "planned")
	}
	return strings.Join(out, ", ")
}

// heat draws the days around now: what became of runs, and when the schedule is due,
// calendars and pauses aside. Nil: there is neither.
func heat(key job.Key, spec *job.Spec, runs []job.Run, zone *time.Location, now time.Time) []heatDay {
	now = now.In(zone)
	first := time.Date(now.Year(), now.Month(), now.Day()-daysBack, 0, 0, 0, 0, zone)
	days := make([]heatDay, daysBack+1+daysAhead)
	index := map[string]int{}
	for i := range days {
		at := first.AddDate(0, 0, i)
		days[i].Day = at.Format("Mon 01-02")
		index[at.Format(time.DateOnly)] = i
	}
	some := false
	hour := func(t time.Time) *heatHour {
		t = t.In(zone)
		i, ok := index[t.Format(time.DateOnly)]
		if !ok {
			return nil
		}
		return &days[i].Hours[t.Hour()]
	}
	for i := range runs {
		h := hour(runs[i].ScheduledAt)
		if h == nil {
			continue
		}
		some = true
		n := max(runs[i].Count, 1)
		switch s := runs[i].State; {
		case s == job.StateSkipped || s == job.StateMissed || s == job.StateCancelled:
			h.Off += n
		case s.Bad():
			h.Bad += n
		case s == job.StateSucceeded:
			h.Good += n
		default:
			h.Open += n
		}
	}
	set, err := schedule.ParseSet(spec.Schedules, schedule.OptionsOf(key, spec))
	if err != nil || !spec.IsEnabled() {
		set = nil
	}
	end := first.AddDate(0, 0, len(days))
	for at := now; len(set) > 0; {
		next, ok := set.Next(at)
		if !ok || !next.Before(end) || spec.EndAt != nil && next.After(*spec.EndAt) {
			break
		}
		if h := hour(next); h != nil && (spec.StartAt == nil || !next.Before(*spec.StartAt)) {
			h.Planned, some = true, true
		}
		l := next.In(zone) // one instant of an hour is enough: on to its end
		at = next.Add(time.Hour - time.Duration(l.Minute())*time.Minute - time.Duration(l.Second())*time.Second - time.Duration(l.Nanosecond()) - 1)
	}
	if !some {
		return nil
	}
	return days
}

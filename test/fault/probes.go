package main

import (
	"bytes"
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/mode"
)

// Beside the jobs of the workload there are probes in every scenario: jobs and
// groups on which promises can be seen that the others do not touch. They are few,
// and due seldom, so that they take little of the host.

// probeSpace is the namespace of the probes.
const probeSpace = "probe"

// probeEvery is when most probes are due.
const probeEvery = "@every 2s"

// The probes that somebody does something with; see operator.
const (
	filledJob   = "filled"  // is backfilled
	askedJob    = "asked"   // has no schedule, and is started by hand
	restingJob  = "resting" // is paused
	restGroup   = "rest"    // is paused, too
	orderedUp   = "ordered-failover"
	shutDays    = "shut"    // a calendar of closed days, today among them
	otherDays   = "others"  // a calendar of closed days, today not among them
	windowed    = "windows" // a calendar of short windows
	moving      = "moving"  // the same, of a job that moves to their ends
	windowEvery = 12 * time.Second
	windowLong  = 4 * time.Second
)

// probeGroups are the groups of the probes: an ordered one of every mode, two
// between which jobs are moved, and one that is paused.
func probeGroups() map[string]job.GroupSpec {
	out := map[string]job.GroupSpec{"here": {}, "there": {Mode: "failover"}, restGroup: {}}
	for _, name := range mode.Names() {
		g := job.GroupSpec{Mode: name, Ordered: true}
		switch name {
		case "timeslice":
			g.Slice = job.Duration(3 * time.Second)
		case "failback":
			g.HoldOff = job.Duration(3 * time.Second)
		case "preempt", "roundrobin-preempt":
			g.Grace = job.Duration(2 * time.Second)
		}
		out["ordered-"+name] = g
	}
	return out
}

// calendarsOf returns the calendars of the probes of a run that begins at an
// instant, as manifests have them and as the oracle knows them.
func calendarsOf(begun time.Time) (map[string]job.CalendarSpec, map[string]*closing) {
	day := func(n int) time.Time { return begun.UTC().Truncate(24*time.Hour).AddDate(0, 0, n) }
	text := func(n int) string { return day(n).Format(time.DateOnly) }
	short := &closing{name: windowed}
	var windows []string
	for at := begun.Truncate(time.Second); at.Before(begun.Add(3 * hangLimit)); at = at.Add(windowEvery) {
		w := window{at.Add(windowEvery - windowLong).UTC(), at.Add(windowEvery).UTC()}
		short.windows = append(short.windows, w)
		windows = append(windows, w.from.Format(time.RFC3339)+".."+w.to.Format(time.RFC3339))
	}
	moves := *short
	moves.name, moves.moves = moving, true
	return map[string]job.CalendarSpec{
			shutDays:  {Closed: []string{text(0), text(1) + " and the day after"}},
			otherDays: {Closed: []string{text(-1), text(2)}},
			windowed:  {Windows: windows},
			moving:    {Windows: windows},
		}, map[string]*closing{
			shutDays:  {name: shutDays, windows: []window{{day(0), day(2)}}},
			otherDays: {name: otherDays, windows: []window{{day(-1), day(0)}, {day(2), day(3)}}},
			windowed:  short,
			moving:    &moves,
		}
}

// probeSpecs returns the jobs that are probes and that nobody edits, by name. enabled
// says whether they are due.
func probeSpecs(trace string, begun time.Time, enabled bool) map[string]map[string]any {
	out := map[string]map[string]any{}
	add := func(name string, with map[string]any) {
		spec := probeSpec(trace, 1)
		spec["schedules"], spec["enabled"], spec["overlap"] = []string{probeEvery}, enabled, job.OverlapAllow
		for k, v := range with {
			spec[k] = v
			if v == nil {
				delete(spec, k)
			}
		}
		out[name] = spec
	}
	// Two jobs make an order; what one of them catches up with, the other gives up, and
	// one starts late, for which those that are due later wait.
	for _, name := range mode.Names() {
		add("ordered-"+name+"-a", map[string]any{"group": "ordered-" + name, "misfire": job.MisfireAll})
		add("ordered-"+name+"-b", map[string]any{"group": "ordered-" + name, "misfire": job.MisfireLatest, "jitter": "3s"})
	}
	add("jitter-a", map[string]any{"jitter": "3s"})
	add("jitter-b", map[string]any{"jitter": "500ms", "schedules": []string{every}})
	for _, name := range []string{shutDays, otherDays, windowed} {
		add(name, map[string]any{"calendars": []string{name}})
	}
	add(moving, map[string]any{"calendars": []string{moving}, "onExcluded": job.ExcludedNext, "schedules": movedInstants(begun)})
	add("fails", map[string]any{"env": map[string]string{"TRACE": trace, "EXITS": "3"}})
	for _, o := range []job.Overlap{job.OverlapSkip, job.OverlapQueueOne, job.OverlapQueueAll, job.OverlapReplace} {
		// Its runs last longer than it takes until the next one is due, now and then.
		add("overlap-"+string(o), map[string]any{"overlap": o, "env": map[string]string{"TRACE": trace, "LASTS": "1.5"}})
	}
	add(restingJob, nil)
	add("resting-a", map[string]any{"group": restGroup})
	add("resting-b", map[string]any{"group": restGroup})
	add(filledJob, nil)
	add(askedJob, map[string]any{"schedules": nil, "enabled": nil}) // there is nothing to disable
	return out
}

// movedInstants are when the job is due whose instants are moved: every three seconds.
// A schedule may not do that by itself.
func movedInstants(begun time.Time) []string {
	var out []string
	for i := range job.MaxSchedules {
		out = append(out, "@at "+begun.Add(time.Duration(3*(i+1))*time.Second).UTC().Format(time.RFC3339))
	}
	return out
}

// probeSpec is what all probes have in common. The command's last word numbers it.
func probeSpec(trace string, version int) map[string]any {
	return map[string]any{
		"command": []string{"/bin/sh", "-c", traceLine, fmt.Sprintf("v%d", version)},
		"env":     map[string]string{"TRACE": trace},
		"timeout": time.Minute.String(),
	}
}

// probeFiles returns the manifests of the probes.
func probeFiles(trace string, begun time.Time, enabled bool) [][]byte {
	var first, jobs bytes.Buffer
	groups, specs := probeGroups(), probeSpecs(trace, begun, enabled)
	calendars, _ := calendarsOf(begun)
	for _, name := range sorted(calendars) {
		documentIn(&first, probeSpace, job.KindCalendar, name, calendars[name])
	}
	for _, name := range sorted(groups) {
		documentIn(&first, probeSpace, job.KindGroup, name, groups[name])
	}
	for _, name := range sorted(specs) {
		documentIn(&jobs, probeSpace, job.KindJob, name, specs[name])
	}
	return [][]byte{first.Bytes(), jobs.Bytes()}
}

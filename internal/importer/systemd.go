package importer

import (
	"path"
	"slices"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// systemd reads timers, each with its service.
func (b *book) systemd(sources []Source) {
	all := b.units(sources)
	used := map[string]bool{}
	timers := 0
	for _, name := range sorted(all) {
		if path.Ext(name) != ".timer" {
			continue
		}
		timers++
		t := &timer{book: b, unit: all[name], all: all}
		t.read()
		used[t.of] = true
		stem, _, _ := strings.Cut(strings.TrimSuffix(t.of, path.Ext(t.of)), "@")
		used[stem+"@"+path.Ext(t.of)] = true
	}
	for _, name := range sorted(all) {
		switch {
		case path.Ext(name) == ".timer", used[name]:
		case path.Ext(name) == ".service":
			b.notPossible(all[name].at, "%s: no timer among the files starts it", name)
		default:
			b.notPossible(all[name].at, "%s: only timers and services are read", name)
		}
	}
	if timers == 0 && len(sources) > 0 {
		b.leftOut(place{sources[0].Name, 1}, "there is no timer among the files")
	}
}

// timer is a timer while it is read.
type timer struct {
	*book

	unit *unit
	all  map[string]*unit
	// of is the name of what it starts.
	of string
	// exprs are the schedules with their zones.
	exprs, zones []string
	persistent   bool
	jitter       time.Duration
	description  string
	// monotonic are settings that count from something, such as the start of the host.
	monotonic []setting
}

// read reads the timer and its service.
func (t *timer) read() {
	stem := strings.TrimSuffix(t.unit.name, ".timer")
	t.of = stem + ".service"
	ok := true
	for _, s := range t.unit.settings {
		ok = t.setting(s) && ok
	}
	if t.unit.isTemplate() {
		t.leftOut(t.unit.at, "%s is a template: rename a copy to the instance that is meant, as in %s", t.unit.name, stem+"NAME.timer")
		return
	}
	t.every()
	service, found := t.service()
	switch {
	case !ok:
		return
	case len(t.exprs) == 0:
		t.leftOut(t.unit.at, "%s has no OnCalendar and no interval: nothing would start it", t.unit.name)
		return
	case path.Ext(t.of) != ".service":
		t.leftOut(t.unit.at, "%s starts %s, and only services can be jobs", t.unit.name, t.of)
		return
	case !found:
		t.leftOut(t.unit.at, "%s starts %s, which is not among the files: give it, too", t.unit.name, t.of)
		return
	}
	d := t.job(t.unit.at, strings.ReplaceAll(stem, "@", "-"))
	d.describe(t.description)
	t.schedule(d)
	read := serviceReader{book: t.book, d: d, unit: service}
	if !read.read() {
		t.drop(d)
	}
}

// setting reads a line of the timer. It is false when the timer cannot be a job.
func (t *timer) setting(s setting) bool {
	at := s.at
	switch s.section + "." + s.key {
	case "Unit.Description":
		t.description = s.value
	case "Timer.OnCalendar":
		if s.value == "" { // takes those before it back
			t.exprs, t.zones = nil, nil
			return true
		}
		expr, zone, err := onCalendar(s.value)
		if err != nil {
			t.leftOut(at, "OnCalendar=%s: %v", s.value, err)
			return false
		}
		t.exprs, t.zones = append(t.exprs, expr), append(t.zones, zone)
	case "Timer.OnActiveSec", "Timer.OnBootSec", "Timer.OnStartupSec", "Timer.OnUnitActiveSec", "Timer.OnUnitInactiveSec":
		if s.value == "" {
			t.monotonic = nil
			return true
		}
		t.monotonic = append(t.monotonic, s)
	case "Timer.RandomizedDelaySec":
		d, ok := timeSpan(s.value)
		if !ok || d > job.MaxJitter {
			t.notPossible(at, "RandomizedDelaySec=%s: jitter is a time of up to %s", s.value, job.MaxJitter)
			return true
		}
		t.jitter = d
	case "Timer.FixedRandomDelay":
		if isTrue(s.value) {
			t.approximated(at, "FixedRandomDelay=%s: the delay is another one for each occurrence, though always the same for the same; for one delay of all write H for the minute", s.value)
		}
	case "Timer.Persistent":
		t.persistent = isTrue(s.value)
	case "Timer.Unit":
		t.of = s.value
	case "Timer.AccuracySec":
		t.kept(at, "AccuracySec=%s: the start is not put off", s.value)
	case "Timer.RemainAfterElapse":
	case "Timer.OnClockChange", "Timer.OnTimezoneChange", "Timer.WakeSystem":
		if isTrue(s.value) {
			t.notPossible(at, "%s=%s: nothing here does that", s.key, s.value)
		}
	default:
		t.other(s)
	}
	return true
}

// other notes a setting that is not carried over, unless it says nothing of what runs.
func (b *book) other(s setting) {
	switch {
	case s.section == "Install", strings.HasPrefix(s.section, "X-"), s.value == "":
	case s.section == "Unit" && slices.Contains([]string{"Description", "Documentation", "DefaultDependencies", "SourcePath"}, s.key):
	case s.section == "Unit" && (strings.HasPrefix(s.key, "Condition") || strings.HasPrefix(s.key, "Assert")):
		b.notPossible(s.at, "%s=%s: nothing asks it before a start; name the right minions by target, or have the command ask", s.key, s.value)
	case s.section == "Unit" && slices.Contains([]string{"OnFailure", "OnSuccess"}, s.key):
		b.notPossible(s.at, "%s=%s: make a job of that unit, with after: {jobs: [THIS], on: %s}", s.key, s.value, map[string]string{"OnFailure": "failure", "OnSuccess": "success"}[s.key])
	case s.section == "Unit":
		b.notPossible(s.at, "%s=%s: other units are not looked at", s.key, s.value)
	default:
		b.notPossible(s.at, "%s=%s: there is nothing like it here", s.key, s.value)
	}
}

func isTrue(text string) bool {
	return slices.Contains([]string{"1", "yes", "y", "true", "t", "on"}, strings.ToLower(text))
}

// every makes an interval of OnUnitActiveSec and OnUnitInactiveSec.
func (t *timer) every() {
	repeats := slices.ContainsFunc(t.monotonic, func(s setting) bool { return strings.HasPrefix(s.key, "OnUnit") })
	for _, s := range t.monotonic {
		d, ok := timeSpan(s.value)
		switch {
		case !strings.HasPrefix(s.key, "OnUnit") && (repeats || len(t.exprs) > 0):
			t.approximated(s.at, "%s=%s: there is no first start after that of the host; the job starts when it is due next", s.key, s.value)
		case !strings.HasPrefix(s.key, "OnUnit"):
			t.notPossible(s.at, "%s=%s: nothing starts a job when a host does; leave this timer there", s.key, s.value)
		case !ok || d < schedule.MinEvery || d > schedule.MaxEvery:
			t.notPossible(s.at, "%s=%s: is not a time from %s to %s", s.key, s.value, schedule.MinEvery, schedule.MaxEvery)
		default:
			t.exprs, t.zones = append(t.exprs, "@every "+d.Truncate(time.Millisecond).String()), append(t.zones, "")
			t.approximated(s.at, "%s=%s: becomes an interval that counts from 1970, on all hosts alike, and not from the start or the end of the run before", s.key, s.value)
		}
	}
}

// schedule sets when the job is due.
func (t *timer) schedule(d *draft) {
	s := &d.spec
	same := !slices.ContainsFunc(t.zones, func(z string) bool { return z != t.zones[0] })
	for i, expr := range t.exprs {
		if !same && t.zones[i] != "" && !strings.HasPrefix(expr, "@") {
			expr = "CRON_TZ=" + t.zones[i] + " " + expr
		}
		if !slices.Contains(s.Schedules, expr) {
			s.Schedules = append(s.Schedules, expr)
		}
	}
	s.TimeZone = t.opts.Zone
	if same && t.zones[0] != "" {
		s.TimeZone = t.zones[0]
	}
	if strings.EqualFold(s.TimeZone, "utc") {
		s.TimeZone = "UTC"
	}
	s.Jitter = job.Duration(t.jitter)
	if s.Misfire = job.MisfireSkip; t.persistent {
		s.Misfire = job.MisfireLatest
	}
	clock := false
	for _, expr := range s.Schedules {
		one, err := schedule.Parse(expr, schedule.Options{Zone: s.TimeZone})
		clock = clock || err == nil && one.OnClock() && !one.OwnZone()
		if err == nil && one.Jumps() {
			t.once("dst", t.unit.at, "in nights in which clocks jump, what is left out runs at the end of the gap, and what comes twice the first time; systemd does otherwise there: see dst in docs/schedules.md")
		}
	}
	if clock && s.TimeZone == "" {
		t.once("zone", t.unit.at, "no time zone is given: schedules are read in UTC; give --tz with that of the host")
	}
	if t.opts.Target == "" {
		t.once("target", t.unit.at, "services run on any one minion: give --target with the host that they are from, unless it does not matter")
	}
}

// service finds what the timer starts; of an instance it may be a template.
func (t *timer) service() (*unit, bool) {
	if u, ok := t.all[t.of]; ok {
		return u, true
	}
	stem, instance, ok := strings.Cut(strings.TrimSuffix(t.of, path.Ext(t.of)), "@")
	if template, known := t.all[stem+"@"+path.Ext(t.of)]; ok && known && instance != "" {
		u := *template
		u.name = t.of
		return &u, true
	}
	return nil, false
}

package importer

import (
	"fmt"
	"path"
	"slices"
	"strconv"
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

// serviceReader makes a job of a service.
type serviceReader struct {
	*book

	d    *draft
	unit *unit
	// execs are the commands in their order: conditions and those before, the ones that
	// matter, and those behind.
	execs []exec
	env   map[string]string
	// files are those of EnvironmentFile, with a dash before those that may be missing.
	files []string
	kind  string
	// start, stop and run are TimeoutStartSec and RuntimeMaxSec.
	start, run time.Duration
	restart    string
	pause      time.Duration
	sandbox    []string
	sandboxAt  place
	bad        bool
}

// exec is one command of a service.
type exec struct {
	at    place
	key   string
	words []word
	// mayFail: a dash stands before it.
	mayFail bool
}

// sandboxKeys begin the names of settings that fence a service in.
var sandboxKeys = []string{"Protect", "Private", "Restrict", "ReadOnly", "ReadWrite", "Inaccessible", "NoNewPrivileges", "Capability", "Ambient", "SystemCall", "LockPersonality", "MemoryDeny", "Secure", "BindPaths", "BindReadOnly", "TemporaryFileSystem", "DynamicUser", "RemoveIPC", "IPAddress", "Device", "StateDirectory", "CacheDirectory", "LogsDirectory", "RuntimeDirectory", "ConfigurationDirectory", "UMask", "KeyringMode", "ProcSubset"}

// read reads the service. It is false when it cannot be a job; notes tell why.
func (r *serviceReader) read() bool {
	r.env, r.kind = map[string]string{}, "simple"
	r.d.spec.WorkingDir = "/" // as systemd does
	for _, s := range r.unit.settings {
		value, ok := specifiers(s.value, r.unit)
		if !ok && s.section == "Service" && slices.Contains([]string{"User", "WorkingDirectory", "Environment", "EnvironmentFile", "ExecStart", "ExecStartPre", "ExecStartPost", "ExecStopPost"}, s.key) {
			r.leftOut(s.at, "%s=%s: depends on the host, or on what only systemd knows; write it out", s.key, s.value)
			return false
		}
		s.value = value
		r.setting(s)
	}
	if len(r.sandbox) > 0 {
		r.notPossible(r.sandboxAt, "%s: commands are not fenced in; `worker --allow` and limits bound them, or start them by systemd-run", strings.Join(r.sandbox, ", "))
	}
	return !r.bad && r.finish()
}

func (r *serviceReader) setting(s setting) {
	if s.section != "Service" {
		if s.section == "Unit" && s.key == "Description" && r.d.meta.Annotations[annotationDescription] == "" {
			r.d.describe(s.value)
			return
		}
		r.other(s)
		return
	}
	spec := &r.d.spec
	switch s.key {
	case "Type":
		r.kind = s.value
		if !slices.Contains([]string{"simple", "exec", "oneshot"}, s.value) {
			r.approximated(s.at, "Type=%s: the run lasts as long as the command, whatever it tells systemd or leaves behind", s.value)
		}
	case "ExecStart", "ExecStartPre", "ExecStartPost", "ExecStopPost":
		r.exec(s)
	case "ExecCondition", "ExecStop", "ExecReload":
		if s.value != "" {
			r.notPossible(s.at, "%s=%s: there is nothing like it here", s.key, s.value)
		}
	case "User":
		if job.CheckAccount(s.value) != nil {
			r.notPossible(s.at, "User=%s: is not an account", s.value)
			return
		}
		spec.User = s.value
	case "WorkingDirectory":
		dir := strings.TrimPrefix(s.value, "-")
		switch {
		case dir == "~" && (spec.User == "" || spec.User == rootUser):
			spec.WorkingDir = rootHome
		case path.IsAbs(dir):
			spec.WorkingDir = dir
		case dir != "":
			r.notPossible(s.at, "WorkingDirectory=%s: write the directory out", s.value)
		}
	case "Environment":
		words, ok := unitWords(s.value)
		if !ok {
			r.notPossible(s.at, "Environment=%s: the quotes do not end", s.value)
		}
		if s.value == "" {
			r.env = map[string]string{}
		}
		for _, w := range words {
			name, value, _ := strings.Cut(w.text, "=")
			if !job.IsParamName(name) || strings.HasPrefix(name, job.EnvPrefix) {
				r.notPossible(s.at, "Environment: %q is not the name of a variable that a job may set", short(name))
				continue
			}
			r.env[name] = value
		}
	case "EnvironmentFile":
		if s.value == "" {
			r.files = nil
			return
		}
		if !path.IsAbs(strings.TrimPrefix(s.value, "-")) || strings.ContainsAny(s.value, "*?[' ") {
			r.notPossible(s.at, "EnvironmentFile=%s: give one absolute path", s.value)
			return
		}
		r.files = append(r.files, s.value)
		r.approximated(s.at, "EnvironmentFile=%s: a shell of the minion reads it before the command, which expands $ in it; for secrets see docs/secrets.md", s.value)
	case "TimeoutStartSec", "TimeoutSec":
		r.start, _ = timeSpan(s.value)
	case "RuntimeMaxSec":
		r.run, _ = timeSpan(s.value)
	case "TimeoutStopSec", "KillMode", "KillSignal", "SendSIGKILL", "StandardOutput", "StandardError", "SyslogIdentifier":
		r.kept(s.at, "%s=%s: output stays with the run, and processes are ended by Carillon's own ways", s.key, s.value)
	case "Restart":
		if r.restart = s.value; s.value == "always" || s.value == "on-success" {
			r.notPossible(s.at, "Restart=%s: a run that has succeeded is not started again; give a shorter interval", s.value)
		}
	case "RestartSec":
		r.pause, _ = timeSpan(s.value)
	case "MemoryMax", "MemoryLimit":
		var size job.Size
		if err := size.UnmarshalText([]byte(sizeOf(s.value))); err != nil || size < job.MinLimitMemory {
			r.notPossible(s.at, "%s=%s: write spec.limits.memory, as in 512Mi", s.key, s.value)
			return
		}
		spec.Limits.Memory = size
	case "TasksMax":
		n, err := strconv.Atoi(s.value)
		if err != nil || n < 1 || n > job.MaxLimitPids {
			r.notPossible(s.at, "TasksMax=%s: write spec.limits.pids, a number", s.value)
			return
		}
		spec.Limits.Pids = n
	case "CPUQuota":
		percent, err := strconv.ParseFloat(strings.TrimSuffix(s.value, "%"), 64)
		var cores job.Cores
		if err == nil {
			err = cores.UnmarshalText([]byte(strconv.FormatFloat(percent/100, 'f', -1, 64)))
		}
		if err != nil || cores < job.MinLimitCPU || cores > job.MaxLimitCPU {
			r.notPossible(s.at, "CPUQuota=%s: write spec.limits.cpu, as in 1.5", s.value)
			return
		}
		spec.Limits.CPU = cores
	default:
		if slices.ContainsFunc(sandboxKeys, func(k string) bool { return strings.HasPrefix(s.key, k) }) {
			if len(r.sandbox) == 0 {
				r.sandboxAt = s.at
			}
			r.sandbox = append(r.sandbox, s.key)
			return
		}
		if s.key == "Group" && s.value == spec.User {
			return
		}
		r.other(s)
	}
}

// sizeOf writes a size of systemd, whose letters are powers of 1024, as Carillon does.
func sizeOf(text string) string {
	if n := len(text); n > 0 && strings.ContainsRune("KMGT", rune(text[n-1])) {
		return text + "i"
	}
	return text
}

// exec reads a command line.
func (r *serviceReader) exec(s setting) {
	if s.value == "" { // takes those before it back
		r.execs = slices.DeleteFunc(r.execs, func(e exec) bool { return e.key == s.key })
		return
	}
	words, ok := unitWords(s.value)
	if !ok || len(words) == 0 {
		r.leftOut(s.at, "%s=%s: the quotes do not end", s.key, s.value)
		r.bad = true
		return
	}
	one := exec{at: s.at, key: s.key}
	begin := true
	for _, w := range words {
		if begin {
			rest := strings.TrimLeft(w.text, "@-:+!|")
			prefix := w.text[:len(w.text)-len(rest)]
			if rest == "" || strings.ContainsAny(prefix, "@:|") {
				r.leftOut(s.at, "%s=%s: the prefix %q is not possible; write the program alone", s.key, s.value, prefix)
				r.bad = true
				return
			}
			if strings.ContainsAny(prefix, "+!") {
				r.approximated(s.at, "%s=%s: the prefix %q, by which it runs with more rights than the others, has no effect", s.key, s.value, prefix)
			}
			one.mayFail = strings.Contains(prefix, "-")
			w.text, begin = rest, false
		}
		if w.text == ";" && !w.quoted {
			r.execs = append(r.execs, one)
			one, begin = exec{at: s.at, key: s.key}, true
			continue
		}
		one.words = append(one.words, w)
	}
	if len(one.words) > 0 {
		r.execs = append(r.execs, one)
	}
}

// finish sets what the settings come to.
func (r *serviceReader) finish() bool {
	spec := &r.d.spec
	order := []string{"ExecStartPre", "ExecStart", "ExecStartPost", "ExecStopPost"}
	slices.SortStableFunc(r.execs, func(x, y exec) int { return slices.Index(order, x.key) - slices.Index(order, y.key) })
	r.execs = slices.DeleteFunc(r.execs, func(e exec) bool { return len(e.words) == 0 })
	if !slices.ContainsFunc(r.execs, func(e exec) bool { return e.key == "ExecStart" }) {
		r.leftOut(r.unit.at, "%s has no ExecStart", r.unit.name)
		return false
	}
	for _, name := range sorted(r.env) {
		r.book.env(r.unit.at, r.d, name, r.env[name])
	}
	spec.Timeout = job.Duration(job.MaxTimeout)
	bound := r.run
	if r.kind == "oneshot" || bound == 0 {
		bound = max(bound, r.start)
		if r.kind != "oneshot" && r.run == 0 {
			bound = 0 // it bounds the start of a service, which lasts for no time here
		}
	}
	if bound >= job.MinTimeout && bound < job.MaxTimeout {
		spec.Timeout = job.Duration(bound)
	}
	if slices.Contains([]string{"on-failure", "always", "on-abnormal", "on-abort", "on-watchdog"}, r.restart) {
		const burst = 5 // StartLimitBurst
		spec.Retry = job.Retry{Attempts: burst, Backoff: job.Duration(max(r.pause, 100*time.Millisecond))}
		if time.Duration(spec.Retry.Backoff) > job.DefaultMaxBackoff {
			spec.Retry.MaxBackoff = spec.Retry.Backoff
		}
		r.approximated(r.unit.at, "Restart=%s: becomes %d attempts in all, with pauses that double", r.restart, burst)
	}
	if len(r.execs) == 1 && !r.execs[0].mayFail {
		spec.Command = r.command(&r.execs[0])
		return true
	}
	failed := false
	for i := range r.execs {
		e := &r.execs[i]
		step := job.Step{Name: stepNameOf(e, i), Command: r.command(e), ContinueOnFailure: e.mayFail}
		if e.key == "ExecStopPost" && failed {
			step.If = job.IfAlways
		}
		failed = failed || !e.mayFail
		spec.Steps = append(spec.Steps, step)
	}
	return true
}

func stepNameOf(e *exec, i int) string {
	return slug(strings.ToLower(strings.TrimPrefix(e.key, "Exec"))) + "-" + strconv.Itoa(i+1)
}

// command returns the words of a command, or a shell that reads files and puts the values
// of variables in.
func (r *serviceReader) command(e *exec) []string {
	words := make([]string, len(e.words))
	plain := len(r.files) == 0
	for i, w := range e.words {
		words[i] = strings.ReplaceAll(w.text, "$$", "$")
		plain = plain && !strings.Contains(strings.ReplaceAll(w.text, "$$", ""), "$")
	}
	if plain {
		return words
	}
	if len(r.files) == 0 {
		r.kept(e.at, "variables in %s are put in by a shell", e.key)
	}
	var b strings.Builder
	for _, file := range r.files {
		if name, may := strings.CutPrefix(file, "-"); may {
			fmt.Fprintf(&b, "if [ -r %s ]; then set -a; . %[1]s; set +a; fi; ", name)
		} else {
			fmt.Fprintf(&b, "set -a; . %s || exit; set +a; ", file)
		}
	}
	b.WriteString("exec")
	for _, w := range e.words {
		b.WriteString(" " + shellWord(w))
	}
	return []string{"/bin/sh", "-c", b.String()}
}

// shellWord quotes a word for a shell, but for the variables that systemd puts in: ${A}
// anywhere, and $A as a word of its own, which may become several.
func shellWord(w word) string {
	if name, ok := strings.CutPrefix(w.text, "$"); ok && job.IsParamName(name) {
		return "$" + name
	}
	var b strings.Builder
	for text := w.text; text != ""; {
		i := strings.IndexByte(text, '$')
		if i < 0 {
			b.WriteString(quoteShell(text))
			break
		}
		if i > 0 {
			b.WriteString(quoteShell(text[:i]))
		}
		text = text[i+1:]
		switch end := strings.IndexByte(text, '}'); {
		case strings.HasPrefix(text, "$"):
			b.WriteString(`'$'`)
			text = text[1:]
		case strings.HasPrefix(text, "{") && end > 0 && job.IsParamName(text[1:end]):
			b.WriteString(`"${` + text[1:end] + `}"`)
			text = text[end+1:]
		default:
			b.WriteString(`'$'`)
		}
	}
	if b.Len() == 0 {
		return "''"
	}
	return b.String()
}

// quoteShell writes a text as one word for a shell.
func quoteShell(text string) string {
	if text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=@%+,") == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

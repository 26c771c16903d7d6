package importer

import (
	"bytes"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// rundeck reads job definitions in YAML, JSON and XML.
func (b *book) rundeck(sources []Source) {
	for _, s := range sources {
		var docs []field
		var err error
		if trimmed := bytes.TrimSpace(s.Data); bytes.HasPrefix(trimmed, []byte("<")) {
			var doc field
			if doc, err = xmlDocument(s); err == nil {
				docs = doc.get("joblist").all("job")
			}
		} else {
			var all []field
			all, err = yamlDocuments(s)
			for _, doc := range all {
				docs = append(docs, doc.items()...)
			}
		}
		if err != nil {
			b.leftOut(place{s.Name, 1}, "is no list of jobs as Rundeck exports it: %v", err)
		}
		for _, o := range docs {
			r := &rundeckJob{book: b, o: o}
			r.read()
		}
	}
}

// rundeckJob is a job while it is read.
type rundeckJob struct {
	*book

	o field
	d *draft
}

// rundeckKnown are the fields that are carried over, told of elsewhere, or none of a
// job's definition.
var rundeckKnown = []string{
	"name", "group", "description", "id", "uuid", "executionEnabled", "scheduleEnabled", "schedule", "schedules", "timeZone", "sequence", "options", "context", "nodefilters", "dispatch",
	"timeout", "retry", "multipleExecutions", "maxMultipleExecutions", "loglevel", "nodeFilterEditable", "nodesSelectedByDefault", "defaultTab", "plugins", "execProxy",
}

func (r *rundeckJob) read() {
	name := strings.TrimSpace(r.o.get("name").text())
	if !r.o.isObject() || name == "" {
		r.leftOut(r.o.at(), "is no job: it has no name")
		return
	}
	r.d = r.job(r.o.at(), name)
	s := &r.d.spec
	text := r.o.get("description").text()
	if slug(name) != name {
		text = name + "\n" + text
	}
	r.d.describe(text)
	if group := strings.TrimSpace(r.o.get("group").text()); group != "" && job.CheckLabel("group", group) == nil {
		r.d.meta.Labels = map[string]string{"group": group}
	}
	s.Timeout = job.Duration(job.MaxTimeout)
	r.params()
	if !r.steps() || !r.schedule() || !r.target() {
		r.drop(r.d)
		return
	}
	if s.Overlap = job.OverlapSkip; r.o.get("multipleExecutions").truth(false) {
		s.Overlap = job.OverlapAllow
	}
	if most := r.o.get("maxMultipleExecutions"); most.given() && most.text() != "" {
		r.notPossible(most.at(), "maxMultipleExecutions %s: put the job into a group with maxConcurrent", short(most.text()))
	}
	r.limits()
	for key, f := range r.o.entries() {
		switch {
		case slices.Contains(rundeckKnown, key):
		case key == "notification":
			r.notPossible(f.at(), "notification: nobody is told; have a job start after this one, with on: failure, or look at carillon_alerts_total")
		default:
			r.notPossible(f.at(), "%s: there is nothing like it here", short(key))
		}
	}
}

// rundeckSpan is a time of Rundeck, as in 1d2h30m or 90: of seconds.
var rundeckSpan = regexp.MustCompile(`^(?:(\d+)d)?\s*(?:(\d+)h)?\s*(?:(\d+)m)?\s*(?:(\d+)s?)?$`)

func rundeckTime(text string) (time.Duration, bool) {
	m := rundeckSpan.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil || text == "" {
		return 0, false
	}
	var d time.Duration
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		if m[i+1] == "" {
			continue
		}
		n, err := strconv.ParseInt(m[i+1], 10, 32)
		if err != nil {
			return 0, false
		}
		d += time.Duration(min(n, int64(job.MaxTimeout/unit)+1)) * unit
	}
	return d, d > 0
}

// limits sets what bounds a run, and how often it is tried.
func (r *rundeckJob) limits() {
	s := &r.d.spec
	if t := r.o.get("timeout"); t.given() && t.text() != "" {
		if d, ok := rundeckTime(t.text()); ok && d <= job.MaxTimeout {
			s.Timeout = job.Duration(d)
		} else {
			r.notPossible(t.at(), "timeout %s: is not a time of up to %s", short(t.text()), job.MaxTimeout)
		}
	}
	retry := r.o.get("retry")
	count := retry.text()
	if retry.isObject() {
		count = retry.get("retry").text() + retry.get(textOf).text()
	}
	if count = strings.TrimSpace(count); count == "" || count == "0" {
		return
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 {
		r.notPossible(retry.at(), "retry %s: is not a number", short(count))
		return
	}
	s.Retry = job.Retry{Attempts: min(n+1, job.MaxAttempts)}
	if d, ok := rundeckTime(retry.get("delay").text()); ok && d <= job.MaxTimeout {
		s.Retry.Backoff = job.Duration(d)
		if s.Retry.Attempts > 2 {
			s.Retry.MaxBackoff = job.Duration(d)
		} else if d > job.DefaultMaxBackoff {
			s.Retry.Attempts, s.Retry.MaxBackoff = 3, job.Duration(d)
			r.approximated(retry.at(), "retry: is one attempt more, as pauses above %s need", job.DefaultMaxBackoff)
		}
		return
	}
	r.approximated(retry.at(), "retry %d: pauses between attempts, of a second first, that double; Rundeck has none", n)
}

// schedule sets when the job is due.
func (r *rundeckJob) schedule() bool {
	s := &r.d.spec
	f := r.o.get("schedule")
	if !f.given() || len(f.keys()) == 0 {
		return true
	}
	get := func(names ...string) string {
		for _, path := range names {
			if v := strings.TrimSpace(f.get(strings.Split(path, ".")...).text()); v != "" {
				return v
			}
		}
		return ""
	}
	expr := get("crontab")
	if expr == "" {
		or := func(v, otherwise string) string {
			if v == "" {
				return otherwise
			}
			return v
		}
		second, minute, hour := or(get("time.seconds"), "0"), or(get("time.minute"), "0"), or(get("time.hour"), "*")
		day, weekday := get("dayofmonth.day"), get("weekday.day")
		if day == "" || day == "?" {
			day, weekday = "?", or(weekday, "*")
		} else {
			weekday = "?"
		}
		expr = strings.Join([]string{second, minute, hour, day, or(get("month.month", "month"), "*"), strings.ToUpper(weekday)}, " ")
		if year := get("year.year", "year"); year != "" && year != "*" {
			expr += " " + year
		}
	}
	if fields := strings.Fields(expr); len(fields) == 7 && fields[6] == "*" {
		expr = strings.Join(fields[:6], " ")
	}
	s.Schedules, s.Dialect, s.Misfire, s.TimeZone = []string{expr}, job.DialectQuartz, job.MisfireSkip, r.opts.Zone
	if zone := strings.TrimSpace(r.o.get("timeZone").text()); zone != "" {
		s.TimeZone = zone
	}
	one, err := schedule.Parse(expr, schedule.Options{Zone: s.TimeZone, Dialect: s.Dialect})
	if err != nil {
		r.leftOut(f.at(), "schedule: %v", err)
		return false
	}
	if s.TimeZone == "" {
		r.once("zone", f.at(), "no time zone is given: schedules are read in UTC; give --tz with that of the server")
	}
	if one.Jumps() {
		r.once("dst", f.at(), "in nights in which clocks jump, what is left out runs at the end of the gap, and what comes twice the first time; Quartz does otherwise there: see dst in docs/schedules.md")
	}
	if !r.o.get("scheduleEnabled").truth(true) || !r.o.get("executionEnabled").truth(true) {
		no := false
		s.Enabled = &no
	}
	return true
}

var notInParams = regexp.MustCompile(`[^A-Za-z0-9_]`)

// paramName makes the name of a parameter of that of an option.
func paramName(option string) string {
	name := notInParams.ReplaceAllString(option, "_")
	if name != "" && name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	return name
}

// options returns the options of the job, whatever form it is in.
func (r *rundeckJob) options() []field {
	if list := r.o.get("options"); list.given() {
		return list.items()
	}
	return r.o.get("context", "options").all("option")
}

// params makes parameters of the options.
func (r *rundeckJob) params() {
	seen := map[string]bool{}
	for _, o := range r.options() {
		option := o.get("name").text()
		name := paramName(option)
		if name == "" || seen[strings.ToUpper(name)] {
			r.notPossible(o.at(), "option %q: is no name that is not there already", short(option))
			continue
		}
		seen[strings.ToUpper(name)] = true
		p := job.Param{Name: name, Description: strings.TrimSpace(o.get("description").text()), Required: o.get("required").truth(false), Default: o.get("value").text()}
		if name != option {
			r.approximated(o.at(), "option %s: is the parameter %s", short(option), name)
		}
		values := o.get("values").texts()
		if len(values) == 1 {
			values = strings.Split(values[0], ",")
		}
		switch {
		case o.get("secure").truth(false):
			p.Sensitive, p.Default = true, ""
		case o.get("enforced").truth(false) && len(values) > 0, o.get("enforcedvalues").truth(false) && len(values) > 0:
			p.Type = job.ParamEnum
			for _, v := range values {
				p.Values = append(p.Values, strings.TrimSpace(v))
			}
		default:
			p.Pattern = o.get("regex").text()
		}
		if p.Required && p.Default != "" {
			p.Required = false // what has a default is there in any case
		}
		for _, key := range []string{"multivalued", "valuesUrl", "storagePath", "dateFormat", "isDate", "optionValuesPluginType"} {
			if v := o.get(key); v.given() && v.text() != "false" && v.text() != "" {
				r.notPossible(v.at(), "option %s: %s: there is nothing like it here", short(option), key)
			}
		}
		r.d.spec.Params = append(r.d.spec.Params, p)
	}
}

var (
	optionInText = regexp.MustCompile(`\$\{option\.([^}]+)\}|@option\.([^@\s]+)@`)
	contextText  = regexp.MustCompile(`\$\{(?:job|node|globals|data|export|unquotedoption|config)\.[^}]*\}|@(?:job|node|globals|data|unquotedoption)\.[^@\s]+@`)
	optionInEnv  = regexp.MustCompile(`RD_OPTION_([A-Z0-9_]+)`)
)

// withOptions writes the variables of parameters where a text of a shell has options,
// by the quotes that it has them in.
func withOptions(text string) string {
	text = optionInEnv.ReplaceAllString(text, job.ParamVariable+"$1")
	var b strings.Builder
	var quote byte
	last := 0
	for _, m := range optionInText.FindAllStringSubmatchIndex(text, -1) {
		for i := last; i < m[0]; i++ {
			switch c := text[i]; {
			case c == '\\' && quote != '\'':
				i++
			case quote == 0 && (c == '"' || c == '\''):
				quote = c
			case quote == c:
				quote = 0
			}
		}
		b.WriteString(text[last:m[0]])
		from, to := m[2], m[3]
		if from < 0 {
			from, to = m[4], m[5]
		}
		name := "${" + job.ParamEnv(paramName(text[from:to])) + "}"
		switch quote {
		case 0:
			name = `"` + name + `"`
		case '\'':
			name = `'"` + name + `"'`
		}
		b.WriteString(name)
		last = m[1]
	}
	b.WriteString(text[last:])
	return b.String()
}

// steps sets what runs. It is false when a step cannot be one.
func (r *rundeckJob) steps() bool {
	sequence := r.o.get("sequence")
	commands := sequence.get("commands").items()
	if !sequence.get("commands").given() {
		commands = sequence.all("command")
	}
	if len(commands) == 0 {
		r.leftOut(sequence.at(), "job %s has no step", r.d.meta.Name)
		return false
	}
	goOn := sequence.get("keepgoing").truth(false)
	if strategy := sequence.get("strategy"); len(commands) > 1 && slices.Contains([]string{"step-first", "sequential", "parallel"}, strategy.text()) {
		r.approximated(strategy.at(), "strategy %s: each minion does all steps before it is done; put steps that all minions have to end first into a job of their own", strategy.text())
	}
	steps := make([]job.Step, 0, len(commands))
	names := map[string]bool{}
	for i, c := range commands {
		step, ok := r.step(c)
		if !ok {
			return false
		}
		if goOn && i > 0 {
			step.If = job.IfAlways
		}
		if text := strings.TrimSpace(c.get("description").text()); text != "" {
			step.Name = strings.ToLower(slug(text))
		}
		if names[step.Name] {
			step.Name = ""
		}
		names[step.Name] = true
		if handler := c.get("errorhandler"); handler.given() {
			r.notPossible(handler.at(), "errorhandler of a step: write a step behind it with if: failure, or continueOnFailure")
		}
		steps = append(steps, step)
	}
	r.d.spec.Steps = steps
	return true
}

// step makes a step of a command.
func (r *rundeckJob) step(c field) (job.Step, bool) {
	var step job.Step
	for _, name := range []string{"exec", "script", "scriptfile", "args", "scriptargs"} {
		if m := contextText.FindString(c.get(name).text()); m != "" {
			r.leftOut(c.at(), "a step names %s, which is known to Rundeck only; minions have CARILLON_MINION, CARILLON_JOB, CARILLON_RUN_ID and so on", short(m))
			return step, false
		}
	}
	args := strings.TrimSpace(c.get("args").text() + c.get("scriptargs").text())
	switch {
	case c.get("exec").given():
		step.Shell = withOptions(c.get("exec").text())
	case c.get("script").given():
		return r.script(c, args)
	case c.get("scriptfile").given():
		file := c.get("scriptfile").text()
		step.Shell = strings.TrimSpace(withOptions(file + " " + args))
		r.approximated(c.get("scriptfile").at(), "scriptfile %s: it is not copied to minions: it has to be there, or be a script of the library (docs/scripts.md)", short(file))
	case c.get("jobref").given():
		r.leftOut(c.get("jobref").at(), "a step runs the job %s: write its steps here, or have this job start after: {jobs: [NAME]}", short(c.get("jobref", "name").text()))
		return step, false
	default:
		what := c.get("type").text() + c.get("node-step-plugin", "type").text() + c.get("step-plugin", "type").text()
		if c.get("scripturl").given() {
			what = "scripturl"
		}
		r.leftOut(c.at(), "a step is %s, which is no command: write one that does the same", short(orNone(what)))
		return step, false
	}
	return step, true
}

// script makes a step of a script that stands in the job.
func (r *rundeckJob) script(c field, args string) (job.Step, bool) {
	text := strings.ReplaceAll(c.get("script").text(), "\r\n", "\n")
	interpreter := strings.Fields(strings.ReplaceAll(c.get("scriptInterpreter").text()+c.get("scriptinterpreter").text(), "${scriptfile}", ""))
	if first, _, _ := strings.Cut(text, "\n"); len(interpreter) == 0 && strings.HasPrefix(first, "#!") {
		interpreter = strings.Fields(first[2:])
	}
	if len(interpreter) > 1 && interpreter[0] == "/usr/bin/env" {
		interpreter = interpreter[1:]
	}
	if len(interpreter) == 0 {
		interpreter = []string{"/bin/sh"}
	}
	option := "-c"
	switch base := strings.TrimRight(path.Base(interpreter[0]), "0123456789."); base {
	case "sh", "bash", "dash", "ksh", "zsh":
		text = withOptions(text)
	case "python":
	case "perl", "ruby", "node":
		option = "-e"
	default:
		r.leftOut(c.at(), "a script is for %s: put it into the library (docs/scripts.md), and write script: NAME", short(interpreter[0]))
		return job.Step{}, false
	}
	if option == "-e" || strings.HasPrefix(path.Base(interpreter[0]), "python") {
		text = optionInEnv.ReplaceAllString(text, job.ParamVariable+"$1")
		if m := optionInText.FindString(text); m != "" {
			r.leftOut(c.at(), "a script has %s in its text: have it read the variable %s", short(m), job.ParamEnv(paramName(strings.Trim(m, "@${}")[len("option."):])))
			return job.Step{}, false
		}
	}
	if args == "" {
		return job.Step{Command: append(slices.Clone(interpreter), option, text)}, true
	}
	line := make([]string, 0, len(interpreter)+4)
	for _, w := range append(slices.Clone(interpreter), option, text) {
		line = append(line, quoteShell(w))
	}
	if option == "-c" && !strings.HasPrefix(path.Base(interpreter[0]), "python") {
		line = append(line, "script") // $0
	}
	return job.Step{Shell: strings.Join(append(line, withOptions(args)), " ")}, true
}

// filterPart is a part of a node filter, as in tags: web.
var filterPart = regexp.MustCompile(`(!?[A-Za-z][A-Za-z0-9_-]*)\s*:\s*("[^"]*"|\S+)`)

// target sets on which minions the job runs. It is false when a filter cannot be said,
// as the job would run elsewhere.
func (r *rundeckJob) target() bool {
	s := &r.d.spec
	filters := r.o.get("nodefilters")
	filter := strings.TrimSpace(filters.get("filter").text())
	dispatch := filters.get("dispatch")
	if !dispatch.given() {
		dispatch = r.o.get("dispatch")
	}
	if filter == "" {
		if filters.given() && r.opts.Target == "" && (len(filters.get("include").keys()) > 0 || len(filters.get("exclude").keys()) > 0) {
			r.leftOut(filters.at(), "nodefilters in the old form: write a filter, or give --target")
			return false
		}
		r.once("target", r.o.at(), "job %s has no node filter, and runs on the server: here on any one minion; give --target for those", r.d.meta.Name)
		return true
	}
	if r.opts.Target == "" {
		t := job.Target{}
		rest := strings.TrimSpace(filterPart.ReplaceAllString(filter, ""))
		if rest == ".*" && !strings.Contains(filter, ":") {
			rest = ""
		} else if rest != "" && !strings.ContainsAny(rest, "/*:!\"") && rest == filter {
			t.Names, rest = strings.FieldsFunc(filter, func(c rune) bool { return c == ',' || c == ' ' }), ""
		}
		for _, m := range filterPart.FindAllStringSubmatch(filter, -1) {
			key, value := m[1], strings.Trim(m[2], `"`)
			switch {
			case key[0] == '!', strings.ContainsAny(value, "/"), strings.Contains(value, ".*") && value != ".*":
				rest += " " + m[0]
			case value == ".*":
			case key == "name" || key == "hostname":
				t.Names = append(t.Names, strings.Split(value, ",")...)
			case key == "tags" && !strings.Contains(value, ","):
				for tag := range strings.SplitSeq(value, "+") {
					t.Labels = withLabel(t.Labels, tag, "true")
					r.once("tag "+tag, filters.at(), "tag %s: minions need the label %s=true (worker --label)", short(tag), short(tag))
				}
			case strings.Contains(value, ","), strings.HasPrefix(key, "os-"), key == "tags":
				rest += " " + m[0]
			default:
				t.Labels = withLabel(t.Labels, key, value)
				r.once("attribute "+key, filters.at(), "attribute %s: minions need it as a label (worker --label)", short(key))
			}
		}
		if rest = strings.TrimSpace(rest); rest != "" {
			r.leftOut(filters.at(), "the node filter %q: %q cannot be said in labels and names; give --target with an expression (docs/targets.md)", short(filter), short(rest))
			return false
		}
		s.Target = t
	}
	s.Target.Run = job.SpreadAll
	threads := strings.TrimSpace(dispatch.get("threadcount").text())
	switch n, err := strconv.Atoi(threads); {
	case threads == "":
		s.Rollout.Batch = "1"
	case err == nil && n > 0:
		s.Rollout.Batch = job.Amount(threads)
	default:
		r.notPossible(dispatch.at(), "threadcount %s: is not a number; all minions start at once", short(threads))
	}
	if !dispatch.get("keepgoing").truth(false) {
		none := job.Amount("0")
		s.Rollout.MaxFailures = &none
	}
	for _, key := range []string{"rankAttribute", "rankOrder", "excludePrecedence", "successOnEmptyNodeFilter"} {
		if v := dispatch.get(key); v.given() && (key == "rankAttribute" || key == "rankOrder" && v.text() == "descending" || key == "successOnEmptyNodeFilter" && v.truth(false)) {
			r.notPossible(v.at(), "%s %s: there is nothing like it here; see rollout.order", key, short(v.text()))
		}
	}
	return true
}

func withLabel(labels map[string]string, key, value string) map[string]string {
	if labels == nil {
		labels = map[string]string{}
	}
	labels[key] = value
	return labels
}

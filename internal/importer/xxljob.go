package importer

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// The tables of XXL-JOB.
const (
	xxlJobs   = "xxl_job_info"
	xxlGroups = "xxl_job_group"
)

// xxlJob reads the tables of XXL-JOB, from a dump in SQL or as a list of rows in JSON.
func (b *book) xxlJob(sources []Source) {
	var rows []row
	groups := map[string]string{}
	for _, s := range sources {
		tables, err := xxlTables(s)
		if err != nil {
			b.leftOut(place{s.Name, 1}, "is no dump of %s, in SQL or as a list of rows in JSON: %v", xxlJobs, err)
		}
		rows = append(rows, tables[xxlJobs]...)
		for _, r := range tables[xxlGroups] {
			groups[r.first("id")] = r.first("app_name", "appname")
		}
		if err == nil && len(tables[xxlJobs])+len(tables[xxlGroups]) == 0 {
			b.leftOut(place{s.Name, 1}, "has no row of %s", xxlJobs)
		}
	}
	byID := map[string]*xxlReader{}
	var all []*xxlReader
	for _, r := range rows {
		x := &xxlReader{book: b, row: r, app: groups[r.first("job_group", "jobGroup")]}
		if x.read() {
			all = append(all, x)
			byID[r.first("id")] = x
		}
	}
	for _, x := range all {
		x.children(byID)
	}
}

// xxlTables reads the rows of a source.
func xxlTables(s Source) (map[string][]row, error) {
	trimmed := bytes.TrimSpace(s.Data)
	if len(trimmed) == 0 || trimmed[0] != '[' && trimmed[0] != '{' {
		return dumpRows(s)
	}
	docs, err := jsonDocuments(s)
	tables := map[string][]row{}
	for _, doc := range docs {
		for _, name := range []string{"data", "content", "rows", "RECORDS"} { // of the API, of tools that export
			if inner := doc.get(name); inner.given() && !doc.isList() {
				doc = inner
			}
		}
		for _, o := range doc.items() {
			r := row{at: o.at(), values: map[string]string{}}
			for key, v := range o.entries() {
				if v.given() {
					r.values[snake(key)] = v.text()
				}
			}
			table := xxlJobs
			if _, is := r.values["app_name"]; is && r.first("schedule_type", "job_cron", "glue_type") == "" {
				table = xxlGroups
			}
			tables[table] = append(tables[table], r)
		}
	}
	return tables, err
}

// snake writes jobDesc as job_desc, and appname as app_name.
func snake(key string) string {
	var b strings.Builder
	for _, c := range key {
		if c >= 'A' && c <= 'Z' {
			b.WriteByte('_')
			c += 'a' - 'A'
		}
		b.WriteRune(c)
	}
	if b.String() == "appname" {
		return "app_name"
	}
	return b.String()
}

// xxlReader is a job while it is read.
type xxlReader struct {
	*book

	row row
	// app is the executor of the job; empty: it is not known.
	app string
	d   *draft
}

// glueInterpreters run the scripts of XXL-JOB.
var glueInterpreters = map[string]string{
	"GLUE_SHELL": "bash", "GLUE_PYTHON": "python3", "GLUE_PYTHON2": "python2", "GLUE_NODEJS": "node", "GLUE_PHP": "php", "GLUE_POWERSHELL": "pwsh",
}

// read reads a job. It is false when that is left out.
func (x *xxlReader) read() bool {
	r := x.row
	title := strings.TrimSpace(r.first("job_desc", "name", "title"))
	id := r.first("id")
	glue := r.first("glue_type")
	interpreter, ok := glueInterpreters[glue]
	switch {
	case glue == "BEAN":
		x.leftOut(r.at, "job %s (%s): its handler %s is code inside of the executor: offer it as a command, or as a handler of a minion of your own (package worker)", id, short(title), short(r.first("executor_handler")))
		return false
	case !ok:
		x.leftOut(r.at, "job %s (%s): glue_type %s: write its code as a command", id, short(title), short(glue))
		return false
	case strings.TrimSpace(r.first("glue_source")) == "":
		x.leftOut(r.at, "job %s (%s): its script is empty", id, short(title))
		return false
	}
	name := slug(title)
	if name == "job" {
		name = "xxl-job-" + id
	}
	x.d = x.job(r.at, name)
	x.d.describe(title)
	x.d.annotate("owner", strings.TrimSpace(r.first("author")+" "+r.first("alarm_email")))
	x.d.annotate(annotationText, "xxl-job id "+id)
	if mail := r.first("alarm_email"); mail != "" {
		x.notPossible(r.at, "alarm_email %s: no mail is sent; carillon_alerts_total and `carillon runs` tell of failures", short(mail))
	}
	x.script(interpreter)
	if !x.schedule() {
		x.drop(x.d)
		return false
	}
	x.policies()
	x.route()
	return true
}

// script sets what runs, with the parameter and the number of the shard as its arguments.
func (x *xxlReader) script(interpreter string) {
	source := strings.ReplaceAll(x.row.first("glue_source"), "\r\n", "\n")
	param := x.row.first("executor_param")
	s := &x.d.spec
	s.Script = &job.Script{Interpreter: []string{"/usr/bin/env", interpreter}, Source: source}
	if interpreter == "bash" {
		first, rest, _ := strings.Cut(source, "\n")
		arguments := fmt.Sprintf("set -- %s 0 1\n", quoteShell(param))
		if strings.HasPrefix(first, "#!") {
			s.Script.Source = first + "\n" + arguments + rest
		} else {
			s.Script.Source = arguments + source
		}
		return
	}
	if param != "" {
		x.env(x.row.at, x.d, "XXL_JOB_PARAM", param)
		x.approximated(x.row.at, "job %s: its parameter is the variable XXL_JOB_PARAM, and not the first argument of the script", x.d.meta.Name)
	}
}

// schedule sets when the job is due.
func (x *xxlReader) schedule() bool {
	r, s := x.row, &x.d.spec
	kind, conf := r.first("schedule_type"), strings.TrimSpace(r.first("schedule_conf", "job_cron"))
	if kind == "" && conf != "" {
		kind = "CRON"
	}
	switch kind {
	case "CRON":
		s.Schedules, s.Dialect, s.TimeZone = []string{conf}, job.DialectQuartz, x.opts.Zone
		one, err := schedule.Parse(conf, schedule.Options{Zone: s.TimeZone, Dialect: s.Dialect})
		if err != nil {
			x.leftOut(r.at, "job %s: %v", r.first("id"), err)
			return false
		}
		if s.TimeZone == "" {
			x.once("zone", r.at, "no time zone is given: schedules are read in UTC; give --tz with that of the servers")
		}
		if one.Jumps() {
			x.once("dst", r.at, "in nights in which clocks jump, what is left out runs at the end of the gap, and what comes twice the first time; Java does otherwise there: see dst in docs/schedules.md")
		}
	case "FIX_RATE", "FIX_DELAY":
		n, err := strconv.ParseInt(conf, 10, 64)
		if err != nil || n < 1 || n > int64(schedule.MaxEvery/time.Second) {
			x.leftOut(r.at, "job %s: %s %q is not a number of seconds", r.first("id"), kind, short(conf))
			return false
		}
		s.Schedules = []string{"@every " + (time.Duration(n) * time.Second).String()}
		x.approximated(r.at, "job %s: %s of %d s: counts from 1970, on all hosts alike, and not from the run before", x.d.meta.Name, kind, n)
	case "NONE", "":
	default:
		x.leftOut(r.at, "job %s: schedule_type %s is unknown", r.first("id"), short(kind))
		return false
	}
	if len(s.Schedules) == 0 {
		return true
	}
	if r.first("trigger_status") != "1" {
		no := false
		s.Enabled = &no
	}
	if s.Misfire = job.MisfireSkip; r.first("misfire_strategy") == "FIRE_ONCE_NOW" {
		s.Misfire = job.MisfireLatest
	}
	return true
}

func (x *xxlReader) policies() {
	r, s := x.row, &x.d.spec
	switch r.first("executor_block_strategy") {
	case "SERIAL_EXECUTION":
		s.Overlap = job.OverlapQueueAll
		x.approximated(r.at, "job %s: SERIAL_EXECUTION: at most %d occurrences wait (overlapLimit)", x.d.meta.Name, job.DefaultOverlapLimit)
	case "DISCARD_LATER":
		s.Overlap = job.OverlapSkip
	case "COVER_EARLY":
		s.Overlap = job.OverlapReplace
	}
	s.Timeout = job.Duration(job.MaxTimeout)
	if n, err := strconv.ParseInt(r.first("executor_timeout"), 10, 32); err == nil && n > 0 && n < int64(job.MaxTimeout/time.Second) {
		s.Timeout = seconds(n)
	}
	if n, err := strconv.ParseInt(r.first("executor_fail_retry_count"), 10, 32); err == nil && n > 0 {
		s.Retry = job.Retry{Attempts: int(min(n+1, job.MaxAttempts))}
		x.approximated(r.at, "job %s: %d retries have pauses between them, of a second first, that double", x.d.meta.Name, n)
	}
}

// route sets on how many minions the job runs.
func (x *xxlReader) route() {
	s := &x.d.spec
	if x.app != "" && x.opts.Target == "" && job.CheckLabel("app", x.app) == nil {
		s.Target.Labels = map[string]string{"app": x.app}
		x.once("app "+x.app, x.row.at, "executor %s: minions in its place need the label app=%s (worker --label)", x.app, x.app)
	} else if x.opts.Target == "" {
		x.once("target", x.row.at, "which hosts the executors are on is not in the dump: commands run on any one minion, unless --target is given")
	}
	switch route := x.row.first("executor_route_strategy"); route {
	case "SHARDING_BROADCAST":
		s.Target.Run = job.SpreadAll
		x.notPossible(x.row.at, "job %s: SHARDING_BROADCAST: it runs on all minions, but none is told which share of them it is: the arguments are 0 and 1; have it choose by CARILLON_MINION", x.d.meta.Name)
	case "", "RANDOM", "FAILOVER":
	default:
		x.once("route "+route, x.row.at, "executor_route_strategy %s: any one minion is taken that is there", short(route))
	}
}

// children has others start behind the job.
func (x *xxlReader) children(byID map[string]*xxlReader) {
	for id := range strings.SplitSeq(x.row.first("child_jobid", "child_job_id"), ",") {
		if id = strings.TrimSpace(id); id == "" || id == "0" {
			continue
		}
		child, ok := byID[id]
		if !ok {
			x.notPossible(x.row.at, "child_jobid %s: that job is not among those that are imported; write after: {jobs: [%s]} into it", short(id), x.d.meta.Name)
			continue
		}
		s := &child.d.spec
		if s.After == nil {
			s.After = &job.After{}
		}
		s.After.Jobs = append(s.After.Jobs, x.d.meta.Name)
		if len(s.After.Jobs) > 1 {
			s.After.Match = job.MatchAny
		}
	}
}

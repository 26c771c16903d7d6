package importer

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// dkron reads what GET /v1/jobs of Dkron answers.
func (b *book) dkron(sources []Source) {
	var jobs []*dkronJob
	byName := map[string]*dkronJob{}
	for _, s := range sources {
		docs, err := jsonDocuments(s)
		if err != nil {
			b.leftOut(place{s.Name, 1}, "is no JSON as GET /v1/jobs answers it: %v", err)
			continue
		}
		for _, doc := range docs {
			for _, o := range doc.items() {
				d := &dkronJob{book: b, o: o, config: o.get("executor_config")}
				if d.read() {
					jobs = append(jobs, d)
					if name := o.get("name").text(); byName[name] == nil {
						byName[name] = d
					}
				}
			}
		}
	}
	for _, d := range jobs {
		d.after(byName)
	}
}

// dkronJob is a job while it is read.
type dkronJob struct {
	*book

	o, config field
	d         *draft
}

// dkronKnown are the fields that are carried over, or are none of a job's definition.
var dkronKnown = []string{
	"id", "name", "displayname", "timezone", "schedule", "owner", "owner_email", "success_count", "error_count", "last_success", "last_error", "disabled", "tags", "metadata", "retries",
	"dependent_jobs", "parent_job", "concurrency", "executor", "executor_config", "status", "next", "starts_at", "expires_at", "created_at", "updated_at", "version",
}

// read reads a job. It is false when that is left out.
func (k *dkronJob) read() bool {
	name := k.o.get("name").text()
	if !k.o.isObject() || name == "" {
		k.leftOut(k.o.at(), "is no job: it has no name")
		return false
	}
	k.d = k.job(k.o.at(), name)
	if !k.executor() {
		k.drop(k.d)
		return false
	}
	if !k.schedule() {
		k.drop(k.d)
		return false
	}
	s := &k.d.spec
	k.d.describe(strings.TrimSpace(k.o.get("displayname").text()))
	k.d.annotate("owner", strings.TrimSpace(k.o.get("owner").text()+" "+k.o.get("owner_email").text()))
	k.metadata()
	if k.o.get("disabled").truth(false) && len(s.Schedules) > 0 {
		no := false
		s.Enabled = &no
	}
	if s.Overlap = job.OverlapAllow; k.o.get("concurrency").text() == "forbid" {
		s.Overlap = job.OverlapSkip
	}
	if n, ok := k.o.get("retries").number(); ok && n > 0 {
		s.Retry = job.Retry{Attempts: int(min(n+1, job.MaxAttempts))}
		k.approximated(k.o.get("retries").at(), "retries %d: pauses between attempts, of a second first, that double; Dkron has none", n)
	}
	if s.Timeout == 0 {
		s.Timeout = job.Duration(job.MaxTimeout)
	}
	k.target()
	for key, f := range k.o.entries() {
		empty := !f.given() || f.text() == "" && len(f.keys()) == 0 && len(f.items()) == 0 || f.text() == "false" || f.text() == "0"
		if !slices.Contains(dkronKnown, key) && !empty && f.text() != "0001-01-01T00:00:00Z" {
			k.notPossible(f.at(), "%s: there is nothing like it here", short(key))
		}
	}
	return true
}

// metadata keeps what may be labels.
func (k *dkronJob) metadata() {
	meta := k.o.get("metadata")
	for key, f := range meta.entries() {
		value := f.text()
		if job.CheckLabel(key, value) != nil {
			k.notPossible(f.at(), "metadata %s=%s: is no label here", short(key), short(value))
			continue
		}
		if k.d.meta.Labels == nil {
			k.d.meta.Labels = map[string]string{}
		}
		k.d.meta.Labels[key] = value
	}
}

var randomField = regexp.MustCompile(`^([0-9]*)~([0-9]*)(/[0-9]+)?$`)

// schedule sets when the job is due.
func (k *dkronJob) schedule() bool {
	s := &k.d.spec
	f := k.o.get("schedule")
	expr := strings.TrimSpace(f.text())
	s.TimeZone = k.opts.Zone
	if zone := strings.TrimSpace(k.o.get("timezone").text()); zone != "" {
		s.TimeZone = zone
	}
	switch {
	case expr == "" || expr == "@manually":
		s.TimeZone = ""
		return true
	case expr == "@minutely":
		expr = "0 * * * * *"
	case strings.HasPrefix(expr, "@after "):
		words := strings.Fields(expr)
		at, err := time.Parse(time.RFC3339, words[1])
		if err != nil {
			k.leftOut(f.at(), "schedule %q: %q is no instant", short(expr), short(words[1]))
			return false
		}
		expr = "@at " + at.UTC().Format(time.RFC3339)
		k.approximated(f.at(), "schedule @after: once, at its instant; how much later it may still run is what catchUp says")
	}
	s.Misfire = job.MisfireSkip
	s.Dialect = job.DialectRobfig
	if strings.Contains(expr, "~") {
		words := strings.Fields(expr)
		for i, w := range words {
			if m := randomField.FindStringSubmatch(w); m != nil && len(words) == 6 {
				low, high := [...]int{0, 0, 0, 1, 1, 0}[i], [...]int{59, 59, 23, 28, 12, 6}[i]
				words[i] = fmt.Sprintf("H(%d-%d)%s", orNumber(m[1], low), orNumber(m[2], high), m[3])
			}
		}
		k.approximated(f.at(), "schedule %s: values follow from the job's name, as with Dkron, and are others", expr)
		expr = strings.Join(words, " ")
		s.Dialect = ""
		s.DST = job.DST{Gap: job.GapSkip, Fold: job.FoldBoth}
	}
	one, err := schedule.Parse(expr, schedule.Options{Zone: s.TimeZone, Dialect: s.Dialect})
	if err != nil {
		k.leftOut(f.at(), "schedule: %v", err)
		return false
	}
	if !one.OnClock() || one.Named() && !one.Jumps() { // no dialect matters
		s.Dialect = ""
	}
	if !one.Jumps() {
		s.DST = job.DST{}
	}
	if strings.HasPrefix(expr, "@every") {
		k.approximated(f.at(), "%s: counts from 1970-01-01T00:00:00Z, and not from the start of the leader", expr)
	}
	if one.OnClock() && s.TimeZone == "" {
		k.once("zone", f.at(), "no time zone is given: schedules are read in UTC; give --tz with that of the servers")
	}
	s.Schedules = []string{expr}
	for name, at := range map[string]**time.Time{"starts_at": &s.StartAt, "expires_at": &s.EndAt} {
		if v := k.o.get(name).text(); v != "" && !strings.HasPrefix(v, "0001-01-01") {
			t, err := time.Parse(time.RFC3339, v)
			if err == nil {
				*at = &t
			}
		}
	}
	return true
}

// executor sets what runs.
func (k *dkronJob) executor() bool {
	f := k.o.get("executor")
	s := &k.d.spec
	command := k.config.get("command").text()
	switch f.text() {
	case "shell", "":
		if command == "" {
			k.leftOut(k.config.at(), "job %s has no command", k.d.meta.Name)
			return false
		}
		if k.config.get("shell").truth(false) {
			s.Command = []string{"/bin/sh", "-c", command}
		} else {
			words, ok := shellWords(command)
			if !ok || len(words) == 0 {
				k.leftOut(k.config.get("command").at(), "command %q: the quotes do not end", short(command))
				return false
			}
			s.Command = words
		}
		k.shellConfig()
	case "http":
		if !k.curl() {
			return false
		}
	default:
		k.leftOut(f.at(), "executor %s: commands run on minions; write one that does what it does, or a queue (docs/queues.md)", short(f.text()))
		return false
	}
	if strings.Contains(strings.Join(s.Command, " "), "{{") {
		line := make([]string, len(s.Command))
		for i, w := range s.Command {
			line[i] = quoteShell(w)
		}
		source := strings.Join(line, " ") + "\n"
		if len(s.Command) == 3 && s.Command[0] == "/bin/sh" {
			source = s.Command[2] + "\n"
		}
		s.Command, s.Script = nil, &job.Script{Source: source}
	}
	return true
}

// shellConfig reads what else the executor shell is told.
func (k *dkronJob) shellConfig() {
	s := &k.d.spec
	for key, f := range k.config.entries() {
		v := f.text()
		switch {
		case key == "command", key == "shell", v == "":
		case key == "cwd":
			s.WorkingDir = v
		case key == "env":
			for pair := range strings.SplitSeq(v, ",") {
				name, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
				if !ok || !job.IsParamName(name) {
					k.notPossible(f.at(), "env: %q is not NAME=VALUE", short(pair))
					continue
				}
				k.env(f.at(), k.d, name, value)
			}
		case key == "timeout":
			d, err := time.ParseDuration(v)
			if err != nil || d < job.MinTimeout || d > job.MaxTimeout {
				k.notPossible(f.at(), "timeout %s: is not a time from %s to %s", short(v), job.MinTimeout, job.MaxTimeout)
				continue
			}
			s.Timeout = job.Duration(d)
		case key == "mem_limit_kb":
			n, err := strconv.ParseInt(v, 10, 40)
			if err != nil || n<<10 < job.MinLimitMemory {
				k.notPossible(f.at(), "mem_limit_kb %s: write spec.limits.memory, as in 512Mi", short(v))
				continue
			}
			s.Limits.Memory = job.Size(n << 10)
		case key == "su":
			user, _, _ := strings.Cut(v, ":")
			if job.CheckAccount(user) != nil {
				k.notPossible(f.at(), "su %s: is not an account", short(v))
				continue
			}
			s.User = user
		default:
			k.notPossible(f.at(), "executor_config.%s: there is nothing like it here", short(key))
		}
	}
}

// curl makes a command of the executor http.
func (k *dkronJob) curl() bool {
	url := k.config.get("url").text()
	if url == "" {
		k.leftOut(k.config.at(), "job %s has no url", k.d.meta.Name)
		return false
	}
	words := []string{"curl", "--fail", "--silent", "--show-error"}
	method := k.config.get("method").text()
	if method != "" && method != "GET" {
		words = append(words, "--request", method)
	}
	if n, ok := k.config.get("timeout").number(); ok && n > 0 {
		words = append(words, "--max-time", strconv.FormatInt(n, 10))
	}
	headers, err := jsonDocuments(Source{Data: []byte(k.config.get("headers").text())})
	if err != nil {
		k.notPossible(k.config.get("headers").at(), "headers: are no list in JSON")
	}
	for _, doc := range headers {
		for _, h := range doc.texts() {
			words = append(words, "--header", h)
		}
	}
	if body := k.config.get("body").text(); body != "" {
		words = append(words, "--data-binary", body)
	}
	if k.config.get("tlsNoVerifyPeer").truth(false) {
		words = append(words, "--insecure")
	}
	k.d.spec.Command = append(words, url)
	k.approximated(k.o.get("executor").at(), "executor http: becomes curl on a minion, which fails for answers of 400 and more")
	for key, f := range k.config.entries() {
		if !slices.Contains([]string{"method", "url", "headers", "body", "timeout", "tlsNoVerifyPeer", "debug"}, key) && f.text() != "" && (key != "expectCode" || f.text() != "200") {
			k.notPossible(f.at(), "executor_config.%s: %s: curl is not told of it; write a script that looks at the answer", short(key), short(f.text()))
		}
	}
	return true
}

// target sets on which minions the job runs.
func (k *dkronJob) target() {
	s := &k.d.spec
	tags := k.o.get("tags")
	count, all := 0, false
	for key, f := range tags.entries() {
		value, n, counted := strings.Cut(f.text(), ":")
		if counted {
			c, err := strconv.Atoi(n)
			if err != nil || c < 1 {
				k.notPossible(f.at(), "tag %s: %q is no count", short(key), short(n))
			} else if count == 0 || c < count {
				count = c
			}
		} else {
			all = true
		}
		if job.CheckLabel(key, value) != nil {
			k.notPossible(f.at(), "tag %s: %s: is no label here", short(key), short(value))
			continue
		}
		if s.Target.Labels == nil {
			s.Target = job.Target{Labels: map[string]string{}}
		}
		s.Target.Labels[key] = value
		k.once("tags", f.at(), "tags: minions need them as labels (worker --label)")
	}
	switch {
	case len(s.Target.Labels) == 0:
		k.once("target", k.o.at(), "job %s has no tags: it runs on any one minion; give --target if it is to be another", k.d.meta.Name)
	case count == 1:
	case count > 1:
		s.Target.Run, s.Target.Count = job.SpreadAny, count
	case all:
		s.Target.Run = job.SpreadAll
	}
}

// after has the job start behind its parent.
func (k *dkronJob) after(byName map[string]*dkronJob) {
	f := k.o.get("parent_job")
	if f.text() == "" {
		return
	}
	parent, ok := byName[f.text()]
	if !ok {
		k.notPossible(f.at(), "parent_job %s: is not among the jobs; write after: {jobs: [NAME]}", short(f.text()))
		return
	}
	k.d.spec.After = &job.After{Jobs: []string{parent.d.meta.Name}}
}

// shellWords splits a line at blanks, but not in quotes, as programs do that start
// commands without a shell. It is false for quotes that do not end.
func shellWords(line string) ([]string, bool) {
	var (
		out   []string
		b     strings.Builder
		quote byte
		begun bool
	)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\\' && quote != '\'':
			if i++; i == len(line) {
				return nil, false
			}
			begun = true
			b.WriteByte(line[i])
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			b.WriteByte(c)
		case c == '"' || c == '\'':
			quote, begun = c, true
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			if begun {
				out = append(out, b.String())
			}
			b.Reset()
			begun = false
		default:
			begun = true
			b.WriteByte(c)
		}
	}
	if begun {
		out = append(out, b.String())
	}
	return out, quote == 0
}

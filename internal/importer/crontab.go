package importer

import (
	"fmt"
	"net/mail"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// crontab is one crontab while it is read, from its first line to its last: variables
// hold for the lines below them.
type crontab struct {
	*book

	file string
	// system: there is a column with the account. owner is the account of the others;
	// empty: it is not known.
	system bool
	owner  string
	// vars are the variables so far, but for those that cron reads itself.
	vars map[string]string
	// zone is what CRON_TZ says; zoned: it was given.
	zone   string
	zoned  bool
	jitter job.Duration
	shell  string
	// mailTo and mailFrom are as they stand there; mailAt is where.
	mailTo, mailFrom string
	mailAt           place
	// comment are the lines of comment above.
	comment []string
	// told are the notes that are told once of a file.
	told map[string]bool
}

// entry is a line that starts something.
type entry struct {
	at   place
	text string
	// when are the fields, or @daily and the like.
	when, user, command string
}

// The defaults of cron for its commands.
const (
	cronShell = "/bin/sh"
	cronPath  = "/usr/bin:/bin"
	rootUser  = "root"
	rootHome  = "/root"
)

// crontabs reads crontabs.
func (b *book) crontabs(sources []Source) {
	for _, s := range sources {
		if why := notACrontab(s.Name); why != "" {
			b.leftOut(place{s.Name, 1}, "%s", why)
			continue
		}
		c := &crontab{book: b, file: s.Name, system: b.opts.System, vars: map[string]string{}, told: map[string]bool{}}
		c.read(string(s.Data))
	}
}

// cronNames are what Debian's cron takes as the name of a file in /etc/cron.d.
var cronNames = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// notACrontab tells why cron would not read a file of this name; empty: it would.
func notACrontab(name string) string {
	dir, base := path.Base(path.Dir(name)), path.Base(name)
	switch {
	case dir == "cron.d" && !cronNames.MatchString(base):
		return fmt.Sprintf("cron passes over files in cron.d with a name such as %q; rename it if it is meant", base)
	case slices.Contains([]string{"cron.hourly", "cron.daily", "cron.weekly", "cron.monthly"}, dir):
		return fmt.Sprintf("is a script that run-parts starts, and no crontab: import /etc/crontab, whose line for %s becomes a job", dir)
	}
	return ""
}

// read reads all lines.
func (c *crontab) read(text string) {
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	} else if strings.TrimSpace(lines[len(lines)-1]) != "" {
		c.approximated(place{c.file, len(lines)}, "there is no newline behind the last line: many crons ignore that line, or the whole file; it is read here")
	}
	c.guess(lines)
	for i, line := range lines {
		c.line(place{c.file, i + 1}, line)
	}
}

// guess finds out whether there is a column with the account, and whose crontab it is,
// where that is sure.
func (c *crontab) guess(lines []string) {
	dir, base := path.Base(path.Dir(c.file)), path.Base(c.file)
	spool := dir == "crontabs" || dir == "tabs" || strings.HasSuffix(path.Dir(c.file), "/spool/cron")
	switch {
	case c.system, c.opts.User != "":
	case c.file == "/etc/crontab", dir == "cron.d":
		c.system = true
	case spool && job.CheckAccount(base) == nil:
		c.owner = base
	default:
		entries, root := 0, 0
		for _, line := range lines {
			if when, rest, ok := cutSchedule(strings.TrimSpace(line)); ok && when != "" {
				entries++
				if word, command := cutWord(rest); word == rootUser && command != "" {
					root++
				}
			}
		}
		if c.system = entries > 0 && root == entries; c.system {
			c.kept(place{c.file, 1}, "each line has %q behind its schedule: it is read as one with a column for the account (--system)", rootUser)
		}
	}
	if !c.system && c.owner == "" {
		c.owner = c.opts.User
	}
}

var variable = regexp.MustCompile(`^\s*(?:"([A-Za-z_][A-Za-z0-9_]*)"|'([A-Za-z_][A-Za-z0-9_]*)'|([A-Za-z_][A-Za-z0-9_]*))\s*=\s*(.*)$`)

// line reads one line.
func (c *crontab) line(at place, line string) {
	trimmed := strings.TrimSpace(line)
	switch {
	case trimmed == "":
		c.comment = nil
		return
	case strings.HasPrefix(trimmed, "#"):
		c.comment = append(c.comment, strings.TrimSpace(strings.TrimLeft(trimmed, "#")))
		return
	case strings.ContainsRune(trimmed, 0):
		c.leftOut(at, "the line has a NUL character")
		c.comment = nil
		return
	}
	if m := variable.FindStringSubmatch(line); m != nil {
		c.variable(at, m[1]+m[2]+m[3], unquote(strings.TrimRight(m[4], " \t")))
		c.comment = nil
		return
	}
	c.entry(at, trimmed)
	c.comment = nil
}

// unquote takes the quotes off that are around a value.
func unquote(v string) string {
	if len(v) >= 2 && (v[0] == '"' || v[0] == '\'') && v[len(v)-1] == v[0] {
		return v[1 : len(v)-1]
	}
	return v
}

// variable sets a variable for the lines below.
func (c *crontab) variable(at place, name, value string) {
	switch name {
	case "SHELL":
		if !path.IsAbs(value) {
			c.notPossible(at, "SHELL=%s: a shell is an absolute path; lines below run by %s", value, cronShell)
			value = cronShell
		}
		c.shell, c.vars[name] = value, value
	case "MAILTO", "MAILFROM", "CONTENT_TYPE", "CONTENT_TRANSFER_ENCODING":
		switch name {
		case "MAILTO":
			c.mailTo, c.mailAt = value, at
		case "MAILFROM":
			c.mailFrom = value
		}
		if c.opts.MailServer != "" && (name == "MAILFROM" || name == "MAILTO" && value != "" && mailAddresses(value) != nil) {
			return
		}
		if name == "MAILTO" && value == "" {
			c.kept(at, "MAILTO is empty: no output is mailed; `carillon logs JOB` shows it")
			return
		}
		hint := ""
		if name == "MAILTO" && mailAddresses(value) != nil {
			hint = "; --mail-server HOST:PORT makes a notifier of it, which tells of failures"
		}
		c.notPossible(at, "%s=%s: no output is mailed; it stays with the run, where `carillon logs JOB` shows it, and `carillon runs` tells of failures%s", name, value, hint)
	case "CRON_TZ":
		if err := schedule.CheckZone(value); err != nil {
			c.notPossible(at, "CRON_TZ=%s: %v; lines below keep the zone that held before", value, err)
			return
		}
		c.zone, c.zoned = value, true
		c.kept(at, "CRON_TZ=%s: the schedules below are read in that zone, as by cronie; Debian's own cron does not know CRON_TZ", value)
	case "TZ":
		c.vars[name] = value
		c.kept(at, "TZ=%s: commands get it; as with cron, it does not change when they are due", value)
	case "RANDOM_DELAY":
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 || time.Duration(n)*time.Minute > job.MaxJitter {
			c.notPossible(at, "RANDOM_DELAY=%s: is not a number of minutes up to a day", value)
			return
		}
		c.jitter = job.Duration(time.Duration(n) * time.Minute)
		c.approximated(at, "RANDOM_DELAY=%s: becomes jitter: each occurrence has a delay of its own, always the same for the same one", value)
	case "LOGNAME", "USER":
		c.notPossible(at, "%s=%s: it is always the account's name; leave the line out", name, value)
	default:
		c.vars[name] = value
	}
}

// entry reads a line that starts something.
func (c *crontab) entry(at place, line string) {
	text := line
	if rest, ok := strings.CutPrefix(line, "-"); ok {
		line = rest
		c.kept(at, "the dash before the minute, by which cron does not log the start, changes nothing")
	}
	when, rest, ok := cutSchedule(line)
	if !ok {
		c.leftOut(at, "%q is no line of a crontab: it begins with five fields (minute hour day month weekday), @daily or the like, or NAME=VALUE", short(text))
		return
	}
	e := entry{at: at, text: text, when: when, user: c.owner}
	if word, _ := cutWord(rest); c.fieldLike(word) {
		c.leftOut(at, "there are six fields or more: behind the five of cron (minute hour day month weekday) there is %q; if the first one is the second, or the last one the year, write a job with schedule: %q", word, when+" "+word)
		return
	}
	if c.system {
		e.user, rest = cutWord(rest)
		if e.user == "" || job.CheckAccount(e.user) != nil {
			c.leftOut(at, "%q stands where the account is expected; if there is no such column, import without --system, and with --user NAME", short(e.user))
			return
		}
	}
	e.command = rest
	if e.command == "" {
		c.leftOut(at, "there is no command behind %q", when)
		return
	}
	if !c.system && c.owner == "" {
		c.once("user", at, "no account is given: commands run as the minion's own; give --user NAME, or --system if there is a column with the account")
	}
	c.job(&e)
}

// once notes a thing that is approximated, and so in all lines of the file alike.
func (c *crontab) once(what string, at place, format string, args ...any) {
	if !c.told[what] {
		c.told[what] = true
		c.approximated(at, format, args...)
	}
}

// fieldLike reports whether a word can be a field and no command or account.
func (c *crontab) fieldLike(word string) bool {
	return word != "" && strings.Trim(word, "0123456789*/,-?LW#") == "" && strings.ContainsAny(word, "0123456789*?")
}

// cutWord cuts the first word off a text.
func cutWord(s string) (word, rest string) {
	s = strings.TrimLeft(s, " \t")
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		return s[:i], strings.TrimLeft(s[i:], " \t")
	}
	return s, ""
}

// cutSchedule cuts the five fields, or @daily and the like, off a line. It is false for
// what cannot be the line of a crontab.
func cutSchedule(line string) (when, rest string, ok bool) {
	if line == "" || line[0] == '#' || variable.MatchString(line) {
		return "", "", false
	}
	if line[0] == '@' {
		when, rest = cutWord(line)
		if when == "@every" || when == "@at" {
			var arg string
			arg, rest = cutWord(rest)
			when += " " + arg
		}
		return when, rest, true
	}
	var fields []string
	rest = line
	for range 5 {
		var word string
		word, rest = cutWord(rest)
		if word == "" || !strings.ContainsAny(word[:1], "0123456789*?~HhL") && len(fields) < 3 {
			return "", "", false
		}
		fields = append(fields, word)
	}
	return strings.Join(fields, " "), rest, true
}

// short cuts a long text.
func short(s string) string {
	const longest = 60
	if len(s) > longest {
		return strings.ToValidUTF8(s[:longest], "") + "..."
	}
	return s
}

// job makes a job of an entry.
func (c *crontab) job(e *entry) {
	onStart := strings.EqualFold(e.when, reboot)
	var schedules []string
	if !onStart {
		when, ok := c.schedule(e)
		if !ok {
			return
		}
		schedules = []string{when}
	}
	command, stdin, hasStdin := cutPercent(e.command)
	if strings.TrimSpace(command) == "" {
		c.leftOut(e.at, "there is no command before the %%")
		return
	}
	d := c.book.job(e.at, nameOfCommand(command))
	d.annotate(annotationText, e.text)
	d.describe(c.description())
	s := &d.spec
	s.Schedules = schedules
	s.User, s.Timeout = e.user, job.Duration(job.MaxTimeout)
	if onStart {
		c.onStart(e, s)
	} else {
		c.timing(e, s)
	}
	shell := c.shell
	if shell == "" {
		shell = cronShell
	}
	c.mail(d)
	c.environment(d, e, shell)
	c.command(d, e, shell, command, stdin, hasStdin)
	if c.opts.Target == "" && !onStart {
		c.once("target", e.at, "commands run on any one minion: give --target with the host that this crontab is from, unless it does not matter")
	}
	if strings.Contains(command, "run-parts ") {
		c.kept(e.at, "run-parts stays: the scripts of its directory are those of the minion, and one run is all of them")
	}
}

// mailLabel is what jobs have whose failures are mailed.
const mailLabel = "mailto"

// mailAddresses reads MAILTO; nil: it has none that a mail server takes, as with the names
// of accounts.
func mailAddresses(value string) []string {
	var all []string
	for text := range strings.SplitSeq(value, ",") {
		at, err := mail.ParseAddress(strings.TrimSpace(text))
		if err != nil {
			return nil
		}
		all = append(all, at.Address)
	}
	return all
}

// mail has failures of a job mailed to whom cron mails its output.
func (c *crontab) mail(d *draft) {
	to := mailAddresses(c.mailTo)
	if c.opts.MailServer == "" || len(to) == 0 {
		return
	}
	from := c.mailFrom
	if _, err := mail.ParseAddress(from); err != nil {
		from = "carillon" + to[0][strings.LastIndexByte(to[0], '@'):]
	}
	key := from + " " + strings.Join(to, ",")
	name, known := c.mails[key]
	if !known {
		local, _, _ := strings.Cut(to[0], "@")
		name = c.name("mail-" + local)
		c.mails[key] = name
		n := &draft{
			at: c.mailAt, kind: job.KindNotifier, meta: job.Metadata{Namespace: c.opts.Namespace, Name: name, Annotations: map[string]string{annotationFrom: c.file}},
			notifier: job.NotifierSpec{
				Labels: map[string]string{mailLabel: name}, Email: &job.EmailReceiver{Server: c.opts.MailServer, From: from, To: to},
			},
			said: "mails to " + strings.Join(to, ", ") + " what becomes of jobs that have the label " + mailLabel + "=" + name,
		}
		c.drafts = append(c.drafts, n)
		c.approximated(c.mailAt, "MAILTO=%s: cron mails all output; notifier %s mails failures and recoveries, and output stays with the run", c.mailTo, name)
	}
	d.meta.Labels = map[string]string{mailLabel: name}
}

// description joins the comments above a line, without headings and rulers.
func (c *crontab) description() string {
	var out []string
	for _, text := range c.comment {
		if strings.ContainsFunc(text, func(r rune) bool { return r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r > 0x7f }) && !headings.MatchString(text) {
			out = append(out, text)
		}
	}
	return strings.Join(out, "\n")
}

// headings are comments that name the columns, or draw arrows to them.
var headings = regexp.MustCompile(`^(m\s+h\s+dom|min(ute)?\s+hour|[|.]|\*\s+\*\s+\*)`)

// environment sets what cron sets, where minions set something else.
func (c *crontab) environment(d *draft, e *entry, shell string) {
	c.env(e.at, d, "PATH", cronPath)
	c.env(e.at, d, "SHELL", shell)
	for _, name := range sorted(c.vars) {
		c.env(e.at, d, name, c.vars[name])
	}
	home := c.vars["HOME"]
	switch {
	case path.IsAbs(home):
		d.spec.WorkingDir = home
	case home == "" && e.user == rootUser:
		d.spec.WorkingDir = rootHome
	}
}

// command sets what runs: a line of the shell, which begins in the account's home.
func (c *crontab) command(d *draft, e *entry, shell, command string, stdin []string, hasStdin bool) {
	posix := slices.Contains([]string{"sh", "bash", "dash", "ash", "ksh", "mksh", "zsh"}, path.Base(shell))
	if d.spec.WorkingDir == "" {
		if posix {
			command = "cd || exit; " + command
		} else {
			c.approximated(e.at, "job %s starts in the minion's work directory, and not in the home of its account: %s is no shell by which that could be changed; write HOME=DIR above the line", d.meta.Name, shell)
		}
	}
	if hasStdin {
		text := strings.Join(stdin, "\n") + "\n"
		switch {
		case !strings.Contains(command, "{{") && len(text) <= job.MaxStdin:
			c.kept(e.at, "what is behind the first %% of job %s is its stdin", d.meta.Name)
			d.spec.Stdin = text
		case !posix || strings.HasSuffix(command, `\`):
			c.notPossible(e.at, "the text behind %% cannot be given to the standard input of job %s by %s; write it to a file, and < FILE into the command", d.meta.Name, shell)
		default:
			c.kept(e.at, "what is behind the first %% of job %s is its standard input, as a here-document", d.meta.Name)
			end := endOf(stdin)
			text := "{\n" + command + "\n} <<'" + end + "'\n"
			for _, line := range stdin {
				text += line + "\n"
			}
			d.spec.Script = &job.Script{Source: text + end + "\n"}
			if shell != cronShell {
				d.spec.Script.Interpreter = []string{shell}
			}
			return
		}
	}
	if strings.Contains(command, "{{") { // what looks like a parameter of Carillon is refused in a command
		d.spec.Script = &job.Script{Source: command + "\n"}
		if shell != cronShell {
			d.spec.Script.Interpreter = []string{shell}
		}
		return
	}
	d.spec.Command = []string{shell, "-c", command}
}

// endOf returns a word that is none of the lines, to end them with.
func endOf(lines []string) string {
	end := "END"
	for slices.Contains(lines, end) {
		end += "D"
	}
	return end
}

// cutPercent takes the standard input off a command, as cron does: what is behind the
// first % that has no backslash before it, with further ones for the ends of its lines.
func cutPercent(line string) (command string, stdin []string, has bool) {
	var b strings.Builder
	escaped := false
	i := 0
	for ; i < len(line); i++ {
		ch := line[i]
		switch {
		case escaped && ch == '%':
			text := b.String()
			b.Reset()
			b.WriteString(text[:len(text)-1] + "%")
			escaped = false
			continue
		case escaped:
			escaped = false
		case ch == '\\':
			escaped = true
		case ch == '%':
			return b.String(), inputLines(line[i+1:]), true
		}
		b.WriteByte(ch)
	}
	return b.String(), nil, false
}

// inputLines returns the lines of a standard input. A % behind a backslash is one, and
// others end a line.
func inputLines(text string) []string {
	var b strings.Builder
	escaped := false
	for i := range len(text) {
		ch := text[i]
		if escaped {
			if ch != '%' {
				b.WriteByte('\\')
			}
		} else if ch == '%' {
			ch = '\n'
		}
		if escaped = ch == '\\'; !escaped {
			b.WriteByte(ch)
		}
	}
	if escaped {
		b.WriteByte('\\')
	}
	if b.Len() == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

package importer

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// crontabNames are what cron calls schedules, where Carillon does not.
var crontabNames = map[string]string{"@every_minute": "* * * * *"}

// schedule returns when an entry is due, as a job says it; false: it cannot be said, and
// a note tells why.
func (c *crontab) schedule(e *entry) (string, bool) {
	when := e.when
	if strings.HasPrefix(when, "@") {
		return c.named(e, when)
	}
	fields := strings.Fields(when)
	for i, f := range fields {
		fields[i] = c.field(e, i, f)
	}
	when = strings.Join(fields, " ")
	if _, err := schedule.Parse(when, schedule.Options{Strict: true}); err != nil {
		c.leftOut(e.at, "%v", err)
		return "", false
	}
	return when, true
}

// named reads @daily and the like.
func (c *crontab) named(e *entry, when string) (string, bool) {
	if fields, ok := crontabNames[strings.ToLower(when)]; ok {
		return fields, true
	}
	if !strings.HasPrefix(when, "@every ") && !strings.HasPrefix(when, "@at ") {
		when = strings.ToLower(when)
	}
	if _, err := schedule.Parse(when, schedule.Options{Strict: true}); err != nil {
		c.leftOut(e.at, "%v", err)
		return "", false
	}
	if strings.HasPrefix(when, "@every ") {
		c.approximated(e.at, "%s: counts from 1970-01-01T00:00:00Z, and not from the start of the scheduler", when)
	}
	return when, true
}

// reboot is what cron starts once after the machine has.
const reboot = "@reboot"

// timing sets what goes with the schedule of an entry.
func (c *crontab) timing(e *entry, s *job.Spec) {
	s.TimeZone = c.opts.Zone
	if c.zoned {
		s.TimeZone = c.zone
	}
	if s.TimeZone == "" {
		c.once("zone", e.at, "no time zone is given: schedules are read in UTC; give --tz with the zone of the host that cron runs on")
	}
	s.DST = c.dst(e, s.TimeZone)
	s.Overlap, s.Misfire = job.OverlapAllow, job.MisfireSkip
	s.Jitter = c.jitter
}

// onStart has an entry start with its host.
func (c *crontab) onStart(e *entry, s *job.Spec) {
	s.OnStart = true
	c.approximated(e.at, "@reboot becomes onStart: it runs once for each boot of the machine, when its minion has connected; some crons run it also when cron itself is restarted, as in a container")
	if c.jitter != 0 {
		c.notPossible(e.at, "RANDOM_DELAY: a start with the host is not delayed")
	}
	if c.opts.Target == "" {
		c.approximated(e.at, "it would run on each host that starts: give --target with the host that this crontab is from")
	}
}

// cronUnits are the five fields.
var cronUnits = []struct {
	name     string
	min, max int
}{{"minute", 0, 59}, {"hour", 0, 23}, {"day", 1, 31}, {"month", 1, 12}, {"weekday", 0, 7}}

var (
	randomRange = regexp.MustCompile(`^([0-9]*)~([0-9]*)(/[0-9]+)?$`)
	oneWithStep = regexp.MustCompile(`^([0-9]+)/([0-9]+)$`)
	stepped     = regexp.MustCompile(`^(\*|([0-9]+)-([0-9]+))/([0-9]+)$`)
	foreign     = regexp.MustCompile(`^(\?|[0-9]*[LlWw](-[0-9]+)?|[LlWw]+|[0-9A-Za-z]+#[0-9]|[0-9A-Za-z]{1,3}L|[Hh].*)$`)
)

// field rewrites what is written otherwise in a field of a crontab.
func (c *crontab) field(e *entry, i int, text string) string {
	u := cronUnits[i]
	tokens := strings.Split(text, ",")
	for k, token := range tokens {
		at := fmt.Sprintf("%s %q", u.name, token)
		if m := randomRange.FindStringSubmatch(token); m != nil && (m[3] == "" || m[1] == "") {
			low, high := orNumber(m[1], u.min), orNumber(m[2], u.max)
			if i == 4 {
				high = min(high, 6)
			}
			tokens[k] = fmt.Sprintf("H(%d-%d)%s", low, high, m[3])
			c.approximated(e.at, "%s: cron draws the value anew each time that it reads the file; here it is %s, a value that follows from the job's name", at, tokens[k])
			continue
		}
		if m := oneWithStep.FindStringSubmatch(token); m != nil {
			c.approximated(e.at, "%s: means each %s from %s on in steps of %s, as in cronie; Vixie cron takes it as %s alone: write %s-%d/%s, or %s", at, u.name, m[1], m[2], m[1], m[1], u.max, m[2], m[1])
		}
		if m := stepped.FindStringSubmatch(token); m != nil {
			low, high := orNumber(m[2], u.min), orNumber(m[3], u.max)
			if step := orNumber(m[4], 1); step > high-low && step > 1 && low <= high {
				tokens[k] = strconv.Itoa(low)
				if m[1] == "*" && (i == 2 || i == 4) {
					c.approximated(e.at, "%s: the step is larger than the field, so that only %d matches; written so, day and weekday are joined by or, and not by and", at, low)
				} else {
					c.kept(e.at, "%s: the step is larger than the field, so that only %d matches; written as that", at, low)
				}
			}
			continue
		}
		if foreign.MatchString(token) {
			c.approximated(e.at, "%s: cron on Debian does not read it; it means here what docs/schedules.md says", at)
		}
	}
	return strings.Join(tokens, ",")
}

func orNumber(text string, otherwise int) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return otherwise
	}
	return n
}

// dst returns what a line does when clocks jump. Cron tells lines apart by whether
// minute or hour begin with a star: those go by the clock as it is, and what it leaves
// out they leave out. Others run once, at the end of a gap and the first of two times,
// which is what Carillon does by default.
func (c *crontab) dst(e *entry, zone string) job.DST {
	fields := strings.Fields(e.when)
	if len(fields) != len(cronUnits) || !jumps(zone) {
		return job.DST{}
	}
	wild := strings.HasPrefix(fields[0], "*") || strings.HasPrefix(fields[1], "*")
	s, err := schedule.Parse(e.when, schedule.Options{Zone: zone})
	switch {
	case err != nil:
	case !wild && !s.Jumps():
		c.approximated(e.at, "%s: each hour is there without a star: in the hour that comes twice it is due twice, and by cron once", e.when)
	case wild && s.Jumps():
		return job.DST{Gap: job.GapSkip, Fold: job.FoldBoth}
	}
	return job.DST{}
}

package manifest

import (
	"errors"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/job"
)

const jobHead = "apiVersion: carillon/v1\nkind: Job\nmetadata: {name: x}\nspec:\n  "

// problemAt returns the message about a path in an error of Decode.
func problemAt(err error, path string) (string, bool) {
	var invalid *job.InvalidError
	if !errors.As(err, &invalid) {
		return "", false
	}
	for _, p := range invalid.Problems {
		if p.Path == path {
			return p.Message, true
		}
	}
	return "", false
}

// refused checks that a spec is refused at each path, with a word of what would be right.
func refused(t *testing.T, head, spec string, want map[string]string) {
	t.Helper()
	_, err := Decode("f", []byte(head+spec+"\n"))
	if err == nil {
		t.Errorf("%s\nis taken", spec)
		return
	}
	for path, text := range want {
		if got, ok := problemAt(err, path); !ok || !strings.Contains(got, text) {
			t.Errorf("%s\n%s: %q, want %q; all:\n%v", spec, path, got, text, err)
		}
	}
	var invalid *job.InvalidError
	if errors.As(err, &invalid) && len(invalid.Problems) != len(want) {
		t.Errorf("%s\nhas %d problems, want %d:\n%v", spec, len(invalid.Problems), len(want), err)
	}
	for _, p := range invalid.Problems {
		if p.Line == 0 || p.Column == 0 {
			t.Errorf("%s: %q has no line and column", spec, p)
		}
	}
}

// TestM2_FieldWorksOrIsRefused: no setting is taken without effect; the message says
// with what it has one.
func TestM2_FieldWorksOrIsRefused(t *testing.T) {
	t.Parallel()
	type want = map[string]string
	for spec, w := range map[string]want{
		// A zone, dst and a dialect on @every and @at.
		"{schedule: '@every 24h', timeZone: Europe/Rome, dst: {gap: shift, fold: both}, command: [x]}": {
			"spec.timeZone": "for the clock of Europe/Rome write 0 0 * * *", "spec.dst.gap": "run through", "spec.dst.fold": "run through",
		},
		"{schedule: 'CRON_TZ=Europe/Rome @every 24h', command: [x]}":                                {"spec.schedules[0]": "write CRON_TZ=Europe/Rome 0 0 * * *"},
		"{schedule: 'TZ=Asia/Tokyo @at 2027-03-27T09:00:00Z', timeZone: Europe/Rome, command: [x]}": {"spec.schedules[0]": "write @at 2027-03-27T09:00:00+09:00"},
		"{schedule: '@at 2027-03-27T09:00:00Z', timeZone: Europe/Rome, command: [x]}":               {"spec.timeZone": "for the clock of Europe/Rome write @at 2027-03-27T09:00:00+01:00"},
		"{schedule: '@every 90s', dialect: quartz, command: [x]}":                                   {"spec.dialect": "a schedule in fields"},
		"{schedule: '@at 2027-03-27T09:00:00Z', dialect: robfig, command: [x]}":                     {"spec.dialect": "a schedule in fields"},
		"{schedule: '@every 7h', timeZone: Europe/Rome, command: [x]}":                              {"spec.timeZone": "; leave it out"},
		"{schedule: 'TZ=Asia/Tokyo 0 9 * * *', timeZone: Europe/Rome, command: [x]}":                {"spec.timeZone": "that does not name a zone itself"},
		"{schedule: '0 9 * * *', dst: {gap: skip}, command: [x]}":                                   {"spec.dst.gap": "give timeZone: the clock of UTC never jumps"},
		"{schedule: '*/5 * * * *', timeZone: Europe/Rome, dst: {fold: both}, command: [x]}":         {"spec.dst.fold": "run through"},
		// Zones that are none.
		"{schedule: '@daily', timeZone: localtime, command: [x]}":           {"spec.timeZone": "differs between nodes"},
		"{schedule: '@daily', timeZone: posixrules, command: [x]}":          {"spec.timeZone": "differs between nodes"},
		"{schedule: '@daily', timeZone: Factory, command: [x]}":             {"spec.timeZone": "give an IANA name"},
		"{schedule: '@daily', timeZone: right/Europe/Berlin, command: [x]}": {"spec.timeZone": `write "Europe/Berlin"`},
		"{schedule: '@daily', timeZone: ./Europe/Berlin, command: [x]}":     {"spec.timeZone": "is a path"},
		"{schedule: '@daily', timeZone: europe/berlin, command: [x]}":       {"spec.timeZone": `did you mean "Europe/Berlin"?`},
		// What bears on a schedule, without one.
		"{misfire: all, command: [x]}":                                        {"spec.misfire": "a schedule: give schedule"},
		"{misfire: latest, command: [x]}":                                     {"spec.misfire": "a schedule: give schedule"},
		"{jitter: 5s, command: [x]}":                                          {"spec.jitter": "a schedule: give schedule"},
		"{startAt: 2027-01-01T00:00:00Z, command: [x]}":                       {"spec.startAt": "give schedule"},
		"{endAt: 2027-01-01T00:00:00Z, command: [x]}":                         {"spec.endAt": "give schedule"},
		"{dialect: quartz, command: [x]}":                                     {"spec.dialect": "a schedule in fields"},
		"{timeZone: Europe/Rome, command: [x]}":                               {"spec.timeZone": "give schedule"},
		"{dst: {gap: skip}, command: [x]}":                                    {"spec.dst.gap": "a schedule by the clock"},
		"{count: 3, command: [x]}":                                            {"spec.count": "give schedule"},
		"{calendars: [c], command: [x]}":                                      {"spec.calendars": "a schedule: give schedule"},
		"{enabled: false, command: [x]}":                                      {"spec.enabled": "give schedule"},
		"{catchUp: 1h, command: [x]}":                                         {"spec.catchUp": "a schedule"},
		"{catchUpEvery: 1s, command: [x]}":                                    {"spec.catchUpEvery": "a schedule"},
		"{pauseAfterFailures: 3, command: [x]}":                               {"spec.pauseAfterFailures": "after, watch, onStart or webhook"},
		"{schedule: '@daily', misfire: skip, catchUp: 1h, command: [x]}":      {"spec.catchUp": "give another misfire"},
		"{schedule: '@daily', misfire: skip, catchUpEvery: 1s, command: [x]}": {"spec.catchUpEvery": "give misfire: all"},
		"{schedule: '@daily', onExcluded: next, command: [x]}":                {"spec.onExcluded": "name a calendar"},
		// Policies that something else has to switch on.
		"{retry: {backoff: 5s}, command: [x]}":                              {"spec.retry.backoff": "give attempts"},
		"{retry: {attempts: 1, backoff: 5s}, command: [x]}":                 {"spec.retry.backoff": "attempts: 2 or more"},
		"{retry: {maxBackoff: 5s}, command: [x]}":                           {"spec.retry.maxBackoff": "give attempts"},
		"{retry: {exitCodes: [3]}, idempotent: true, command: [x]}":         {"spec.retry.exitCodes": "give attempts"},
		"{retry: {permanentExitCodes: 3}, command: [x]}":                    {"spec.retry.permanentExitCodes": "give attempts"},
		"{overlapLimit: 5, command: [x]}":                                   {"spec.overlapLimit": "give overlap: queue-all"},
		"{overlap: queue-one, overlapLimit: 5, command: [x]}":               {"spec.overlapLimit": "give overlap: queue-all"},
		"{overlap: replace, overlapGrace: 5s, command: [x]}":                {"spec.overlapGrace": "give overlap: replace-after-grace"},
		"{retry: {attempts: 2, backoff: 5s, maxBackoff: 9s}, command: [x]}": {"spec.retry.maxBackoff": "attempts: 3 or more"},
		"{schedule: '@at 2027-03-27T09:00:00Z', count: 1, command: [x]}":    {"spec.count": "comes more often"},
		"{onDeadline: cancel, command: [x]}":                                {"spec.onDeadline": "give deadline"},
		"{target: {count: 3}, command: [x]}":                                {"spec.target.count": "give run: any"},
		"{rollout: {batch: 5}, command: [x]}":                               {"spec.rollout": "give target.run: all"},
		"{target: {run: all}, rollout: {promote: manual}, command: [x]}":    {"spec.rollout.promote": "give canary or canaryCount"},
		"{target: {run: all}, rollout: {pause: 5s}, command: [x]}":          {"spec.rollout.pause": "give batch"},
		"{target: {run: all}, rollout: {orderBy: site}, command: [x]}":      {"spec.rollout.orderBy": "give order: label"},
		"{after: {jobs: [a], match: any}, command: [x]}":                    {"spec.after.match": "name another job"},
		"{command: ['go:mail'], user: nobody, workingDir: /tmp}":            {"spec.user": "runs inside of the minion", "spec.workingDir": "runs inside of the minion"},
		"{command: ['go:mail'], limits: {pids: 5}}":                         {"spec.limits": "runs inside of the minion"},
		"{steps: [{command: [x], args: [a]}]}":                              {"spec.steps[0].args": "behind its program"},
		"{params: [{name: p, min: '3'}], command: [x]}":                     {"spec.params[0].min": "type: int or number"},
		"{params: [{name: p, values: [a]}], command: [x]}":                  {"spec.params[0].values": "give type: enum"},
		"{params: [{name: p, type: int, pattern: x}], command: [x]}":        {"spec.params[0].pattern": "type: string or path"},
		"{params: [{name: p, required: true, default: x}], command: [x]}":   {"spec.params[0].default": "give one of the two"},
		// What nothing expands.
		"{command: [echo, '{{h}}']}":                      {"spec.command[1]": "{{h}} is not replaced"},
		"{command: [echo, '{{h}}'], params: [{name: h}]}": {"spec.command[1]": "CARILLON_PARAM_H"},
		"{steps: [{command: [echo, '{{h}}']}]}":           {"spec.steps[0].command[1]": `there is no parameter "h"`},
		"{script: 'echo {{h}}', params: [{name: h}]}":     {"spec.script.source": "CARILLON_PARAM_H"},
		// Secrets.
		"{command: [x], env: {A: {}}}":                                   {"spec.env.A.secret": "is missing"},
		"{command: [x], env: {A: {mask: true}}}":                         {"spec.env.A.secret": "is missing"},
		"{command: [x], env: {A: [b]}}":                                  {"spec.env.A": "is not text"},
		"{command: [x], env: {A: {secret: {}}}}":                         {"spec.env.A.secret": "has 0 of file, env, exec and name"},
		"{command: [x], env: {A: {secret: {file: /a, env: B}}}}":         {"spec.env.A.secret": "has 2 of file, env, exec and name"},
		"{command: [x], env: {A: {secret: {file: a}}}}":                  {"spec.env.A.secret.file": "is not an absolute path"},
		"{command: [x], env: {A: {secret: {env: 1A}}}}":                  {"spec.env.A.secret.env": "is not the name of a variable"},
		"{command: [x], env: {A: {secret: {env: CARILLON_JOIN_TOKEN}}}}": {"spec.env.A.secret.env": "Carillon's own"},
		"{command: [x], env: {A: {secret: {exec: [vault]}}}}":            {"spec.env.A.secret.exec[0]": "is not the absolute path"},
		"{command: [x], env: {A: {secret: {path: /a}}}}":                 {"spec.env.A.secret.path": "this field is unknown", "spec.env.A.secret": "has 0 of"},
		"{command: [x], env: {A: {secret: {file: /a}, masked: true}}}":   {"spec.env.A.masked": `did you mean "mask"?`},
		"{command: [x], env: {1A: {secret: {file: /a}}}}":                {"spec.env.1A": "is not the name of a variable"},
		"{command: [x], env: {CARILLON_X: {secret: {file: /a}}}}":        {"spec.env.CARILLON_X": "are set by Carillon itself"},
		// Unknown members.
		"{command: [x], colour: red}":                    {"spec.colour": "this field is unknown"},
		"{command: [x], retry: {attempts: 2, times: 3}}": {"spec.retry.times": "this field is unknown"},
		"{steps: [{command: [x], timout: 3s}]}":          {"spec.steps[0].timout": `did you mean "timeout"?`},
	} {
		refused(t, jobHead, strings.Trim(spec, " "), w)
	}
	for _, spec := range []string{
		"{schedule: '@daily', timeZone: Europe/Rome, dst: {gap: shift, fold: both}, command: [x]}",
		"{schedules: ['@every 1h', '0 9 * * *'], timeZone: Europe/Rome, command: [x]}",
		"{schedule: '*/5 * * * *', timeZone: Europe/Rome, command: [x]}",
		"{schedule: '@daily', timeZone: Europe/Rome, dialect: kubernetes, command: [x]}",
		"{schedule: '@every 24h', timeZone: Europe/Rome, calendars: [c], onExcluded: next, command: [x]}",
		"{enabled: true, command: [x]}",
		"{idempotent: true, retry: {backoff: 5s}, command: [x]}",
		"{after: {jobs: [a, b], match: any}, pauseAfterFailures: 3, command: [x]}",
		"{command: [docker, ps, --format, '{{.Names}}']}",
		"{script: 'echo {{h}}'}",
		"{command: [x], env: {A: {secret: {file: /a}}, B: {secret: {env: B}, mask: true}, C: {secret: {exec: [/bin/c, d]}, mask: false}, D: ''}}",
	} {
		if _, err := Decode("f", []byte(jobHead+spec+"\n")); err != nil {
			t.Errorf("%s is refused: %v", spec, err)
		}
	}
}

// TestM5_ZeroIsZeroOrRefused: a zero, an empty text and an empty list are never taken
// for the default; the message says what to write for it, and for no bound.
func TestM5_ZeroIsZeroOrRefused(t *testing.T) {
	t.Parallel()
	const groupHead = "apiVersion: carillon/v1\nkind: Group\nmetadata: {name: x}\nspec:\n  "
	type want = map[string]string
	for spec, w := range map[string]want{
		"{command: [x], timeout: 0s}":                                        {"spec.timeout": "is 0s; leave it out for the default, 1h; no run is without a bound: the longest is 720h"},
		"{command: [x], timeout: '0'}":                                       {"spec.timeout": "is 0; leave it out"},
		"{command: [x], lostAfter: 0s}":                                      {"spec.lostAfter": "leave it out for the default, 5m"},
		"{schedule: '@daily', command: [x], catchUp: 0s}":                    {"spec.catchUp": "leave it out for no bound; to run nothing of what was missed, write misfire: skip"},
		"{schedule: '@daily', misfire: all, command: [x], catchUpEvery: 0s}": {"spec.catchUpEvery": "leave it out for the default, 100ms"},
		"{schedule: '@daily', command: [x], count: 0}":                       {"spec.count": "is 0; leave it out for no bound; for a job that does not fire, write enabled: false"},
		"{overlap: queue-all, overlapLimit: 0, command: [x]}":                {"spec.overlapLimit": "leave it out for the default, 100; if none is to wait, write overlap: skip"},
		"{overlap: replace-after-grace, overlapGrace: 0s, command: [x]}":     {"spec.overlapGrace": "leave it out for the default, 30s; to end the earlier run at once, write overlap: replace"},
		"{retry: {attempts: 0}, command: [x]}":                               {"spec.retry.attempts": "is 0; leave it out, or write 1, for no retry"},
		"{retry: {attempts: 3, backoff: 0s, maxBackoff: 0s, exitCodes: []}, command: [x]}": {
			"spec.retry.backoff": "for hardly any pause write 1ms", "spec.retry.maxBackoff": "the longest is 720h", "spec.retry.exitCodes": "is empty; leave it out for any failure",
		},
		"{retry: {}, command: [x]}":                                                {"spec.retry": "is empty; leave it out for no retry"},
		"{limits: {memory: 0, pids: 0, cpu: 0}, command: [x]}":                     {"spec.limits.memory": "is 0; leave it out for no bound", "spec.limits.pids": "leave it out for no bound", "spec.limits.cpu": "leave it out for no bound"},
		"{limits: {}, command: [x]}":                                               {"spec.limits": "leave it out for no bounds"},
		"{deadline: 0s, command: [x]}":                                             {"spec.deadline": "leave it out for none"},
		"{lateAfter: 0s, command: [x]}":                                            {"spec.lateAfter": "leave it out for no alert"},
		"{schedule: '@daily', pauseAfterFailures: 0, command: [x]}":                {"spec.pauseAfterFailures": "leave it out for a job that is never paused"},
		"{target: {run: any, count: 0}, command: [x]}":                             {"spec.target.count": "is 0; say on how many minions"},
		"{target: {run: all}, rollout: {canary: a, canaryCount: 0}, command: [x]}": {"spec.rollout.canaryCount": "leave it out for all that canary matches"},
		"{target: {run: all}, rollout: {batch: 0}, command: [x]}":                  {"spec.rollout.batch": "at least 1 has to run at a time"},
		"{target: {run: all}, rollout: {batch: 0%}, command: [x]}":                 {"spec.rollout.batch": "at least 1 has to run at a time"},
		"{target: {run: all}, rollout: {batch: 5, pause: 0s}, command: [x]}":       {"spec.rollout.pause": "for batches that wait for one another"},
		"{target: {run: all}, rollout: {batch: 5, maxPer: {}}, command: [x]}":      {"spec.rollout.maxPer": "leave it out for no bound"},
		"{steps: [{command: [x], timeout: 0s}]}":                                   {"spec.steps[0].timeout": "leave it out for the script's"},
		"{params: [{name: p, maxLength: 0}], command: [x]}":                        {"spec.params[0].maxLength": "leave it out for no bound"},
		// Empty texts and lists.
		"{schedules: [], command: [x]}":                                  {"spec.schedules": "is empty; leave it out for a job that is started by hand"},
		"{schedule: '', command: [x]}":                                   {"spec.schedules[0]": "the expression is empty"},
		"{schedule: '@daily', timeZone: '', command: [x]}":               {"spec.timeZone": "is empty; leave it out for UTC"},
		"{schedule: '0 9 * * *', dialect: '', command: [x]}":             {"spec.dialect": "leave it out for carillon"},
		"{schedule: '@daily', misfire: '', calendars: [], command: [x]}": {"spec.misfire": "leave it out for latest", "spec.calendars": "leave it out for any day"},
		"{group: '', user: '', workingDir: '', overlap: '', command: [x]}": {
			"spec.group": "leave it out", "spec.user": "minion's own account", "spec.workingDir": "minion's work directory", "spec.overlap": "leave it out for skip",
		},
		"{target: {names: [], labels: {}, match: '', run: ''}, command: [x]}": {
			"spec.target.names": "leave it out for minions of any name", "spec.target.labels": "any labels", "spec.target.match": "every minion", "spec.target.run": "leave it out for one",
		},
		"{target: {}, command: [x]}":                       {"spec.target": "is empty; leave it out for any one minion"},
		"{script: {source: x, interpreter: []}}":           {"spec.script.interpreter": "leave it out for /bin/sh"},
		"{script: ''}":                                     {"spec.script.source": "is empty; give the text of the script"},
		"{command: [], script: x}":                         {"spec.command": "give the program"},
		"{steps: [], command: [x]}":                        {"spec.steps": "is empty"},
		"{params: [], command: [x]}":                       {"spec.params": "is empty"},
		"{after: {jobs: []}, command: [x]}":                {"spec.after.jobs": "is empty"},
		"{params: [{name: p, default: ''}], command: [x]}": {"spec.params[0].default": "the parameter is not set then"},
	} {
		refused(t, jobHead, spec, w)
	}
	for spec, w := range map[string]want{
		"{mode: failback, holdOff: 0s}":        {"spec.holdOff": "leave it out for the default, 1m; to give the lock back at once, write 1ms"},
		"{mode: preempt, grace: 0s}":           {"spec.grace": "leave it out for the default, 5s"},
		"{mode: failover, holdOff: 0s}":        {"spec.holdOff": "is 0s"},
		"{maxConcurrent: 0}":                   {"spec.maxConcurrent": "is 0; leave it out for no bound"},
		"{mode: ''}":                           {"spec.mode": "leave it out for balanced"},
		"{mode: timeslice, slice: 0s}":         {"spec.slice": "is missing, or zero; give the length"},
		"{nodes: []}":                          {"spec.nodes": "nobody could fire"},
		"{mode: failback, sites: [], pin: {}}": {"spec.sites": "is empty", "spec.pin": "is empty"},
	} {
		refused(t, groupHead, spec, w)
	}
	refused(t, strings.Replace(groupHead, "Group", "Calendar", 1), "{weekdays: [], closed: [01-01]}", want{"spec.weekdays": "leave it out if all days are business days"})
	refused(t, strings.Replace(groupHead, "Group", "Calendar", 1), "{open: [2027-01-02]}", want{"spec.open": "give one of them"})
	refused(t, strings.Replace(groupHead, "Group", "Script", 1), "{source: x, timeout: 0s}", want{"spec.timeout": "leave it out for the job's"})
	// Zero that is zero, and nothing that is nothing.
	for _, spec := range []string{
		"{schedule: '@daily', jitter: 0s, command: [x]}",
		"{target: {run: all}, rollout: {batch: 5, maxFailures: 0}, command: [x]}",
		"{command: [x, ''], env: {A: ''}, idempotent: false}",
		"{command: [x], env: {}}",
		"{command: [x], timeout: , retry: }",
	} {
		if _, err := Decode("f", []byte(jobHead+spec+"\n")); err != nil {
			t.Errorf("%s is refused: %v", spec, err)
		}
	}
}

// TestSyntaxSaysWhatIsMeant: what is no YAML, or no job, says where and how to write it.
func TestSyntaxSaysWhatIsMeant(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"step without quotes":   {jobHead + "schedule: */5 * * * *\n  command: [echo]\n", `f:5:13: a schedule that begins with * has to be in quotes: write "*/5 * * * *"`},
		"star without quotes":   {jobHead + "schedule: * * * * *\n  command: [echo]\n", `f:5:13: a schedule that begins with * has to be in quotes: write "* * * * *"`},
		"name without quotes":   {jobHead + "schedule: @daily\n  command: [echo]\n", `f:5:13: a schedule that begins with @ has to be in quotes: write "@daily"`},
		"in one line":           {jobHead + "{schedule: @every 5m, command: [echo]}\n", `f:5:14: a schedule that begins with @ has to be in quotes: write "@every 5m"`},
		"in a list":             {jobHead + "schedules:\n  - */5 * * * *\n  command: [echo]\n", `f:6:5: a schedule that begins with * has to be in quotes: write "*/5 * * * *"`},
		"in a list of one line": {jobHead + "schedules: [@daily]\n  command: [echo]\n", `f:5:15: a schedule that begins with @ has to be in quotes: write "@daily"`},
		"a tab":                 {"apiVersion: carillon/v1\nkind: Job\nmetadata:\n\tname: x\n", "f:4:1: the line is indented with a tab, which YAML does not allow; use blanks"},
		"no such anchor":        {jobHead + "script: *text\n", "unknown anchor"},
		"a newer version":       {"apiVersion: carillon/v2\nkind: Job\nmetadata: {name: x}\nspec: {command: [x]}\n", `f:1:13: apiVersion: "carillon/v2" is newer than this release, which reads carillon/v1`},
		"a beta version":        {"apiVersion: carillon/v2beta1\nkind: Job\nmetadata: {name: x}\nspec: {command: [x]}\n", `is newer than this release`},
		"a mistyped version":    {"apiVersion: carillon/1\nkind: Job\nmetadata: {name: x}\nspec: {command: [x]}\n", `did you mean "carillon/v1"?`},
		"a crontab line":        {jobHead + "schedule: 5 * * * * /usr/bin/backup --all\n  command: [x]\n", `f:5:13: spec.schedules[0]: "5 * * * * /usr/bin/backup --all": behind the five fields`},
		"a shell line":          {jobHead + "command: [\"hostname && whoami\"]\n", `f:5:13: spec.command[0]: "hostname && whoami" is one word, and no program has such a name; for a line of a shell write script: hostname && whoami`},
		"a line of words":       {jobHead + "command: [\"ls -l /tmp\"]\n", `write one entry per word, as in ["ls", "-l", "/tmp"], or for a line of a shell script: ls -l /tmp`},
		"a path with options":   {jobHead + "command: [\"/usr/bin/backup --all\"]\n", `write one entry per word, as in ["/usr/bin/backup", "--all"]`},
		"a pipe in a step":      {jobHead + "steps: [{command: [\"ps|wc\"]}]\n", `spec.steps[0].command[0]: "ps|wc" is one word, and no program has such a name; for a line of a shell write shell: ps|wc`},
		"a large variable":      {jobHead + "command: [x]\n  env: {A: " + strings.Repeat("x", 1<<17) + "}\n", `spec.env.A: has, with its name, 131074 bytes; Linux takes at most 131071 in one variable`},
		"a large argument":      {jobHead + "command: [x, " + strings.Repeat("x", 1<<17) + "]\n", `spec.command[1]: has 131072 bytes; Linux takes at most 131071 in one argument`},
	} {
		_, err := Decode("f", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\n got %.400v\nwant %s", name, err, c.want)
		}
	}
	for _, text := range []string{
		jobHead + "command: [\"/opt/my programs/backup\", x]\n",
		jobHead + "command: [sh, -c, \"ls | wc\"]\n",
		"a: &b x\n---\n" + jobHead + "script: x\n  schedules:\n  - \"*/5 * * * *\"\n",
	} {
		if _, err := Decode("f", []byte(text)); err != nil && !strings.Contains(err.Error(), "apiVersion") {
			t.Errorf("%s\nis refused: %v", text, err)
		}
	}
}

package importer

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
)

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

package job

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of what a user may write, besides those of Spec.
const (
	MaxEnv         = 1024
	MaxArgs        = 1024
	MaxTargetNames = 1024
	MaxLabelValue  = 256
	MaxLabelKey    = 2*MaxNameLen + 1 // with a prefix
	MaxUserLen     = 64
	MaxPathLen     = 4096
	// MaxArgBytes is what Linux takes in one argument of a program, or in one
	// variable with its name (MAX_ARG_STRLEN, with pages of 4 KiB).
	MaxArgBytes = 128<<10 - 1
	// MinExecBytes is what Linux takes in all arguments and variables of a program
	// together, however small the limit of its stack is (ARG_MAX).
	MinExecBytes = 128 << 10
	// FactArgBytes is the fact of how much a minion's commands take.
	FactArgBytes = "argBytes"
	// EnvPrefix begins the names of the variables that Carillon sets itself.
	EnvPrefix = "CARILLON_"
)

// problems collects what is wrong.
type problems []Problem

func (p *problems) add(path, format string, args ...any) {
	*p = append(*p, Problem{Path: path, Message: fmt.Sprintf(format, args...)})
}

// Validate returns all that is wrong with the metadata, with paths that begin
// with "metadata". An empty namespace stands for DefaultNamespace.
func (m *Metadata) Validate() []Problem {
	var p problems
	if err := CheckName(m.Name); err != nil {
		p.add("metadata.name", "%v", err)
	}
	if m.Namespace != "" {
		if err := CheckName(m.Namespace); err != nil {
			p.add("metadata.namespace", "%v", err)
		}
	}
	p.labels("metadata.labels", m.Labels)
	size := 0
	for _, k := range slices.Sorted(maps.Keys(m.Annotations)) {
		size += len(k) + len(m.Annotations[k])
		if err := checkLabelKey(k); err != nil {
			p.add("metadata.annotations."+k, "the key %v", err)
		}
	}
	if size > MaxAnnotationsLen {
		p.add("metadata.annotations", "have %d bytes; at most %d are allowed", size, MaxAnnotationsLen)
	}
	return p
}

// CheckLabels returns what is wrong with labels that stand at a path.
func CheckLabels(at string, labels map[string]string) []Problem {
	var p problems
	p.labels(at, labels)
	return p
}

// labels checks a set of labels.
func (p *problems) labels(at string, labels map[string]string) {
	if len(labels) > MaxLabels {
		p.add(at, "has %d labels; at most %d are allowed", len(labels), MaxLabels)
	}
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		if err := checkLabelKey(k); err != nil {
			p.add(at+"."+k, "the key %v", err)
		}
		if err := checkLabelValue(labels[k]); err != nil {
			p.add(at+"."+k, "the value %v", err)
		}
	}
}

// checkLabelKey admits a name, or two of them with a '/' between.
// CheckLabel tells what is wrong with a label.
func CheckLabel(key, value string) error {
	if err := checkLabelKey(key); err != nil {
		return fmt.Errorf("the key %w", err)
	}
	if err := checkLabelValue(value); err != nil {
		return fmt.Errorf("the value of %s %w", key, err)
	}
	return nil
}

// LabelText writes labels as key=value, sorted, with commas between.
func LabelText(labels map[string]string) string {
	var words []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		words = append(words, k+"="+labels[k])
	}
	return strings.Join(words, ",")
}

// CheckLabelKey tells what is wrong with the key of a label.
func CheckLabelKey(key string) error { return checkLabelKey(key) }

func checkLabelKey(k string) error {
	prefix, name, ok := strings.Cut(k, "/")
	if !ok {
		return CheckName(k)
	}
	if err := CheckName(prefix); err != nil {
		return err
	}
	return CheckName(name)
}

// checkLabelValue admits what can be written as key=value,key=value.
func checkLabelValue(v string) error {
	if len(v) > MaxLabelValue {
		return fmt.Errorf("has %d bytes; at most %d are allowed", len(v), MaxLabelValue)
	}
	for _, c := range v {
		if c < ' ' || c == 0x7f || c == ',' || c == '=' {
			return fmt.Errorf("%q contains %q; commas, '=' and control characters are not allowed (annotations take any text)", v, string(c))
		}
	}
	return nil
}

// Validate returns all that is wrong with the spec, with paths that begin with
// "spec". It does not read the schedules and the time zone: package schedule
// does.
func (s *Spec) Validate() []Problem {
	var p problems
	if len(s.Schedules) > MaxSchedules {
		p.add("spec.schedules", "has %d entries; at most %d are allowed", len(s.Schedules), MaxSchedules)
	}
	checkEnum(&p, "spec.dialect", s.Dialect, Dialects())
	checkEnum(&p, "spec.dst.gap", s.DST.Gap, Gaps())
	checkEnum(&p, "spec.dst.fold", s.DST.Fold, Folds())
	if s.Group != "" {
		if err := CheckName(s.Group); err != nil {
			p.add("spec.group", "%v", err)
		}
	}
	s.checkWork(&p)
	s.checkSteps(&p)
	s.checkStdin(&p)
	checkEnvValues(&p, s.Env)
	if s.WorkingDir != "" {
		checkDir(&p, s.WorkingDir)
	}
	if s.User != "" {
		checkUser(&p, s.User)
	}
	s.Limits.check(&p)
	s.Target.check(&p)
	s.Rollout.check(&p)
	if t := time.Duration(s.Timeout); t != 0 && (t < MinTimeout || t > MaxTimeout) {
		p.add("spec.timeout", "%s is out of range; %s to %s are allowed", short(t), short(MinTimeout), short(MaxTimeout))
	}
	if t := time.Duration(s.LostAfter); t != 0 && (t < MinLostAfter || t > MaxLostAfter) {
		p.add("spec.lostAfter", "%s is out of range; %s to %s are allowed", short(t), short(MinLostAfter), short(MaxLostAfter))
	}
	s.Retry.check(&p)
	checkEnum(&p, "spec.overlap", s.Overlap, Overlaps())
	checkEnum(&p, "spec.misfire", s.Misfire, Misfires())
	s.checkWindows(&p)
	effects(&p, "spec.", specRows(), s, reflect.ValueOf(s).Elem())
	if b, err := json.Marshal(s); err == nil && len(b) > MaxSpecBytes {
		p.add("spec", "has %d bytes as JSON; at most %d are allowed", len(b), MaxSpecBytes)
	}
	return p
}

// checkWindows checks the bounds of schedule and policies.
func (s *Spec) checkWindows(p *problems) {
	if s.OverlapLimit < 0 || s.OverlapLimit > MaxOverlapLimit {
		p.add("spec.overlapLimit", "%d is out of range; 1 to %d are allowed", s.OverlapLimit, MaxOverlapLimit)
	}
	p.within("spec.overlapGrace", s.OverlapGrace, 0, MaxOverlapGrace)
	p.within("spec.jitter", s.Jitter, 0, MaxJitter)
	p.within("spec.catchUp", s.CatchUp, 0, MaxCatchUpWindow)
	p.within("spec.catchUpEvery", s.CatchUpEvery, 0, MaxCatchUpEvery)
	p.within("spec.deadline", s.Deadline, 0, MaxDeadline)
	p.within("spec.lateAfter", s.LateAfter, 0, MaxDeadline)
	checkEnum(p, "spec.onDeadline", s.OnDeadline, OnDeadlines())
	if s.Count < 0 || s.Count > MaxCount {
		p.add("spec.count", "%d is out of range; 1 to %d are allowed", s.Count, MaxCount)
	}
	if s.PauseAfterFailures < 0 || s.PauseAfterFailures > MaxPauseAfter {
		p.add("spec.pauseAfterFailures", "%d is out of range; 1 to %d are allowed", s.PauseAfterFailures, MaxPauseAfter)
	}
	s.checkConditions(p)
	if s.Ping != nil {
		s.Ping.check(p)
	}
	if len(s.Calendars) > MaxCalendars {
		p.add("spec.calendars", "has %d entries; at most %d are allowed", len(s.Calendars), MaxCalendars)
	}
	for i, name := range s.Calendars {
		if _, err := ParseKey(name); err != nil {
			p.add("spec.calendars["+strconv.Itoa(i)+"]", "%v", err)
		}
	}
	checkEnum(p, "spec.onExcluded", s.OnExcluded, OnExcludeds())
	if s.StartAt != nil && s.EndAt != nil && !s.StartAt.Before(*s.EndAt) {
		p.add("spec.endAt", "%s is not after startAt, %s", s.EndAt.Format(time.RFC3339), s.StartAt.Format(time.RFC3339))
	}
}

// checkWork checks that there is exactly one thing to run.
func (s *Spec) checkWork(p *problems) {
	switch {
	case s.Dispatch != nil:
		s.Dispatch.check(p)
		for i := range s.Params {
			if s.Params[i].Sensitive {
				p.add("spec.params["+strconv.Itoa(i)+"].sensitive", "is of no use to a job that is dispatched to a queue, as people read the payloads of items; have env of the queue name a secret")
			}
		}
		if len(s.Command) > 0 || s.Script != nil || len(s.Steps) > 0 {
			p.add("spec.dispatch", "is given beside command, script or steps; the queue says what its items run: give one of the two")
		}
	case len(s.Command) == 0 && s.Script == nil && len(s.Steps) == 0:
		p.add("spec.command", "is missing; give either command (a list: the program and its arguments), script or steps, or dispatch to a queue")
	case len(s.Command) > 0 && s.Script != nil:
		p.add("spec.script", "is given beside command; give one of the two")
	case len(s.Steps) > 0 && (len(s.Command) > 0 || s.Script != nil):
		p.add("spec.steps", "are given beside command or script; make that a step, too")
	}
	checkArgs(p, "spec.command", s.Command)
	checkProgram(p, "spec.command", s.Command, "script")
	checkOwn(p, s)
	if s.Script == nil {
		return
	}
	checkArgs(p, "spec.script.interpreter", s.Script.Interpreter)
	checkSource(p, "spec.script.source", s.Script.Source)
}

func checkArgs(p *problems, at string, args []string) {
	if len(args) > MaxArgs {
		p.add(at, "has %d entries; at most %d are allowed", len(args), MaxArgs)
	}
	for i, a := range args {
		switch {
		case i == 0 && strings.TrimSpace(a) == "":
			p.add(at+"[0]", "is empty; the first entry is the program")
		case strings.ContainsRune(a, 0):
			p.add(at+"["+strconv.Itoa(i)+"]", "has a NUL character, which no argument can hold")
		case len(a) > MaxArgBytes:
			p.add(at+"["+strconv.Itoa(i)+"]", "has %d bytes; Linux takes at most %d in one argument: pass a file, or make it a script", len(a), MaxArgBytes)
		}
	}
}

// checkProgram refuses a line of a shell where the name of a program is wanted. Way
// is the field for such a line.
func checkProgram(p *problems, at string, command []string, way string) {
	if len(command) == 0 || strings.TrimSpace(command[0]) == "" {
		return
	}
	const shell = "|&;<>`"
	word := command[0]
	blank := strings.ContainsAny(word, " \t\n")
	if path.IsAbs(word) && !strings.Contains(word, " -") {
		blank = false // there are directories with blanks in their names
	}
	if !blank && !strings.ContainsAny(word, shell) {
		return
	}
	words := strings.Fields(word)
	if strings.ContainsAny(word, shell) {
		p.add(at+"[0]", "%s is one word, and no program has such a name; for a line of a shell write %s: %s", quoteShort(word), way, word)
		return
	}
	for i, w := range words {
		words[i] = strconv.Quote(w)
	}
	p.add(at+"[0]", "%s is one word, and no program has such a name; write one entry per word, as in [%s], or for a line of a shell %s: %s",
		quoteShort(word), strings.Join(words, ", "), way, word)
}

// checkVariable checks a variable that is added to an environment.
func checkVariable(p *problems, k, v string) {
	switch {
	case !isEnvName(k):
		p.add("spec.env."+k, "%q is not the name of a variable; letters, digits and '_' are allowed, and the first is no digit", k)
	case strings.HasPrefix(k, EnvPrefix):
		p.add("spec.env."+k, "names that begin with %s are set by Carillon itself; choose another", EnvPrefix)
	case strings.ContainsRune(v, 0):
		p.add("spec.env."+k, "has a NUL character, which no variable can hold")
	case len(k)+1+len(v) > MaxArgBytes:
		p.add("spec.env."+k, "has, with its name, %d bytes; Linux takes at most %d in one variable: pass a file", len(k)+1+len(v), MaxArgBytes)
	}
}

// IsParamName reports whether a run may have a parameter of this name.
func IsParamName(s string) bool { return isEnvName(s) }

func isEnvName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

func checkDir(p *problems, dir string) {
	switch {
	case !path.IsAbs(dir):
		p.add("spec.workingDir", "%q is not absolute; begin with '/', as in /var/lib/app", dir)
	case len(dir) > MaxPathLen:
		p.add("spec.workingDir", "has %d characters; at most %d are allowed", len(dir), MaxPathLen)
	case strings.ContainsRune(dir, 0):
		p.add("spec.workingDir", "has a NUL character, which no path can hold")
	}
}

// checkUser admits names of accounts, also of directories (name@domain), and
// their numbers.
func checkUser(p *problems, u string) {
	if err := CheckAccount(u); err != nil {
		p.add("spec.user", "%v", err)
	}
}

// CheckAccount returns an error if a text is neither the name nor the number of an
// account.
func CheckAccount(u string) error {
	if len(u) > MaxUserLen {
		return fmt.Errorf("has %d characters; at most %d are allowed", len(u), MaxUserLen)
	}
	wrong := fmt.Errorf("%q is not the name or number of an account, as in www-data or 1000", u)
	for i := range len(u) {
		c := u[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
		inner := i > 0 && (c == '.' || c == '-' || c == '@' || c == '$' && i == len(u)-1)
		if !alnum && !inner {
			return wrong
		}
	}
	if u == "" {
		return wrong
	}
	return nil
}

func (t *Target) check(p *problems) {
	if len(t.Names) > MaxTargetNames {
		p.add("spec.target.names", "has %d entries; at most %d are allowed", len(t.Names), MaxTargetNames)
	}
	for i, n := range t.Names {
		at := "spec.target.names[" + strconv.Itoa(i) + "]"
		switch _, err := path.Match(n, ""); {
		case n == "":
			p.add(at, "is empty; give a minion's id or a glob such as web-*")
		case err != nil:
			p.add(at, "%q is not a glob; * and ? stand for any characters, and [a-z] for one of them", n)
		case len(n) > MaxNameLen:
			p.add(at, "has %d characters; at most %d are allowed", len(n), MaxNameLen)
		case strings.ContainsAny(n, ", \t\n/"):
			p.add(at, "%q can match no minion: ids have no comma, blank or slash; give one entry per id or glob", n)
		}
	}
	p.labels("spec.target.labels", t.Labels)
	checkEnum(p, "spec.target.run", t.Run, Spreads())
	if t.Run == SpreadAny && t.Count < 1 {
		p.add("spec.target.count", "is %d; say on how many minions, 1 or more", t.Count)
	}
	switch {
	case t.Run == SpreadEach && t.By == "":
		p.add("spec.target.by", "is empty; give the label for each of whose values it runs once, such as site")
	case t.By != "":
		p.labels("spec.target", map[string]string{t.By: ""})
	}
}

func (r *Retry) check(p *problems) {
	if r.Attempts < 0 || r.Attempts > MaxAttempts {
		p.add("spec.retry.attempts", "%d is out of range; 1 to %d are allowed (1 means: no retry)", r.Attempts, MaxAttempts)
	}
	checkExitCodes(p, "spec.retry.exitCodes", r.ExitCodes)
	checkExitCodes(p, "spec.retry.permanentExitCodes", r.PermanentExitCodes)
	if len(r.ExitCodes) > 0 && len(r.PermanentExitCodes) > 0 {
		p.add("spec.retry.permanentExitCodes", "is given with exitCodes, by which all other exit codes are permanent; leave one of the two out")
	}
	base, limit := time.Duration(r.Backoff), time.Duration(r.MaxBackoff)
	switch {
	case base < 0 || base > MaxTimeout:
		p.add("spec.retry.backoff", "%s is out of range; 0s to %s are allowed", short(base), short(MaxTimeout))
	case limit < 0 || limit > MaxTimeout:
		p.add("spec.retry.maxBackoff", "%s is out of range; 0s to %s are allowed", short(limit), short(MaxTimeout))
	case limit == 0 && base > DefaultMaxBackoff:
		p.add("spec.retry.backoff", "%s is longer than the longest pause, which is %s unless maxBackoff is given; give maxBackoff", short(base), short(DefaultMaxBackoff))
	case limit != 0 && base > limit:
		p.add("spec.retry.backoff", "%s is longer than maxBackoff, %s", short(base), short(limit))
	}
}

func checkExitCodes(p *problems, at string, codes []int) {
	for i, c := range codes {
		if c < 1 || c > 255 {
			p.add(at+"["+strconv.Itoa(i)+"]", "%d is no exit code of a failure; 1 to 255 are allowed", c)
		}
	}
}

// checkEnum checks that v is empty or one of the values.
func checkEnum[T ~string](p *problems, at string, v T, allowed []T) {
	if v == "" || slices.Contains(allowed, v) {
		return
	}
	words := make([]string, len(allowed))
	for i, a := range allowed {
		words[i] = string(a)
	}
	hint := ""
	if near, ok := Nearest(string(v), words); ok {
		hint = fmt.Sprintf("; did you mean %q?", near)
	}
	p.add(at, "%q is unknown%s (allowed: %s)", string(v), hint, strings.Join(words, ", "))
}

// ExecBytes is about how much the arguments and the variables of a job's largest
// program come to for the kernel, but for parameters: strings, and what leads to them.
func (s *Spec) ExecBytes() int {
	const (
		overhead = 9       // of a string: its end, and the pointer to it
		own      = 4 << 10 // variables that minions set, and the program's path
	)
	size := func(words ...string) int {
		n := 0
		for _, w := range words {
			n += len(w) + overhead
		}
		return n
	}
	program := size(s.Command...)
	for i := range s.Steps {
		st := &s.Steps[i]
		program = max(program, size(st.Command...)+size(st.Shell)+size(st.Args...))
	}
	for k, v := range s.Env {
		program += size(k+v.Text) + 1
	}
	return program + own
}

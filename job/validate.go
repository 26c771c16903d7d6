package job

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Validate returns all that is wrong with the metadata; none means it is fine.
func (m *Metadata) Validate() []Problem {
	var out []Problem
	if err := CheckName(m.Name); err != nil {
		out = append(out, Problem{Path: "metadata.name", Message: err.Error()})
	}
	if err := CheckName(m.Namespace); err != nil {
		out = append(out, Problem{Path: "metadata.namespace", Message: err.Error()})
	}
	if len(m.Labels) > MaxLabels {
		out = append(out, Problem{Path: "metadata.labels", Message: fmt.Sprintf("has %d labels; at most %d are allowed", len(m.Labels), MaxLabels)})
	}
	out = append(out, checkLabels("metadata.labels", m.Labels)...)
	size := 0
	for k, v := range m.Annotations {
		size += len(k) + len(v)
	}
	if size > MaxAnnotationsLen {
		out = append(out, Problem{Path: "metadata.annotations", Message: fmt.Sprintf("hold %d bytes; at most %d are allowed", size, MaxAnnotationsLen)})
	}
	return out
}

func checkLabels(where string, labels map[string]string) []Problem {
	var out []Problem
	for _, k := range sortedKeys(labels) {
		if err := CheckName(strings.ReplaceAll(k, "/", ".")); err != nil {
			out = append(out, Problem{Path: where + "." + k, Message: "label name " + err.Error()})
		}
		if len(labels[k]) > MaxNameLen {
			out = append(out, Problem{Path: where + "." + k, Message: fmt.Sprintf("value has %d characters; at most %d are allowed", len(labels[k]), MaxNameLen)})
		}
	}
	return out
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Validate returns all that is wrong with the spec, schedules excepted; none
// means it is fine.
func (s *Spec) Validate() []Problem {
	var out []Problem
	add := func(where, format string, args ...any) {
		out = append(out, Problem{Path: "spec." + where, Message: fmt.Sprintf(format, args...)})
	}
	if len(s.Schedules) > MaxSchedules {
		add("schedules", "has %d entries; at most %d are allowed", len(s.Schedules), MaxSchedules)
	}
	s.validateCommand(add)
	for _, k := range sortedKeys(s.Env) {
		switch {
		case k == "" || strings.ContainsAny(k, "=\x00"):
			add("env", "%q is not the name of a variable; it may not be empty or hold '='", k)
		case strings.HasPrefix(k, "CARILLON_"):
			add("env."+k, "is set by Carillon itself; choose another name")
		case strings.ContainsRune(s.Env[k], 0):
			add("env."+k, "holds a zero byte")
		}
	}
	if s.WorkingDir != "" && !filepath.IsAbs(s.WorkingDir) {
		add("workingDir", "%q is relative; give an absolute path", s.WorkingDir)
	}
	if strings.ContainsAny(s.User, " :/\x00") {
		add("user", "%q is not the name of an account", s.User)
	}
	s.validateTarget(add)
	if t := time.Duration(s.Timeout); t != 0 && (t < MinTimeout || t > MaxTimeout) {
		add("timeout", "%v is out of range; %v to %v are allowed", t, MinTimeout, MaxTimeout)
	}
	s.validateRetry(add)
	if s.Overlap != "" && !slices.Contains(Overlaps(), s.Overlap) {
		add("overlap", "%q is not known; one of %s is allowed", s.Overlap, join(Overlaps()))
	}
	if s.Misfire != "" && !slices.Contains(Misfires(), s.Misfire) {
		add("misfire", "%q is not known; one of %s is allowed", s.Misfire, join(Misfires()))
	}
	return out
}

func (s *Spec) validateCommand(add func(string, string, ...any)) {
	switch {
	case len(s.Command) == 0 && s.Script == nil:
		add("command", "is missing; give a command (a list: program and arguments) or a script")
	case len(s.Command) > 0 && s.Script != nil:
		add("script", "stands beside command; give one of them")
	case len(s.Command) > 0 && s.Command[0] == "":
		add("command[0]", "is empty; the first entry is the program")
	}
	for i, a := range s.Command {
		if strings.ContainsRune(a, 0) {
			add(fmt.Sprintf("command[%d]", i), "holds a zero byte")
		}
	}
	if s.Script == nil {
		return
	}
	if strings.TrimSpace(s.Script.Source) == "" {
		add("script.source", "is empty; give the script's text")
	}
	if len(s.Script.Source) > MaxScriptBytes {
		add("script.source", "has %d bytes; at most %d are allowed", len(s.Script.Source), MaxScriptBytes)
	}
	if len(s.Script.Interpreter) > 0 && s.Script.Interpreter[0] == "" {
		add("script.interpreter[0]", "is empty; the first entry is the program")
	}
}

func (s *Spec) validateTarget(add func(string, string, ...any)) {
	for i, n := range s.Target.Names {
		if _, err := path.Match(n, ""); err != nil || n == "" {
			add(fmt.Sprintf("target.names[%d]", i), "%q is not a name or glob; *, ? and [a-z] are allowed", n)
		}
	}
	for _, p := range checkLabels("target.labels", s.Target.Labels) {
		add(p.Path, "%s", p.Message)
	}
	if s.Target.Run != "" && !slices.Contains(Spreads(), s.Target.Run) {
		add("target.run", "%q is not known; one of %s is allowed", s.Target.Run, join(Spreads()))
	}
}

func (s *Spec) validateRetry(add func(string, string, ...any)) {
	r := s.Retry
	if r.Attempts < 0 || r.Attempts > MaxAttempts {
		add("retry.attempts", "%d is out of range; 1 to %d are allowed", r.Attempts, MaxAttempts)
	}
	if r.Backoff < 0 || time.Duration(r.Backoff) > MaxTimeout {
		add("retry.backoff", "%v is out of range; 0s to %v are allowed", r.Backoff, MaxTimeout)
	}
	if r.MaxBackoff < 0 || time.Duration(r.MaxBackoff) > MaxTimeout {
		add("retry.maxBackoff", "%v is out of range; 0s to %v are allowed", r.MaxBackoff, MaxTimeout)
	}
}

func join[T ~string](values []T) string {
	parts := make([]string, len(values))
	for i, v := range values {
		parts[i] = string(v)
	}
	return strings.Join(parts, ", ")
}

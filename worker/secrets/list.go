package secrets

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/carillon-cron/carillon/internal/datadir"
	"github.com/carillon-cron/carillon/job"
)

// Limits of a file of rules.
const (
	MaxBytes = 1 << 20
	MaxRules = 10_000
)

// List is what may be found out. It is never changed, and may be used from any
// goroutine.
type List struct {
	file  string
	rules []rule
}

// rule admits references. One of File, Env, Exec and Name is given; Name is a glob of
// NAMESPACE/NAME.
type rule struct {
	File string   `yaml:"file"`
	Env  string   `yaml:"env"`
	Exec []string `yaml:"exec"`
	Name string   `yaml:"name"`
	Jobs []string `yaml:"jobs"`
	line int
}

// Read reads the list in a file. The error is a *job.InvalidError with all problems
// where the file can be read.
func Read(file string) (*List, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := datadir.Guarded(st); err != nil {
		return nil, &job.InvalidError{Problems: []job.Problem{{File: file, Message: err.Error()}}}
	}
	text, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return nil, err
	}
	return Parse(file, text)
}

// Parse reads a list; file names it in problems. The error is a *job.InvalidError.
func Parse(file string, text []byte) (*List, error) {
	l := &List{file: file}
	var problems []job.Problem
	add := func(line int, at, format string, args ...any) {
		problems = append(problems, job.Problem{File: file, Line: line, Path: at, Message: fmt.Sprintf(format, args...)})
	}
	var doc struct {
		Rules []yaml.Node `yaml:"rules"`
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	switch err := dec.Decode(&doc); {
	case len(text) > MaxBytes:
		add(0, "", "has more than %d bytes", MaxBytes)
	case errors.Is(err, io.EOF) || err == nil && doc.Rules == nil:
		add(0, "", "has no rules; write rules: [] where nothing may be found out")
	case err != nil:
		add(0, "", "%v", err)
	case len(doc.Rules) > MaxRules:
		add(0, "rules", "has %d entries; at most %d are allowed", len(doc.Rules), MaxRules)
	case !errors.Is(dec.Decode(&yaml.Node{}), io.EOF):
		add(0, "", "has more than one document; write one")
	default:
		for i := range doc.Rules {
			l.add(&doc.Rules[i], fmt.Sprintf("rules[%d]", i), add)
		}
	}
	if len(problems) > 0 {
		return nil, &job.InvalidError{Problems: problems}
	}
	return l, nil
}

// add reads a rule.
func (l *List) add(n *yaml.Node, at string, problem func(line int, at, format string, args ...any)) {
	if n.Kind != yaml.MappingNode {
		problem(n.Line, at, "is not a mapping; write file, env, exec or name, and jobs where only some may have it")
		return
	}
	known := []string{"file", "env", "exec", "name", "jobs"}
	for i := 0; i < len(n.Content); i += 2 {
		if k := n.Content[i]; !slices.Contains(known, k.Value) {
			problem(k.Line, at+"."+k.Value, "this field is unknown (allowed: file, env, exec, name, jobs)")
			return
		}
	}
	r := rule{line: n.Line}
	if err := n.Decode(&r); err != nil {
		problem(n.Line, at, "%v", err)
		return
	}
	for i, j := range r.Jobs {
		if _, err := path.Match(j, ""); err != nil || !bytes.Contains([]byte(j), []byte("/")) {
			problem(n.Line, fmt.Sprintf("%s.jobs[%d]", at, i), "%q is neither NAMESPACE/NAME nor a glob of one, as in billing/*", j)
		}
	}
	if r.Jobs != nil && len(r.Jobs) == 0 {
		problem(n.Line, at+".jobs", "names no job; leave it out for any job")
	}
	if r.File != "" {
		if _, err := path.Match(r.File, ""); err != nil {
			problem(n.Line, at+".file", "%q is not a pattern: * and ? stand for characters other than /, [a-z] for one of them", r.File)
			return
		}
	}
	if r.Name != "" && r.File == "" && r.Env == "" && len(r.Exec) == 0 {
		if _, err := path.Match(r.Name, ""); err != nil || !strings.Contains(r.Name, "/") {
			problem(n.Line, at+".name", "%q is neither NAMESPACE/NAME nor a glob of one, as in billing/*", r.Name)
		}
		l.rules = append(l.rules, r)
		return
	}
	ref := job.SecretRef{File: r.File, Env: r.Env, Exec: r.Exec, Name: r.Name}
	var invalid *job.InvalidError
	if errors.As(ref.Check(), &invalid) {
		for _, p := range invalid.Problems {
			problem(n.Line, at+p.Path[len("secret"):], "%s", p.Message)
		}
	}
	l.rules = append(l.rules, r)
}

// admits reports whether a rule names a reference for a job.
func (l *List) admits(of job.Key, ref *job.SecretRef) bool {
	return slices.ContainsFunc(l.rules, func(r rule) bool {
		switch {
		case r.Jobs != nil && !slices.ContainsFunc(r.Jobs, func(p string) bool { return matches(p, of.Namespace+"/"+of.Name) }):
			return false
		case ref.File != "":
			return r.File != "" && matches(r.File, ref.File)
		case ref.Env != "":
			return r.Env == ref.Env
		case ref.Name != "":
			return r.Name != "" && matches(r.Name, of.Namespace+"/"+ref.Name)
		}
		return len(ref.Exec) > 0 && slices.Equal(r.Exec, ref.Exec)
	})
}

func matches(pattern, text string) bool {
	ok, err := path.Match(pattern, text)
	return ok && err == nil
}

package command

import (
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/carillon-cron/carillon/job"
)

// Start is what is about to be started. Exactly one of Program and Handler is
// given; Script is given with the Program that reads it.
type Start struct {
	// Program is what would be run: on a minion its absolute path, and where the
	// minion is not known yet, what the order calls it.
	Program string
	// Script is the SHA-256 of a script's text, in hexadecimal. Lead are the
	// arguments of Program before the script.
	Script string
	Lead   []string
	// Handler is the name of a Go handler.
	Handler string
	// Args are the arguments behind the program, the script or the handler.
	Args []string
	// User and UID are the account that runs it. Own: it is the minion's.
	User string
	UID  int
	Own  bool
	// Subject is who has caused the start, and Author who applied what is started.
	// Empty: it is not known.
	Subject string
	Author  string
	// JobAuthor is who applied the job that has put the item which is started. Empty: no
	// job has.
	JobAuthor string
	// Dir is the directory that the order gives. Empty: it gives none.
	Dir string
	// Env are the variables that the order sets.
	Env map[string]string
	// Secrets are those of Env whose values the minion has found out, and that no
	// word may tell.
	Secrets []string
	// Draft: a word that has job.Undecided in it is not known yet, and is looked at when
	// it is.
	Draft bool
}

// Rule admits starts. It is never changed, and may be used from any goroutine.
type Rule struct {
	name string
	line int

	program     string
	script      string
	interpreter []string
	handler     string

	args    []pattern
	anyArgs bool
	// anyFurther: more arguments may follow.
	anyFurther bool
	users      []string
	// anyUser: whom the command runs as is bounded elsewhere.
	anyUser bool
	// subjects are who may stand behind a start. Nil: anybody.
	subjects  []pattern
	dirs      []string
	env       map[string]pattern
	params    []string
	anyParams bool
}

// pattern admits texts.
type pattern struct {
	text string
	glob bool
	any  bool
}

func (p pattern) admits(s string) bool {
	switch {
	case p.any:
		return true
	case p.glob:
		ok, err := path.Match(p.text, s)
		return ok && err == nil
	}
	return s == p.text
}

func (p pattern) String() string {
	switch {
	case p.any:
		return "anything"
	case p.glob:
		return "the glob " + strconv.Quote(p.text)
	}
	return strconv.Quote(p.text)
}

// Name is what the rule is called, Line where it stands in its file.
func (r *Rule) Name() string { return r.name }

// Line is where the rule stands in its file, from 1.
func (r *Rule) Line() int { return r.line }

// Compare tells how the program of a start differs from the one of a rule, at path,
// which is its program or its interpreter, as what says; empty: not at all.
type Compare func(what, path string) string

// AsSpelled compares programs by how they are spelled: that of the start has to be an
// absolute path, too.
func (s *Start) AsSpelled(what, path string) string {
	switch {
	case s.Program == path:
		return ""
	case !filepath.IsAbs(s.Program) && filepath.Base(s.Program) == filepath.Base(path):
		return fmt.Sprintf("the %s is %q, and the rule has %s; write that path", what, s.Program, path)
	}
	return fmt.Sprintf("the %s is %q, and the rule has %s", what, s.Program, path)
}

// Differs tells all that keeps the rule from admitting the start, and how far
// what is run is from what the rule is about: 0 is the same.
func (r *Rule) Differs(s *Start, compare Compare) (all []string, far int) {
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	far = r.differsInProgram(s, compare, add)
	r.differsInArgs(s, add)
	switch {
	case r.anyUser:
	case len(r.users) == 0 && !s.Own:
		add("it is to run as %s, and the rule names no user", s.User)
	case len(r.users) > 0 && !slices.Contains(r.users, s.User) && !slices.Contains(r.users, strconv.Itoa(s.UID)):
		add("it is to run as %s, and the rule has the user %s", s.User, strings.Join(r.users, ", "))
	}
	r.differsInSubjects(s, add)
	switch {
	case s.Dir == "":
	case len(r.dirs) == 0:
		add("it is to start in %s, and the rule names no workingDir", s.Dir)
	case !slices.ContainsFunc(r.dirs, func(d string) bool { return sameDir(d, s.Dir) }):
		add("it is to start in %s, and the rule has the workingDir %s", s.Dir, strings.Join(r.dirs, ", "))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		if slices.Contains(s.Secrets, name) {
			r.differsInSecret(name, add)
			continue
		}
		r.differsInVariable(s, name, s.Env[name], add)
	}
	return all, far
}

// differsInSubjects compares who stands behind the start: who has caused it, who has
// said what is started, and who has made what it is told.
func (r *Rule) differsInSubjects(s *Start, add func(string, ...any)) {
	if r.subjects == nil {
		return
	}
	one := func(who, what string) {
		switch {
		case who == "":
			add("nobody knows who %s, and the rule has the subjects %s", what, r.subjectText())
		case !slices.ContainsFunc(r.subjects, func(p pattern) bool { return p.admits(who) }):
			add("%s %s, and the rule has the subjects %s", who, what, r.subjectText())
		}
	}
	one(s.Author, "applied the job")
	if s.Subject != s.Author {
		one(s.Subject, "asked for the start")
	}
	if s.JobAuthor != "" && s.JobAuthor != s.Author && s.JobAuthor != s.Subject {
		one(s.JobAuthor, "applied the job that put the item")
	}
}

func (r *Rule) subjectText() string {
	all := make([]string, len(r.subjects))
	for i, p := range r.subjects {
		all[i] = p.String()
	}
	return strings.Join(all, ", ")
}

// differsInProgram compares what is run.
func (r *Rule) differsInProgram(s *Start, compare Compare, add func(string, ...any)) int {
	const other, otherKind = 1, 2
	switch {
	case r.handler != "" || s.Handler != "":
		if r.handler == s.Handler {
			return 0
		}
		add("%s is to run, and the rule has %s", s.what(), r.what())
		if r.handler == "" || s.Handler == "" {
			return otherKind
		}
		return other
	case (r.script != "") != (s.Script != ""):
		add("%s is to run, and the rule has %s", s.what(), r.what())
		return otherKind
	}
	far := 0
	if r.script != s.Script {
		add("the script is %s, and the rule has %s", s.Script, r.script)
		far = other
	}
	path, what := r.program, "program"
	if r.script != "" {
		path, what = r.interpreter[0], "interpreter"
		if !slices.Equal(r.interpreter[1:], s.Lead) {
			add("the interpreter has the arguments %q, and the rule has %q", s.Lead, r.interpreter[1:])
		}
	}
	if text := compare(what, path); text != "" {
		add("%s", text)
		return max(far, other)
	}
	return far
}

func (r *Rule) what() string {
	switch {
	case r.handler != "":
		return "the Go handler " + r.handler
	case r.script != "":
		return "the script " + r.script
	}
	return r.program
}

func (s *Start) what() string {
	switch {
	case s.Handler != "":
		return "the Go handler " + s.Handler
	case s.Script != "":
		return "the script " + s.Script
	}
	return s.Program
}

func (r *Rule) differsInArgs(s *Start, add func(string, ...any)) {
	if r.anyArgs {
		return
	}
	if n := len(s.Args); n > len(r.args) && !r.anyFurther {
		add("it has the arguments %q, and the rule has %d", s.Args, len(r.args))
		return
	}
	for i, p := range r.args {
		switch {
		case i >= len(s.Args):
			add("it has %d arguments, and the rule has %d", len(s.Args), len(r.args))
			return
		case !s.undecided(s.Args[i]) && !p.admits(s.Args[i]):
			add("argument %d is %q, and the rule has %s", i+1, s.Args[i], p)
		}
	}
}

func (r *Rule) differsInVariable(s *Start, name, value string, add func(string, ...any)) {
	undecided := s.undecided(value)
	if p, ok := r.env[name]; ok {
		switch {
		case undecided || p.admits(value):
		case name == payloadVariable:
			add("the variable %s is another, and the rule has %s", name, p)
		default:
			add("the variable %s is %q, and the rule has %s", name, value, p)
		}
		return
	}
	param, isParam := strings.CutPrefix(name, job.ParamVariable)
	switch {
	case isParam && undecided: // it may not be given
	case isParam && r.admitsParam(param):
	case isParam:
		add("it has the parameter %s, which the rule's params do not name", strings.ToLower(param))
	case s.admitsOwn(name, value):
	default:
		add("it sets the variable %s, which the rule's env does not name", name)
	}
}

// admitsParam reports whether the rule's params name a parameter, in whatever case.
func (r *Rule) admitsParam(name string) bool {
	return r.anyParams || slices.ContainsFunc(r.params, func(p string) bool { return strings.EqualFold(p, name) })
}

// differsInSecret compares a variable whose value no word may tell: a rule that has
// anything but any: true would.
func (r *Rule) differsInSecret(name string, add func(string, ...any)) {
	param, isParam := strings.CutPrefix(name, job.ParamVariable)
	switch p, ok := r.env[name]; {
	case !ok && isParam && r.admitsParam(param):
	case !ok && isParam:
		add("it has the parameter %s, which the rule's params do not name", strings.ToLower(param))
	case !ok:
		add("it sets the variable %s, which the rule's env does not name", name)
	case !p.any:
		add("the variable %s is a secret, and the rule has a value for it: write {any: true}", name)
	}
}

// sameDir reports whether two paths lead to one directory.
func sameDir(a, b string) bool {
	x, err1 := filepath.EvalSymlinks(a)
	y, err2 := filepath.EvalSymlinks(b)
	return err1 == nil && err2 == nil && x == y
}

// undecided reports whether a word is not known yet.
func (s *Start) undecided(word string) bool { return s.Draft && strings.Contains(word, job.Undecided) }

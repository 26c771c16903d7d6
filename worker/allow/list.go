package allow

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/carillon-cron/carillon/internal/command"
	"github.com/carillon-cron/carillon/internal/datadir"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/program"
)

// Start is what is about to be started.
type Start = command.Start

// List is what may be started. It is never changed, and may be used from any
// goroutine.
type List struct {
	file  string
	rules []command.Rule
}

// Read reads the list in a file. The error is a *job.InvalidError with all
// problems where the file can be read.
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
	text := make([]byte, min(st.Size(), command.MaxBytes+1))
	n, err := f.ReadAt(text, 0)
	if n < len(text) {
		return nil, err
	}
	l, err := Parse(file, text)
	if open := datadir.Guarded(st); open != nil {
		all := &job.InvalidError{Problems: []job.Problem{{File: file, Message: open.Error()}}}
		var others *job.InvalidError
		if errors.As(err, &others) {
			all.Problems = append(all.Problems, others.Problems...)
		}
		return nil, all
	}
	return l, err
}

// Parse reads a list; file names it in problems. The error is a
// *job.InvalidError with all problems.
func Parse(file string, text []byte) (*List, error) {
	rules, err := command.Parse(file, text)
	if err != nil {
		return nil, err
	}
	return &List{file: file, rules: rules}, nil
}

// Check returns why nothing in the list admits the start, and what was looked at
// where something does. Owners are the accounts, besides root, that may change the
// program.
func (l *List) Check(s *Start, owners ...int) (program.Located, error) {
	var found program.Place
	if s.Handler == "" {
		var err error
		if found, err = program.At(s.Program); err != nil {
			return program.Located{}, fmt.Errorf("program %s: %w", s.Program, err)
		}
	}
	var near *command.Rule
	var nearest []string
	closest := 0
	for i := range l.rules {
		r := &l.rules[i]
		differs, far := r.Differs(s, byPlace(found))
		if len(differs) == 0 {
			return l.locate(s, r, found, owners)
		}
		if d := far*1000 + len(differs); near == nil || d < closest {
			near, nearest, closest = r, differs, d
		}
	}
	if near == nil {
		return program.Located{}, fmt.Errorf("this minion's list of what may run here, %s, has no rules", l.file)
	}
	return program.Located{}, fmt.Errorf("this minion's list of what may run here, %s, does not have it; rule %q (line %d) is nearest, but %s",
		l.file, near.Name(), near.Line(), strings.Join(nearest, "; "))
}

// byPlace compares programs by the files that they are on this host (I2).
func byPlace(found program.Place) command.Compare {
	return func(what, path string) string {
		if filepath.Base(path) != filepath.Base(found.Name) {
			return fmt.Sprintf("the %s is %s, and the rule has %s", what, found.Name, path)
		}
		switch at, err := program.At(path); {
		case err != nil:
			return fmt.Sprintf("the rule's %s cannot be found: %v", what, err)
		case at == found:
			return ""
		default:
			return fmt.Sprintf("the %s is %s, and the rule has %s", what, found.Name, at.Name)
		}
	}
}

// locate looks at the program of a start that a rule admits (I3).
func (l *List) locate(s *Start, r *command.Rule, found program.Place, owners []int) (program.Located, error) {
	if s.Handler != "" {
		return program.Located{}, nil
	}
	at, err := program.Locate(s.Program, owners...)
	if err == nil && at.Place != found {
		err = fmt.Errorf("%s leads elsewhere than a moment ago", s.Program)
	}
	if err != nil {
		return at, fmt.Errorf("this minion's list of what may run here, %s, has it as rule %q (line %d), but cannot hold: %w", l.file, r.Name(), r.Line(), err)
	}
	return at, nil
}

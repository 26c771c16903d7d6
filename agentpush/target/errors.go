package target

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/carillon-cron/carillon/job"
)

// SyntaxError says all that is wrong with an expression or a set of names.
type SyntaxError struct {
	// Source is what was read.
	Source   string
	Problems []Problem
}

// Problem is one thing that is wrong.
type Problem struct {
	// Column is where, in characters; the first is 1.
	Column int
	// Text says what is wrong, and what would be right.
	Text string
}

// Error returns all problems in one line, each with its column.
func (e *SyntaxError) Error() string {
	texts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		texts[i] = fmt.Sprintf("column %d: %s", p.Column, p.Text)
	}
	return strings.Join(texts, "; ")
}

// Caret returns the source and, for each problem, a line that points at it, for
// a person at a terminal.
func (e *SyntaxError) Caret() string {
	var b strings.Builder
	// A line break or a tab in the source would move what stands below it.
	b.WriteString(strings.NewReplacer("\n", " ", "\r", " ", "\t", " ").Replace(e.Source))
	for _, p := range e.Problems {
		b.WriteString("\n" + strings.Repeat(" ", p.Column-1) + "^ " + p.Text)
	}
	return b.String()
}

// Problems returns an error of Parse, ParseNodeSet or Bind as problems of the
// field at path.
func Problems(path string, err error) []job.Problem {
	var syntax *SyntaxError
	if !errors.As(err, &syntax) {
		return []job.Problem{{Path: path, Message: err.Error()}}
	}
	out := make([]job.Problem, len(syntax.Problems))
	for i, p := range syntax.Problems {
		out[i] = job.Problem{Path: path, Message: fmt.Sprintf("column %d: %s", p.Column, p.Text)}
	}
	return out
}

// faults gathers what is wrong with a source.
type faults struct {
	source   string
	problems []Problem
}

// add notes a problem at an offset in bytes.
func (f *faults) add(at int, format string, args ...any) {
	f.problems = append(f.problems, Problem{utf8.RuneCountInString(f.source[:at]) + 1, fmt.Sprintf(format, args...)})
}

// err returns the problems as an error, nil if there are none.
func (f *faults) err() error {
	if len(f.problems) == 0 {
		return nil
	}
	return &SyntaxError{Source: f.source, Problems: f.problems}
}

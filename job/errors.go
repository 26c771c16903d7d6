package job

import (
	"errors"
	"fmt"
	"strings"
)

// The errors that cross packages. Whoever shows one to a person maps it to an
// exit code or an HTTP status in one place.
var (
	// ErrNotFound is returned when a named thing does not exist.
	ErrNotFound = errors.New("not found")
	// ErrConflict is returned when a thing was changed by somebody else meanwhile.
	ErrConflict = errors.New("conflict")
	// ErrForbidden is returned when who asks may not do it.
	ErrForbidden = errors.New("not allowed")
	// ErrUnavailable is returned when the cluster cannot answer now.
	ErrUnavailable = errors.New("unavailable")
	// ErrNoMinions is returned when a target matches no connected minion. Its
	// text is part of the interface.
	ErrNoMinions = errors.New("No minions matched the target") //nolint:staticcheck // fixed wording
)

// Problem is one thing wrong with what a user gave.
type Problem struct {
	// Path is the field, as in "spec.schedules[1]". Empty: the whole.
	Path string `json:"path,omitempty"`
	// Message says what is wrong and what would be right.
	Message string `json:"message"`
	// File, Line and Column tell where it was read; both count from 1, 0 is unknown.
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File + ":")
	}
	if p.Line > 0 {
		fmt.Fprintf(&b, "%d:", p.Line)
		if p.Column > 0 {
			fmt.Fprintf(&b, "%d:", p.Column)
		}
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	return b.String() + p.Message
}

// InvalidError is returned for input that cannot be accepted. It holds all
// problems at once.
type InvalidError struct {
	Problems []Problem
}

func (e *InvalidError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

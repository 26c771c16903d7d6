package target

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Expr is a target as it was parsed. It does not change.
type Expr struct {
	root node
	// groups are the saved groups that it names, sorted.
	groups []string
}

// String returns the expression in its canonical form. Parse reads it as the
// same expression.
func (e *Expr) String() string {
	var b strings.Builder
	e.root.write(&b)
	return b.String()
}

// Groups returns the names of the saved groups that the expression uses
// directly, sorted.
func (e *Expr) Groups() []string { return slices.Clone(e.groups) }

// MarshalText returns the canonical form.
func (e *Expr) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText parses text into e.
func (e *Expr) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*e = *parsed
	return nil
}

// Groups are the saved groups, by name.
type Groups map[string]*Expr

// UnknownGroupError says that an expression names groups that are not saved.
type UnknownGroupError struct{ Names []string }

// Error names the groups.
func (e *UnknownGroupError) Error() string {
	if len(e.Names) == 1 {
		return "no group of hosts is named " + e.Names[0]
	}
	return "no groups of hosts are named " + strings.Join(e.Names, ", ")
}

// GroupCycleError says that a group is a part of itself.
type GroupCycleError struct {
	// Path leads from the group back to itself.
	Path []string
}

// Error shows the path.
func (e *GroupCycleError) Error() string {
	return "a group of hosts is a part of itself: @" + strings.Join(e.Path, " -> @")
}

// Check tells which groups name unknown ones, and which are parts of themselves.
// The errors are joined: *UnknownGroupError and *GroupCycleError.
func (g Groups) Check() error {
	w := &walk{groups: g, state: map[string]visit{}, unknown: map[string]bool{}}
	for _, name := range slices.Sorted(maps.Keys(g)) {
		w.group(name)
	}
	return w.err()
}

// walk follows the groups that an expression names.
type walk struct {
	groups  Groups
	state   map[string]visit
	path    []string
	cycles  []error
	unknown map[string]bool
}

type visit int

const (
	visitOpen visit = iota + 1
	visitDone
)

func (w *walk) group(name string) {
	switch w.state[name] {
	case visitDone:
		return
	case visitOpen:
		start := slices.Index(w.path, name)
		w.cycles = append(w.cycles, &GroupCycleError{append(slices.Clone(w.path[start:]), name)})
		return
	}
	e := w.groups[name]
	if e == nil {
		w.unknown[name] = true
		return
	}
	w.state[name] = visitOpen
	w.path = append(w.path, name)
	for _, next := range e.groups {
		w.group(next)
	}
	w.path = w.path[:len(w.path)-1]
	w.state[name] = visitDone
}

func (w *walk) err() error {
	errs := w.cycles
	if len(w.unknown) > 0 {
		errs = append(errs, &UnknownGroupError{slices.Sorted(maps.Keys(w.unknown))})
	}
	return errors.Join(errs...)
}

// Bind gives an expression the saved groups that it names, directly and through
// others. They must not change while the matcher is used. The errors are those
// of Groups.Check, for the groups that the expression comes to.
func (e *Expr) Bind(groups Groups) (*Matcher, error) {
	w := &walk{groups: groups, state: map[string]visit{}, unknown: map[string]bool{}}
	for _, name := range e.groups {
		w.group(name)
	}
	if err := w.err(); err != nil {
		return nil, fmt.Errorf("target %s: %w", e, err)
	}
	return &Matcher{root: e.root, groups: groups}, nil
}

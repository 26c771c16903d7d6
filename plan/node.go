package plan

import (
	"fmt"

	"github.com/carillon-cron/carillon/job"
)

// kind is what a value is in its text.
type kind uint8

const (
	// kindPlain is a value of XML, which does not say what it is.
	kindPlain kind = iota
	kindText
	kindNumber
	kindBool
	kindNull
	kindList
	kindObject
)

var kindNames = [...]string{kindPlain: "text", kindText: "a text", kindNumber: "a number", kindBool: "a truth value", kindNull: "null", kindList: "a list", kindObject: "an object"}

// node is a value as it was read, whatever the format.
type node struct {
	kind kind
	// text is of all kinds but lists and objects.
	text   string
	at     place
	items  []*node
	fields []field
}

// field is a member of an object.
type field struct {
	name  string
	at    place
	value *node
}

// problems are what is wrong with a plan.
type problems struct {
	all []job.Problem
	// more counts those that are left out.
	more int
}

func (p *problems) add(at place, path, format string, args ...any) {
	if len(p.all) >= MaxProblems {
		p.more++
		return
	}
	p.all = append(p.all, job.Problem{Path: path, Message: fmt.Sprintf(format, args...), Line: at.line, Column: at.column})
}

// last adds why the reading has stopped, which is told in any case.
func (p *problems) last(at place, message string) {
	p.all = append(p.all, job.Problem{Message: message, Line: at.line, Column: at.column})
}

// err returns the problems as an error; nil: there are none.
func (p *problems) err() error {
	if len(p.all) == 0 {
		return nil
	}
	all := p.all
	if p.more > 0 {
		all = append(all[:len(all):len(all)], job.Problem{Message: fmt.Sprintf("and %d more problems, which are not told", p.more)})
	}
	return &job.InvalidError{Problems: all}
}

// stopped is what ends the reading of a text: it is not of its format, or above a limit.
type stopped struct {
	at      place
	message string
}

func (e *stopped) Error() string { return e.message }

func stop(at place, format string, args ...any) error {
	return &stopped{at, fmt.Sprintf(format, args...)}
}

// sink takes what a reader of a format has read.
type sink interface {
	// member takes a member of the plan itself, other than its tasks.
	member(f field) error
	// task takes a task. It does not keep it.
	task(n *node) error
	// problem takes what is wrong, after which the reading goes on.
	problem(at place, path, format string, args ...any)
}

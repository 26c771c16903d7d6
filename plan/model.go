package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Limits of plans.
const (
	// MaxBytes bounds a plan, MaxYAMLBytes one in YAML, MaxTaskBytes the text of one task.
	MaxBytes     = 512 << 20
	MaxYAMLBytes = 1 << 20
	MaxTaskBytes = 256 << 10
	// MaxTasks bounds the tasks, MaxDependencies all that they wait for.
	MaxTasks        = 1_000_000
	MaxDependencies = 2_000_000
	// Of one task.
	MaxAfter      = 1000
	MaxParameters = 100
	MaxPriority   = job.MaxItemPriority
	// MaxID bounds ids, upstreams and groups, in bytes; MaxCallback an address.
	MaxID       = 100
	MaxCallback = 2048
	// MaxDepth bounds how deep values lie in one another, MaxProblems what is told at once.
	MaxDepth    = 8
	MaxProblems = 100
	// maxNodes bounds the values of one task.
	maxNodes = 5000
)

// Format is how a plan is written.
type Format string

// The formats.
const (
	XML  Format = "xml"
	JSON Format = "json"
	YAML Format = "yaml"
)

// Formats are all formats.
func Formats() []Format { return []Format{XML, JSON, YAML} }

// Header is what a plan says of itself.
type Header struct {
	// ID names the plan among those of its upstream.
	ID string `json:"id"`
	// Upstream is the system that sends it.
	Upstream string `json:"upstream"`
	// Callback is the address that is told of each change of a task's state. Empty: none.
	Callback string `json:"callback,omitempty"`
}

// Task is a piece of work that any one worker of a type may do.
type Task struct {
	ID string `json:"id"`
	// Type is the name of the queue that does it.
	Type string `json:"type"`
	// Priority is 0 to 9; higher goes first.
	Priority int `json:"priority,omitempty"`
	// NotBefore, when not zero, is when it may begin first.
	NotBefore time.Time `json:"notBefore,omitzero"`
	// Deadline, when not zero, is until when a worker has to have begun with it.
	Deadline time.Time `json:"deadline,omitzero"`
	// Group is a name that tasks may share: they are listed and cancelled together by it.
	Group string `json:"group,omitempty"`
	// After are the tasks of the plan that have to have succeeded before.
	After []string `json:"after,omitempty"`
	// Parameters are what the worker is given: a JSON object.
	Parameters map[string]Value `json:"parameters,omitempty"`
}

// Payload is what the worker is given.
func (t *Task) Payload() []byte {
	if len(t.Parameters) == 0 {
		return []byte("{}")
	}
	text, err := json.Marshal(t.Parameters)
	if err != nil {
		return []byte("{}") // not of values that were read or made here
	}
	return text
}

// Value is a text, a number or a truth value, as JSON. Use Text, or json.Unmarshal.
type Value string

// Text returns a text as a value.
func Text(s string) Value {
	text, err := json.Marshal(s)
	if err != nil {
		return `""` // a text can always be written
	}
	return Value(text)
}

// MarshalJSON returns the value.
func (v Value) MarshalJSON() ([]byte, error) {
	if v == "" {
		return []byte(`""`), nil
	}
	return []byte(v), nil
}

// UnmarshalJSON reads a text, a number or a truth value.
func (v *Value) UnmarshalJSON(b []byte) error {
	switch {
	case len(b) == 0 || b[0] == '{' || b[0] == '[' || b[0] == 'n':
		return errors.New("a parameter is a text, a number, true or false")
	case b[0] == '"':
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		*v = Text(s)
		return nil
	}
	*v = Value(b)
	return nil
}

// Summary is what is known of a plan that has been read.
type Summary struct {
	Header
	// Amend: it is a new version of a plan that was accepted. The digest is the same with it
	// and without.
	Amend bool
	// Tasks counts the tasks, Types those of each type.
	Tasks int
	Types map[string]int
	// Digest names the content: "sha256:" and hexadecimal digits.
	Digest string
}

// ErrTooLong is what a text is refused with that has more bytes than it may.
var ErrTooLong = errors.New("is too long")

// FormatOf returns the format that a media type or the name of a file says.
func FormatOf(name string) (Format, error) {
	switch name {
	case "application/xml", "text/xml", ".xml":
		return XML, nil
	case "application/json", ".json":
		return JSON, nil
	case "application/yaml", "application/x-yaml", "text/yaml", ".yaml", ".yml":
		return YAML, nil
	}
	return "", fmt.Errorf("%q is no format of plans: give application/xml, application/json or application/yaml (.xml, .json, .yaml)", name)
}

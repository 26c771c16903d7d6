// Package protocol is what minions and handlers say to one another on a socket of their
// host: one JSON object a line. The page docs/handlers.md tells it for other languages.
package protocol

import (
	"encoding/json"
	"time"

	"github.com/carillon-cron/carillon/handler/shared"
)

// Version is the protocol's. A side that does not know the other's says so, and ends.
const Version = 1

// MaxLine is how many bytes a line has at most, its end included.
const MaxLine = 1 << 20

// MaxShares is how many requests of a connection for shared state may be open at a time.
const MaxShares = 256

// The types of lines that handlers send.
const (
	Hello      = "hello"
	Progress   = "progress"
	Output     = "output"
	Checkpoint = "checkpoint"
	Share      = "share"
	Done       = "done"
	Bye        = "bye"
)

// The types of lines that minions send.
const (
	Welcome = "welcome"
	Refused = "refused"
	Task    = "task"
	Cancel  = "cancel"
	Shared  = "shared"
)

// The results of a line that says done.
const (
	OK          = "ok"
	Failed      = "failed"
	Permanent   = "permanent"
	Snooze      = "snooze"
	Interrupted = "interrupted"
)

// The causes of a line that cancels.
const (
	Cancelled = "cancelled"
	Timeout   = "timeout"
	Stopping  = "stopping"
)

// Offer is a handler, and on which queue it works.
type Offer struct {
	Name string `json:"name"`
	// Schema is that of the input. Empty: anything is taken.
	Schema json.RawMessage `json:"schema,omitempty"`
	// Queue is NAMESPACE/NAME, or NAME of one in the namespace default. Empty: it works
	// on those that the minion was told of. Places is how many items at once.
	Queue  string `json:"queue,omitempty"`
	Places int    `json:"places,omitempty"`
}

// Line is one line. Its type says which of the members count.
type Line struct {
	Type string `json:"type"`

	// Of hello and welcome.
	Protocol int      `json:"protocol,omitempty"`
	Name     string   `json:"name,omitempty"`
	Handlers []Offer  `json:"handlers,omitempty"`
	Minion   string   `json:"minion,omitempty"`
	Warnings []string `json:"warnings,omitempty"`

	// Task names the task on this connection; all lines but hello, welcome, refused and
	// bye have it.
	Task string `json:"task,omitempty"`

	// Of task.
	Handler     string            `json:"handler,omitempty"`
	Input       json.RawMessage   `json:"input,omitempty"`
	Args        []string          `json:"args,omitempty"`
	Env         map[string]string `json:"env,omitempty"`
	FireID      string            `json:"fireId,omitempty"`
	RunID       string            `json:"runId,omitempty"`
	Job         string            `json:"job,omitempty"`
	Token       string            `json:"token,omitempty"`
	Attempt     int               `json:"attempt,omitempty"`
	ScheduledAt time.Time         `json:"scheduledAt,omitzero"`
	Deadline    time.Time         `json:"deadline,omitzero"`
	Queue       string            `json:"queue,omitempty"`
	Item        string            `json:"item,omitempty"`

	// Checkpoint is that of a task which another attempt has left, and that of a line
	// which leaves one.
	Checkpoint json.RawMessage `json:"checkpoint,omitempty"`

	// Of progress: 0 to 100.
	Percent int    `json:"percent,omitempty"`
	Text    string `json:"text,omitempty"`

	// Of output: stream is 1 or 2; none is 1.
	Stream int    `json:"stream,omitempty"`
	Data   string `json:"data,omitempty"`

	// Of share and shared: ID names the request among those of its connection.
	ID      string          `json:"id,omitempty"`
	Request *shared.Request `json:"request,omitempty"`
	Answer  *shared.Answer  `json:"answer,omitempty"`

	// Of done, cancel and refused.
	Result string `json:"result,omitempty"`
	Cause  string `json:"cause,omitempty"`
	Reason string `json:"reason,omitempty"`
	// After is for how long a snoozed item is to be left alone, in seconds.
	After float64 `json:"after,omitempty"`
}

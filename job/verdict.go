package job

import (
	"encoding/json"
	"strings"
	"time"
)

// Verdict is what a handler says of the end of its task, beside the state.
type Verdict string

// The verdicts.
const (
	// VerdictPermanent: to try it again is of no use.
	VerdictPermanent Verdict = "permanent"
	// VerdictSnooze: not now, and again after a while. It is no attempt.
	VerdictSnooze Verdict = "snooze"
	// VerdictInterrupted: the handler was told to stop, and has. It is no attempt.
	VerdictInterrupted Verdict = "interrupted"
)

// Verdicts are all of them.
func Verdicts() []Verdict { return []Verdict{VerdictPermanent, VerdictSnooze, VerdictInterrupted} }

// Limits of what handlers tell.
const (
	// MaxCheckpoint is how many bytes a checkpoint has, MaxProgressText the text of a
	// progress.
	MaxCheckpoint   = 16 << 10
	MaxProgressText = 200
	// MaxSnooze is how long an item may be left alone at a time.
	MaxSnooze = 30 * 24 * time.Hour
)

// EnvCheckpoint is the variable that has the checkpoint of an item, if there is one.
const EnvCheckpoint = EnvPrefix + "CHECKPOINT"

// FactHandler begins the names of the facts by which a minion tells which handlers it has.
// The value is the schema of the handler's input, or empty: it is not told.
const FactHandler = "handler."

// HandlerOf returns the name of the handler that a command calls; false: it calls none.
func HandlerOf(command []string) (string, bool) {
	if len(command) == 0 {
		return "", false
	}
	return strings.CutPrefix(command[0], HandlerPrefix)
}

// HandlerInput is what a handler gets of a text, the payload of an item or the first word
// behind the handler's name in a command: the text where it is JSON, and else the text as a
// JSON string. Nil: there is none.
func HandlerInput(text string) json.RawMessage {
	switch {
	case text == "":
		return nil
	case json.Valid([]byte(text)):
		return json.RawMessage(text)
	}
	quoted, err := json.Marshal(text)
	if err != nil { // a text can be
		return nil
	}
	return quoted
}

// Progress is how far a task is.
type Progress struct {
	// Percent is 0 to 100.
	Percent int `json:"percent"`
	// Text says it for people.
	Text string `json:"text,omitempty"`
}

package job

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Run is the record of an occurrence: what became of it, when, where and why.
// Zero times mean "not yet" or "never".
type Run struct {
	RunID     RunID  `json:"runId"`
	FireID    FireID `json:"fireId"`
	Namespace string `json:"namespace"`
	Job       string `json:"job"`
	Trigger   string `json:"trigger"`
	State     State  `json:"state"`
	Reason    string `json:"reason"`
	Attempt   int    `json:"attempt"`
	// Cause tells who or what asked for the run, where it was not the schedule.
	Cause string `json:"cause,omitempty"`
	// Subject is who asked for the run, and Author who had applied the job, or the queue,
	// when its last order was made: as minions' lists know them. Empty: nobody asked, and
	// the author alone stands behind it; or the author is not known.
	Subject string `json:"subject,omitempty"`
	Author  string `json:"author,omitempty"`
	// Params are what it was started with; those that Sensitive names are masked:
	// their values are kept for no longer than the run is open, and are told nowhere.
	Params    map[string]string `json:"params,omitempty"`
	Sensitive []string          `json:"sensitive,omitempty"`
	// Redo is the run that this one does again, in part or whole.
	Redo RunID `json:"redo,omitempty"`
	// Alerts tell what people wanted to be told of: that it began late, or had
	// not ended by its deadline.
	Alerts []string `json:"alerts,omitempty"`
	// Node is who committed the occurrence.
	Node NodeID `json:"node"`
	// Share is the node whose share of a parallel group's occurrence it is.
	// Empty: the occurrence is not shared out.
	Share NodeID  `json:"share,omitempty"`
	Shard ShardID `json:"shard"`
	Token Token   `json:"token"`

	ScheduledAt  time.Time `json:"scheduledAt"`
	CommittedAt  time.Time `json:"committedAt,omitzero"`
	DispatchedAt time.Time `json:"dispatchedAt,omitzero"`
	StartedAt    time.Time `json:"startedAt,omitzero"`
	EndedAt      time.Time `json:"endedAt,omitzero"`
	// GoneSince, of a run that is open: since then all minions that are still to
	// say what became of it are connected to no node. Zero: one is.
	GoneSince time.Time `json:"goneSince,omitzero"`

	// Count is how many occurrences the record stands for: 1, except for a
	// row of ones that did not run, which goes from ScheduledAt to Until.
	Count int       `json:"count"`
	Until time.Time `json:"until,omitzero"`
	// Folded: the occurrences of the row were recorded one by one, and became one record
	// later. Each is found by its own run id still; others between them are not of the row.
	Folded bool `json:"folded,omitempty"`

	Tasks []Task `json:"tasks"`
	// Attempts are the attempts that a later one has replaced, in the order in which
	// they ended; the last ones are the tasks'. At most MaxKeptAttempts are kept,
	// those that ended last; AttemptsLeftOut counts the others.
	Attempts        []Attempt `json:"attempts,omitempty"`
	AttemptsLeftOut int       `json:"attemptsLeftOut,omitempty"`
}

// FirstStartedAt is when the first of the run's attempts started. Zero: none has, or
// the first ones are not kept.
func (r *Run) FirstStartedAt() time.Time {
	if r.AttemptsLeftOut > 0 {
		return time.Time{}
	}
	first := r.StartedAt
	for i := range r.Attempts {
		if at := r.Attempts[i].StartedAt; !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// Partly reports whether the run succeeded, and not on all of the minions that it was
// for: the others took no orders.
func (r *Run) Partly() bool {
	return r.State == StateSucceeded && r.succeeded() < len(r.Tasks)
}

// succeeded counts the tasks that did.
func (r *Run) succeeded() int {
	n := 0
	for i := range r.Tasks {
		if r.Tasks[i].State == StateSucceeded {
			n++
		}
	}
	return n
}

// Where tells in words where the run is, or was: the minion, or on how many. Empty: nowhere
// yet.
func (r *Run) Where() string {
	switch n := len(r.Tasks); {
	case n == 0:
		return ""
	case n == 1:
		return string(r.Tasks[0].Minion)
	case r.Partly():
		return fmt.Sprintf("%d of %d minions", r.succeeded(), n)
	default:
		return fmt.Sprintf("%d minions", n)
	}
}

// MaxKeptAttempts bounds the attempts in a run's record that others have replaced.
const MaxKeptAttempts = 200

// Attempt is how an attempt of a task ended that was followed by another one. Its
// output stays on its minion.
type Attempt struct {
	Share     NodeID    `json:"share,omitempty"`
	Minion    MinionID  `json:"minion"`
	Attempt   int       `json:"attempt"`
	State     State     `json:"state"`
	Reason    string    `json:"reason,omitempty"`
	StartedAt time.Time `json:"startedAt,omitzero"`
	EndedAt   time.Time `json:"endedAt,omitzero"`
	Exit      *Exit     `json:"exit,omitempty"`
}

// KeepAttempt adds an attempt to those that are kept, which are left out in all.
func KeepAttempt(kept []Attempt, leftOut int, a Attempt) ([]Attempt, int) {
	kept = append(kept, a)
	if over := len(kept) - MaxKeptAttempts; over > 0 {
		kept, leftOut = kept[over:], leftOut+over
	}
	return kept, leftOut
}

// Key returns the address of the run's job.
func (r *Run) Key() Key { return Key{Namespace: r.Namespace, Name: r.Job} }

// MarshalJSON writes the run with all the fields that a reader may count on:
// startedAt and endedAt are null when they are zero, tasks is never null.
// Times are written in UTC.
func (r Run) MarshalJSON() ([]byte, error) {
	type fields Run // without this method
	f := struct {
		fields
		StartedAt *time.Time `json:"startedAt"`
		EndedAt   *time.Time `json:"endedAt"`
		Tasks     []taskJSON `json:"tasks"`
	}{fields: fields(r), StartedAt: utcOrNil(r.StartedAt), EndedAt: utcOrNil(r.EndedAt), Tasks: make([]taskJSON, len(r.Tasks))}
	f.ScheduledAt, f.CommittedAt = r.ScheduledAt.UTC(), r.CommittedAt.UTC()
	f.DispatchedAt, f.Until, f.GoneSince = r.DispatchedAt.UTC(), r.Until.UTC(), r.GoneSince.UTC()
	for i := range r.Tasks {
		t := &r.Tasks[i]
		f.Tasks[i] = taskJSON{
			Share: t.Share, Minion: t.Minion, Attempt: t.Attempt, State: t.State, Reason: t.Reason,
			StartedAt: utcText(t.StartedAt), EndedAt: utcText(t.EndedAt), GoneSince: utcText(t.GoneSince),
			Exit: t.Exit, Stdout: t.Stdout, Stderr: t.Stderr, Steps: t.Steps, Item: t.Item,
		}
	}
	return json.Marshal(f)
}

// taskJSON is a Task as it is written, field by field. Its times are text
// already: encoding/json takes twice as long for a run of 18,000 tasks when it
// finds times.
type taskJSON struct {
	Share     NodeID       `json:"share,omitempty"`
	Minion    MinionID     `json:"minion"`
	Attempt   int          `json:"attempt"`
	State     State        `json:"state"`
	Reason    string       `json:"reason,omitempty"`
	StartedAt string       `json:"startedAt,omitempty"`
	EndedAt   string       `json:"endedAt,omitempty"`
	GoneSince string       `json:"goneSince,omitempty"`
	Exit      *Exit        `json:"exit,omitempty"`
	Stdout    Output       `json:"stdout,omitzero"`
	Stderr    Output       `json:"stderr,omitzero"`
	Steps     []StepResult `json:"steps,omitempty"`
	Item      *TaskItem    `json:"item,omitempty"`
}

func utcText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func utcOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// Task is a run's share on one minion, as it stands after its last attempt.
type Task struct {
	// Share is the node whose share of a parallel occurrence it is, when the
	// shares are one run.
	Share NodeID `json:"share,omitempty"`

	Minion    MinionID  `json:"minion"`
	Attempt   int       `json:"attempt"`
	State     State     `json:"state"`
	Reason    string    `json:"reason,omitempty"`
	StartedAt time.Time `json:"startedAt,omitzero"`
	EndedAt   time.Time `json:"endedAt,omitzero"`
	// GoneSince, of a task that has not ended: since when its minion is connected
	// to no node. Zero: it is.
	GoneSince time.Time `json:"goneSince,omitzero"`
	Exit      *Exit     `json:"exit,omitempty"`
	Stdout    Output    `json:"stdout,omitzero"`
	Stderr    Output    `json:"stderr,omitzero"`
	// Steps tell how the steps of a job that has some ended.
	Steps []StepResult `json:"steps,omitempty"`
	// Item is that of a task that was dispatched to a queue. Nil: it was not.
	Item *TaskItem `json:"item,omitempty"`
}

// Exit tells how a process ended and what it used.
type Exit struct {
	// Code is the exit code; -1 when a signal ended the process. To compare it with
	// a code that somebody has written, use ShellCode.
	Code int `json:"code"`
	// Signal is the name of the signal that ended it ("SIGKILL"), or empty.
	Signal string `json:"signal,omitempty"`
	// UserCPU and SystemCPU are processor time; MaxRSS is in bytes.
	UserCPU   Duration `json:"userCpu,omitempty"`
	SystemCPU Duration `json:"systemCpu,omitempty"`
	MaxRSS    int64    `json:"maxRssBytes,omitempty"`
}

// Output is the head and the tail of what a process wrote to one stream.
// Unless Truncated, Head followed by Tail is all of it; Tail is empty then when
// MaxOutputPart bytes were enough.
type Output struct {
	Head string `json:"head,omitempty"`
	Tail string `json:"tail,omitempty"`
	// Bytes counts all that was written.
	Bytes int64 `json:"bytes,omitempty"`
	// Truncated: what lies between Head and Tail is not here.
	Truncated bool `json:"truncated,omitempty"`
}

// badByte stands for each byte that is not UTF-8.
const badByte = "\uFFFD"

// raw is how many bytes were written of which a text was made.
func raw(text string) int64 {
	return int64(len(text) - (len(badByte)-1)*strings.Count(text, badByte))
}

// LeftOut is how many bytes were written that are neither in Head nor in Tail.
func (o *Output) LeftOut() int64 {
	if !o.Truncated {
		return 0
	}
	return max(o.Bytes-raw(o.Head)-raw(o.Tail), 0)
}

// Exact reports whether Head and Tail are byte for byte what was written.
func (o *Output) Exact() bool {
	return !strings.Contains(o.Head, badByte) && !strings.Contains(o.Tail, badByte)
}

// ValidText returns text with U+FFFD in place of each byte that is not UTF-8.
func ValidText(text []byte) string {
	if utf8.Valid(text) {
		return string(text)
	}
	var b strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r == utf8.RuneError && n == 1 {
			b.WriteString(badByte)
		} else {
			b.Write(text[:n])
		}
		text = text[n:]
	}
	return b.String()
}

// MaxOutputPart is how many bytes of output the head and the tail of a stream
// may hold each in a record. Full output stays on the minion.
const MaxOutputPart = 4 << 10

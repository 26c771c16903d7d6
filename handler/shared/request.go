package shared

import (
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"
)

// The bounds of what is shared.
const (
	// MaxKey is how many bytes a key or the name of a barrier has at most, MaxValue a value.
	MaxKey   = 128
	MaxValue = 4096
	// MaxKeys is how many keys, and MaxBytes how many bytes of keys and values, a scope has
	// at most.
	MaxKeys  = 256
	MaxBytes = 64 << 10
	// MaxBarriers is how many barriers a run has at most.
	MaxBarriers = 64
	// MaxTasks is how many tasks a barrier can wait for.
	MaxTasks = 100_000
	// MaxWait is how long a barrier or a watch can wait.
	MaxWait = 30 * 24 * time.Hour
)

// The operations.
const (
	OpGet     = "get"
	OpList    = "list"
	OpSet     = "set"
	OpCAS     = "cas"
	OpDelete  = "delete"
	OpIncr    = "incr"
	OpWatch   = "watch"
	OpBarrier = "barrier"
)

// The scopes. None is that of the run.
const (
	ScopeRun = "run"
	ScopeJob = "job"
)

// Request is what a task asks for. Its operation says which of the members count.
type Request struct {
	Op    string `json:"op"`
	Scope string `json:"scope,omitempty"`
	// Key is that of an entry, what those of a list begin with, or the name of a barrier.
	Key   string `json:"key,omitempty"`
	Value string `json:"value,omitempty"`
	// Version, of cas, is that which the entry is to have: 0, that there is none. Of watch,
	// it is that which the caller knows.
	Version int64 `json:"version,omitempty"`
	// Delta is what a counter rises by.
	Delta int64 `json:"delta,omitempty"`
	// Count is how many tasks a barrier waits for; 0: all of the run.
	Count int `json:"count,omitempty"`
	// Timeout is how long a watch or a barrier may wait, in seconds; 0: as long as the task
	// may.
	Timeout float64 `json:"timeout,omitempty"`
}

// Writes reports whether doing it twice may not be the same as once.
func (r *Request) Writes() bool {
	switch r.Op {
	case OpSet, OpCAS, OpDelete, OpIncr:
		return true
	}
	return false
}

// Waits reports whether its answer may take its time.
func (r *Request) Waits() bool { return r.Op == OpWatch || r.Op == OpBarrier }

// CheckKey reports why a text is no key: it is made of letters, digits and ._-/ alone.
func CheckKey(key string) error {
	if key == "" {
		return errors.New("is empty")
	}
	if len(key) > MaxKey {
		return fmt.Errorf("has %d bytes; at most %d are allowed", len(key), MaxKey)
	}
	for _, c := range []byte(key) {
		if !keyByte(c) {
			return fmt.Errorf("%.40q has %q; letters, digits, and . _ - / are allowed", key, c)
		}
	}
	return nil
}

func keyByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-' || c == '/'
}

// Check returns all that is wrong with a request.
func (r *Request) Check() error {
	var wrong []error
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	switch r.Op {
	case OpGet, OpList, OpSet, OpCAS, OpDelete, OpIncr, OpWatch, OpBarrier:
	default:
		bad("op %.40q: say get, list, set, cas, delete, incr, watch or barrier", r.Op)
	}
	switch r.Scope {
	case "", ScopeRun:
	case ScopeJob:
		if r.Op == OpBarrier {
			bad("scope: a barrier is one of a run; leave the scope out")
		}
	default:
		bad("scope %.40q: say run or job", r.Scope)
	}
	if r.Op != OpList || r.Key != "" {
		if err := CheckKey(r.Key); err != nil {
			bad("key: %w", err)
		}
	}
	if len(r.Value) > MaxValue {
		bad("value has %d bytes; at most %d are allowed: keep what is large elsewhere, and where it is here", len(r.Value), MaxValue)
	}
	if !utf8.ValidString(r.Value) {
		bad("value is no text in UTF-8; encode what is not, as in base64")
	}
	if r.Version < 0 {
		bad("version %d: give 0 or more", r.Version)
	}
	if r.Count < 0 || r.Count > MaxTasks {
		bad("count %d: give 1 to %d, or none for all tasks of the run", r.Count, MaxTasks)
	}
	if math.IsNaN(r.Timeout) || r.Timeout < 0 || r.Timeout > MaxWait.Seconds() {
		bad("timeout %v: give 0 to %.0f seconds", r.Timeout, MaxWait.Seconds())
	}
	return errors.Join(wrong...)
}

// The codes of answers.
const (
	// CodeOK: it is done.
	CodeOK = "ok"
	// CodeNotFound: there is no such key.
	CodeNotFound = "notFound"
	// CodeConflict: the entry has another version; the answer has that, and its value.
	CodeConflict = "conflict"
	// CodeRefused: it cannot be asked so, or not by this task.
	CodeRefused = "refused"
	// CodeFull: a bound would be passed.
	CodeFull = "full"
	// CodeTimeout: what was waited for has not come in time.
	CodeTimeout = "timeout"
	// CodeBroken: the barrier can never open.
	CodeBroken = "broken"
	// CodeUnavailable: it is not done, since no node could.
	CodeUnavailable = "unavailable"
	// CodeUnsure: it may be done or not.
	CodeUnsure = "unsure"
	// CodeAgain is said between nodes and minions only: nothing has come yet, ask again.
	CodeAgain = "again"
)

// Answer is what a task is told.
type Answer struct {
	Code string `json:"code"`
	// Reason says why, unless it is done.
	Reason  string `json:"reason,omitempty"`
	Value   string `json:"value,omitempty"`
	Version int64  `json:"version,omitempty"`
	// Entries are those of a list, by their keys.
	Entries []Entry `json:"entries,omitempty"`
	// Arrived tasks, of those that a barrier waits for, have come.
	Arrived int `json:"arrived,omitempty"`
	Of      int `json:"of,omitempty"`
}

// Entry is a key with its value. Its version rises with each write of the scope.
type Entry struct {
	Key     string `json:"key,omitempty"`
	Value   string `json:"value"`
	Version int64  `json:"version"`
}

// Refusef is an answer that something cannot be asked so, or not by this task.
func Refusef(format string, args ...any) Answer {
	return Answer{Code: CodeRefused, Reason: fmt.Sprintf(format, args...)}
}

// The errors of answers; see their codes. An error of this package wraps one of them.
var (
	ErrNotFound    = errors.New("not found")
	ErrConflict    = errors.New("another version")
	ErrRefused     = errors.New("refused")
	ErrFull        = errors.New("too much")
	ErrTimeout     = errors.New("not in time")
	ErrBroken      = errors.New("the barrier is broken")
	ErrUnavailable = errors.New("not available")
	ErrUnsure      = errors.New("it may have been done, or not")
)

// Err is the error that an answer stands for; nil: it is done.
func (a *Answer) Err() error {
	if a.Code == CodeOK {
		return nil
	}
	err, ok := map[string]error{
		CodeNotFound: ErrNotFound, CodeConflict: ErrConflict, CodeRefused: ErrRefused, CodeFull: ErrFull, CodeTimeout: ErrTimeout,
		CodeBroken: ErrBroken, CodeUnavailable: ErrUnavailable, CodeUnsure: ErrUnsure,
	}[a.Code]
	switch {
	case !ok:
		return fmt.Errorf("%w: an answer %q, which this release does not know", ErrUnsure, a.Code)
	case a.Reason == "":
		return err
	}
	return fmt.Errorf("%w: %s", err, a.Reason)
}

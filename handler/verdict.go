package handler

import (
	"errors"
	"fmt"
	"time"
)

// The causes with which the context of a call ends.
var (
	// ErrCancelled: somebody has cancelled the task.
	ErrCancelled = errors.New("the task was cancelled")
	// ErrTimeout: it has run for too long.
	ErrTimeout = errors.New("the task has exceeded its timeout")
	// ErrStopping: this program or its minion stops, or they have lost one another. What
	// is not done is given back, and is no attempt.
	ErrStopping = errors.New("the worker stops")
)

// Permanent returns an error after which a task is not tried again, whether it is an item of
// a queue or a task of a job with retry.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &PermanentError{err}
}

// PermanentError is an error after which a task is not tried again.
type PermanentError struct{ Err error }

// Error implements error.
func (e *PermanentError) Error() string { return e.Err.Error() }

// Unwrap returns what has gone wrong.
func (e *PermanentError) Unwrap() error { return e.Err }

// Snooze returns an error after which an item of a queue is tried again after d, and that
// counts as no attempt. A task of a job that is in no queue has failed by it: it is tried
// again as the job's retry says, after the pause of retry and not after d, and that is an
// attempt.
func Snooze(d time.Duration) error { return &SnoozeError{d} }

// SnoozeError is an error after which an item is tried again later.
type SnoozeError struct{ After time.Duration }

// Error implements error.
func (e *SnoozeError) Error() string { return fmt.Sprintf("not now: again in %s", e.After) }

// PanicError is a call that has panicked.
type PanicError struct {
	Value any
	Stack []byte
}

// Error implements error.
func (e *PanicError) Error() string { return fmt.Sprintf("the handler panicked: %v", e.Value) }

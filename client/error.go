package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// maxErrorBytes bounds what is read of an answer that is an error.
const maxErrorBytes = 1 << 20

// maxRetryAfter bounds for how long a server can have a client wait.
const maxRetryAfter = 24 * time.Hour

// Error is an answer that is an error.
type Error struct {
	// Status is the HTTP status.
	Status int `json:"status"`
	// Title names the kind of error, Detail tells what is wrong.
	Title  string `json:"title"`
	Detail string `json:"detail"`
	// Problems are all that is wrong with what was sent.
	Problems []job.Problem `json:"errors"`
	// RetryAfter is when the request may come again, of a status of 429. Zero: the
	// server does not tell.
	RetryAfter time.Duration `json:"-"`
}

// Error implements error.
func (e *Error) Error() string {
	switch {
	case e.Detail != "":
		return e.Detail
	case e.Title != "":
		return e.Title
	}
	return fmt.Sprintf("the server answered with status %d", e.Status)
}

// Is reports whether the error is one of those that package job names.
func (e *Error) Is(target error) bool {
	switch target { // errors.Is asks with each error of the chain
	case job.ErrNotFound:
		return e.Status == http.StatusNotFound
	case job.ErrUnavailable:
		return e.Status == http.StatusServiceUnavailable
	}
	return false
}

// UnreachableError is a server that does not answer.
type UnreachableError struct {
	Server string
	Err    error
}

// Error implements error.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("no answer from %s (%s)", e.Server, e.Err)
}

// Unwrap returns the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// lost is the error for a connection that failed. A deadline or a cancelled
// context is no fault of the server.
func (c *conn) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("ask %s: %w", c.base, context.Cause(ctx))
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // the address is in our own message
	}
	if other := c.mismatch(err); other != nil {
		return other
	}
	return &UnreachableError{Server: c.base.String(), Err: err}
}

// refusal reads an answer that is an error.
func (c *conn) refusal(res *http.Response) error {
	e := &Error{}
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	body, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBytes))
	if err == nil && c.askedPlainly(res.StatusCode, body) {
		return &UnreachableError{Server: c.base.String(), Err: fmt.Errorf("%w: ask https://%s", ErrSpeaksTLS, c.base.Host)}
	}
	if err != nil || kind != "application/problem+json" || json.Unmarshal(body, e) != nil {
		e.Detail = fmt.Sprintf("%s answered %s; is it a Carillon server?", c.base, res.Status)
	}
	e.Status = res.StatusCode
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 && s <= int(maxRetryAfter/time.Second) {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	return e
}

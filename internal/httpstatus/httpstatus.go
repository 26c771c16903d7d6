// Package httpstatus is the one place where errors become HTTP statuses, for the API
// and for the page.
package httpstatus

import (
	"context"
	"errors"
	"net/http"

	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/job"
)

// Of returns the status that tells an error's kind; what is of no kind is an error of
// ours: 500.
func Of(err error) int {
	var (
		invalid *job.InvalidError
		tooBig  *http.MaxBytesError
		unknown *caller.RefusedError
		busy    *caller.BusyError
		slow    *caller.SlowError
	)
	switch {
	case errors.As(err, &invalid), errors.Is(err, job.ErrNoMinions):
		return http.StatusUnprocessableEntity
	case errors.As(err, &unknown):
		return http.StatusUnauthorized
	case errors.As(err, &busy):
		return http.StatusTooManyRequests
	case errors.As(err, &slow):
		return http.StatusRequestTimeout
	case errors.Is(err, job.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, job.ErrForbidden):
		return http.StatusForbidden
	case errors.Is(err, caller.ErrChanged):
		return http.StatusPreconditionFailed
	case errors.Is(err, job.ErrConflict):
		return http.StatusConflict
	case errors.Is(err, job.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return http.StatusServiceUnavailable
	case errors.As(err, &tooBig):
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusInternalServerError
}

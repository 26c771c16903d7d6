package apiview

import "github.com/carillon-cron/carillon/job"

// Invalid is the error of input with one problem: a *job.InvalidError.
func Invalid(path, message string) error {
	return &job.InvalidError{Problems: []job.Problem{{Path: path, Message: message}}}
}

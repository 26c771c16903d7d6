package cli

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/job"
)

// The exit codes; see the package's documentation.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitConflict    = 4
	exitNotAllowed  = 5
	exitUnavailable = 6
	exitPartly      = 7
	exitTimedOut    = 124
	exitInterrupted = 130
)

// exitError is an error with its exit code. A nil err means that all has been
// said already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return "exit code " + fmt.Sprint(e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usageError is a command line that cannot be understood.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// exitCode is the one place where errors become exit codes.
func exitCode(err error) int {
	var (
		exit    *exitError
		usage   *usageError
		invalid *job.InvalidError
		api     *client.Error
		gone    *client.UnreachableError
	)
	switch {
	case errors.As(err, &exit):
		return exit.code
	case errors.As(err, &usage), errors.As(err, &invalid):
		return exitUsage
	case errors.As(err, &gone):
		return exitUnavailable
	case errors.As(err, &api):
		return codeOf(api)
	case errors.Is(err, job.ErrNotFound):
		return exitNotFound
	case errors.Is(err, job.ErrConflict):
		return exitConflict
	}
	return exitFailed
}

// codeOf is the exit code of an answer that is an error.
func codeOf(e *client.Error) int {
	switch e.Status {
	case http.StatusNotFound:
		return exitNotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		return exitConflict
	case http.StatusUnauthorized, http.StatusForbidden:
		return exitNotAllowed
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return exitUnavailable
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		return exitUsage
	case http.StatusUnprocessableEntity:
		if len(e.Problems) > 0 {
			return exitUsage
		}
	}
	return exitFailed
}

// report prints err and returns its exit code.
func (a *app) report(cmd *cobra.Command, err error) int {
	var (
		exit    *exitError
		invalid *job.InvalidError
		api     *client.Error
		gone    *client.UnreachableError
		usage   *usageError
	)
	switch {
	case errors.As(err, &exit) && exit.err == nil:
	case errors.As(err, &invalid):
		a.note("%s", invalid)
	case errors.As(err, &api) && len(api.Problems) > 0:
		a.note("%s", &job.InvalidError{Problems: api.Problems})
	case errors.As(err, &gone):
		a.note("carillon: %s%s", err, a.remedy(err))
	case strings.HasPrefix(err.Error(), "carillon "): // it names the verb
		a.note("%s", err)
	default:
		a.note("carillon: %s", err)
	}
	if errors.As(err, &api) && api.Status == http.StatusUnauthorized {
		switch {
		case a.loggedIn:
			a.note("log in again with `carillon login`")
		case a.tokenFile == "" && a.env[envToken] == "":
			a.note("log in with `carillon login`, or give a token by --token-file FILE, %s or %s", envTokenFile, envToken)
		}
	}
	if errors.As(err, &usage) {
		a.note("see `%s --help`", cmd.CommandPath())
	}
	return exitCode(err)
}

// oneOf checks that a flag's value is one of those allowed.
func oneOf(flag, value string, allowed []string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return usagef("--%s %q: want one of %s%s", flag, value, strings.Join(allowed, ", "), didYouMean(value, allowed))
}

// unknownWord is the error for a verb or noun that does not exist below cmd.
func unknownWord(cmd *cobra.Command, kind, word string) error {
	var names, aliases []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names, aliases = append(names, c.Name()), append(aliases, c.Aliases...)
		}
	}
	hint := didYouMean(word, append(names[:len(names):len(names)], aliases...))
	if hint == "" {
		hint = "; there are " + strings.Join(names, ", ")
	}
	return usagef("unknown %s %q%s", kind, word, hint)
}

// flagError says which flag was meant. An unknown verb before the flag is
// what the user wants to hear of first.
func flagError(cmd *cobra.Command, err error) error {
	if args := cmd.Flags().Args(); !cmd.HasParent() && len(args) > 0 {
		return unknownWord(cmd, "verb", args[0])
	}
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || unknown.GetSpecifiedShortnames() != "" {
		return &usageError{err}
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if near, ok := job.Nearest(unknown.GetSpecifiedName(), names); ok {
		return usagef("%w; did you mean --%s?", err, near)
	}
	return &usageError{err}
}

func didYouMean(word string, names []string) string {
	if near, ok := job.Nearest(word, names); ok {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}

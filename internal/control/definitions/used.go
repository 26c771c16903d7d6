package definitions

import (
	"fmt"
	"strings"

	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/job"
)

// UsedError says which jobs, queues and notifiers keep a thing from being removed. It wraps
// job.ErrConflict.
type UsedError struct {
	// Thing is what is kept, as "script default/df".
	Thing string
	// By are the jobs; Passing: they were made for one run each.
	By      []job.Key
	Passing bool
	// Queues and Notifiers are those that do.
	Queues, Notifiers []job.Key
	// Hidden: there are others, of which the reader is told nothing.
	Hidden bool
}

// Users is how many of them there are.
func (e *UsedError) Users() int { return len(e.By) + len(e.Queues) + len(e.Notifiers) }

// Unwrap returns job.ErrConflict.
func (*UsedError) Unwrap() error { return job.ErrConflict }

// Error implements error.
func (e *UsedError) Error() string {
	const most = 3
	if e.Users() == 0 {
		return fmt.Sprintf("%s is named by others that you may not read; ask who may: %v", e.Thing, job.ErrConflict)
	}
	what := "job"
	if e.Passing {
		what = "command"
	}
	var parts []string
	for _, p := range []struct {
		what string
		keys []job.Key
	}{{what, e.By}, {"queue", e.Queues}, {"notifier", e.Notifiers}} {
		names := make([]string, len(p.keys))
		for i, k := range p.keys {
			names[i] = k.String()
		}
		if len(names) > 0 {
			parts = append(parts, fmt.Sprintf("%s (%s)", apiview.Counted(len(names), p.what), apiview.Some(names[:min(len(names), most)], len(names))))
		}
	}
	by := strings.Join(parts, " and ")
	if e.Passing {
		by = strings.Replace(by, " (", " of the last day, which may be done again (", 1)
	}
	if e.Hidden {
		by += " and by others, which you may not read"
	}
	if e.Passing {
		return fmt.Sprintf("%s was run by %s; delete these jobs first, or wait: %v", e.Thing, by, job.ErrConflict)
	}
	return fmt.Sprintf("%s is named by %s; change that first: %v", e.Thing, by, job.ErrConflict)
}

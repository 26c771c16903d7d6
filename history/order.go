package history

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/carillon-cron/carillon/job"
)

// Position is a record's place in the order of lists: newest first by
// scheduled instant, records of one instant by rising RunID. It is a total
// order that does not depend on what else is stored, so it makes a stable
// cursor. The instant is the fire's, which is the run's ScheduledAt.
type Position struct {
	// At is in nanoseconds since the Unix epoch.
	At int64
	ID job.RunID
}

// PositionOf returns the place of a run.
func PositionOf(r *job.Run) Position { return Position{At: r.FireID.At, ID: r.RunID} }

// Compare returns a negative number when p comes before o in a list.
func (p Position) Compare(o Position) int {
	return cmp.Or(cmp.Compare(o.At, p.At), cmp.Compare(p.ID, o.ID))
}

// Cursor returns the cursor of the page that begins after p.
func (p Position) Cursor() string { return strconv.FormatInt(p.At, 36) + "." + string(p.ID) }

// ParseCursor reads what Position.Cursor wrote. The error is a *job.InvalidError.
func ParseCursor(s string) (Position, error) {
	at, id, ok := strings.Cut(s, ".")
	n, err := strconv.ParseInt(at, 36, 64)
	if !ok || err != nil || !job.RunID(id).Valid() {
		return Position{}, &job.InvalidError{Problems: []job.Problem{{
			Path: "cursor", Message: strconv.Quote(s) + " is not a cursor; use the one that came with the page before, or none",
		}}}
	}
	return Position{At: n, ID: job.RunID(id)}, nil
}

// Check returns a *job.InvalidError with all that is wrong with the query.
func (q Query) Check() error {
	var problems []job.Problem
	if q.Limit <= 0 {
		problems = append(problems, job.Problem{Path: "limit", Message: strconv.Itoa(q.Limit) + " is not positive"})
	}
	if q.Job != "" && q.Namespace == "" {
		problems = append(problems, job.Problem{Path: "job", Message: "needs a namespace beside it"})
	}
	if q.Cursor != "" {
		if _, err := ParseCursor(q.Cursor); err != nil {
			problems = append(problems, err.(*job.InvalidError).Problems...) //nolint:errorlint // documented type
		}
	}
	if problems != nil {
		return &job.InvalidError{Problems: problems}
	}
	return nil
}

// Selects reports whether a record with these properties is asked for. It does
// not look at Limit and Cursor.
func (q Query) Selects(key job.Key, uid job.UID, state job.State) bool {
	return (q.Namespace == "" || q.Namespace == key.Namespace) &&
		(q.Job == "" || q.Job == key.Name) &&
		(q.UID.IsZero() || q.UID == uid) &&
		(q.State == "" || q.State == state)
}

package etcdkv

import (
	"errors"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// MaxEarlier bounds how many earlier schedules of a job are kept.
const MaxEarlier = 16

// ErrTooManyEarlier is the error when more would have to be kept: each of them has
// instants that no owner of the job's shard has come to.
var ErrTooManyEarlier = errors.New("too many earlier schedules")

// Earlier is a schedule that a job had, which has instants that its shard's owner
// may not have come to. They are planned before those of the job's own.
type Earlier struct {
	// Since and Until bound the instants: after Since, up to and with Until.
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	// Disabled is when the job was disabled after that; zero: it was not. What is
	// left then is not run.
	Disabled time.Time `json:"disabled,omitzero"`
	// Spec has what says when the job is due, CountedFrom since when Spec.Count
	// counts.
	Spec        job.Spec  `json:"spec"`
	CountedFrom time.Time `json:"countedFrom,omitzero"`
}

// Begins returns from where on the instants of a job are to be planned by who has
// planned none of them: after it.
func Begins(after time.Time, earlier []Earlier) time.Time {
	if len(earlier) > 0 && earlier[0].Since.Before(after) {
		return earlier[0].Since
	}
	return after
}

// Replace makes the job's schedule hold from at on, in place of old's, which holds
// up to then. reached is up to where old's instants are known to be committed; zero:
// that is not known. idle reports whether an earlier schedule has no instants left;
// nil: none is asked. The error is ErrTooManyEarlier.
func (j *StoredJob) Replace(old *StoredJob, at, reached time.Time, idle func(*Earlier) bool) error {
	all := append([]Earlier(nil), old.Earlier...)
	if old.Spec.IsEnabled() && len(old.Spec.Schedules) > 0 {
		all = append(all, Earlier{Since: old.After, Until: at, Spec: old.Spec.Timing(), CountedFrom: old.CountedFrom})
	}
	for i := range all {
		if all[i].Until.After(at) {
			all[i].Until = at // the clock of who made the edit before was ahead
		}
		if !j.Spec.IsEnabled() && all[i].Disabled.IsZero() {
			all[i].Disabled = at
		}
	}
	j.After, j.Earlier, j.Committed = at, all, old.Committed
	if j.Committed.After(at) {
		j.After = j.Committed
	}
	j.drop(reached)
	if idle != nil {
		kept := j.Earlier[:0]
		for i := range j.Earlier {
			if !idle(&j.Earlier[i]) {
				kept = append(kept, j.Earlier[i])
			}
		}
		j.Earlier = kept
	}
	if len(j.Earlier) == 0 {
		j.Earlier = nil
	}
	if len(j.Earlier) > MaxEarlier {
		return ErrTooManyEarlier
	}
	return nil
}

// Leave has the job planned elsewhere from an instant on, up to which it is
// committed where it was.
func (j *StoredJob) Leave(reached time.Time) {
	j.drop(reached)
	if reached.After(j.Committed) {
		j.Committed = reached
	}
	if reached.After(j.After) {
		j.After = reached
	}
}

// drop drops what of the earlier schedules is committed: all up to an instant.
func (j *StoredJob) drop(at time.Time) {
	var kept []Earlier
	for _, e := range j.Earlier {
		if e.Since.Before(at) {
			e.Since = at
		}
		if e.Until.After(e.Since) {
			kept = append(kept, e)
		}
	}
	j.Earlier = kept
}

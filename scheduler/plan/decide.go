package plan

import (
	"slices"

	"github.com/carillon-cron/carillon/job"
)

// Fate is what becomes of an instant of a job's schedule.
type Fate uint8

const (
	// Run: a run is committed. Whether it may go on beside others is decided when its
	// start comes; see Overlap.
	Run Fate = iota + 1
	// Skipped: something did not let the job run at that instant.
	Skipped
	// Missed: it is too late, and the misfire policy does not make up for it.
	Missed
)

// Decision is what becomes of one instant. Times are nanoseconds since the Unix epoch.
type Decision struct {
	At   int64
	Fate Fate
	// Why tells people why it is skipped.
	Why string
	// NotBefore, unless 0, is when the run of an instant that has passed may start.
	NotBefore int64
}

// Rules are what decides on the instants of one job.
type Rules struct {
	Misfire job.Misfire
	// Deadline: an instant before it is late. Oldest: a late one before it is missed,
	// whatever the policy.
	Deadline, Oldest int64
	// Now and Pace space the starts of instants that have passed, late or not.
	Now, Pace int64
	// Closed returns why the job does not run at an instant; empty: it does.
	Closed func(at int64) string
	// Following counts the instants after those that are decided on, and before
	// another one, at which the job would run. It need not count beyond limit.
	Following func(before int64, limit int) int
	// Horizon is up to when instants are planned now.
	Horizon int64
}

// Decide says what becomes of instants of a job, which are in order. First, is it one
// at which the job runs at all? Only then, is it late? So an instant that a pause or a
// calendar has closed is never missed, and never takes the place of one that ought to
// run.
func Decide(instants []int64, r *Rules) []Decision {
	out := make([]Decision, len(instants))
	var late []int // those in out that are open and late
	newer := false // an open one follows that is not late
	for i, at := range instants {
		out[i] = Decision{At: at, Fate: Run}
		switch why := r.Closed(at); {
		case why != "":
			out[i].Fate, out[i].Why = Skipped, why
		case at < r.Deadline:
			late = append(late, i)
		default:
			newer = true
		}
	}
	r.miss(out, late, newer)
	n := int64(0)
	for i := range out {
		if out[i].Fate == Run && out[i].At <= r.Now {
			if n > 0 {
				out[i].NotBefore = r.Now + n*r.Pace
			}
			n++
		}
	}
	return out
}

// miss gives up the late instants that the misfire policy does not run.
func (r *Rules) miss(out []Decision, late []int, newer bool) {
	if len(late) == 0 {
		return
	}
	cut := len(late) - min(len(late), r.catchUp(newer))
	old, _ := slices.BinarySearchFunc(late, r.Oldest, func(i int, t int64) int {
		if out[i].At < t {
			return -1
		}
		return 1
	})
	cut = max(cut, old)
	for _, i := range late[:cut] {
		out[i].Fate = Missed
	}
}

// catchUp returns how many of the late instants are run, the last ones. newer says
// that an open one that is not late follows them.
func (r *Rules) catchUp(newer bool) int {
	switch r.Misfire {
	case job.MisfireAll:
		return job.MaxCatchUp - r.Following(r.Deadline, job.MaxCatchUp)
	case job.MisfireLatest:
		if !newer && r.Following(r.Horizon+1, 1) == 0 {
			return 1
		}
	case job.MisfireSkip:
	}
	return 0
}

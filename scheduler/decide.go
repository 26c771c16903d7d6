package scheduler

import (
	"slices"

	"github.com/carillon-cron/carillon/job"
)

// fate is what becomes of an instant of a job's schedule.
type fate uint8

const (
	// fateRun: a run is committed. Whether it may go on beside others is decided
	// when its start comes (lane.go).
	fateRun fate = iota + 1
	// fateSkipped: something did not let the job run at that instant.
	fateSkipped
	// fateMissed: it is too late, and the misfire policy does not make up for it.
	fateMissed
)

// decision is what becomes of one instant, in nanoseconds since the Unix epoch.
type decision struct {
	at   int64
	fate fate
	// why tells people why it is skipped.
	why string
	// notBefore, unless 0, is when the run of an instant that has passed may start.
	notBefore int64
}

// rules are what decides on the instants of one job.
type rules struct {
	misfire job.Misfire
	// deadline: an instant before it is late. oldest: a late one before it is
	// missed, whatever the policy.
	deadline, oldest int64
	// now and pace space the starts of instants that have passed, late or not.
	now, pace int64
	// closed returns why the job does not run at an instant; empty: it does.
	closed func(at int64) string
	// following counts the instants after those that are decided on, and before
	// another one, at which the job would run. It need not count beyond limit.
	following func(before int64, limit int) int
	// horizon is up to when instants are planned now.
	horizon int64
}

// decide says what becomes of instants of a job, which are in order. First, is
// it one at which the job runs at all? Only then, is it late? So an instant that
// a pause or a calendar has closed is never missed, and never takes the place of
// one that ought to run.
func decide(instants []int64, r *rules) []decision {
	out := make([]decision, len(instants))
	var late []int // those in out that are open and late
	newer := false // an open one follows that is not late
	for i, at := range instants {
		out[i] = decision{at: at, fate: fateRun}
		switch why := r.closed(at); {
		case why != "":
			out[i].fate, out[i].why = fateSkipped, why
		case at < r.deadline:
			late = append(late, i)
		default:
			newer = true
		}
	}
	r.miss(out, late, newer)
	n := int64(0)
	for i := range out {
		if out[i].fate == fateRun && out[i].at <= r.now {
			if n > 0 {
				out[i].notBefore = r.now + n*r.pace
			}
			n++
		}
	}
	return out
}

// miss gives up the late instants that the misfire policy does not run.
func (r *rules) miss(out []decision, late []int, newer bool) {
	if len(late) == 0 {
		return
	}
	cut := len(late) - min(len(late), r.catchUp(newer))
	old, _ := slices.BinarySearchFunc(late, r.oldest, func(i int, t int64) int {
		if out[i].at < t {
			return -1
		}
		return 1
	})
	cut = max(cut, old)
	for _, i := range late[:cut] {
		out[i].fate = fateMissed
	}
}

// catchUp returns how many of the late instants are run, the last ones. newer
// says that an open one that is not late follows them.
func (r *rules) catchUp(newer bool) int {
	switch r.misfire {
	case job.MisfireAll:
		return job.MaxCatchUp - r.following(r.deadline, job.MaxCatchUp)
	case job.MisfireLatest:
		if !newer && r.following(r.horizon+1, 1) == 0 {
			return 1
		}
	case job.MisfireSkip:
	}
	return 0
}

package history

import (
	"reflect"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// MaxRow is how many occurrences one record stands for at most that were recorded one by
// one.
const MaxRow = 1000

// Single reports whether a record is of one instant of its job's schedule that did not run:
// such ones become rows.
func Single(r *job.Run) bool {
	fire := job.FireID{Job: r.FireID.Job, At: r.FireID.At, Trigger: job.TriggerSchedule}
	return ClassOf(r.State) == NotRun && r.Count <= 1 && r.FireID == fire && len(r.Tasks) == 0 && len(r.Attempts) == 0
}

// SameCause reports whether two records differ in nothing but in their instants, and in
// who wrote them, and when.
func SameCause(a, b *job.Run) bool { return reflect.DeepEqual(causeOf(a), causeOf(b)) }

func causeOf(r *job.Run) job.Run {
	c := *r
	c.RunID, c.FireID, c.Count, c.Folded = "", job.FireID{Job: r.FireID.Job}, 0, false
	c.Node, c.Token, c.Shard = "", job.Token{}, 0
	c.ScheduledAt, c.Until, c.CommittedAt, c.DispatchedAt, c.EndedAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}, time.Time{}
	if len(c.Tasks) == 0 {
		c.Tasks = nil
	}
	return c
}

// Row is a record that stands for others of the same cause, which lay one after the other
// in the list of their job.
type Row struct {
	// Run is the first of them, with their count, and up to when they were due.
	Run job.Run
	// Instants are theirs, in nanoseconds since the Unix epoch, the first one first.
	Instants []int64
}

// Holds reports whether a row stands for the record of an ID, among others.
func (r *Row) Holds(id job.RunID) bool {
	for _, at := range r.Instants {
		if (job.FireID{Job: r.Run.FireID.Job, At: at, Trigger: job.TriggerSchedule}).RunID() == id {
			return true
		}
	}
	return false
}

// Precede puts an earlier row in front of this one. It is false where that has another
// cause, or where the row would be too long.
func (r *Row) Precede(earlier *Row) bool {
	if len(r.Instants)+len(earlier.Instants) > MaxRow || !SameCause(&r.Run, &earlier.Run) {
		return false
	}
	last := time.Unix(0, r.Instants[len(r.Instants)-1]).UTC()
	ended := r.Run.EndedAt
	r.Instants = append(append(make([]int64, 0, len(r.Instants)+len(earlier.Instants)), earlier.Instants...), r.Instants...)
	r.Run = earlier.Run
	r.Run.Count, r.Run.Until, r.Run.EndedAt, r.Run.Folded = len(r.Instants), last, ended, true
	return true
}

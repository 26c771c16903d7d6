package cluster

import (
	"github.com/carillon-cron/carillon/calendar"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/plan"
)

// newCalendar compiles a stored calendar. One that cannot be used is known, too:
// what its jobs are told is why.
func newCalendar(key string, value []byte) (plan.Calendar, error) {
	stored, err := etcdkv.Decode[etcdkv.StoredCalendar](key, value)
	if err != nil {
		return plan.Calendar{}, err
	}
	c, problems := calendar.New(stored.Key().String(), &stored.Spec)
	if len(problems) > 0 {
		return plan.Calendar{Wrong: (&job.InvalidError{Problems: problems}).Error()}, nil
	}
	return plan.Calendar{Calendar: c}, nil
}

// Calendar returns a calendar.
func (v *View) Calendar(key job.Key) (plan.Calendar, bool) {
	entries, _ := v.calendars.Snapshot()
	e, ok := entries[v.keys.Calendar(key)]
	return e.Value, ok
}

// CalendarsRev returns as of which revision calendars are in view.
func (v *View) CalendarsRev() int64 {
	_, rev := v.calendars.Snapshot()
	return rev
}

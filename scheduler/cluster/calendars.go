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

// calendars are the calendars, compiled.
type calendars struct {
	keys   etcdkv.Keys
	stored *etcdkv.Map[plan.Calendar]
}

func (c *calendars) follow(f *feed, keys etcdkv.Keys) {
	c.keys = keys
	c.stored = follow(f, keys.Calendars(), newCalendar, f.Wake)
}

// Calendar returns a calendar.
func (c *calendars) Calendar(key job.Key) (plan.Calendar, bool) {
	entries, _ := c.stored.Snapshot()
	e, ok := entries[c.keys.Calendar(key)]
	return e.Value, ok
}

// CalendarsRev returns as of which revision calendars are in view.
func (c *calendars) CalendarsRev() int64 {
	_, rev := c.stored.Snapshot()
	return rev
}

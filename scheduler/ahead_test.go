package scheduler

import (
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/phase"
)

// What records say of a job that is gone may come when the cursor has passed all that it
// was asked for.
func TestAnswerAboutRecordsMayComeTooLate(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	e := d.job(job.Spec{Schedules: []string{"@hourly"}})
	d.state.Ahead = time.Unix(0, d.clock).Add(time.Hour)
	d.turnBack(d.clock)
	if !d.ahead.awaitsPast(e, d.clock+1) || !d.ahead.asked[e.uid] {
		t.Fatal("records are not asked for")
	}
	d.ahead.over()
	d.answered()
	if d.ahead.read != nil || d.ahead.awaitsPast(e, d.clock+1) {
		t.Errorf("kept: %v", d.ahead.read)
	}
}

// A fire that ends while the records are being read, as one that a recovery has put into a
// slot, may not be among them. It is known all the same.
func TestWhatEndsWhileRecordsAreReadIsKnown(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	e := d.job(job.Spec{Schedules: []string{"@hourly"}})
	d.state.Ahead = time.Unix(0, d.clock).Add(time.Hour)
	d.turnBack(d.clock)
	at := func(n int64) *fire {
		return &fire{id: job.FireID{Job: e.uid, At: d.clock + n, Trigger: job.TriggerSchedule}, was: phase.FireStarted}
	}
	ran, missed, later := at(1), at(2), at(int64(2*time.Hour))
	missed.was = phase.FireMissed
	for _, f := range []*fire{ran, missed, later} {
		d.ahead.end(f)
	}
	d.ahead.read[e.uid] = &past{ran: map[int64]bool{}} // read before
	for _, c := range []struct {
		f    *fire
		want bool
	}{{ran, true}, {missed, false}, {later, false}} {
		if was, why := d.ahead.committedBefore(e, c.f.id.At, d.fires); was != c.want || why != "" {
			t.Errorf("%v: it was committed before: %v, %q", c.f.id, was, why)
		}
	}
}

package scheduler

import (
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
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

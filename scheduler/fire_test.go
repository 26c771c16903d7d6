package scheduler

import (
	"testing"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/phase"
)

// A phase that may not follow stops a test, and no production node: it is logged there.
func TestAPhaseThatMayNotFollowIsLoud(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	f := d.fire(d.job(job.Spec{}), fire{})
	d.says(f, "m00", job.StateRunning)
	task := f.tasks[0]
	for _, next := range []phase.Task{phase.Held, phase.Sent} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a task that runs is %s then, and nobody hears of it", next)
				}
			}()
			d.become(task, next)
		}()
	}
	d.become(task, phase.Ended)
	if !task.final() || task.endedFrom != phase.Running || !task.mayHaveBegun() {
		t.Errorf("a task that ran and has ended: %s, from %s", task.phase, task.endedFrom)
	}
}

package scheduler

import (
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// TestWhatHasEndedLeavesItsSlot: another fire of its slot may run for weeks. What has
// ended without its minion's word leaves the stored slot with the next write, else the
// next owner would begin it; what its minion remembers, for longer than this, a while
// later.
func TestWhatHasEndedLeavesItsSlot(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		overlap job.Overlap
		// end ends the second fire of the slot.
		end    func(d *desk, f *fire)
		atOnce bool
	}{
		"turned away at its start": {job.OverlapSkip, func(*desk, *fire) {}, true},
		"waited and was cancelled": {job.OverlapQueueAll, func(d *desk, f *fire) { d.end(f, job.StateCancelled, "by hand") }, true},
		"without an answer":        {job.OverlapAllow, func(d *desk, f *fire) { d.finish(f, f.tasks[0], d.clock, job.StateIndeterminate, "gone") }, true},
		"it ran": {job.OverlapAllow, func(d *desk, f *fire) {
			d.says(f, "m00", job.StateSucceeded)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, 1)
			e := d.job(job.Spec{Overlap: c.overlap})
			fires := make([]*fire, 2)
			for i := range fires {
				at := d.clock + int64(time.Duration(i+1)*time.Second)
				fires[i] = &fire{e: e, id: job.FireID{Job: e.uid, At: at, Trigger: job.TriggerSchedule}, notBefore: at}
				d.planFire(&batch{}, fires[i], d.clock)
			}
			d.commitSlot(fires...)
			d.pass(time.Second)
			d.says(fires[0], "m00", job.StateRunning)
			d.pass(time.Second)
			c.end(d, fires[1])
			if !fires[1].ended() {
				t.Fatal("the second has not ended")
			}
			d.close(fires[1]) // it is in history
			d.planned = fires[1].id.At
			d.state.Cursor = time.Unix(0, d.planned)
			inSlot := func() bool {
				d.passSlots()
				d.step()
				next, _ := d.taken(fires[0])
				if next.fires[fires[0].id] == nil {
					t.Error("the run that goes on has left the slot")
				}
				return next.fires[fires[1].id] != nil
			}
			if inSlot() == c.atOnce {
				t.Errorf("it is in the slot after its end: %v", !c.atOnce)
			}
			d.clock += shrinkAfter
			d.shrinkSlots(d.clock)
			if inSlot() {
				t.Error("it is in the slot a while after its end")
			}
		})
	}
}

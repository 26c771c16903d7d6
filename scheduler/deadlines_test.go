package scheduler

import (
	"testing"

	"github.com/carillon-cron/carillon/job"
)

// I23: what has ended stands among the wakeups no more.
func TestI23_WhatHasEndedIsNotLookedAfter(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	d.crowd(100)
	d.commitPlan(nil)
	d.step()
	if n := d.wakeups.Len(); n != 100 {
		t.Fatalf("%d of 100 are looked after", n)
	}
	for _, f := range d.fires {
		d.end(f, job.StateSucceeded, "")
	}
	if n := d.wakeups.Len(); n != 0 {
		t.Errorf("%d are looked after that have ended", n)
	}
}

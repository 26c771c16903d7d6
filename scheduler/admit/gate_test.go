package admit

import (
	"testing"

	"github.com/carillon-cron/carillon/job"
)

func at(instant int64) *Run {
	return &Run{ID: job.FireID{At: instant}, Job: job.Key{Namespace: "t", Name: "j"}}
}

// I12: in an ordered group each run waits for the one before it, also for one whose
// start has not come.
func TestI12_OrderedGateWaitsForTheOldest(t *testing.T) {
	t.Parallel()
	var g Gate
	g.Rules(&job.GroupSpec{Ordered: true})
	first, second, third := at(1), at(2), at(3)
	for _, r := range []*Run{third, first, second} {
		g.Join(r)
	}
	if g.enter(second) || g.enter(third) || g.Next() != first {
		t.Error("one has overtaken the oldest, whose start has not come")
	}
	if want := "waiting for the run of t/j at 1970-01-01T00:00:00.000000001Z to start and end; the group is ordered"; g.why() != want {
		t.Errorf("told: %s", g.why())
	}
	if !g.enter(first) || g.enter(second) || g.Next() != nil {
		t.Error("not one at a time")
	}
	if !g.enter(first) {
		t.Error("one that is under way has to wait")
	}
	if want := "waiting for the run before it to end; the group is ordered"; g.why() != want {
		t.Errorf("told: %s", g.why())
	}
	g.Leave(first)
	if g.Next() != second || g.enter(third) || !g.enter(second) {
		t.Error("the next one is not the second")
	}
	g.Unadmit(second) // its minion has not started it
	if g.enter(third) || g.Next() != second || second.place != inLine {
		t.Error("who has not started, after all, has lost its place in line")
	}
	g.Leave(second)
	if !g.enter(third) {
		t.Error("the last one does not start")
	}
}

// I12: in a bounded group so many are under way, and who waits goes by the instants.
func TestI12_BoundedGateLetsSoManyIn(t *testing.T) {
	t.Parallel()
	var g Gate
	spec := &job.GroupSpec{MaxConcurrent: 2}
	g.Rules(spec)
	var runs [5]*Run
	for i := range runs {
		runs[i] = at(int64(i))
		g.Join(runs[i])
	}
	if !g.enter(runs[0]) || !g.enter(runs[1]) || g.enter(runs[4]) || g.enter(runs[3]) || g.enter(runs[3]) {
		t.Error("not two at a time")
	}
	if want := "waiting for one of 2 runs of the group to end; its maxConcurrent is 2"; g.why() != want {
		t.Errorf("told: %s", g.why())
	}
	g.Leave(runs[0])
	if g.Next() != runs[3] || g.enter(runs[4]) {
		t.Error("a later one overtakes one that waits")
	}
	if !g.enter(runs[2]) {
		t.Error("one that is older than those that wait has to wait for them")
	}
	spec.MaxConcurrent = 0
	if again := g.changed(spec, 7); len(again) != 2 || again[0] != runs[3] || g.changed(spec, 7) != nil {
		t.Errorf("%d ask again when there is no bound any more", len(again))
	}
	if !g.enter(runs[3]) || !g.enter(runs[4]) || len(g.waiting) != 0 {
		t.Error("somebody waits though there is no bound")
	}
	if !g.Has(func(r *Run) bool { return r == runs[4] }) || g.Has(func(r *Run) bool { return r == runs[0] }) {
		t.Error("who stands in line is not those who have not left")
	}
}

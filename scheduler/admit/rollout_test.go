package admit

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/phase"
)

// tasks are those of a run that is rolled out.
type tasks struct {
	all      []*Progress
	canaries int
	promoted bool
}

// TestRolloutModel drives a rollout's decisions with tasks that end at random,
// and holds them against its promises: never more at a time than the batch and
// the caps allow, nobody before the canaries have succeeded, and nothing new
// once it was stopped. It must also come to its end.
func TestRolloutModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(2, 40).Draw(rt, "tasks")
		spec := job.Rollout{}
		if rapid.Bool().Draw(rt, "batched") {
			spec.Batch = rapid.SampledFrom([]job.Amount{"1", "3", "10%", "50%", "100%"}).Draw(rt, "batch")
			if rapid.Bool().Draw(rt, "pauses") {
				spec.Pause = job.Duration(time.Minute)
			}
		}
		if rapid.Bool().Draw(rt, "bounded") {
			most := rapid.SampledFrom([]job.Amount{"0", "2", "10%"}).Draw(rt, "failures")
			spec.MaxFailures = &most
		}
		if rapid.Bool().Draw(rt, "capped") {
			spec.MaxPer = map[string]int{"rack": rapid.IntRange(1, 3).Draw(rt, "per rack")}
		}
		canaries := rapid.IntRange(0, min(3, n-1)).Draw(rt, "canaries")
		if canaries > 0 && rapid.Bool().Draw(rt, "by hand") {
			spec.Promote = job.PromoteManual
		}
		f := &tasks{canaries: canaries}
		for range n {
			f.all = append(f.all, &Progress{Attempt: 1})
		}
		r := NewRollout(&spec, n, canaries, func(i int, _ string) string { return fmt.Sprint(i % 4) }, false)
		now := int64(1)
		var lastEnd int64
		inBatch := 0
		for round := 0; ; round++ {
			if round > 20*n {
				rt.Fatalf("no end after %d rounds; held: %q", round, r.held)
			}
			front := r.Look(n, func(i int) Progress { return *f.all[i] })
			if why := r.Stops(front); why != "" {
				return // nothing is started any more
			}
			started, again := r.Next(front, &Turn{Run: func() job.RunID { return "x" }, Now: now, Promoted: f.promoted})
			if again != 0 && (again <= now || len(started) > 0) {
				rt.Fatalf("at %d it is to be asked again at %d, and starts %v", now, again, started)
			}
			for _, i := range started {
				f.all[i].Phase = phase.Running
			}
			checkRollout(rt, &spec, r, f)
			if spec.Pause > 0 && len(started) > 0 && front.canaryOpen == 0 {
				if inBatch >= spec.Batch.Of(n, 1) {
					if now < lastEnd+int64(spec.Pause) {
						rt.Fatalf("the next batch began %v after the last end", time.Duration(now-lastEnd))
					}
					inBatch = 0
				}
				inBatch += len(started)
			}
			var running []*Progress
			for _, task := range f.all {
				if task.Phase == phase.Running {
					running = append(running, task)
				}
			}
			if len(running) == 0 && len(front.Waiting) == 0 {
				return
			}
			switch {
			case strings.Contains(r.held, "resume"):
				f.promoted = true
			case len(running) == 0:
				now += int64(10 * time.Second)
			default:
				victim := running[rapid.IntRange(0, len(running)-1).Draw(rt, "ends")]
				state := rapid.SampledFrom([]job.State{job.StateSucceeded, job.StateSucceeded, job.StateSucceeded, job.StateFailed, job.StateDeliveryTimeout}).Draw(rt, "state")
				victim.State, victim.Phase = state, phase.Ended
				now += int64(time.Second)
				lastEnd = now
			}
		}
	})
}

func checkRollout(rt *rapid.T, spec *job.Rollout, r *Rollout, f *tasks) {
	open, racks, canariesDone := 0, map[string]int{}, true
	for i, task := range f.all {
		if i < f.canaries && (task.Phase != phase.Ended || task.State != job.StateSucceeded) {
			canariesDone = false
		}
		if task.Phase != phase.Running {
			continue
		}
		open++
		if spec.MaxPer != nil {
			racks[r.values["rack"][i]]++
		}
		if i >= f.canaries && (!canariesDone || spec.Promote == job.PromoteManual && !f.promoted) {
			rt.Fatalf("task %d runs before the canaries are through", i)
		}
	}
	if spec.Batch != "" && open > spec.Batch.Of(len(f.all), 1) {
		rt.Fatalf("%d at a time, and the batch is %s of %d", open, spec.Batch, len(f.all))
	}
	for rack, n := range racks {
		if n > spec.MaxPer["rack"] {
			rt.Fatalf("%d at a time in rack %s, and %d may", n, rack, spec.MaxPer["rack"])
		}
	}
}

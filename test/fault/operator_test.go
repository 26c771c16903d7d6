package main

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// TestEditsAreAccepted: whatever fields the operator of a scenario has changed, one
// after the other, no job file of it is refused.
func TestEditsAreAccepted(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for seed := range uint64(100) {
		o := &operator{rnd: rand.New(rand.NewPCG(seed, 1))}
		s := &subject{spec: probeSpec("trace", 1)}
		s.spec["schedules"], s.spec["overlap"] = []string{every}, job.OverlapQueueAll
		for range 30 {
			o.anyField(s)
			for field := range maps.Keys(s.spec) {
				seen[field] = true
			}
			var file bytes.Buffer
			documentIn(&file, probeSpace, job.KindJob, "edited", s.spec)
			if _, err := manifest.Decode("probe", file.Bytes()); err != nil {
				t.Fatalf("seed %d: %v\n%s", seed, err, file.Bytes())
			}
		}
	}
	for _, field := range []string{"overlap", "overlapLimit", "misfire", "catchUp", "catchUpEvery", "timeout", "lostAfter", "params"} {
		if !seen[field] {
			t.Errorf("%s was never changed", field)
		}
	}
}

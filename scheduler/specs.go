package scheduler

import (
	"time"

	"github.com/carillon-cron/carillon/job"
)

const (
	// keepDecodedUnder: a job that fires at least this often keeps its decoded spec.
	keepDecodedUnder = int64(time.Minute)
	// keepDecoded is how many decoded specs of other jobs a shard keeps: those that
	// were read last, so that a fire reads its own once from its plan to its record.
	keepDecoded = 128
)

// specs are the decoded specs that a shard keeps of jobs that fire seldom. A million
// of them would take a gigabyte; read anew each time, they would be most of what a
// fire costs.
type specs struct {
	last [keepDecoded]*entry
	next int
}

// of returns the spec of a job. It must not be changed.
func (k *specs) of(e *entry) (*job.Spec, error) {
	if e.decoded != nil {
		return e.decoded, nil
	}
	spec, err := e.read()
	if err != nil {
		return nil, err
	}
	e.decoded = spec
	if !e.often() {
		if old := k.last[k.next]; old != nil && !old.often() {
			old.decoded = nil
		}
		k.last[k.next] = e
		k.next = (k.next + 1) % keepDecoded
	}
	return spec, nil
}

// often reports whether the job fires so often that its decoded spec is kept.
func (e *entry) often() bool { return e.timer.Period != 0 && e.timer.Period <= keepDecodedUnder }

// spec returns the spec of the fire's job. One with many tasks keeps it while it
// is open: every report of a task needs it.
func (s *shard) spec(f *fire) (*job.Spec, error) {
	if f.decoded != nil {
		return f.decoded, nil
	}
	spec, err := s.specs.of(f.e)
	if err == nil && len(f.tasks) > fewTasks {
		f.decoded = spec
	}
	return spec, err
}

// pace is the time between two missed occurrences of a job that are run.
func (s *shard) pace(e *entry) time.Duration {
	spec, err := s.specs.of(e)
	if err != nil {
		return job.DefaultCatchUpEvery
	}
	return spec.EffectiveCatchUpEvery()
}

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/carillon-cron/carillon/job"
)

const (
	// crowdFull and crowdShort are how many minions there are besides the hosts
	// while one of them stands still: it is one of 100, or of 20 in a short run.
	crowdFull, crowdShort = 95, 15
	// stalledTimeout is that of the commands: half of it is longer than any
	// order lives, so that these live as long as they may.
	stalledTimeout = 10 * time.Minute
)

// stallMinion stops one minion of many. The others' results must come in while
// it stands still, and none may wait until it is given up; its own tasks must
// end as what they are.
func stallMinion(ctx context.Context, s *stage) error {
	count := crowdFull
	if s.length < 10*time.Second {
		count = crowdShort
	}
	disperse, err := s.gather(ctx, count)
	if err != nil {
		return err
	}
	err = s.stall(ctx, count)
	// What the crowd knows it knows in memory only, so it goes when all has ended.
	_, settled := s.settle(ctx)
	return errors.Join(err, settled, disperse())
}

func (s *stage) stall(ctx context.Context, count int) error {
	still, rounds := s.c.hosts[0], max(3, int(s.length/(4*time.Second)))
	begin := func() ([]*granted, error) {
		var all []*granted
		for range rounds {
			g, err := s.start(ctx, fanout{on: on() + " or " + crowdPrefix + "*", timeout: stalledTimeout})
			if err != nil {
				return nil, err
			}
			s.mostSucceed(g, still.id, count+len(s.c.hosts)-1)
			all = append(all, g)
		}
		return all, nil
	}
	free, err := begin()
	if err != nil {
		return err
	}
	if err := s.othersEnd(ctx, free, ""); err != nil {
		return err
	}
	if err := still.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	s.c.event("%s stands still", still.id)
	stalled, err := begin()
	// An order of its own that is too old before it goes on.
	late, lateErr := s.start(ctx, fanout{on: on(still), timeout: 2 * time.Second})
	if err = errors.Join(err, lateErr); err == nil {
		s.ends(late, []*host{still}, job.StateDeliveryTimeout, job.StateExpired)
		if err = s.othersEnd(ctx, stalled, still.id); err == nil {
			err = sleep(ctx, 2*time.Second) // twice as long as that order lives
		}
	}
	if cont := still.signal(syscall.SIGCONT); cont != nil || err != nil {
		return errors.Join(err, cont)
	}
	s.checks = append(s.checks, func(f fanouts) []string {
		s.note("from the order to the start, on %d minions: %s; beside one that stands still: %s",
			count+len(s.c.hosts)-1, spread(starts(f, free, still.id)), spread(starts(f, stalled, still.id)))
		return waited(f, stalled, still.id)
	})
	return nil
}

// mostSucceed wants all n tasks of a run to succeed but that of one minion.
func (s *stage) mostSucceed(g *granted, but job.MinionID, n int) {
	s.checks = append(s.checks, func(f fanouts) []string {
		var wrong []string
		good := 0
		for i := range f.runs {
			for k := range f.runs[i].Tasks {
				t := &f.runs[i].Tasks[k]
				switch {
				case f.runs[i].RunID != g.run || t.Minion == but:
				case t.State == job.StateSucceeded:
					good++
				default:
					wrong = append(wrong, fmt.Sprintf("run %s on %s: it should have succeeded; it is %s: %s", g.run, t.Minion, t.State, t.Reason))
				}
			}
		}
		if good+len(wrong) != n {
			wrong = append(wrong, fmt.Sprintf("run %s was on %d other minions, want %d", g.run, good+len(wrong), n))
		}
		return wrong
	})
}

// othersEnd waits until the tasks of runs have ended, but for those on one minion.
func (s *stage) othersEnd(ctx context.Context, runs []*granted, but job.MinionID) error {
	return until(ctx, func() error {
		for _, g := range runs {
			run, err := s.c.api.run(ctx, g.run)
			if err != nil {
				return err
			}
			if len(run.Tasks) == 0 {
				return fmt.Errorf("run %s has no tasks yet", g.run)
			}
			for i := range run.Tasks {
				if t := &run.Tasks[i]; t.Minion != but && !t.State.Final() {
					return fmt.Errorf("run %s is %s on %s", g.run, t.State, t.Minion)
				}
			}
		}
		return nil
	})
}

// starts returns how long after their order tasks started, sorted, but for those
// on one minion.
func starts(f fanouts, of []*granted, but job.MinionID) []time.Duration {
	var took []time.Duration
	eachTask(f, of, func(r *job.Run, t *job.Task) {
		if t.Minion != but && !t.StartedAt.IsZero() {
			took = append(took, t.StartedAt.Sub(r.ScheduledAt))
		}
	})
	slices.Sort(took)
	return took
}

func spread(sorted []time.Duration) string {
	return fmt.Sprintf("p50 %v, p99 %v", quantile(sorted, .5).Round(time.Millisecond), quantile(sorted, .99).Round(time.Millisecond))
}

// waited tells of tasks that ended only when the stalled minion's task of the
// same run had.
func waited(f fanouts, of []*granted, still job.MinionID) []string {
	ends := map[job.RunID]time.Time{}
	eachTask(f, of, func(r *job.Run, t *job.Task) {
		if t.Minion == still {
			ends[r.RunID] = t.EndedAt
		}
	})
	var wrong []string
	eachTask(f, of, func(r *job.Run, t *job.Task) {
		end := ends[r.RunID]
		switch {
		case t.Minion == still:
		case end.IsZero(): // the minion was uncontrollable by then, and got no order
		case !t.EndedAt.Before(end):
			wrong = append(wrong, fmt.Sprintf("run %s on %s ended at %v, when the minion that stood still had at %v", r.RunID, t.Minion, t.EndedAt, end))
		}
	})
	return wrong
}

func eachTask(f fanouts, of []*granted, do func(*job.Run, *job.Task)) {
	for i := range f.runs {
		r := &f.runs[i]
		if !slices.ContainsFunc(of, func(g *granted) bool { return g.run == r.RunID }) {
			continue
		}
		for k := range r.Tasks {
			do(r, &r.Tasks[k])
		}
	}
}

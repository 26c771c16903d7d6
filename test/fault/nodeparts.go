package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// killPoints is how often scheduler-kill kills an owner, if it has the time.
const killPoints = 100

// killOwners kills the owner of a fan-out: while it is asked for it, some time
// later, or when some of the minions have started.
func killOwners(ctx context.Context, s *stage) error {
	end := time.Now().Add(s.length)
	n := 0
	for ; n < killPoints && time.Now().Before(end); n++ {
		victim, err := s.killPoint(ctx, n)
		if err != nil {
			return err
		}
		if err := sleep(ctx, between(s.rnd, 0, 200*time.Millisecond)); err != nil {
			return err
		}
		if err := s.back(ctx, victim); err != nil {
			return err
		}
	}
	s.note("an owner was killed at %d points", n)
	return nil
}

// killPoint starts a fan-out and kills its owner; it returns who was killed.
func (s *stage) killPoint(ctx context.Context, n int) (*process, error) {
	f := fanout{on: on(), line: fmt.Sprintf("echo %d", n)}
	if s.rnd.IntN(2) == 0 {
		f.line += "; exec sleep 0.2"
	}
	if n%4 == 3 { // while it is asked for; any of them may be the owner
		victim := s.c.running()[s.rnd.IntN(len(s.c.running()))]
		after := between(s.rnd, 0, 30*time.Millisecond)
		s.c.event("kill %s %v after a fan-out is asked for", victim.name, after)
		killed := make(chan error, 1)
		go func() {
			time.Sleep(after)
			_, err := victim.stop(syscall.SIGKILL)
			killed <- err
		}()
		_, err := s.start(ctx, f)
		if kill := <-killed; kill != nil {
			return nil, kill
		}
		return victim, err
	}
	before, err := s.countMarks()
	if err != nil {
		return nil, err
	}
	g, err := s.start(ctx, f)
	if err != nil {
		return nil, err
	}
	if n%4 == 0 {
		want := before + 1 + s.rnd.IntN(len(s.c.hosts))
		s.c.event("kill the owner when %d tasks have started", want-before)
		for give := time.Now().Add(2 * time.Second); time.Now().Before(give); time.Sleep(2 * time.Millisecond) {
			if have, err := s.countMarks(); err != nil || have >= want {
				break
			}
		}
	} else {
		after := between(s.rnd, 0, 150*time.Millisecond)
		s.c.event("kill the owner after %v", after)
		time.Sleep(after)
	}
	victim := s.owner(g.shard)
	if victim == nil {
		victim = s.c.running()[0] // it changes hands at this moment
	}
	_, err = victim.stop(syscall.SIGKILL)
	return victim, err
}

// pauseOwners stops the owner of shards for longer than its lease, so that when
// it goes on there are two, for as long as it takes to find that out.
func pauseOwners(ctx context.Context, s *stage) error {
	if err := s.tick(ctx, true); err != nil {
		return err
	}
	end := time.Now().Add(s.length / 4)
	rounds := 0
	for ; rounds == 0 || time.Now().Before(end); rounds++ {
		g, err := s.start(ctx, fanout{on: on(), line: "exec sleep 1"})
		if err != nil {
			return err
		}
		victim := s.owner(g.shard)
		if victim == nil {
			continue
		}
		s.c.event("stop %s past its lease", victim.name)
		if err := victim.signal(syscall.SIGSTOP); err != nil {
			return err
		}
		err = s.whileStopped(ctx, victim)
		if cont := victim.signal(syscall.SIGCONT); err == nil {
			err = cont
		}
		if err != nil {
			return err
		}
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
	}
	s.note("an owner stood still past its lease %d times", rounds)
	if err := s.well(ctx); err != nil {
		return err
	}
	return s.tick(ctx, false)
}

// whileStopped starts fan-outs at the other nodes while one stands still.
func (s *stage) whileStopped(ctx context.Context, victim *process) error {
	others := s.without(victim)
	for range 3 {
		// Minions that are connected to it are lost with it for a while: perhaps all.
		if _, err := s.try(ctx, others, fanout{on: on()}); errors.Is(err, job.ErrNoMinions) {
			s.note("all minions were connected to %s, which stood still", victim.name)
		} else if err != nil {
			return err
		}
		if err := sleep(ctx, (leaseTTL+2*time.Second)/3); err != nil {
			return err
		}
	}
	return nil
}

// overtake cancels fan-outs as soon as they are granted, or while one minion
// does not read what it is sent.
func overtake(ctx context.Context, s *stage) error {
	rounds := int(s.length / time.Second)
	still := s.c.hosts[0]
	for n := range rounds {
		stop := n%5 == 0
		if stop {
			if err := still.signal(syscall.SIGSTOP); err != nil {
				return err
			}
		}
		err := s.cancelRound(ctx, n)
		if stop {
			if cont := still.signal(syscall.SIGCONT); err == nil {
				err = cont
			}
		}
		if err != nil {
			return err
		}
	}
	s.checks = append(s.checks, func(f fanouts) []string {
		var wrong []string
		for i := range f.runs {
			if r := &f.runs[i]; r.State == job.StateSucceeded {
				wrong = append(wrong, fmt.Sprintf("run %s succeeded, and its commands go on for longer than it took to cancel it", r.RunID))
			}
		}
		return wrong
	})
	return nil
}

// cancelRound starts fan-outs and cancels them, each with its own delay.
func (s *stage) cancelRound(ctx context.Context, n int) error {
	const atOnce = 4
	var wait sync.WaitGroup
	errs := make([]error, atOnce)
	for i := range atOnce {
		g, err := s.start(ctx, fanout{on: on(), line: "exec sleep 15"})
		if err != nil {
			return err
		}
		delay := between(s.rnd, 0, time.Duration(1+n%3*50)*time.Millisecond)
		wait.Go(func() {
			time.Sleep(delay)
			errs[i] = until(ctx, func() error {
				err := s.cancel(ctx, g.run)
				if err != nil && strings.Contains(err.Error(), "409") {
					return nil // it has ended
				}
				return err
			})
		})
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

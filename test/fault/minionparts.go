package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// boundaries returns the places of the protocol at which a minion may die; see
// worker.Deps.
func boundaries() []string {
	return []string{"accepted", "taken", "reported", "intent", "handed", "exited", "ended", "acked"}
}

// killMinions has minions die at each boundary of their journal, several at a
// time, and come back.
func killMinions(ctx context.Context, s *stage) error {
	todo := boundaries()
	for end := time.Now().Add(s.length); ; {
		for some := range slices.Chunk(todo, len(s.c.hosts)) {
			if err := s.crashRound(ctx, some); err != nil {
				return err
			}
		}
		if time.Now().After(end) || s.length < time.Minute {
			return nil
		}
	}
}

// crashRound has one minion die at each of the points, under a few fan-outs.
func (s *stage) crashRound(ctx context.Context, points []string) error {
	for i, point := range points {
		h := s.c.hosts[i]
		if _, err := h.stop(syscall.SIGKILL); err != nil {
			return err
		}
		nth := 1 + s.rnd.IntN(3)
		s.c.event("%s will die at %q, time %d", h.id, point, nth)
		if err := h.crashAt(point, nth); err != nil {
			return err
		}
	}
	if err := s.comeOrDie(ctx); err != nil {
		return err
	}
	for range 5 {
		g, err := s.try(ctx, s.c.api, fanout{on: on(), line: "echo out; exec sleep 0.1"})
		if errors.Is(err, job.ErrNoMinions) {
			break // all are dead
		}
		if err != nil {
			return err
		}
		s.ends(g, s.c.hosts, job.StateSucceeded, job.StateUncontrollable) // some are dead already
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	for i, point := range points {
		h := s.c.hosts[i]
		if err := s.untilDead(ctx, h); err != nil {
			s.mustNot("minion %s never came to %q: %v", h.id, point, err)
			if _, err := h.stop(syscall.SIGKILL); err != nil {
				return err
			}
		}
		if err := h.again(); err != nil {
			return err
		}
	}
	return nil
}

// untilDead gives a minion that is to die more to do until it has.
func (s *stage) untilDead(ctx context.Context, h *host) error {
	return until(ctx, func() error {
		if !h.runs() {
			return nil
		}
		g, err := s.try(ctx, s.c.api, fanout{on: on(h)})
		if err != nil {
			return err
		}
		s.ends(g, []*host{h}, job.StateSucceeded, job.StateUncontrollable)
		return errors.New("it lives")
	})
}

// comeOrDie waits until each minion is connected, or dead already: it may have
// had something left to do.
func (s *stage) comeOrDie(ctx context.Context) error {
	return until(ctx, func() error {
		minions, err := s.c.api.minions(ctx)
		if err != nil {
			return err
		}
		for _, h := range s.c.hosts {
			here := slices.ContainsFunc(minions, func(m api.Minion) bool { return m.ID == h.id && m.State == "connected" })
			if !here && h.runs() {
				return fmt.Errorf("minion %s is not connected", h.id)
			}
		}
		return nil
	})
}

// rebootHosts has hosts end all at once while they run commands. What ran then
// is indeterminate, and is run again only if that does no harm.
func rebootHosts(ctx context.Context, s *stage) error {
	hosts := s.c.hosts[:2]
	restarted := "the host was restarted before the command's end was recorded"
	for _, idempotent := range []bool{false, true} {
		g, err := s.start(ctx, fanout{on: on(hosts...), line: "[ $CARILLON_ATTEMPT -gt 1 ] || exec sleep 20", idempotent: idempotent, attempts: 2})
		if err != nil {
			return err
		}
		for _, h := range hosts {
			s.check(g.run, h.id, func(r *job.Run, t *job.Task) string {
				switch {
				case t.Attempt > 1 && !idempotent:
					return "it was run again, and that may do harm"
				case t.Attempt > 1:
					return ""
				case t.State != job.StateIndeterminate || !strings.Contains(t.Reason, restarted):
					return "want indeterminate, because " + restarted
				case idempotent:
					return "it may be run again, and was not"
				}
				return ""
			})
		}
	}
	if err := s.marked(ctx, 2*len(hosts)); err != nil {
		return err
	}
	if err := sleep(ctx, time.Second); err != nil { // the start is told by now
		return err
	}
	for _, h := range hosts {
		s.c.event("reboot %s", h.id)
		if err := h.reboot(s.marks); err != nil {
			return err
		}
	}
	if err := s.well(ctx); err != nil {
		return err
	}
	g, err := s.start(ctx, fanout{on: on(hosts...)})
	if err != nil {
		return err
	}
	s.succeeds(g, hosts...)
	return nil
}

// cutHosts cuts a host off while its command ends. Every other time the node
// that it was connected to dies meanwhile.
func cutHosts(ctx context.Context, s *stage) error {
	h := s.c.hosts[0]
	end := time.Now().Add(s.length / 2)
	for n := 0; n < 2 || time.Now().Before(end); n++ {
		if err := s.well(ctx); err != nil {
			return err
		}
		before, err := s.countMarks()
		if err != nil {
			return err
		}
		g, err := s.start(ctx, fanout{on: on(s.c.hosts...), line: "sleep 1; echo done"})
		if err != nil {
			return err
		}
		s.succeeds(g, s.c.hosts...)
		if err := s.marked(ctx, before+len(s.c.hosts)); err != nil {
			return err
		}
		node, err := s.nodeOf(ctx, h.id)
		if err != nil {
			return err
		}
		if err := s.cutOne(ctx, h, node, n%2 == 1); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) cutOne(ctx context.Context, h *host, node *process, kill bool) error {
	s.c.event("cut %s off", h.id)
	if err := h.cut(ctx, s.c.network); err != nil {
		return err
	}
	err := sleep(ctx, between(s.rnd, 1200*time.Millisecond, 2500*time.Millisecond))
	if kill && err == nil {
		s.c.event("kill %s meanwhile", node.name)
		if _, err = node.stop(syscall.SIGKILL); err == nil {
			err = s.back(ctx, node)
		}
	}
	s.c.event("mend %s", h.id)
	return errors.Join(err, h.mend(ctx, s.c.network))
}

// cloneMinion starts a second worker with a minion's id, on a copy of its data.
func cloneMinion(ctx context.Context, s *stage) error {
	h := s.c.hosts[0]
	log := filepath.Join(s.c.dir, "clone.log")
	clone, err := h.clone(ctx, filepath.Join(h.dir, "clone"), log)
	if err != nil {
		return err
	}
	s.c.event("a clone of %s runs", h.id)
	for end := time.Now().Add(max(2*time.Second, s.length/6)); time.Now().Before(end) && err == nil; {
		if _, err = s.start(ctx, fanout{on: on(h), line: "exec sleep 0.3"}); err == nil {
			err = sleep(ctx, 150*time.Millisecond)
		}
	}
	if _, stop := clone.stop(syscall.SIGKILL); err == nil {
		err = stop
	}
	if err != nil {
		return err
	}
	reported := 0
	for _, p := range s.c.schedulers[:schedulerCount] {
		text, err := os.ReadFile(p.log)
		if err != nil {
			return fmt.Errorf("log of %s: %w", p.name, err)
		}
		reported += strings.Count(string(text), "minion id is used twice")
	}
	text, err := os.ReadFile(log)
	if err != nil {
		return fmt.Errorf("log of the clone: %w", err)
	}
	s.note("the nodes told of two processes with one id %d times, the clone %d times", reported, strings.Count(string(text), "another live process has this id"))
	if n := strings.Count(string(text), `"session opened"`); n > 0 {
		s.mustNot("the clone was let in %d times beside a minion that lives", n)
	}
	if reported == 0 {
		s.mustNot("no node told that two processes use the id %s", h.id)
	}
	return nil
}

// revokeMinion revokes a minion's certificate while a command of it runs. It must
// stay out, whatever it tries, until it joins anew; then it tells the result.
func revokeMinion(ctx context.Context, s *stage) error {
	h := s.c.hosts[0]
	var joined time.Time // anew
	runs, err := s.start(ctx, fanout{on: on(), line: "sleep 1; echo done"})
	if err != nil {
		return err
	}
	s.succeeds(runs, s.c.hosts...)
	if err := s.marked(ctx, len(s.c.hosts)); err != nil {
		return err
	}
	s.c.event("revoke %s", h.id)
	if err := s.c.api.ask(ctx, http.MethodPost, "/v1/minions/"+string(h.id)+"/revoke", []byte(`{"by":"fault"}`), nil); err != nil {
		return err
	}
	err = until(ctx, func() error {
		if node, err := s.nodeOf(ctx, h.id); err == nil {
			return fmt.Errorf("revoked minion %s is connected to %s", h.id, node.name)
		}
		return nil
	})
	if err != nil {
		s.mustNot("%v", err)
	}
	if err := s.staysOut(ctx, h, max(2*time.Second, s.length/12), &joined); err != nil {
		return err
	}
	// A new process is no better off.
	if _, err := h.stop(syscall.SIGKILL); err != nil {
		return err
	}
	h.mortal = true // it may give up
	if err := h.start(); err != nil {
		return err
	}
	if err := s.staysOut(ctx, h, time.Second, &joined); err != nil {
		return err
	}
	if _, err := h.stop(syscall.SIGKILL); err != nil {
		return err
	}
	token, err := s.c.api.joinToken(ctx, 1)
	if err != nil {
		return err
	}
	s.c.event("%s joins anew", h.id)
	joined = time.Now()
	h.env = append(h.env, tokenVariable+"="+token) // the last one counts
	if err := h.again(); err != nil {
		return err
	}
	if err := s.well(ctx); err != nil {
		return err
	}
	g, err := s.start(ctx, fanout{on: on(h)})
	if err == nil {
		s.succeeds(g, h)
	}
	return err
}

// staysOut looks on for a while that a minion is not let in, and starts nothing
// until it has joined anew.
func (s *stage) staysOut(ctx context.Context, h *host, long time.Duration, joined *time.Time) error {
	g, err := s.start(ctx, fanout{on: on()})
	if err != nil {
		return err
	}
	s.check(g.run, h.id, func(_ *job.Run, t *job.Task) string {
		// The owner may not have known yet that it has gone: then the order waited.
		if !t.StartedAt.IsZero() && t.StartedAt.Before(*joined) {
			return "it should not have been started before the minion had joined anew"
		}
		return ""
	})
	for end := time.Now().Add(long); time.Now().Before(end); {
		if node, err := s.nodeOf(ctx, h.id); err == nil {
			s.mustNot("revoked minion %s was let in by %s", h.id, node.name)
			return nil
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

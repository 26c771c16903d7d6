package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/carillon-cron/carillon/internal/testkit/reap"
	"github.com/carillon-cron/carillon/job"
)

// leaveForGood has a host go for good while commands run on it: one run ends when its
// lostAfter has passed, one when it is cancelled, one when its minion is forgotten;
// until then they say that their minion is gone. The host comes back, and starts
// nothing of them.
func leaveForGood(ctx context.Context, s *stage) error {
	h := s.c.hosts[0]
	var runs [3]*granted // by lostAfter, by a cancel, by a forgotten minion
	for i, after := range []time.Duration{job.MinLostAfter, 0, 0} {
		g, err := s.start(ctx, fanout{on: on(h), line: "exec sleep 300", timeout: 10 * time.Minute, lostAfter: after})
		if err != nil {
			return err
		}
		s.ends(g, []*host{h}, job.StateIndeterminate)
		runs[i] = g
	}
	if err := s.marked(ctx, len(runs)); err != nil {
		return err
	}
	if err := s.tell(ctx, "is under way", func(r *job.Run) bool { return r.State == job.StateRunning }, runs[:]...); err != nil {
		return err
	}
	s.c.event("%s goes for good", h.id)
	if _, err := h.stop(syscall.SIGKILL); err != nil {
		return err
	}
	h.reap(s.marks)
	gone := func(r *job.Run) bool { return !r.GoneSince.IsZero() && !r.Tasks[0].GoneSince.IsZero() }
	if err := s.tell(ctx, "says that its minion is gone", gone, runs[1:]...); err != nil {
		return err
	}
	if err := s.cancel(ctx, runs[1].run); err != nil {
		return err
	}
	if err := s.tell(ctx, "has ended", says("cancelled by", "whether that still runs is not known"), runs[1]); err != nil {
		return err
	}
	if err := s.tell(ctx, "has ended", says("longer than lostAfter (10s)"), runs[0]); err != nil {
		return err
	}
	if err := s.tell(ctx, "goes on", gone, runs[2]); err != nil {
		return err
	}
	err := until(ctx, func() error {
		return s.c.api.ask(ctx, http.MethodDelete, "/v1/minions/"+string(h.id), []byte(`{"by":"fault"}`), nil)
	})
	if err != nil {
		return err
	}
	if err := s.tell(ctx, "has ended", says("was forgotten"), runs[2]); err != nil {
		return err
	}
	if err := h.start(); err != nil {
		return err
	}
	if err := s.well(ctx); err != nil {
		return err
	}
	g, err := s.start(ctx, fanout{on: on(h)})
	if err != nil {
		return err
	}
	s.succeeds(g, h)
	return nil
}

// says wants an end as indeterminate, with these words.
func says(words ...string) func(*job.Run) bool {
	return func(r *job.Run) bool {
		for _, w := range words {
			if !strings.Contains(r.Reason+r.Tasks[0].Reason, w) {
				return false
			}
		}
		return r.State == job.StateIndeterminate
	}
}

// tell waits until the runs are as they should be.
func (s *stage) tell(ctx context.Context, what string, is func(*job.Run) bool, runs ...*granted) error {
	return until(ctx, func() error {
		for _, g := range runs {
			r, err := s.c.api.run(ctx, g.run)
			if err != nil {
				return err
			}
			if len(r.Tasks) == 0 || !is(&r) {
				return fmt.Errorf("waiting until run %s %s; it is %s, gone since %v: %s", g.run, what, r.State, r.GoneSince, r.Reason)
			}
		}
		return nil
	})
}

// killShims kills supervising processes while commands run that have started others.
// Nothing of these is left when the runs end.
func killShims(ctx context.Context, s *stage) error {
	for i, h := range s.c.hosts[:2] {
		file := filepath.Join(s.marks, "left-"+string(h.id))
		line := fmt.Sprintf(`setsid /bin/sh -c '/bin/sh -c "echo \$\$ >>%[1]s; exec sleep 300" & exit' & exec sleep 300`, file)
		g, err := s.start(ctx, fanout{on: on(h), line: line})
		if err != nil {
			return err
		}
		if err := until(ctx, func() error {
			if pid, _ := escaped(file); pid == 0 {
				return errors.New("nothing has been started yet")
			}
			return nil
		}); err != nil {
			return err
		}
		if err := s.tell(ctx, "is under way", func(r *job.Run) bool { return r.State == job.StateRunning }, g); err != nil {
			return err
		}
		both := i == 1
		s.c.event("the shim of %s is killed, the minion too: %v", h.id, both)
		if both {
			if _, err := h.stop(syscall.SIGKILL); err != nil {
				return err
			}
		}
		reap.Matching(func(pid string) bool {
			args, err := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
			return err == nil && bytes.Contains(args, []byte("\x00shim\x00")) && bytes.Contains(args, []byte(h.dir+"/"))
		})
		if both {
			if err := h.start(); err != nil {
				return err
			}
		}
		if err := s.tell(ctx, "has ended", says("supervising process died", "what was left of it was ended"), g); err != nil {
			return err
		}
		if pid, alive := escaped(file); alive {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			s.mustNot("process %d of run %s lives on after its end", pid, g.run)
		}
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	return nil
}

// etcdStands is how long etcd stands still: longer than lostAfter and the leases.
const etcdStands = job.MinLostAfter + 5*time.Second

// outlastEtcd has etcd stand still while minions run commands, and start again
// meanwhile, so that nodes see them go, and do not hear where they have come. None of
// them is gone for that.
func outlastEtcd(ctx context.Context, s *stage) error {
	g, err := s.start(ctx, fanout{on: on(), line: "exec sleep 30", timeout: 10 * time.Minute, lostAfter: job.MinLostAfter})
	if err != nil {
		return err
	}
	s.succeeds(g, s.c.hosts...)
	if err := s.marked(ctx, len(s.c.hosts)); err != nil {
		return err
	}
	if err := s.tell(ctx, "is under way", func(r *job.Run) bool { return r.State == job.StateRunning }, g); err != nil {
		return err
	}
	etcd := s.c.etcds[0]
	s.c.event("etcd stands still, and the minions start again")
	if err := etcd.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for _, h := range s.c.hosts {
		if _, err = h.stop(syscall.SIGKILL); err == nil {
			err = h.start()
		}
		if err != nil {
			break
		}
	}
	if err == nil {
		err = sleep(ctx, etcdStands)
	}
	s.c.event("etcd goes on")
	return errors.Join(err, etcd.signal(syscall.SIGCONT))
}

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// fillDisks fills the disk of hosts: before they are ordered anything, and while
// a command runs. On the last host the minion dies with its disk full.
func fillDisks(ctx context.Context, s *stage) error {
	journal, spool, dies := s.c.hosts[0], s.c.hosts[1], s.c.hosts[2]
	// What is known of its end needs more room than the last block of a file has.
	const large = "sleep 2; head -c 20000 /dev/zero | tr '\\0' x"
	runs, err := s.start(ctx, fanout{on: on(spool, dies), line: large})
	if err != nil {
		return err
	}
	s.succeeds(runs, spool)
	if err := s.marked(ctx, 2); err != nil {
		return err
	}
	full := []*host{journal, spool, dies}
	for _, h := range full {
		s.c.event("the disk of %s is full", h.id)
		if err := h.fillDisk(); err != nil {
			return err
		}
	}
	for range 3 {
		if err := journal.fillDisk(); err != nil {
			return err
		}
		if _, err := s.start(ctx, fanout{on: on(journal)}); err != nil {
			return err
		}
	}
	if err := sleep(ctx, 3*time.Second); err != nil { // the command has ended
		return err
	}
	if _, err := dies.stop(syscall.SIGKILL); err != nil {
		return err
	}
	dies.mortal = true // it may not be able to start
	if err := dies.start(); err != nil {
		return err
	}
	if err := sleep(ctx, time.Second); err != nil {
		return err
	}
	for _, h := range full {
		if err := h.freeDisk(); err != nil {
			return err
		}
	}
	s.c.event("there is room again")
	if !dies.runs() {
		s.note("the minion could not start on a full disk")
		if err := dies.again(); err != nil {
			return err
		}
	}
	if s.length < 10*time.Second {
		return nil // a minion looks at its disk every ten seconds
	}
	if err := s.well(ctx); err != nil {
		return err
	}
	g, err := s.start(ctx, fanout{on: on(full...)})
	if err != nil {
		return err
	}
	s.succeeds(g, full...)
	return nil
}

// escape has commands leave their session and their parents, and run into their
// timeout. One way is hopeless without control groups: see package shim.
func escape(ctx context.Context, s *stage) error {
	h := s.c.hosts[0]
	const away = `setsid /bin/sh -c '/bin/sh -c "echo \$\$ >>%[1]s; exec sleep 60" & exit' & wait; exec sleep 60`
	const wiped = `env -i /usr/bin/setsid /bin/sh -c '/bin/sh -c "echo \$\$ >>%[1]s; exec /bin/sleep 60" & exit' & wait; exec sleep 60`
	for name, line := range map[string]string{"setsid": away, "wiped": wiped} {
		file := filepath.Join(h.dir, "escaped-"+name)
		g, err := s.start(ctx, fanout{on: on(h), line: fmt.Sprintf(line, file), timeout: 2 * time.Second})
		if err != nil {
			return err
		}
		s.check(g.run, h.id, func(_ *job.Run, t *job.Task) string {
			pid, alive := escaped(file)
			switch {
			case pid == 0:
				return "nothing escaped, so nothing is shown"
			case t.State != job.StateTimedOut:
				return "it should have run into its timeout"
			case alive && (name == "setsid" || s.groups()):
				_ = syscall.Kill(pid, syscall.SIGKILL)
				return fmt.Sprintf("process %d (%s) lives on", pid, name)
			case alive:
				_ = syscall.Kill(pid, syscall.SIGKILL)
				s.note("without control groups, what wiped its environment lives on, as package shim tells")
			default:
				s.note("%s: the escaped process was ended", name)
			}
			return ""
		})
	}
	return nil
}

// escaped reads the process id in a file, and finds out whether it lives.
func escaped(file string) (pid int, alive bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	if pid, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
		return 0, false
	}
	// A zombie is dead: its state follows the name in brackets.
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return pid, err == nil && !strings.Contains(string(stat), ") Z")
}

// groups reports whether minions put commands into control groups, as they tell
// in their logs if they do not.
func (s *stage) groups() bool {
	text, err := os.ReadFile(s.c.hosts[0].log)
	return err == nil && !strings.Contains(string(text), "commands have no control groups")
}

// flood writes a gigabyte of output; in a short run, a tenth of it.
func flood(ctx context.Context, s *stage) error {
	const head, tail = "the head of it\n", "the tail of it\n"
	bytes := int64(1_000_000_000)
	if s.length < time.Minute {
		bytes /= 10
	}
	h := s.c.hosts[0]
	line := fmt.Sprintf("echo the head of it; head -c %d /dev/zero | tr '\\0' x; echo the tail of it", bytes)
	g, err := s.start(ctx, fanout{on: on(h), line: line})
	if err != nil {
		return err
	}
	s.check(g.run, h.id, func(_ *job.Run, t *job.Task) string {
		o := &t.Stdout
		s.note("%d bytes in %v", o.Bytes, t.EndedAt.Sub(t.StartedAt).Round(time.Millisecond))
		switch want := bytes + int64(len(head)+len(tail)); {
		case t.State != job.StateSucceeded:
			return "it should have succeeded"
		case o.Bytes != want || !o.Truncated:
			return fmt.Sprintf("%d bytes are recorded, truncated: %v; want %d, and true", o.Bytes, o.Truncated, want)
		case !strings.HasPrefix(o.Head, head) || !strings.HasSuffix(o.Tail, tail):
			return fmt.Sprintf("the head is %.40q and the tail …%q", o.Head, o.Tail[max(0, len(o.Tail)-40):])
		}
		const bound = 11 << 20 // worker.Config.OutputCap, and what belongs to it
		if size, err := sizeOf(filepath.Join(h.data(), "output")); err != nil || size > bound {
			return fmt.Sprintf("its output uses %d bytes on the disk, want at most %d (%v)", size, bound, err)
		}
		return ""
	})
	return nil
}

// sizeOf returns how many bytes the files below dir have.
func sizeOf(dir string) (int64, error) {
	var n int64
	err := filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}

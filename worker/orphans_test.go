package worker

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/shim"
)

// shimPID returns the process of the shim in dir, which no minion may be attached to.
func shimPID(t *testing.T, dir string) int {
	t.Helper()
	none := shim.Config{Dir: filepath.Join(dir, "shim"), Command: []string{"false"}}
	client, hello, err := shim.Attach(context.Background(), none)
	if err != nil {
		t.Fatal(err)
	}
	_ = client.Close()
	return hello.PID
}

// TestI13_KilledShimLeavesNothing: when the shim is killed, with its minion or
// without it, what its commands have started ends before their tasks do, whatever it
// has done to leave them: with a control group all of it, without one what can be
// known. What other commands have left behind on a normal end goes on.
func TestI13_KilledShimLeavesNothing(t *testing.T) {
	t.Parallel()
	const (
		tree = `setsid sh -c 'echo $$ >> %[1]s; exec sleep 300' &
			nohup sh -c 'echo $$ >> %[1]s; exec sleep 300' &
			(setsid sh -c 'setsid sh -c "echo \$\$ >> %[1]s; exec sleep 300" & exit' &)
			env -i /bin/sh -c 'echo $$ >> %[1]s; exec /bin/sleep 300' &
			while :; do sleep 1; done`
		hider = `setsid env -i /bin/sh -c '(/usr/bin/setsid /bin/sh -c "echo \$\$ >> %[1]s; exec /bin/sleep 300" &)' & `
	)
	for _, c := range []struct {
		grouped, both bool
	}{{true, false}, {true, true}, {false, false}, {false, true}} {
		t.Run(fmt.Sprintf("grouped=%v/minion too=%v", c.grouped, c.both), func(t *testing.T) {
			t.Parallel()
			group, real, script, want := NoCgroup, false, tree, "had no control group"
			if c.grouped {
				if group, real = ownGroup(t); real {
					script, want = hider+tree, "nothing of it runs any more"
				}
			}
			n, dir := newNode(t), dataDir(t)
			change := func(cfg *Config) { cfg.Cgroup = group }
			_, stop := start(t, n, dir, change)
			left := shell(`sleep 300 >/dev/null 2>&1 & echo $PPID $!`)
			file := filepath.Join(t.TempDir(), "pids")
			o := shell(script, file)
			n.order(left, o)
			n.final(left)
			n.running(o)
			var pids []int
			poll(t, "all processes", func() bool {
				pids = nil
				for _, l := range lines(t, file) {
					if pid, err := strconv.Atoi(l); err == nil {
						pids = append(pids, pid)
					}
				}
				return len(pids) == strings.Count(script, "echo")
			})
			others := outputNumbers(t, dir, left)
			if len(others) != 2 {
				t.Fatalf("output: %v", others)
			}
			supervisor, daemon := others[0], others[1]
			t.Cleanup(func() {
				for _, pid := range append(pids, daemon) {
					if alive(pid) {
						_ = syscall.Kill(pid, syscall.SIGKILL)
					}
				}
			})
			if c.both {
				stop()
			}
			killPID(t, supervisor)
			if c.both {
				start(t, n, dir, change)
			}
			r := n.final(o)
			if r.State != job.StateIndeterminate || !strings.Contains(r.Reason, "supervising process died") ||
				!strings.Contains(r.Reason, "what was left of it was ended") || !strings.Contains(r.Reason, want) {
				t.Errorf("report = %s %q", r.State, r.Reason)
			}
			for _, pid := range pids {
				if alive(pid) {
					t.Errorf("process %d lives on", pid)
				}
			}
			if !alive(daemon) {
				t.Error("what another command has left behind was ended")
			}
		})
	}
}

// TestI5_NeverStarted: a task that a shim which has died was told to start, or was
// about to be, and that it had not begun with, starts under the next shim, once.
func TestI5_NeverStarted(t *testing.T) {
	t.Parallel()
	t.Run("not handed over", func(t *testing.T) {
		t.Parallel()
		n, dir := newNode(t), dataDir(t)
		p := spawn(t, n, dir, "intent:1", 10)
		file := filepath.Join(t.TempDir(), "runs")
		o := shell("echo x >> %s", file)
		n.offerOrders(o)
		p.died()
		n.await("loss of the session", func() bool { return n.stream == nil })
		killPID(t, shimPID(t, dir))
		spawn(t, n, dir, "never", 10)
		if r := n.final(o); r.State != job.StateSucceeded {
			t.Errorf("report = %s %q", r.State, r.Reason)
		}
		if got := lines(t, file); len(got) != 1 {
			t.Errorf("it ran %d times", len(got))
		}
	})
	t.Run("handed over", func(t *testing.T) {
		t.Parallel()
		n, dir := newNode(t), dataDir(t)
		m, _ := start(t, n, dir)
		file := filepath.Join(t.TempDir(), "runs")
		before, o := shell("echo y >> %s; echo $PPID; exec sleep 300", file), shell("echo x >> %s", file)
		n.order(before)
		n.running(before)
		var pids []int
		poll(t, "output", func() bool { pids = outputNumbers(t, dir, before); return len(pids) == 1 })
		if err := syscall.Kill(pids[0], syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		n.order(o)
		poll(t, "the shim is told", func() bool {
			m.tasks.mu.Lock()
			defer m.tasks.mu.Unlock()
			e := m.tasks.journal.live[keyOf(o.Task)]
			return e != nil && e.phase == phaseHanded
		})
		killPID(t, pids[0])
		if r := n.final(o); r.State != job.StateSucceeded {
			t.Errorf("report = %s %q", r.State, r.Reason)
		}
		if r := n.final(before); r.State != job.StateIndeterminate {
			t.Errorf("report of the task that it had started = %s %q", r.State, r.Reason)
		}
		if got := strings.Join(lines(t, file), ""); got != "yx" {
			t.Errorf("ran %q, want each once", got)
		}
	})
}

// TestI13_WhatCannotBeEnded: a task stays open for as long as something of it is left
// that cannot be ended, up to its time-out; other tasks go on.
func TestI13_WhatCannotBeEnded(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"it ends at last":  "what was left of it was ended (1 process)",
		"its time is over": "1 process of it could not be ended: 123",
		"it is cancelled":  "1 process of it could not be ended: 123",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, dir := newNode(t), dataDir(t)
			var looks, gone atomic.Int32
			n.change = func(d *Deps) {
				d.endOrphans = func(_ context.Context, list []shim.Orphan, _ time.Duration) map[string]shim.Remains {
					looks.Add(1)
					r := shim.Remains{Left: []int{123}}
					if gone.Load() != 0 {
						r = shim.Remains{Ended: 1}
					}
					return map[string]shim.Remains{list[0].Key: r}
				}
			}
			m, _ := start(t, n, dir)
			o := shell(`echo $PPID; exec sleep 300`)
			o.Timeout = time.Hour
			n.order(o)
			n.running(o)
			var pids []int
			poll(t, "output", func() bool { pids = outputNumbers(t, dir, o); return len(pids) == 1 })
			killPID(t, pids[0])
			other := shell("true")
			n.order(other)
			n.final(other)
			poll(t, "two looks", func() bool { return looks.Load() > 1 })
			if got := n.states(o); got[len(got)-1] != job.StateRunning {
				t.Errorf("while something of it is left it is %v", got)
			}
			switch name {
			case "it ends at last":
				gone.Store(1)
			case "its time is over":
				m.tasks.mu.Lock()
				m.tasks.journal.live[keyOf(o.Task)].startedAt -= int64(time.Hour)
				m.tasks.mu.Unlock()
			case "it is cancelled":
				n.cancel(o, "")
			}
			if r := n.final(o); r.State != job.StateIndeterminate || !strings.Contains(r.Reason, want) {
				t.Errorf("report = %s %q", r.State, r.Reason)
			}
		})
	}
}

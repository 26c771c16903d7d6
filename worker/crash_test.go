package worker

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// The command survives the minion, and its result comes once.
func TestI1_KillMidRun(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	p := spawn(t, n, dir, "never", 10)
	tmp := t.TempDir()
	file, gate := filepath.Join(tmp, "runs"), filepath.Join(tmp, "gate")
	o := shell(`echo begin >> %s; echo out; while ! [ -e %s ]; do sleep 0.02; done; echo end >> %s; exit 7`, file, gate, file)
	n.order(o)
	n.running(o)
	p.kill()
	touch(t, gate)
	poll(t, "end of the command", func() bool { return len(lines(t, file)) == 2 })
	n.await("loss of the session", func() bool { return n.stream == nil })
	spawn(t, n, dir, "never", 10)
	r := n.final(o)
	if r.State != job.StateFailed || r.Exit == nil || r.Exit.Code != 7 || r.Stdout.Head != "out\n" {
		t.Errorf("report = %+v", r)
	}
	n.order(o)
	if got := lines(t, file); len(got) != 2 {
		t.Errorf("runs = %q, want one", got)
	}
}

// At whatever boundary of the journal the minion dies, the next one starts
// each task at most once, and tells how it ended.
func TestI1_CrashAtEachBoundary(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"accepted", "taken", "reported", "intent", "handed", "exited", "ended", "acked"} {
		for _, places := range []int{1, 100} {
			t.Run(fmt.Sprintf("%s/%d", point, places), func(t *testing.T) {
				t.Parallel()
				n, dir := newNode(t), dataDir(t)
				p := spawn(t, n, dir, point+":1", places)
				file := filepath.Join(t.TempDir(), "runs")
				offer := make([]*job.Order, 5)
				for i := range offer {
					offer[i] = shell(`echo %d >> %s`, i, file)
				}
				n.offerOrders(offer...)
				p.died()
				n.await("loss of the session", func() bool { return n.stream == nil })
				spawn(t, n, dir, "never", places)
				n.connected()
				n.order(offer...) // what a node does that got no answer
				for _, o := range offer {
					if r := n.final(o); r.State != job.StateSucceeded {
						t.Errorf("report = %+v", r)
					}
				}
				seen := map[string]int{}
				for _, l := range lines(t, file) {
					seen[l]++
				}
				for i := range offer {
					if seen[fmt.Sprint(i)] != 1 {
						t.Errorf("task %d ran %d times", i, seen[fmt.Sprint(i)])
					}
				}
			})
		}
	}
}

// A task that was accepted but not started is not started after its deadline.
func TestI8_RecoveredTooLate(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	p := spawn(t, n, dir, "intent:1", 1)
	file := filepath.Join(t.TempDir(), "runs")
	handed, waiting := shell("echo x >> %s", file), shell("echo x >> %s", file)
	n.offerOrders(handed, waiting)
	p.died()
	n.await("loss of the session", func() bool { return n.stream == nil })
	n.mu.Lock()
	n.clock = time.Hour
	n.mu.Unlock()
	spawn(t, n, dir, "never", 1)
	for _, o := range []*job.Order{handed, waiting} {
		if r := n.final(o); r.State != job.StateExpired {
			t.Errorf("report = %+v", r)
		}
	}
	if got := lines(t, file); len(got) != 0 {
		t.Errorf("%d tasks ran", len(got))
	}
}

// When the shim dies, its commands die with it, and nobody guesses.
func TestI6_ShimDies(t *testing.T) {
	t.Parallel()
	for _, both := range []bool{false, true} {
		t.Run(fmt.Sprintf("minion too=%v", both), func(t *testing.T) {
			t.Parallel()
			n, dir := newNode(t), dataDir(t)
			p := spawn(t, n, dir, "never", 1)
			o, waiting := shell(`echo $PPID $$; exec sleep 60`), shell("true")
			n.order(o, waiting)
			n.running(o)
			var pids []int
			poll(t, "output", func() bool { pids = outputNumbers(t, dir, o); return len(pids) == 2 })
			if both {
				p.kill()
			}
			killPID(t, pids[0])
			poll(t, "end of the command", func() bool { return !alive(pids[1]) })
			if both {
				spawn(t, n, dir, "never", 1)
			}
			if r := n.final(o); r.State != job.StateIndeterminate || !strings.Contains(r.Reason, "supervising process died") {
				t.Errorf("report = %+v", r)
			}
			if r := n.final(waiting); r.State != job.StateSucceeded {
				t.Errorf("report of the waiting task = %+v", r)
			}
		})
	}
}

// A graceful stop leaves commands running and loses no accepted task.
func TestStopLeavesCommands(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	p := spawn(t, n, dir, "never", 1)
	gate := filepath.Join(t.TempDir(), "gate")
	o, waiting := shell(`while ! [ -e %s ]; do sleep 0.02; done`, gate), shell("true")
	n.order(o, waiting)
	n.running(o)
	p.stop()
	touch(t, gate)
	spawn(t, n, dir, "never", 1)
	for _, x := range []*job.Order{o, waiting} {
		if r := n.final(x); r.State != job.StateSucceeded {
			t.Errorf("report = %+v", r)
		}
	}
}

// Killed again and again under load, with a node that orders anew what it has
// no result of: every task runs once, and no outcome is lost.
func TestI1_KilledUnderLoad(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	file := filepath.Join(t.TempDir(), "runs")
	orders := make([]*job.Order, 200)
	for i := range orders {
		orders[i] = shell("echo %d >> %s; sleep 0.0%d", i, file, i%10)
	}
	rng := rand.New(rand.NewPCG(7, 7))
	ended := func() map[taskKey]bool { // the caller holds mu
		m := map[taskKey]bool{}
		for i := range n.reports {
			if n.reports[i].State.Final() {
				m[keyOf(n.reports[i].Task)] = true
			}
		}
		return m
	}
	for range 8 {
		p := spawn(t, n, dir, "never", 20)
		n.connected()
		n.mu.Lock()
		done, goal := ended(), 0
		n.mu.Unlock()
		var open []*job.Order
		for _, o := range orders {
			if !done[keyOf(o.Task)] {
				open = append(open, o)
			}
		}
		goal = min(len(done)+rng.IntN(25), len(orders))
		n.offerOrders(open...)
		n.await("some results", func() bool { return len(ended()) >= goal })
		p.kill()
		n.await("loss of the session", func() bool { return n.stream == nil })
	}
	spawn(t, n, dir, "never", 20)
	n.order(orders...)
	n.await("all results", func() bool { return len(ended()) == len(orders) })
	seen := map[string]int{}
	for _, l := range lines(t, file) {
		seen[l]++
	}
	for i, o := range orders {
		if seen[fmt.Sprint(i)] != 1 {
			t.Errorf("task %d ran %d times", i, seen[fmt.Sprint(i)])
		}
		if r := n.final(o); r.State != job.StateSucceeded {
			t.Errorf("task %d: %s %q", i, r.State, r.Reason)
		}
	}
}

// What was taken is started by the next process without being asked again.
func TestI2_TakenIsDurable(t *testing.T) {
	t.Parallel()
	for _, places := range []int{1, 10} {
		n, dir := newNode(t), dataDir(t)
		p := spawn(t, n, dir, "taken:1", places)
		o, other := shell("echo one"), shell("echo two")
		n.offerOrders(o, other)
		p.died()
		n.await("loss of the session", func() bool { return n.stream == nil })
		spawn(t, n, dir, "never", places)
		for _, x := range []*job.Order{o, other} {
			if r := n.final(x); r.State != job.StateSucceeded {
				t.Errorf("report = %+v", r)
			}
		}
	}
}

// An exit record that no minion has heard of outlives the shim too.
func TestExitRecordOutlivesShim(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	p := spawn(t, n, dir, "exited:1", 1)
	o := shell("echo hi; exit 4")
	n.offerOrders(o)
	p.died()
	waitShim(t, dir)
	spawn(t, n, dir, "never", 1)
	if r := n.final(o); r.State != job.StateFailed || r.Exit == nil || r.Exit.Code != 4 || r.Stdout.Head != "hi\n" {
		t.Errorf("report = %+v", r)
	}
}

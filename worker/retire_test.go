package worker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// A self-test runs a command and leaves nothing behind, in journal, output and shim.
func TestSelfTestLeavesNoTrace(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	m, stop := start(t, n, dir)
	n.connected()
	size := m.tasks.journal.log.Size()
	if err := m.SelfTest(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := m.tasks.journal.log.Size(); got != size {
		t.Errorf("the journal has grown from %d to %d bytes", size, got)
	}
	if files, err := os.ReadDir(filepath.Join(dir, "output")); err != nil || len(files) > 0 {
		t.Errorf("output: %v, %v", files, err)
	}
	o := shell("exit 0") // a later command is not disturbed
	n.order(o)
	if r := n.final(o); r.State != job.StateSucceeded {
		t.Errorf("report: %+v", r)
	}
	stop()
	m, _ = start(t, n, dir)
	poll(t, "shim", func() bool { return m.Status().Shim })
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.reports {
		if r.Task.Fire != o.Task.Fire {
			t.Errorf("a report of no order: %+v", r)
		}
	}
}

func TestSelfTestTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	m, err := New(Config{ID: "m1", DataDir: t.TempDir(), Servers: []string{"127.0.0.1:1"}, ShimCommand: []string{"x"}}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.SelfTest(context.Background()); err == nil {
		t.Error("a minion without a shim passes its self-test")
	}
}

// While a task is accepted and not started, a minion does not retire; it does
// while tasks run, and takes nothing more then.
func TestRetireWaitsForAcceptedTasks(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	m, stop := start(t, n, dir, func(c *Config) { c.MaxRunning = 1 })
	n.connected()
	file := filepath.Join(t.TempDir(), "go")
	first, second := shell("while ! [ -e %s ]; do sleep 0.01; done", file), shell("exec sleep 60")
	n.order(first, second)
	n.running(first)
	over, cancel := context.WithCancelCause(context.Background())
	why := errors.New("enough")
	cancel(why)
	if err := m.Retire(over); !errors.Is(err, why) {
		t.Fatalf("Retire = %v while a task waits for its place", err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n.running(second)
	if err := m.Retire(context.Background()); err != nil {
		t.Fatal(err)
	}
	third := shell("exit 0")
	seq := n.offer(&agentpb.Offer{Orders: []*agentpb.Order{agentpb.FromOrder(third)}})
	stop()
	n.mu.Lock()
	taken := n.taken[seq]
	n.mu.Unlock()
	if taken {
		t.Error("an order was taken by a minion that has retired")
	}
	// What runs goes on, and the next process finds it.
	start(t, n, dir)
	n.connected()
	n.forget()
	n.cancel(second, "the test ends")
	if r := n.final(second); r.State != job.StateCancelled {
		t.Errorf("report: %+v", r)
	}
}

// What the node tells of a release is passed on, and facts of the program are
// told, at first and when they have changed.
func TestUpdatesAndFactsOfTheProgram(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	type told struct {
		Release int64
		Signed  string
	}
	got, value := make(chan told, 1), "1"
	n.change = func(d *Deps) {
		d.Update = func(release int64, signed []byte) { got <- told{release, string(signed)} }
		d.Facts = func() map[string]string {
			n.mu.Lock()
			defer n.mu.Unlock()
			return map[string]string{"program": value}
		}
	}
	m, _ := start(t, n, dataDir(t))
	n.connected()
	n.mu.Lock()
	if f := n.hellos[0].GetInventory().GetFacts(); f["program"] != "1" {
		t.Errorf("facts: %v", f)
	}
	value = "2"
	_ = n.stream.Send(&agentpb.ToMinion{Body: &agentpb.ToMinion_Update{Update: &agentpb.Update{Release: 7, Signed: []byte("s")}}})
	n.mu.Unlock()
	if diff := cmp.Diff(told{7, "s"}, <-got); diff != "" {
		t.Error(diff)
	}
	m.RefreshFacts()
	n.await("inventory", func() bool { return len(n.told) > 0 && n.told[0].GetFacts()["program"] == "2" })
}

package worker

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// fullDisk lets the journal's disk be full while the switch is on.
func (n *node) fullDisk() *atomic.Bool {
	var full atomic.Bool
	n.change = func(d *Deps) {
		d.writeJournal = func(f *os.File, p []byte, at int64) (int, error) {
			if full.Load() {
				k, _ := f.WriteAt(p[:len(p)/2], at)
				return k, syscall.ENOSPC
			}
			return f.WriteAt(p, at)
		}
	}
	return &full
}

// troubled waits for a beat that tells exactly these troubles.
func (n *node) troubled(want ...string) {
	n.t.Helper()
	n.await("beat with the troubles "+strings.Join(want, ", "), func() bool {
		return n.lastBeat != nil && slices.Equal(n.lastBeat.GetTrouble(), want)
	})
}

// While the journal cannot be written nothing is started, and the minion says
// why; it heals by itself, without an order that would show that it can.
func TestFullJournalRefusesAndHeals(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	full := n.fullDisk()
	start(t, n, dir)
	file := filepath.Join(t.TempDir(), "runs")
	refused, good := shell("echo refused >> %s", file), shell("echo good >> %s", file)
	n.connected()
	full.Store(true)
	n.order(refused)
	r := n.final(refused)
	if r.State != job.StateRejected || !strings.Contains(r.Reason, "the journal cannot be written: ") || !strings.Contains(r.Reason, "no space left") {
		t.Errorf("report = %s %q", r.State, r.Reason)
	}
	n.troubled(TroubleJournalFull)
	full.Store(false)
	n.troubled()
	n.order(good)
	if r := n.final(good); r.State != job.StateSucceeded {
		t.Errorf("report = %s %q", r.State, r.Reason)
	}
	if got := lines(t, file); !slices.Equal(got, []string{"good"}) {
		t.Errorf("ran %v", got)
	}
}

// A result waits for room on the disk; it may lose its output meanwhile.
func TestFullJournalKeepsResult(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	full := n.fullDisk()
	start(t, n, dir)
	gate := filepath.Join(t.TempDir(), "gate")
	o := shell("while ! [ -e %s ]; do sleep 0.02; done; echo done; exit 3", gate)
	n.order(o)
	n.running(o)
	full.Store(true)
	touch(t, gate)
	n.troubled(TroubleJournalFull) // the result could not be written
	n.mu.Lock()
	for _, r := range n.reports {
		if r.State.Final() {
			t.Errorf("a result that is not durable was told: %+v", r)
		}
	}
	n.mu.Unlock()
	full.Store(false)
	if r := n.final(o); r.State != job.StateFailed || r.Exit == nil || r.Exit.Code != 3 || r.Stdout.Bytes != 5 || !r.Stdout.Truncated {
		t.Errorf("report = %+v", r)
	}
}

func TestJournalLimitRefuses(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	start(t, n, dir, func(c *Config) { c.JournalCap = 1 })
	first, second := shell("true"), shell("true")
	n.order(first)
	n.final(first)
	n.troubled(TroubleJournalFull)
	n.order(second)
	if r := n.final(second); r.State != job.StateRejected || !strings.Contains(r.Reason, "the journal cannot be written: it has more than 1, which is its limit") {
		t.Errorf("report = %s %q", r.State, r.Reason)
	}
}

// A journal over its limit is rewritten, but not all the time, and shrinks with
// what nodes acknowledge.
func TestJournalLimitHeals(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	j, err := openJournal(path, &Config{JournalKeep: time.Hour, JournalCap: 3000}, &Deps{writeJournal: (*os.File).WriteAt}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.log.Close() }()
	o := newOrder("x", strings.Repeat("y", 5000))
	batch, _ := j.add(&record{Kind: kindAccepted, Order: o})
	j.accept(o)
	if err := j.sync(batch); err != nil || !j.over() {
		t.Fatalf("over = %v, %v", j.over(), err)
	}
	now := time.Now()
	if did, err := j.compact(now); !did || err != nil || !j.over() {
		t.Errorf("compact = %v, %v, over %v", did, err, j.over())
	}
	j.end(j.settle(&job.Report{Task: o.Task, State: job.StateSucceeded}))
	j.ack(keyOf(o.Task), now.UnixNano())
	if did, _ := j.compact(now.Add(retryOver - 1)); did {
		t.Error("rewritten again at once")
	}
	if did, err := j.compact(now.Add(retryOver)); !did || err != nil || j.over() {
		t.Errorf("compact = %v, %v, over %v", did, err, j.over())
	}
}

// With little room the oldest output goes, as much as is needed, and the minion
// says so until there is room.
func TestLittleRoom(t *testing.T) {
	t.Parallel()
	m, err := New(Config{ID: "m1", DataDir: t.TempDir(), Servers: []string{"127.0.0.1:1"}, ShimCommand: []string{"x"}, MinFree: 10 << 10}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(m.cfg.path("output"), 0o700); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	var paths []string
	for age := 3; age > 0; age-- {
		path := m.cfg.path("output", keyOf(newOrder("x").Task).String())
		if err := os.WriteFile(path, make([]byte, 8<<10), 0o600); err != nil {
			t.Fatal(err)
		}
		at := now.Add(-time.Duration(age) * time.Minute)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	free := int64(0)
	m.deps.free = func(string) (int64, error) { return free, nil }
	m.upkeep.lookAtDisk(now)
	if got := m.Status().Trouble; !slices.Equal(got, []string{TroubleDisk}) {
		t.Errorf("troubles = %v", got)
	}
	for i, want := range []bool{false, false, true} { // 10 KiB were lacking
		if _, err := os.Stat(paths[i]); (err == nil) != want {
			t.Errorf("file %d there: %v, want %v", i, err == nil, want)
		}
	}
	free = 16 << 10
	m.upkeep.lookAtDisk(now)
	if got := m.Status().Trouble; len(got) != 0 {
		t.Errorf("troubles = %v", got)
	}
	if n, err := freeBytes(m.cfg.DataDir); err != nil || n <= 0 {
		t.Errorf("free = %d, %v", n, err)
	}
}

// The server's time was told between the sending and the answer, and what the
// clock does later shows.
func TestClockSkew(t *testing.T) {
	t.Parallel()
	var c serverClock
	if got := c.skew(time.Now()); got != 0 {
		t.Errorf("skew without a server = %v", got)
	}
	sent := time.Unix(1000, 0)
	received := sent.Add(4 * time.Second)
	c.set(time.Unix(1000, 0), sent, received)
	if got := c.skew(received); got != 2*time.Second {
		t.Errorf("skew = %v, want half of the way", got)
	}
	c.set(time.Unix(900, 0), sent, sent)
	if got := c.skew(sent.Add(time.Hour)); got != 100*time.Second {
		t.Errorf("skew = %v", got)
	}
	// The wall clock is set forward by a minute while the monotonic one goes on.
	n := time.Now()
	c.set(n.Round(0), n, n)
	if got := c.skew(n); got != 0 {
		t.Errorf("skew = %v", got)
	}
}

func TestClockSkewIsTold(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	n.clock = time.Hour
	start(t, n, dir)
	var b *agentpb.Beat
	n.await("beat", func() bool { b = n.lastBeat; return b != nil })
	if got := time.Duration(b.GetClockSkew()) * time.Millisecond; got > -55*time.Minute || got < -65*time.Minute {
		t.Errorf("skew = %v, want about an hour behind", got)
	}
}

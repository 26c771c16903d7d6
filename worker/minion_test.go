package worker

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-cron/carillon/job"
)

func TestRunsCommand(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	m, _ := start(t, n, dir, func(c *Config) { c.Labels = map[string]string{"role": "web"} })
	o := shell(`echo out; echo err >&2; echo $CARILLON_FIRE_ID $CARILLON_TOKEN $CARILLON_ATTEMPT; exit 3`)
	n.order(o)
	r := n.final(o)
	if r.State != job.StateFailed || r.Reason != "exit code 3" || r.Exit == nil || r.Exit.Code != 3 {
		t.Errorf("report = %+v", r)
	}
	if want := "out\n" + o.Task.Fire.String() + " 1.10 1\n"; r.Stdout.Head != want || r.Stdout.Bytes != int64(len(want)) {
		t.Errorf("stdout = %+v, want %q", r.Stdout, want)
	}
	if r.Stderr.Head != "err\n" || r.Shard != o.Shard || !r.Known || !r.Spooled {
		t.Errorf("report = %+v", r)
	}
	if r.StartedAt.IsZero() || r.EndedAt.Before(r.StartedAt) || r.Exit.MaxRSS == 0 {
		t.Errorf("times and usage = %v %v %+v", r.StartedAt, r.EndedAt, r.Exit)
	}
	poll(t, "acknowledgement", func() bool { return m.Status().Unacked == 0 })
	n.mu.Lock()
	hello := n.hellos[0]
	n.mu.Unlock()
	if hello.GetMinion() != "m1" || hello.GetInventory().GetLabels()["role"] != "web" || hello.GetInventory().GetFacts()["os"] != "linux" {
		t.Errorf("hello = %v", hello)
	}
	n.await("beat", func() bool { return n.beats > 0 })
}

func TestI1_KnownOrderStartsNothing(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	_, stop := start(t, n, dir)
	file := filepath.Join(t.TempDir(), "runs")
	o := shell(`echo x >> %s`, file)
	n.order(o, o)
	n.final(o)
	n.order(o)
	stop()
	n.forget()
	start(t, n, dir)
	n.order(o) // acknowledged before: in the past
	if r := n.final(o); r.State != job.StateSucceeded || !r.Known {
		t.Errorf("report = %+v", r)
	}
	if got := lines(t, file); len(got) != 1 {
		t.Errorf("the command ran %d times", len(got))
	}
}

func TestI3_StaleTokenAfterRestart(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	_, stop := start(t, n, dir)
	n.connected() // of what was due before its data directory was made, it does not say that it never came (I16)
	stale, fresh := shell("true"), shell("true")
	n.ask(stale.Task, stale.Shard, job.Token{Epoch: 1, Revision: 11})
	if r := n.report(stale.Task, "answer", func(*job.Report) bool { return true }); r.Known || r.State != "" {
		t.Errorf("answer = %+v, want not known", r)
	}
	stop()
	n.forget()
	start(t, n, dir)
	n.order(stale)
	r := n.final(stale)
	if r.State != job.StateRejected || r.Known || !strings.Contains(r.Reason, "stale token 1.10") {
		t.Errorf("report = %+v, want rejected", r)
	}
	fresh.Token.Revision = 11
	n.order(fresh)
	if r := n.final(fresh); r.State != job.StateSucceeded {
		t.Errorf("report = %+v, want succeeded", r)
	}
}

func TestI8_NotAfterByServerTime(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	n.clock = time.Hour // the host's clock is an hour late
	start(t, n, dir)
	late, good := shell("true"), shell("true")
	good.NotAfter = time.Now().Add(time.Hour + time.Minute)
	n.order(late, good)
	if r := n.final(late); r.State != job.StateExpired {
		t.Errorf("report = %+v", r)
	}
	if r := n.final(good); r.State != job.StateSucceeded {
		t.Errorf("report = %+v", r)
	}
	// A later copy, with a new deadline, is not run either.
	n.forget()
	late.NotAfter = good.NotAfter
	n.order(late)
	if r := n.final(late); r.State != job.StateExpired {
		t.Errorf("report of the copy = %+v", r)
	}
}

func TestI7_OtherAttemptOpen(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	start(t, n, dir)
	first := newOrder("sleep", "60")
	second := *first
	second.Task.Attempt = 2
	n.order(first)
	n.order(&second)
	if r := n.final(&second); r.State != job.StateRejected || !strings.Contains(r.Reason, "attempt 1") {
		t.Errorf("report = %+v", r)
	}
	n.running(first)
	n.cancel(first, "enough")
	if r := n.final(first); r.State != job.StateCancelled || !strings.Contains(r.Reason, "enough") {
		t.Errorf("report = %+v", r)
	}
	third := *first
	third.Task.Attempt = 3
	third.Command = []string{"true"}
	n.order(&third)
	if r := n.final(&third); r.State != job.StateSucceeded {
		t.Errorf("report = %+v", r)
	}
}

func TestCancelBeforeOrder(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	_, stop := start(t, n, dir)
	file := filepath.Join(t.TempDir(), "runs")
	o := shell("echo x >> %s", file)
	n.cancel(o, "changed my mind")
	n.final(o)
	stop()
	n.forget()
	start(t, n, dir)
	n.order(o)
	if r := n.final(o); r.State != job.StateCancelled {
		t.Errorf("report = %+v", r)
	}
	if got := lines(t, file); len(got) != 0 {
		t.Error("a cancelled task ran")
	}
}

func TestWaitsForPlaceInOrder(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	m, _ := start(t, n, dir, func(c *Config) { c.MaxRunning = 1 })
	file := filepath.Join(t.TempDir(), "runs")
	gate := filepath.Join(t.TempDir(), "gate")
	var orders []*job.Order
	orders = append(orders, shell(`while ! [ -e %s ]; do sleep 0.02; done; echo 0 >> %s`, gate, file))
	for _, x := range []string{"1", "2", "3", "4"} {
		orders = append(orders, shell("echo %s >> %s", x, file))
	}
	n.order(orders...)
	n.running(orders[0])
	if s := m.Status(); s.Running != 1 || s.Waiting != 4 {
		t.Errorf("status = %+v", s)
	}
	n.cancel(orders[3], "")
	if r := n.final(orders[3]); r.State != job.StateCancelled || r.Exit != nil {
		t.Errorf("report = %+v", r)
	}
	touch(t, gate)
	n.final(orders[4])
	if diff := cmp.Diff([]string{"0", "1", "2", "4"}, lines(t, file)); diff != "" {
		t.Error(diff)
	}
}

func TestCannotStart(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	start(t, n, dir)
	for name, tc := range map[string]struct {
		change func(*job.Order)
		want   string
	}{
		"program":     {func(o *job.Order) { o.Command = []string{"no-such-program"} }, `program "no-such-program" is not in the search path`},
		"path":        {func(o *job.Order) { o.Command = []string{"/no/such"} }, "program /no/such does not exist"},
		"mode":        {func(o *job.Order) { o.Command = []string{"/etc/passwd"} }, "not executable"},
		"user":        {func(o *job.Order) { o.User = "nobody-at-all" }, `user "nobody-at-all"`},
		"dir":         {func(o *job.Order) { o.WorkingDir = "/no/such" }, "working directory /no/such does not exist"},
		"file as dir": {func(o *job.Order) { o.WorkingDir = "/etc/passwd" }, "is not a directory"},
		"env":         {func(o *job.Order) { o.Env = map[string]string{"A=B": "c"} }, "environment variable"},
		"nothing":     {func(o *job.Order) { o.Command = nil }, "no command"},
		"interpreter": {func(o *job.Order) {
			o.Command = nil
			o.Script = &job.Script{Source: "x", Interpreter: []string{"no-sh"}}
		}, "no-sh"},
	} {
		o := shell("true")
		tc.change(o)
		n.order(o)
		if r := n.final(o); r.State != job.StateRejected || !strings.Contains(r.Reason, tc.want) {
			t.Errorf("%s: report = %s %q, want %q", name, r.State, r.Reason, tc.want)
		}
	}
}

func TestSpoolUntilAcked(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	n.noAck = true
	_, stop := start(t, n, dir)
	o := shell("echo hi")
	n.order(o)
	n.final(o)
	stop()
	n.forget()
	n.mu.Lock()
	n.noAck = false
	n.mu.Unlock()
	m, _ := start(t, n, dir)
	if r := n.final(o); r.State != job.StateSucceeded || r.Stdout.Head != "hi\n" || !r.Spooled {
		t.Errorf("report = %+v", r)
	}
	poll(t, "acknowledgement", func() bool { return m.Status().Unacked == 0 })
}

func TestScriptAndEnvironment(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	start(t, n, dir)
	o := newOrder()
	o.Command = nil
	o.Env = map[string]string{"GREETING": "hello", "CARILLON_JOB": "spoofed"}
	o.Script = &job.Script{Source: "echo $GREETING $CARILLON_JOB $0; pwd; read x || echo no stdin\n"}
	n.order(o)
	r := n.final(o)
	got := strings.Split(r.Stdout.Head, "\n")
	if len(got) < 3 || !strings.HasPrefix(got[0], "hello test "+dir+"/steps/") || got[1] != dir+"/work" || got[2] != "no stdin" {
		t.Errorf("output = %q, reason %q, stderr %q", r.Stdout.Head, r.Reason, r.Stderr.Head)
	}
}

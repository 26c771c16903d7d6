package worker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// stepped returns an order with steps.
func stepped(list ...job.OrderStep) *job.Order {
	o := newOrder()
	o.Steps = list
	return o
}

func line(name, text string) job.OrderStep {
	return job.OrderStep{Name: name, Command: []string{"/bin/sh", "-c", text}}
}

func TestRunsSteps(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	start(t, n, dir)
	const text = "echo \"$1 $CARILLON_PARAM_WHO $CARILLON_FIRE_ID\"\n"
	script := job.OrderStep{
		Name: "script", Command: []string{"/bin/sh", "-eu"}, Args: []string{"a b"}, Env: map[string]string{"CARILLON_PARAM_WHO": "'; exit 9"},
		Script: &job.OrderScript{SHA256: job.ScriptSum(text), Source: text},
	}
	o := stepped(script, line("bad", "exit 3"), line("not", "echo not"))
	n.order(o)
	r := n.final(o)
	if want := "a b '; exit 9 " + o.Task.Fire.String() + "\n"; r.Stdout.Head != want || r.Stderr.Head != "step bad: exit code 3\n" {
		t.Errorf("stdout %q stderr %q, want %q", r.Stdout.Head, r.Stderr.Head, want)
	}
	if r.State != job.StateFailed || r.Reason != "step bad: exit code 3" || r.Exit == nil || r.Exit.Code != 3 || len(r.Steps) != 3 || r.Steps[2].State != job.StateSkipped {
		t.Errorf("report %+v", r)
	}
}

// A kill reaches the step and all that it has started, and the report tells how
// far the steps were.
func TestCancelEndsTheStep(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	m, _ := start(t, n, dir)
	pids := filepath.Join(t.TempDir(), "pids")
	o := stepped(line("one", "true"), line("two", "sleep 1000 & echo $! >> "+pids+"; echo $$ >> "+pids+"; wait"), line("three", "true"))
	o.Steps[2].If = job.IfAlways
	n.order(o)
	poll(t, "second step", func() bool { return len(lines(t, pids)) == 2 })
	n.cancel(o, "enough")
	r := n.final(o)
	if r.State != job.StateCancelled || len(r.Steps) != 3 || r.Steps[0].State != job.StateSucceeded || r.Steps[1].State != job.StateCancelled || r.Steps[2].State != job.StateSkipped {
		t.Errorf("report %+v", r)
	}
	for _, pid := range lines(t, pids) {
		if _, err := os.Stat("/proc/" + pid); err == nil {
			if b, _ := os.ReadFile("/proc/" + pid + "/stat"); !strings.Contains(string(b), ") Z ") {
				t.Errorf("process %s lives on", pid)
			}
		}
	}
	poll(t, "acknowledgement", func() bool { return m.Status().Unacked == 0 })
	m.upkeep.cleanSteps(time.Now())
	left, err := os.ReadDir(filepath.Join(dir, stepsDir))
	if err != nil || len(left) != 0 {
		t.Errorf("files are left: %v %v", left, err)
	}
}

func TestTimeoutOfTheTaskEndsTheStep(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	start(t, n, dir)
	o := stepped(line("one", "sleep 1000"))
	o.Timeout = 5 * time.Second // the step must have begun by then
	n.order(o)
	if r := n.final(o); r.State != job.StateTimedOut || len(r.Steps) != 1 || r.Steps[0].State != job.StateCancelled {
		t.Errorf("report %+v", r)
	}
}

// large is the text of a script that does not go along with its order.
const large = "echo large \"$@\"\n"

func byHash() *job.Order {
	o := newOrder()
	o.Script, o.ScriptSHA256 = &job.Script{}, job.ScriptSum(large)
	return o
}

// The text is asked for once, whoever waits for it, and not again while it is here.
func TestTextIsAskedForOnce(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	start(t, n, dir)
	step := job.OrderStep{Name: "s", Command: []string{"/bin/sh"}, Args: []string{"x"}, Script: &job.OrderScript{SHA256: job.ScriptSum(large)}}
	first, second := byHash(), stepped(step)
	n.order(first, second)
	n.await("fetch", func() bool { return len(n.fetches) > 0 })
	n.giveText(&agentpb.Text{Sha256: job.ScriptSum(large), Text: "echo wrong\n"}) // not what the hash says
	n.giveText(&agentpb.Text{Sha256: job.ScriptSum("other"), Text: "other"})      // nobody asked
	n.giveText(&agentpb.Text{Sha256: job.ScriptSum(large), Text: large})
	if r := n.final(first); r.State != job.StateSucceeded || r.Stdout.Head != "large\n" {
		t.Errorf("first: %+v", r)
	}
	if r := n.final(second); r.State != job.StateSucceeded || r.Stdout.Head != "large x\n" {
		t.Errorf("second: %+v", r)
	}
	third := byHash()
	n.order(third)
	if r := n.final(third); r.State != job.StateSucceeded {
		t.Errorf("third: %+v", r)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, sums := range n.fetches {
		if len(sums) != 1 || sums[0] != job.ScriptSum(large) {
			t.Errorf("asked for %v", sums)
		}
	}
}

// A text that comes between the look for it and the wait for it is not waited for.
func TestTextThatHasJustComeIsNotAwaited(t *testing.T) {
	t.Parallel()
	m := &execution{scripts: &scripts{dir: t.TempDir()}, tasks: newTasks(&base{})}
	o := byHash()
	e := &entry{order: o}
	m.park(e, o)
	if len(m.tasks.texts.parked) != 1 || m.tasks.places.ready.len() != 0 {
		t.Fatalf("%d texts are awaited, %d tasks are ready; want it to wait", len(m.tasks.texts.parked), m.tasks.places.ready.len())
	}
	if err := m.scripts.keep(large); err != nil {
		t.Fatal(err)
	}
	m.tasks.texts, e.parkedFor = texts{}, "" // it was taken
	m.park(e, o)
	if len(m.tasks.texts.parked)+len(m.tasks.texts.asked) != 0 || m.tasks.places.ready.len() != 1 {
		t.Errorf("%d texts are awaited, %d tasks are ready; want none, and the task", len(m.tasks.texts.parked), m.tasks.places.ready.len())
	}
}

func TestTextThatCannotBeHad(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	start(t, n, dir)
	gone := byHash()
	n.order(gone)
	n.await("fetch", func() bool { return len(n.fetches) > 0 })
	n.giveText(&agentpb.Text{Sha256: job.ScriptSum(large), Error: "it was deleted"})
	if r := n.final(gone); r.State != job.StateRejected || !strings.Contains(r.Reason, "it was deleted") {
		t.Errorf("deleted: %+v", r)
	}
	late := byHash()
	late.NotAfter = time.Now().Add(10 * time.Second)
	n.order(late)
	if r := n.final(late); r.State != job.StateRejected || !strings.Contains(r.Reason, "no node has given it in time") {
		t.Errorf("no answer: %+v", r)
	}
	cancelled := byHash()
	n.order(cancelled)
	n.cancel(cancelled, "enough")
	if r := n.final(cancelled); r.State != job.StateCancelled {
		t.Errorf("cancelled: %+v", r)
	}
}

// A task that waits for a text when the minion dies is started by the next one.
func TestTextIsAskedForAfterARestart(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	p := spawn(t, n, dir, "", 8)
	o := byHash()
	n.order(o)
	n.await("fetch", func() bool { return len(n.fetches) > 0 })
	p.kill()
	n.mu.Lock()
	n.fetches = nil
	n.mu.Unlock()
	start(t, n, dir)
	n.await("fetch", func() bool { return len(n.fetches) > 0 })
	n.giveText(&agentpb.Text{Sha256: job.ScriptSum(large), Text: large})
	if r := n.final(o); r.State != job.StateSucceeded {
		t.Errorf("report %+v", r)
	}
}

func TestScriptsAreBoundedByBytes(t *testing.T) {
	t.Parallel()
	s := scripts{dir: t.TempDir(), total: 10}
	texts := []string{"aaaa", "bbbb", "cccc", "dddd"}
	now := time.Now()
	for i, text := range texts {
		if err := s.keep(text); err != nil {
			t.Fatal(err)
		}
		at := now.Add(time.Duration(i-len(texts)) * time.Hour)
		if err := os.Chtimes(s.path(job.ScriptSum(text)), at, at); err != nil {
			t.Fatal(err)
		}
	}
	if !s.has(job.ScriptSum("aaaa")) { // used: now it is the newest
		t.Error("the first text is not there")
	}
	s.clean(now)
	for text, want := range map[string]bool{"aaaa": true, "bbbb": false, "cccc": false, "dddd": true} {
		if got := s.has(job.ScriptSum(text)); got != want {
			t.Errorf("%s is there: %v, want %v", text, got, want)
		}
	}
	other := scripts{dir: s.dir}
	if err := os.WriteFile(s.path(job.ScriptSum("aaaa")), []byte("evil"), 0o600); err != nil {
		t.Fatal(err)
	}
	if other.has(job.ScriptSum("aaaa")) {
		t.Error("a text that is not what its hash says is used")
	}
}

// Steps of another user read their own scripts, and nobody else does.
func TestStepsRunAsTheirUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // then there is no other user; TestAccountLookup has the refusal
	}
	base, err := os.MkdirTemp("", "carillon-steps-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	if err := os.Chmod(base, 0o711); err != nil { // others must get in
		t.Fatal(err)
	}
	dir, program := filepath.Join(base, "m"), filepath.Join(base, "program")
	t.Cleanup(func() { waitShim(t, dir) })
	exe, err := os.ReadFile(shimCommand()[0]) // a place that the user can reach
	if err == nil {
		err = os.WriteFile(program, exe, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	n := newNode(t)
	start(t, n, dir, func(c *Config) { c.ShimCommand[0] = program })
	o := stepped(job.OrderStep{
		Name: "s", Command: []string{"/bin/sh"}, Script: &job.OrderScript{SHA256: job.ScriptSum(large)}, Args: []string{"of"},
	}, line("who", `id -un; cat "`+dir+`"/steps/*; exit 0`))
	o.User = "nobody"
	n.order(o)
	n.await("fetch", func() bool { return len(n.fetches) > 0 })
	n.giveText(&agentpb.Text{Sha256: job.ScriptSum(large), Text: large})
	r := n.final(o)
	if r.State != job.StateSucceeded || r.Stdout.Head != "large of\nnobody\n" || len(r.Steps) != 2 {
		t.Errorf("report %+v", r)
	}
}

// A file that a minion was writing when it was killed goes; one that it writes
// at this moment stays.
func TestTornStepFilesGo(t *testing.T) {
	t.Parallel()
	m, err := New(Config{ID: "m1", DataDir: t.TempDir(), Servers: []string{"127.0.0.1:1"}, ShimCommand: []string{"x"}}, Deps{})
	if err == nil {
		err = m.makeDirs()
	}
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	torn, young := m.cfg.path(stepsDir, newFile+"1"), m.cfg.path(stepsDir, newFile+"2")
	for path, age := range map[string]time.Duration{torn: newFor, young: newFor - time.Second} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	m.upkeep.cleanSteps(now)
	if _, err := os.Stat(torn); !os.IsNotExist(err) {
		t.Errorf("the torn file is left: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("a file that is being written was removed: %v", err)
	}
}

package worker

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// A timeout ends the whole tree, also what has left group and session.
func TestTimeoutKillsTree(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"child":            `sleep 300 & echo $!; wait`,
		"ignores SIGTERM":  `trap "" TERM; sleep 300 & echo $!; while :; do sleep 1; done`,
		"setsid":           `setsid sh -c 'echo $$; exec sleep 300' & wait`,
		"setsid, no pipes": `setsid sh -c 'echo $$; exec sleep 300 >/dev/null 2>&1' & wait`,
		// The middle process ends long before the timeout, so that only the
		// environment tells where the last one belongs.
		"double fork": `setsid sh -c 'setsid sh -c "echo \$\$; exec sleep 300" & exit' & wait; while :; do sleep 1; done`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, dir := newNode(t), dataDir(t)
			start(t, n, dir)
			o := shell("%s", script)
			o.Timeout = 5 * time.Second // it must have begun by then
			bystander := newOrder("sleep", "300")
			n.order(o, bystander)
			n.running(bystander)
			r := n.final(o)
			if r.State != job.StateTimedOut || !strings.Contains(r.Reason, "5s") || r.Exit == nil || r.Exit.Signal == "" {
				t.Errorf("report = %+v", r)
			}
			if took := r.EndedAt.Sub(r.StartedAt); took < o.Timeout {
				t.Errorf("took %v", took)
			}
			pids := outputNumbers(t, dir, o)
			if len(pids) != 1 {
				t.Fatalf("output = %+v", r.Stdout)
			}
			if alive(pids[0]) {
				t.Errorf("process %d lives on", pids[0])
				killPID(t, pids[0])
			}
			if got := n.states(bystander); got[len(got)-1] != job.StateRunning {
				t.Error("another task was hit")
			}
			n.cancel(bystander, "")
			n.final(bystander)
		})
	}
}

// Timeouts are the shim's: they hold without a minion.
func TestTimeoutWithoutMinion(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	p := spawn(t, n, dir, "never", 1)
	o := shell(`echo $$; exec sleep 300`)
	o.Timeout = 5 * time.Second
	n.order(o)
	n.running(o)
	p.kill()
	var pids []int
	poll(t, "output", func() bool { pids = outputNumbers(t, dir, o); return len(pids) == 1 })
	poll(t, "end of the command", func() bool { return !alive(pids[0]) })
	spawn(t, n, dir, "never", 1)
	if r := n.final(o); r.State != job.StateTimedOut {
		t.Errorf("report = %+v", r)
	}
}

// A background process that keeps the pipes open holds nothing up.
func TestGrandchildKeepsPipe(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	start(t, n, dir)
	o := shell(`sleep 300 & echo $!`)
	n.order(o)
	r := n.final(o)
	if r.State != job.StateSucceeded {
		t.Errorf("report = %+v", r)
	}
	pids := outputNumbers(t, dir, o)
	if len(pids) != 1 || !alive(pids[0]) {
		t.Fatal("the background process was ended")
	}
	killPID(t, pids[0])
}

func TestRunsAsUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		// Then only the refusal can be shown.
		n, dir := newNode(t), dataDir(t)
		start(t, n, dir)
		o := shell("true")
		o.User = "nobody"
		n.order(o)
		if r := n.final(o); !strings.Contains(r.Reason, "not as root") {
			t.Errorf("report = %+v", r)
		}
		return
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	base, err := os.MkdirTemp("", "carillon-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	if err := os.Chmod(base, 0o755); err != nil { // others must get in
		t.Fatal(err)
	}
	dir := filepath.Join(base, "m")
	t.Cleanup(func() { waitShim(t, dir) })
	n := newNode(t)
	start(t, n, dir)
	o := newOrder()
	o.Command, o.User = nil, "nobody"
	o.Script = &job.Script{Source: "id -u; id -G; echo $USER $HOME; pwd; touch mine && echo yes\n"}
	n.order(o)
	r := n.final(o)
	want := fmt.Sprintf("%s\n%s\nnobody %s\n%s/work/nobody\nyes\n", u.Uid, u.Gid, u.HomeDir, dir)
	if r.Stdout.Head != want {
		t.Errorf("output = %q, want %q; %s %q", r.Stdout.Head, want, r.Reason, r.Stderr.Head)
	}
}

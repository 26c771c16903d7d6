package worker

import (
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/job"
)

func TestAccountLookup(t *testing.T) {
	t.Parallel()
	var a accounts
	own, err := a.lookup("")
	if err != nil || own.credential != nil {
		t.Fatalf("own account = %+v, %v", own, err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := a.lookup(me.Uid); err != nil || got != own {
		t.Errorf("own number = %+v, %v", got, err)
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	a.euid = 0
	for _, name := range []string{"nobody", nobody.Uid} {
		got, err := a.lookup(name)
		if err != nil || got.name != "nobody" || got.home != nobody.HomeDir || got.credential == nil {
			t.Fatalf("lookup %s = %+v, %v", name, got, err)
		}
		gid, _ := parseID(nobody.Gid)
		if got.credential.GID != gid || !slices.Contains(got.credential.Groups, gid) {
			t.Errorf("groups = %+v", got.credential)
		}
	}
	for _, name := range []string{"nobody-at-all", "3999999999"} {
		if _, err := a.lookup(name); err == nil || !strings.Contains(err.Error(), "does not exist") {
			t.Errorf("lookup %s = %v", name, err)
		}
	}
	a.euid = 4711
	if _, err := a.lookup("nobody"); err == nil || !strings.Contains(err.Error(), "not as root, and cannot start commands as somebody else; start the worker, or `carillon dev`, as root, or leave user out") {
		t.Errorf("lookup without root = %v", err)
	}
}

// What another user cannot reach is told before anything is started.
func TestRunAsRejects(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		// Then the only refusal is that of TestAccountLookup; the checks hold for
		// the own account too.
		own := account{name: "me"}
		if err := own.reaches("/", "/etc/passwd"); err == nil {
			t.Error("a file that is no program may be run")
		}
		return
	}
	base, err := os.MkdirTemp("", "carillon-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	mkdir := func(mode os.FileMode, name string) string {
		dir := filepath.Join(base, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	if err := os.Chmod(base, 0o711); err != nil { // others must get in
		t.Fatal(err)
	}
	dir := filepath.Join(base, "m")
	t.Cleanup(func() { waitShim(t, dir) })
	private, open := mkdir(0o700, "private"), mkdir(0o755, "open")
	mkdir(0o755, "private/inner")
	program := filepath.Join(open, "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	n := newNode(t)
	start(t, n, dir)
	closed, closedDir := newNode(t), filepath.Join(private, "m")
	t.Cleanup(func() { waitShim(t, closedDir) })
	start(t, closed, closedDir)
	for name, change := range map[string]func(*job.Order){
		"a script": func(o *job.Order) { o.Command, o.Script = nil, &job.Script{Source: "id"} },
		"steps":    func(o *job.Order) { o.Command, o.Steps = nil, []job.OrderStep{{Name: "one", Command: []string{"id"}}} },
	} {
		o := shell("true")
		o.User, o.WorkingDir = "nobody", open
		change(o)
		closed.order(o)
		if r := closed.final(o); r.State != job.StateRejected || !strings.Contains(r.Reason, `where scripts and steps lie, cannot be entered by user "nobody"`) || !strings.Contains(r.Reason, "--data-dir, as below /var/lib") {
			t.Errorf("%s: report = %s %q", name, r.State, r.Reason)
		}
	}
	for name, tc := range map[string]struct {
		change func(*job.Order)
		want   string
	}{
		"directory":           {func(o *job.Order) { o.WorkingDir = private }, `cannot be entered by user "nobody"`},
		"below a closed one":  {func(o *job.Order) { o.WorkingDir = private + "/inner" }, `cannot be entered by user "nobody"`},
		"program":             {func(o *job.Order) { o.Command, o.WorkingDir = []string{program}, open }, `cannot be run by user "nobody"`},
		"user":                {func(o *job.Order) { o.User = "nobody-at-all" }, "does not exist on this host"},
		"number without user": {func(o *job.Order) { o.User = "3999999999" }, "does not exist on this host"},
	} {
		o := shell("true")
		o.User = "nobody"
		tc.change(o)
		n.order(o)
		if r := n.final(o); r.State != job.StateRejected || !strings.Contains(r.Reason, tc.want) {
			t.Errorf("%s: report = %s %q, want %q", name, r.State, r.Reason, tc.want)
		}
	}
	o := shell("umask; echo $USER $LOGNAME $HOME $SHELL $PATH; pwd")
	o.User, o.WorkingDir = "nobody", open
	n.order(o)
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	want := "0022\nnobody nobody " + u.HomeDir + " " + loginShell("nobody") + " " + defaultPath + "\n" + open + "\n"
	if r := n.final(o); r.Stdout.Head != want {
		t.Errorf("output = %q, want %q; %s", r.Stdout.Head, want, r.Reason)
	}
	// The rights that were taken for the checks are gone.
	if _, err := os.ReadDir(private); err != nil {
		t.Error(err)
	}
}

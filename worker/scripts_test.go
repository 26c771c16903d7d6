package worker

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/carillon-cron/carillon/job"
)

// What an account runs of a script is not its own to change, in no later run and
// not in this one, and no other account reads it (I10).
func TestScriptIsOnlyLent(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // then all is one account's
	}
	base, err := os.MkdirTemp("", "carillon-scripts-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	if err := os.Chmod(base, 0o711); err != nil { // others must get in
		t.Fatal(err)
	}
	dir := filepath.Join(base, "m")
	t.Cleanup(func() { waitShim(t, dir) })
	n := newNode(t)
	start(t, n, dir)
	told, on := filepath.Join(base, "told"), filepath.Join(base, "on")
	if err := os.WriteFile(told, nil, 0o666); err != nil { // the task writes it
		t.Fatal(err)
	}
	if err := os.Chmod(told, 0o666); err != nil {
		t.Fatal(err)
	}
	text := `for f in "$0" ` + dir + `/scripts/*; do
	chmod u+w "$f"; echo "echo evil" > "$f"; rm -f "$f"; mv "$f" "$f.old"; ln -sf /bin/true "$f"
done 2>/dev/null
echo "$0" > ` + told + `; while ! [ -e ` + on + ` ]; do sleep 0.02; done
echo clean
`
	order := func() *job.Order {
		o := newOrder()
		o.Command, o.Script, o.User = nil, &job.Script{Source: text}, "nobody"
		return o
	}
	first := order()
	n.order(first)
	var path string
	n.await("the script's path", func() bool {
		b, err := os.ReadFile(told)
		path = strings.TrimSpace(string(b))
		return err == nil && path != ""
	})
	if b, err := os.ReadFile(path); err != nil || string(b) != text {
		t.Errorf("the script is %q, %v", b, err)
	}
	var all accounts
	nobody, err := all.lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]syscall.Credential{"another account": {Uid: 4711, Gid: 4711}, "another of its group": {Uid: 4711, Gid: nobody.credential.GID}} {
		cmd := exec.Command("/bin/cat", path)
		cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Credential: &c}
		if out, err := cmd.Output(); err == nil {
			t.Errorf("%s reads the script: %q", what, out)
		}
	}
	if err := os.WriteFile(on, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	second := order()
	n.order(second)
	for _, o := range []*job.Order{first, second} {
		if r := n.final(o); r.State != job.StateSucceeded || r.Stdout.Head != "clean\n" {
			t.Errorf("report %s (%s): %q %q", r.State, r.Reason, r.Stdout.Head, r.Stderr.Head)
		}
	}
}

// Without access lists the account's group reads the script, and still nobody
// but the minion changes it.
func TestReadersACL(t *testing.T) {
	t.Parallel()
	want := "\x02\x00\x00\x00" + "\x01\x00\x05\x00\xff\xff\xff\xff" + "\x02\x00\x05\x00\x67\x12\x00\x00" + "\x04\x00\x00\x00\xff\xff\xff\xff" + "\x10\x00\x05\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff"
	if got := string(readersACL(4711)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

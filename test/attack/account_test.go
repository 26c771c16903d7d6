package attack

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// account is another account of this host: a number, and a directory that is its
// own. No name belongs to it, and it is in no group but its own.
type account struct {
	uid, gid uint32
	home     string
}

// The accounts of tests. No distribution gives their numbers to anybody.
const (
	strangerID = 64_321
	serviceID  = 64_322
)

// stranger returns an account that may do nothing on this host. The test needs
// root.
func stranger(t testing.TB) *account { t.Helper(); return newAccount(t, strangerID) }

// service returns another account, under which a node or a minion may run.
func service(t testing.TB) *account { t.Helper(); return newAccount(t, serviceID) }

func newAccount(t testing.TB, id int) *account {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("acting as another account needs root")
	}
	a := &account{uid: uint32(id), gid: uint32(id), home: filepath.Join(openDir(t), "home")}
	if err := os.Mkdir(a.home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(a.home, id, id); err != nil {
		t.Fatal(err)
	}
	return a
}

// takeOver has a command run as the account, with its home and nothing of ours
// in the environment that leads to our files.
func (a *account) takeOver(cmd *exec.Cmd) {
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid, Groups: []uint32{}}
	if cmd.Dir == "" {
		cmd.Dir = a.home
	}
	env := cmd.Env[:0]
	for _, kv := range cmd.Env {
		if !strings.HasPrefix(kv, "HOME=") && !strings.HasPrefix(kv, "XDG_") && !strings.HasPrefix(kv, "TMPDIR=") {
			env = append(env, kv)
		}
	}
	cmd.Env = append(env, "HOME="+a.home, "TMPDIR="+a.home)
}

// The account of the tests is as poor as they believe.
func TestStrangerIsNobody(t *testing.T) {
	t.Parallel()
	a := stranger(t)
	if got, want := run(t, program{name: "/bin/sh", args: []string{"-c", "id -u; id -G; pwd"}, as: a}).must(t), fmt.Sprintf("%d\n%d\n%s", a.uid, a.gid, a.home); got != want {
		t.Errorf("the account is %q, want %q", got, want)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := run(t, program{name: "/bin/cat", args: []string{secret}, as: a}); r.code == 0 {
		t.Errorf("the account reads what is root's: %q", r.stdout)
	}
	run(t, program{name: "carillon", args: []string{"version", "--help"}, as: a}).must(t)
}

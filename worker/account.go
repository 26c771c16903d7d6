package worker

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"github.com/carillon-cron/carillon/worker/shim"
)

// account is who runs a command.
type account struct {
	name, home, shell string
	// credential is nil for the minion's own account.
	credential *shim.Credential
}

// accounts looks accounts up.
type accounts struct {
	once sync.Once
	own  *account
	euid int
}

// lookup returns the account of a name or a number; an empty one is the
// minion's own.
func (a *accounts) lookup(name string) (*account, error) {
	a.once.Do(func() {
		a.euid = os.Geteuid()
		a.own = &account{name: os.Getenv("USER"), home: os.Getenv("HOME"), shell: os.Getenv("SHELL")}
		if u, err := user.Current(); err == nil {
			a.own.name, a.own.home = u.Username, u.HomeDir
		}
		if a.own.shell == "" {
			a.own.shell = loginShell(a.own.name)
		}
	})
	if name == "" || name == a.own.name {
		return a.own, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		if _, nerr := parseID(name); nerr == nil {
			u, err = user.LookupId(name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("user %q does not exist on this host", name)
	}
	if u.Username == a.own.name {
		return a.own, nil
	}
	if a.euid != 0 {
		return nil, fmt.Errorf("user %q: the minion runs as %s, not as root, and cannot start commands as somebody else; start the worker, or `carillon dev`, as root, or leave user out", name, a.own.name)
	}
	cred := &shim.Credential{}
	if cred.UID, err = parseID(u.Uid); err != nil {
		return nil, fmt.Errorf("user %q: %w", name, err)
	}
	if cred.GID, err = parseID(u.Gid); err != nil {
		return nil, fmt.Errorf("user %q: %w", name, err)
	}
	groups, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("groups of user %q cannot be found out: %w", name, err)
	}
	for _, g := range groups {
		id, err := parseID(g)
		if err != nil {
			return nil, fmt.Errorf("groups of user %q: %w", name, err)
		}
		cred.Groups = append(cred.Groups, id)
	}
	return &account{name: u.Username, home: u.HomeDir, shell: loginShell(u.Username), credential: cred}, nil
}

func parseID(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err
}

// loginShell returns the shell of an account, or /bin/sh.
func loginShell(name string) string {
	b, err := os.ReadFile("/etc/passwd")
	if err == nil {
		for line := range strings.Lines(string(b)) {
			f := strings.Split(strings.TrimSpace(line), ":")
			if len(f) == 7 && f[0] == name && f[6] != "" {
				return f[6]
			}
		}
	}
	return "/bin/sh"
}

// whereOthersPass says how commands of other accounts get to the minion's data.
const whereOthersPass = "start the minion with its data where others may pass (--data-dir, as below /var/lib; not below a home)"

// passes reports why the account cannot get to the scripts that the minion lends it.
func (a *account) passes(dir string) error {
	return a.as(func() error {
		if err := access(dir + "/."); err != nil {
			return fmt.Errorf("directory %s, where scripts and steps lie, cannot be entered by user %q: %w; "+whereOthersPass, dir, a.name, err)
		}
		return nil
	})
}

// reaches reports why the account cannot enter the directory or run the program.
func (a *account) reaches(dir, program string) error {
	return a.as(func() error {
		if err := access(dir + "/."); err != nil { // the dot asks for the directory itself
			return fmt.Errorf("working directory %s cannot be entered by user %q: %w; give a workingDir that this user may enter, or "+whereOthersPass, dir, a.name, err)
		}
		if err := access(program); err != nil {
			return fmt.Errorf("program %s cannot be run by user %q: %w", program, a.name, err)
		}
		return nil
	})
}

// as calls f with the account's rights to files, which the kernel knows best:
// there are groups and access lists, on every directory of a path.
func (a *account) as(f func() error) error {
	c := a.credential
	if c == nil {
		return f()
	}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its rights
		result <- func() error {
			if err := takeRights(c); err != nil {
				return fmt.Errorf("user %q: %w", a.name, err)
			}
			return f()
		}()
	}()
	return <-result
}

// takeRights gives this thread, and no other, the rights to files of c.
func takeRights(c *shim.Credential) error {
	var first *uint32
	if len(c.Groups) > 0 {
		first = &c.Groups[0]
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETGROUPS, uintptr(len(c.Groups)), uintptr(unsafe.Pointer(first)), 0); errno != 0 { // as the call wants it
		return os.NewSyscallError("setgroups", errno)
	}
	// These two tell of no errors, but of what holds: asked with -1 they change nothing.
	const ask = ^uintptr(0)
	_, _, _ = syscall.RawSyscall(syscall.SYS_SETFSGID, uintptr(c.GID), 0, 0)
	_, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, uintptr(c.UID), 0, 0)
	gid, _, _ := syscall.RawSyscall(syscall.SYS_SETFSGID, ask, 0, 0)
	uid, _, _ := syscall.RawSyscall(syscall.SYS_SETFSUID, ask, 0, 0)
	if uint32(gid) != c.GID || uint32(uid) != c.UID {
		return errors.New("the minion may not act as somebody else; it needs CAP_SETUID and CAP_SETGID")
	}
	return nil
}

// access reports why the calling thread cannot execute a file or enter a
// directory; nil where the kernel is too old to say.
func access(path string) error {
	const (
		sysFaccessat2 = 439 // on all platforms
		atEaccess     = 0x200
		mayExecute    = 1
	)
	p, err := syscall.BytePtrFromString(path)
	if err != nil {
		return err
	}
	at := -100                                                                                                           // AT_FDCWD
	_, _, errno := syscall.Syscall6(sysFaccessat2, uintptr(at), uintptr(unsafe.Pointer(p)), mayExecute, atEaccess, 0, 0) // as the call wants it
	if errno != 0 && errno != syscall.ENOSYS && errno != syscall.EPERM {
		return errno
	}
	return nil
}

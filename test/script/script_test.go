package script

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/idptest"
	"github.com/carillon-cron/carillon/internal/testkit/ports"
)

// pause lies between two looks at what is waited for.
const pause = 50 * time.Millisecond

// TestMain builds the binaries once and puts them first in PATH.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		bin, err := os.MkdirTemp("", "carillon-script-*")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(bin)
		if err := build(bin); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if err := os.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// build builds every command of the repository, and the examples, into bin.
func build(bin string) error {
	mains, err := filepath.Glob("../../cmd/*/main.go")
	if err != nil {
		return err
	}
	examples, err := filepath.Glob("../../examples/*/main.go")
	if err != nil {
		return err
	}
	mains = append(mains, examples...)
	args := []string{"build", "-o", bin + string(filepath.Separator), "-ldflags", "-s -X main.version=1.2.3-test -X main.commit=abcdef"}
	for _, main := range mains {
		args = append(args, filepath.Dir(main))
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("build the binaries: %w\n%s", err, out)
	}
	// A worker to update to.
	args = []string{"build", "-o", filepath.Join(bin, "worker-next"), "-ldflags", "-s -X main.version=1.2.4-next", "../../cmd/worker"}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("build the next worker: %w\n%s", err, out)
	}
	return nil
}

func TestScripts(t *testing.T) {
	t.Parallel()
	w := waits{t}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PLATFORM", runtime.GOOS+"/"+runtime.GOARCH)
			// Most scripts are not about rights.
			env.Setenv("CARILLON_ACCESS", "open")
			// Nor are they about TLS, but those that set this back.
			env.Setenv("CARILLON_API_PLAIN", "true")
			env.Values[idpKey{}] = new(*idptest.Provider)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":      exits,
			"freeport":   freeport,
			"expand":     expand,
			"setfrom":    setFrom,
			"waitready":  w.ready,
			"waitlines":  w.lines,
			"eventually": w.eventually,
			"checkfires": checkFiresCommand,
			"tamper":     tamper,
			"idp":        startIDP,
			"signin":     signIn,
			"confirm":    w.confirm,
			"signout":    signOut,
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "dev":
				return exec.Command("carillon", "dev", "--help").Run() == nil, nil
			case "root":
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
	})
}

// exits runs a program that must end with one exit code and no other.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 2, "exits CODE PROGRAM [ARG...]")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("got exit code %d, want %d", got, want)
	}
}

// freeport sets each variable to a port that nobody listens on, and that no other
// test gets before the script has ended.
func freeport(ts *testscript.TestScript, neg bool, names []string) {
	usage(ts, !neg && len(names) > 0, "freeport VAR...")
	r, err := ports.Reserve(len(names))
	ts.Check(err)
	ts.Defer(r.Release)
	for i, name := range names {
		ts.Setenv(name, strconv.Itoa(r.Ports[i]))
	}
}

func expand(ts *testscript.TestScript, neg bool, files []string) {
	usage(ts, !neg && len(files) > 0, "expand FILE...")
	for _, file := range files {
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(os.Expand(ts.ReadFile(file), ts.Getenv)), 0o600))
	}
}

// setFrom sets a variable to what a file holds, without the end of its line.
func setFrom(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "setfrom VAR FILE")
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}

// waits has a script wait.
type waits struct{ t *testing.T }

// ready waits for a node, which is the program that was started last in the
// background. That one must not end meanwhile.
func (w waits) ready(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "waitready URL")
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // it only looks whether anybody is there
	}}
	defer client.CloseIdleConnections()
	w.poll(ts, func() string {
		if cmds := ts.BackgroundCmds(); len(cmds) > 0 && errors.Is(cmds[len(cmds)-1].Process.Signal(syscall.Signal(0)), os.ErrProcessDone) {
			ts.Fatalf("it has ended: %v", cmds[len(cmds)-1])
		}
		res, err := client.Get(args[0] + "/readyz")
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return res.Status
		}
		return ""
	})
}

func (w waits) lines(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "waitlines FILE N")
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	w.poll(ts, func() string {
		b, err := os.ReadFile(ts.MkAbs(args[0]))
		if err != nil {
			return err.Error()
		}
		if n := bytes.Count(b, []byte{'\n'}); n < want {
			return fmt.Sprintf("%s has %d lines, want %d", args[0], n, want)
		}
		return ""
	})
}

// eventually runs a program until its output is as it should be. With a code, it must end
// with that, and the output may be on stderr.
func (w waits) eventually(ts *testscript.TestScript, neg bool, args []string) {
	const form = "eventually [CODE] REGEXP PROGRAM [ARG...]"
	usage(ts, !neg && len(args) >= 2, form)
	code, err := strconv.Atoi(args[0])
	coded := err == nil
	if coded {
		usage(ts, len(args) >= 3, form)
		args = args[1:]
	}
	want, err := regexp.Compile(args[0])
	ts.Check(err)
	w.poll(ts, func() string {
		err := ts.Exec(args[1], args[2:]...)
		if coded {
			got := 0
			if exit, is := errors.AsType[*exec.ExitError](err); is {
				got = exit.ExitCode()
			}
			if out := ts.ReadFile("stdout") + ts.ReadFile("stderr"); got != code || !want.MatchString(out) {
				return fmt.Sprintf("code %d, want %d; no match for %q in %q", got, code, args[0], out)
			}
			return ""
		}
		if out := ts.ReadFile("stdout"); !want.MatchString(out) {
			return fmt.Sprintf("%v: no match for %q in stdout %q and stderr %q", err, args[0], out, ts.ReadFile("stderr"))
		}
		return ""
	})
}

// poll looks until there is nothing left to wait for; what look returns last
// says why it was in vain.
func (w waits) poll(ts *testscript.TestScript, look func() string) {
	await.Missing(page{w.t, ts}, func() string {
		missing := look()
		if missing != "" {
			time.Sleep(pause) // a look may be a program that runs
		}
		return missing
	})
}

// page is the test as one script sees it: what fails is the script.
type page struct {
	*testing.T

	ts *testscript.TestScript
}

func (p page) Fatalf(format string, args ...any) { p.ts.Fatalf(format, args...) }

func usage(ts *testscript.TestScript, ok bool, text string) {
	if !ok {
		ts.Fatalf("usage: %s", text)
	}
}

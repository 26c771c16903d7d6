package script

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience bounds every wait of a script; pause lies between two looks.
const (
	patience = 3 * time.Minute
	pause    = 50 * time.Millisecond
)

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

// build builds every command of the repository into bin.
func build(bin string) error {
	mains, err := filepath.Glob("../../cmd/*/main.go")
	if err != nil {
		return err
	}
	args := []string{"build", "-o", bin + string(filepath.Separator), "-ldflags", "-X main.version=1.2.3-test -X main.commit=abcdef"}
	for _, main := range mains {
		args = append(args, filepath.Dir(main))
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("build the binaries: %w\n%s", err, out)
	}
	// A worker to update to.
	args = []string{"build", "-o", filepath.Join(bin, "worker-next"), "-ldflags", "-X main.version=1.2.4-next", "../../cmd/worker"}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("build the next worker: %w\n%s", err, out)
	}
	return nil
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PLATFORM", runtime.GOOS+"/"+runtime.GOARCH)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":      exits,
			"freeport":   freeport,
			"expand":     expand,
			"setfrom":    setFrom,
			"waitready":  waitReady,
			"waitlines":  waitLines,
			"eventually": eventually,
			"checkfires": checkFiresCommand,
		},
		Condition: func(cond string) (bool, error) {
			if cond != "dev" {
				return false, fmt.Errorf("unknown condition %q", cond)
			}
			return exec.Command("carillon", "dev", "--help").Run() == nil, nil
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

// freeport sets each variable to a port that nobody listens on. All are held
// until all are found, so that they differ.
func freeport(ts *testscript.TestScript, neg bool, names []string) {
	usage(ts, !neg && len(names) > 0, "freeport VAR...")
	for _, name := range names {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		defer l.Close()
		_, port, err := net.SplitHostPort(l.Addr().String())
		ts.Check(err)
		ts.Setenv(name, port)
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

func waitReady(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "waitready URL")
	client := http.Client{Timeout: time.Second}
	defer client.CloseIdleConnections()
	poll(ts, func() string {
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

func waitLines(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "waitlines FILE N")
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	poll(ts, func() string {
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

func eventually(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 2, "eventually REGEXP PROGRAM [ARG...]")
	want, err := regexp.Compile(args[0])
	ts.Check(err)
	poll(ts, func() string {
		err := ts.Exec(args[1], args[2:]...)
		if out := ts.ReadFile("stdout"); !want.MatchString(out) {
			return fmt.Sprintf("%v: no match for %q in stdout %q and stderr %q", err, args[0], out, ts.ReadFile("stderr"))
		}
		return ""
	})
}

// poll looks until there is nothing left to wait for; what look returns last
// says why it was in vain.
func poll(ts *testscript.TestScript, look func() string) {
	deadline := time.Now().Add(patience)
	for {
		missing := look()
		switch {
		case missing == "":
			return
		case time.Now().After(deadline):
			ts.Fatalf("waited %s in vain: %s", patience, missing)
		}
		time.Sleep(pause) // a poll with a deadline
	}
}

func usage(ts *testscript.TestScript, ok bool, text string) {
	if !ok {
		ts.Fatalf("usage: %s", text)
	}
}

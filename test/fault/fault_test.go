package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

//nolint:gochecknoglobals // flags of the test, and the programs that all of it shares
var (
	load = flag.Int("load", 0, "how many busy programs run beside the scenarios")

	programs = sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp("", "carillon-fault-bin-")
		if err != nil {
			return "", err
		}
		programsDir = dir
		return dir, build(context.Background(), dir)
	})
	programsDir string // empty: no scenario has asked for them
)

// TestMain builds the programs once for all scenarios, and takes them away.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if programsDir != "" {
			_ = os.RemoveAll(programsDir)
		}
		os.Exit(code)
	}))
}

// The scenarios run one after the other: each wants the machine for itself. Which
// are here, and which wait for make test-long, is in doc.go.

// TestNodesAndMinions: nodes and a minion are killed, drained and stopped while jobs
// in groups of every mode fire.
func TestNodesAndMinions(t *testing.T) { testScenario(t, "short", 45) } //nolint:paralleltest // see above

// TestEtcd: an etcd server is killed, and all become slow.
func TestEtcd(t *testing.T) { testScenario(t, "etcd", 30) } //nolint:paralleltest // see above

// TestPartition: nodes are cut off.
func TestPartition(t *testing.T) { testScenario(t, "partition", 30) } //nolint:paralleltest // see above

// TestDispatch: owners, minions and hosts die while commands are fanned out.
func TestDispatch(t *testing.T) { //nolint:paralleltest // see above
	o := options{
		scenario: dispatchScenario, length: 2 * time.Second, seed: 7, jobs: 1, verbose: true,
		parts: []string{"scheduler-kill", "minion-kill", "partition", "two-owners", "cancel"},
	}
	res, err := runDispatch(t.Context(), prepared(t, &o), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	res.print(&text)
	t.Log(text.String())
	if !res.good() || len(res.outcomes) != len(o.parts) {
		t.Errorf("not every task is accounted for, or not every part was played")
	}
}

// prepared fills in what all scenarios share, and has the command told that repeats
// a run which fails.
func prepared(t *testing.T, o *options) options {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a cluster of processes")
	}
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	o.bin, o.load = dir, *load
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("again:", o.again())
		}
	})
	return *o
}

func testScenario(t *testing.T, name string, jobs int) {
	t.Helper()
	o := options{scenario: name, length: time.Second, once: true, seed: 7, jobs: jobs, verbose: true}
	res, err := run(t.Context(), prepared(t, &o), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	res.print(&text)
	t.Log(text.String())
	if !res.verdict.good() || res.verdict.fires == 0 || res.faults == 0 {
		t.Errorf("not every occurrence is accounted for, or nothing happened")
	}
}

// TestAgainRepeatsTheRun: the command that a failure prints is one that this
// program takes, and means the same run.
func TestAgainRepeatsTheRun(t *testing.T) {
	t.Parallel()
	o := options{scenario: "dispatch", length: 3 * time.Second, seed: 9, jobs: 40, load: 4, parts: []string{"cancel"}}
	want := "go run ./test/fault -scenario dispatch -seed 9 -jobs 40 -load 4 -keep -v -for 3s -part cancel"
	if got := o.again(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var out, problems bytes.Buffer
	args := append(strings.Fields(fmt.Sprint(o.again()))[3:], "-jobs", "0") // refused, and only for that
	if code := command(args, &out, &problems); code != 2 || strings.Contains(problems.String(), "not defined") {
		t.Errorf("exit code %d: %s", code, problems.String())
	}
}

package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Flags of the test, and the programs that all of it shares.
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
func TestNodesAndMinions(t *testing.T) { testScenario(t) }

// TestEtcd: an etcd server is killed, and all become slow.
func TestEtcd(t *testing.T) { testScenario(t) }

// TestPartition: nodes are cut off.
func TestPartition(t *testing.T) { testScenario(t) }

// TestDispatch: owners, minions and hosts die while commands are fanned out.
func TestDispatch(t *testing.T) { testScenario(t) }

// scenarioOf returns what a test runs.
func scenarioOf(test string) options {
	o := options{length: time.Second, hangs: hangLimit, once: true, seed: 7, jobs: 15, verbose: true}
	switch test {
	case "TestNodesAndMinions":
		o.scenario, o.jobs = "short", 30
	case "TestEtcd":
		o.scenario = "etcd"
	case "TestPartition":
		o.scenario = "partition"
	case planScenario: // not a test by itself
		o.scenario, o.once, o.length = planScenario, false, 15*time.Second
	case "TestDispatch":
		o.scenario, o.length, o.once, o.jobs = dispatchScenario, 2*time.Second, false, 1
		o.parts = []string{"scheduler-kill", "minion-kill", "partition", "two-owners", "cancel", "gone", "shim-kill"}
	}
	return o
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

func testScenario(t *testing.T) {
	t.Helper()
	o := scenarioOf(t.Name())
	good, text, err := played(t.Context(), prepared(t, &o), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Log(text)
	if !good {
		t.Error("not everything is accounted for, or not all of it happened")
	}
}

// played runs a scenario, and returns whether all is well, and the result in words.
func played(ctx context.Context, o options, out io.Writer) (good bool, text string, err error) {
	var to bytes.Buffer
	if o.scenario == dispatchScenario {
		res, err := runDispatch(ctx, o, out)
		if err != nil {
			return false, "", err
		}
		res.print(&to)
		return res.good() && len(res.outcomes) == len(o.parts), to.String(), nil
	}
	if o.scenario == planScenario {
		res, err := runPlans(ctx, o, out)
		if err != nil {
			return false, "", err
		}
		res.print(&to)
		return res.good(), to.String(), nil
	}
	res, err := run(ctx, o, out)
	if err != nil {
		return false, "", err
	}
	res.print(&to)
	return res.good() && res.verdict.fires > 0 && res.faults > 0, to.String(), nil
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

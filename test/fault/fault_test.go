package main

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain runs etcd, or a crowd, when a cluster asks for it: this program is
// then the one that it starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && servant(os.Args[1]) != nil {
		if err := servant(os.Args[1])(os.Args[2:]); err != nil {
			fmt.Fprintf(os.Stderr, "fault %s: %v\n", os.Args[1], err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// The scenarios run one after the other: each wants the machine for itself.

func TestKillShort(t *testing.T) { testScenario(t, "kill") } //nolint:paralleltest // see above

func TestDrainShort(t *testing.T) { testScenario(t, "drain") } //nolint:paralleltest // see above

func TestWorkerShort(t *testing.T) { testScenario(t, "worker") } //nolint:paralleltest // see above

func TestPauseShort(t *testing.T) { testScenario(t, "pause") } //nolint:paralleltest // see above

func TestScaleShort(t *testing.T) { testScenario(t, "scale") } //nolint:paralleltest // see above

func TestPartitionShort(t *testing.T) { testScenario(t, "partition") } //nolint:paralleltest // see above

func TestModesShort(t *testing.T) { testScenario(t, "modes") } //nolint:paralleltest // see above

func TestEtcdRestartShort(t *testing.T) { testScenario(t, "etcd-restart") } //nolint:paralleltest // see above

func TestEtcdKillMemberShort(t *testing.T) { testScenario(t, "etcd-kill-member") } //nolint:paralleltest // see above

func TestEtcdSlowShort(t *testing.T) { testScenario(t, "etcd-slow") } //nolint:paralleltest // see above

func TestClockShort(t *testing.T) { testScenario(t, "clock") } //nolint:paralleltest // see above

func TestHerdShort(t *testing.T) { testScenario(t, "herd") } //nolint:paralleltest // see above

func TestSoakShort(t *testing.T) { testScenario(t, "soak") } //nolint:paralleltest // see above

func TestDispatchShort(t *testing.T) { //nolint:paralleltest // see above
	o := options{scenario: dispatchScenario, length: 2 * time.Second, seed: 7, verbose: true}
	res, err := runDispatch(t.Context(), o, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	res.print(&text)
	t.Log(text.String())
	if !res.good() || len(res.outcomes) != len(parts()) {
		t.Errorf("not every task is accounted for, or not every part was played")
	}
}

func testScenario(t *testing.T, name string) {
	t.Helper()
	o := options{scenario: name, length: 12 * time.Second, seed: 7, jobs: 100, verbose: true}
	if testing.Short() {
		o.length = 7 * time.Second
	}
	res, err := run(t.Context(), o, t.Output())
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

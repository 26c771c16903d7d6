package main

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain runs etcd when the cluster asks for it: this program is then the
// one that it starts.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == etcdArgument {
		if err := runEtcd(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, "fault etcd:", err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// The scenarios run one after the other: each wants the machine for itself.

func TestKill(t *testing.T) { testScenario(t, "kill") } //nolint:paralleltest // see above

func TestDrain(t *testing.T) { testScenario(t, "drain") } //nolint:paralleltest // see above

func TestWorker(t *testing.T) { testScenario(t, "worker") } //nolint:paralleltest // see above

func testScenario(t *testing.T, name string) {
	t.Helper()
	o := options{scenario: name, length: 10 * time.Second, seed: 7, jobs: 300, verbose: testing.Verbose()}
	if testing.Short() {
		o.length = 4 * time.Second
	}
	v, err := run(t.Context(), o, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if !v.ok() || v.ran == 0 {
		t.Errorf("%d duplicates, %d missing, %d unaccounted of %d fires, %d of which ran", v.duplicates, v.missing, v.unaccounted, v.fires, v.ran)
	}
}

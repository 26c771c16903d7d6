package main

import (
	"fmt"
	"os"
	"testing"

	"github.com/carillon-cron/carillon/worker"
)

// TestMain lets the test's program be what the benchmarks start.
func TestMain(m *testing.M) {
	is, err := runRole(os.Args)
	switch {
	case is:
	case len(os.Args) == 4 && os.Args[1] == etcdArgument:
		err = runEtcd(os.Args[2], os.Args[3])
	case len(os.Args) > 1 && os.Args[1] == shimArgument:
		err = worker.RunShim(os.Args[2:])
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, os.Args[1:], err)
		os.Exit(1)
	}
}

func TestFanOutBenchmarkWorks(t *testing.T) {
	if err := fanOut(t.Context(), 50, 1); err != nil {
		t.Fatal(err)
	}
}

func TestThreeNodesBenchmarkWorks(t *testing.T) {
	if err := fanOutThreeNodes(t.Context(), 60, 1); err != nil {
		t.Fatal(err)
	}
}

// The peer need not be installed for this: a program that does nothing stands
// for it.
func TestExecBenchmarkWorks(t *testing.T) {
	if err := execAgainst(t.Context(), "true", 20, 1); err != nil {
		t.Fatal(err)
	}
}

package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/worker"
)

// benchmark is one measurement; it prints its figures by report.
type benchmark struct {
	name string
	run  func(ctx context.Context) error
}

func benchmarks() []benchmark {
	return []benchmark{
		{"fires_vs_robfig_cpu", timerAgainstRobfig},
		{"fires_vs_go_etcd_cron", firesAgainstPeer},
		{"fires_end_to_end", endToEnd},
		{"lateness", latenesses},
		{"herd", herd},
		{"jobs_1m", millionJobs},
		{"lock", locks},
		{"fanout", func(ctx context.Context) error { return fanOut(ctx, fanOutMinions, fanOutRounds) }},
		{"fanout_3nodes", func(ctx context.Context) error { return fanOutThreeNodes(ctx, threeNodesMinions, fanOutRounds) }},
		{"minion", minionMemory},
		{"exec_vs_clush", execAgainstClush},
	}
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == etcdArgument {
		if err := runEtcd(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, "bench etcd:", err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) > 1 && os.Args[1] == shimArgument {
		if err := worker.RunShim(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench shim:", err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 4 && os.Args[1] == minionArgument {
		if err := runMinion(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, "bench minion:", err)
			os.Exit(1)
		}
		return
	}
	if is, err := runRole(os.Args); is {
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench %s: %v\n", os.Args[2], err)
			os.Exit(1)
		}
		return
	}
	only := flag.String("only", "", "comma-separated names of benchmarks; empty: all")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	failed := false
	for _, b := range benchmarks() {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), b.name) {
			continue
		}
		if err := b.run(ctx); err != nil {
			fmt.Fprintf(os.Stderr, "bench %s: %v\n", b.name, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1) //nolint:gocritic // the process ends, and its signals with it
	}
}

// report prints a figure.
func report(name string, value float64, unit string) {
	fmt.Printf("BENCH %s %.4g %s\n", name, value, unit)
}

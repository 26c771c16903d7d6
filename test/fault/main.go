package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	scenario string
	length   time.Duration
	seed     int64
	jobs     int
	keep     bool
	verbose  bool
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == etcdArgument {
		if err := runEtcd(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, "fault etcd:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.StringVar(&o.scenario, "scenario", "kill", "kill (SIGKILL of schedulers), drain (SIGTERM of schedulers) or worker (SIGKILL of workers)")
	flag.DurationVar(&o.length, "for", 60*time.Second, "how long faults are injected")
	flag.Int64Var(&o.seed, "seed", 1, "seed of the faults' times and victims")
	flag.IntVar(&o.jobs, "jobs", 300, "jobs that fire every second")
	flag.BoolVar(&o.keep, "keep", false, "keep logs and data")
	flag.BoolVar(&o.verbose, "v", false, "tell what happens")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := 0
	v, err := run(ctx, o, os.Stdout)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "fault:", err)
		code = 1
	case !v.ok():
		code = 1
	}
	stop()
	os.Exit(code)
}

// run plays a scenario and prints its verdict.
func run(ctx context.Context, o options, out io.Writer) (*verdict, error) {
	fault, ok := scenarios()[o.scenario]
	if !ok {
		return nil, fmt.Errorf("scenario %q is not known; kill, drain or worker are", o.scenario)
	}
	c, err := startCluster(ctx, o)
	if err != nil {
		return nil, err
	}
	v, err := play(ctx, c, o, fault)
	c.stop(o.keep || err != nil || !v.ok())
	if err != nil {
		return nil, err
	}
	for i, line := range v.offenders {
		if i == 20 {
			break
		}
		fmt.Fprintln(out, line)
	}
	fmt.Fprintf(out, "FAULT scenario=%s seed=%d fires=%d duplicates=%d missing=%d unaccounted=%d takeover_ms_p50=%.0f takeover_ms_max=%.0f late_ms_p99=%.0f\n",
		o.scenario, o.seed, v.fires, v.duplicates, v.missing, v.unaccounted, v.takeoverP50, v.takeoverMax, v.lateP99)
	return v, nil
}

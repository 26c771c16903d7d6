package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	if role := roleOf(os.Args[1:]); role != nil {
		if err := role(); err != nil {
			fmt.Fprintln(os.Stderr, "bench", os.Args[1:], err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// The exit codes of this program.
const (
	exitFailed = 1 // a benchmark failed
	exitUsage  = 2 // the arguments make no sense
)

// run runs benchmarks as the arguments say, and returns the exit code.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(errs)
	only := flags.String("only", "", "comma-separated `names` of benchmarks; empty: all")
	rounds := flags.Int("rounds", minRounds, "measured rounds of each side")
	toy := flags.Bool("toy", false, "toy sizes: quick, and the figures mean nothing")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return exitUsage
	case flags.NArg() > 0:
		fmt.Fprintf(errs, "bench: %q is not understood; name benchmarks by -only\n", flags.Arg(0))
		return exitUsage
	case *rounds < minRounds:
		fmt.Fprintf(errs, "bench: -rounds %d: fewer than %d say nothing of the spread\n", *rounds, minRounds)
		return exitUsage
	}
	chosen, err := choose(benchmarks(), *only)
	if err != nil {
		fmt.Fprintln(errs, "bench:", err)
		return exitUsage
	}
	code := 0
	for _, b := range chosen {
		e := &env{out: out, rounds: *rounds, patience: 5 * time.Minute, calm: 2 * time.Second}
		measure := b.full
		if *toy {
			measure = b.toy
		}
		begun := time.Now()
		if err := measure(ctx, e); err != nil {
			fmt.Fprintf(errs, "bench %s: %v\n", b.name, err)
			code = exitFailed
		}
		fmt.Fprintf(errs, "bench %s: took %s\n", b.name, time.Since(begun).Round(time.Second))
		if ctx.Err() != nil {
			return exitFailed
		}
	}
	return code
}

// choose returns the benchmarks of the names, or all where there are none.
func choose(all []benchmark, names string) ([]benchmark, error) {
	if names == "" {
		return all, nil
	}
	var chosen []benchmark
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(all, func(b benchmark) bool { return b.name == name })
		if i < 0 {
			known := make([]string, len(all))
			for i, b := range all {
				known[i] = b.name
			}
			return nil, fmt.Errorf("there is no benchmark %q; there are %s", name, strings.Join(known, ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

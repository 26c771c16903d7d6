// The scheduler command runs a scheduler node: it joins the cluster, owns
// shards, and fires their jobs.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/configs"
	"github.com/carillon-cron/carillon/internal/app"
)

// Set by the linker.
var (
	version = "dev"
	commit  = ""
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == app.WatchdogArg {
		if err := app.RunWatchdog(os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, "scheduler:", err)
			os.Exit(1)
		}
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(130)
	}()
	os.Exit(run(ctx, os.Args[1:]))
}

func run(ctx context.Context, args []string) int {
	flags := pflag.NewFlagSet("scheduler", pflag.ContinueOnError)
	configs.SchedulerFlags(flags)
	showVersion := flags.Bool("version", false, "print the version and exit")
	once := onceFlags(flags)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return 0
		}
		fmt.Fprintln(os.Stderr, "scheduler:", err)
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "scheduler: unexpected argument %q; settings are flags, see --help\n", flags.Arg(0))
		return 2
	}
	if *showVersion {
		fmt.Println("scheduler", api.Version{Version: version, Commit: commit, Go: runtime.Version()})
		return 0
	}
	cfg, _, err := configs.LoadScheduler(configs.Args{Flags: flags, Environ: os.Environ()})
	if err != nil {
		fmt.Fprintf(os.Stderr, "scheduler: the settings have problems:\n%v\n", err)
		return 2
	}
	log, err := cfg.Log.NewLogger()
	if err != nil {
		fmt.Fprintln(os.Stderr, "scheduler:", err)
		return 2
	}
	if flag, do := once(); do != nil {
		if err := do(ctx, cfg, log); err != nil {
			fmt.Fprintf(os.Stderr, "scheduler: --%s: %v\n", flag, err)
			return 1
		}
		return 0
	}
	if err := serve(ctx, cfg, app.Build{Version: version, Commit: commit, Watchdog: true, Now: wallClock(context.Background())}, log); err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) { // it was told to end while it waited
			return 0
		}
		fmt.Fprintln(os.Stderr, "scheduler:", err)
		return 1
	}
	return 0
}

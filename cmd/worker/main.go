// The worker command runs a minion: it connects to a node, starts the commands
// that it is told to start, and reports how they ended.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/carillon-cron/carillon/internal/app/minion"
	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker"
)

// version and release, the number of this program among signed releases, are
// set by the linker. Release 0: it is none, and older than all of them.
var (
	version = "dev"
	release = "0"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "shim" {
		os.Exit(exitCode(worker.RunShim(os.Args[2:]), os.Stderr))
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
	os.Exit(exitCode(run(ctx, os.Args[1:]), os.Stderr))
}

func run(ctx context.Context, args []string) error {
	o, err := minion.Parse(args, os.LookupEnv)
	if errors.Is(err, pflag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	if o.Version {
		fmt.Printf("worker %s (release %s, %s)\n", version, release, runtime.Version())
		return nil
	}
	log, err := o.Logger()
	if err != nil {
		return err
	}
	cfg, err := o.Config(version, release)
	if err != nil {
		return err
	}
	cfg.Crash = crash()
	if cfg.Update.NeedsLauncher() {
		return minion.Launch(ctx, cfg.Update, args, log)
	}
	return minion.Run(ctx, cfg, log)
}

// exitCode says what went wrong: 2 for what the user gave, 5 for what is not
// allowed, 1 for the rest.
func exitCode(err error, w io.Writer) int {
	if err == nil {
		return 0
	}
	if errors.Is(err, minion.ErrUpdate) {
		return minion.ExitUpdate // nothing is wrong
	}
	_, _ = fmt.Fprintln(w, "worker:", err)
	var invalid *job.InvalidError
	if errors.As(err, &invalid) || errors.Is(err, worker.ErrInsecure) {
		return 2
	}
	if errors.Is(err, auth.ErrRefused) {
		return 5
	}
	return 1
}

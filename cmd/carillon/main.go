// Command carillon is the command line of Carillon, and `carillon dev`.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/carillon-cron/carillon/internal/cli"
)

// Set by the linker.
var (
	version = ""
	commit  = ""
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once

	return cli.Main(ctx, cli.Options{
		Args: os.Args[1:], Env: os.Environ(),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Version: version, Commit: commit,
	})
}

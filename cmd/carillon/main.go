// Command carillon is the command line of Carillon, and `carillon dev`.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/configs"
	"github.com/carillon-cron/carillon/internal/app"
	"github.com/carillon-cron/carillon/internal/cli"
	"github.com/carillon-cron/carillon/internal/lockexec"
	"github.com/carillon-cron/carillon/worker"
)

// Set by the linker.
var (
	version = "dev"
	commit  = ""
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "shim" {
		if err := worker.RunShim(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "carillon shim:", err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) > 1 && os.Args[1] == lockexec.Arg {
		if err := lockexec.RunShim(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "carillon:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(run())
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once

	return cli.Main(ctx, cli.Options{
		Args: os.Args[1:], Env: os.Environ(),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Version: version, Commit: commit,
		Dev: func(ctx context.Context, args []string, stdout, stderr io.Writer) int {
			return app.Dev(ctx, app.Build{Version: version, Commit: commit}, args, stdout, stderr)
		},
		OpenEtcd: openEtcd,
	})
}

// openEtcd reaches etcd without a node.
func openEtcd(ctx context.Context, a cli.EtcdAccess) (*clientv3.Client, func(), error) {
	return app.OpenEtcd(ctx, app.Directory{Path: a.DataDir, Copied: a.Copied}, configs.Etcd{
		Endpoints: a.Endpoints, Prefix: a.Prefix, CA: a.CA, Cert: a.Cert, Key: a.Key, User: a.User, PasswordFile: a.PasswordFile,
	})
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"

	"github.com/spf13/cobra"
)

// handlersCommand is for programs that do tasks on this host.
func (a *app) handlersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "handlers", GroupID: groupHere, Args: cobra.ArbitraryArgs,
		Short:   "Programs of this host that do the tasks of its minion",
		Long:    "Programs of this host that do the tasks of its minion, which makes a socket for them\n(worker --handlers SOCKET). docs/handlers.md tells what they say.",
		Example: "  carillon handlers connect /run/carillon/handlers.sock -- sh worker.sh",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownWord(cmd, "verb", args[0])
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "connect SOCKET -- COMMAND [ARG...]",
		Short: "Connect a command's input and output to the socket",
		Long: "Run a command whose standard input and output are the socket of the minion: for\n" +
			"languages that cannot connect to one, as shell. It ends with the command, or when the\n" +
			"minion ends the connection.",
		Example: "  carillon handlers connect /run/carillon/handlers.sock -- sh worker.sh",
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.ArgsLenAtDash() != 1 || len(args) < 2 {
				return usagef("specify the socket, and a command after --, as in carillon handlers connect /run/carillon/handlers.sock -- sh worker.sh")
			}
			return a.connectHandler(cmd.Context(), args[0], args[1:])
		},
	})
	return cmd
}

// connectHandler runs a command between whose ends and a socket lines go.
func (a *app) connectHandler(ctx context.Context, socket string, command []string) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return &exitError{exitUnavailable, fmt.Errorf("no minion serves the socket: %w; start it with worker --handlers %s", err, socket)}
	}
	defer conn.Close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.Stderr = a.opts.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		return err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return &exitError{exitUsage, err}
	}
	go func() { // ends with the connection
		_, _ = io.Copy(in, conn) // the end of one is that of the other
		_ = in.Close()
	}()
	if _, err := io.Copy(conn, out); err != nil && !errors.Is(err, net.ErrClosed) {
		stop() // nobody hears it any more
	}
	_ = conn.Close()
	err = c.Wait()
	if e, ok := errors.AsType[*exec.ExitError](err); ok && e.ExitCode() > 0 {
		a.code = e.ExitCode()
		return nil
	}
	return err
}

package cli

import (
	"github.com/spf13/cobra"
)

// devCommand is `carillon dev`. It has flags, help and exit codes of its own.
func (a *app) devCommand() *cobra.Command {
	run := func(cmd *cobra.Command, args []string) {
		a.code = a.opts.Dev(cmd.Context(), args, a.opts.Stdout, a.opts.Stderr)
	}
	cmd := &cobra.Command{
		Use: "dev", GroupID: groupHere, DisableFlagParsing: true,
		Short: "Run a whole cluster in this process, to try things out",
		Run:   run,
	}
	cmd.SetHelpFunc(func(cmd *cobra.Command, _ []string) { run(cmd, []string{"--help"}) })
	return cmd
}

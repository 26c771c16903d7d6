package cli

import (
	"github.com/spf13/cobra"
)

// noArgs refuses positional arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no argument, and got %q", cmd.CommandPath(), args[0])
	}
	return nil
}

func reasonFlag(cmd *cobra.Command, reason *string) {
	cmd.Flags().StringVar(reason, "reason", "", "`TEXT` that tells others why")
}

// noOrder refuses words after a noun that has orders below it.
func noOrder(cmd *cobra.Command, args []string) error {
	if len(args) > 0 && cmd.HasSubCommands() {
		return unknownWord(cmd, "verb of "+cmd.Name(), args[0])
	}
	return noArgs(cmd, args)
}

func atMostOne(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef("%s: specify one name at most (got %d)", cmd.CommandPath(), len(args))
	}
	return nil
}

// someOf refuses no argument; what says what one is.
func someOf(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef("%s: specify a %s", cmd.CommandPath(), what)
		}
		return nil
	}
}

// exactlyOne refuses anything but one argument; what says what it is.
func exactlyOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usagef("%s: specify one %s (got %d)", cmd.CommandPath(), what, len(args))
		}
		return nil
	}
}

package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// help prints the overview for the root and a page for any other command.
func (a *app) help(cmd *cobra.Command, _ []string) {
	if !cmd.HasParent() {
		if unknown := cmd.Flags().Args(); len(unknown) > 0 { // carillon aply --help
			a.code = a.report(cmd, unknownWord(cmd, "verb", unknown[0]))
			return
		}
		overview(a.out, cmd)
		return
	}
	fmt.Fprintln(a.out, orText(cmd.Long, cmd.Short))
	fmt.Fprintf(a.out, "\nUsage:\n  %s\n", cmd.UseLine())
	if cmd.Example != "" {
		fmt.Fprintf(a.out, "\nExamples:\n%s\n", strings.TrimRight(cmd.Example, "\n"))
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintln(a.out, "\nWhat:")
		listCommands(a.out, cmd.Commands())
	}
	printFlags(a.out, "Flags", cmd.LocalFlags())
	printFlags(a.out, "Global flags", cmd.InheritedFlags())
}

func overview(w io.Writer, root *cobra.Command) {
	fmt.Fprintf(w, "%s\n\nUsage:\n  carillon VERB [flags]\n", root.Short)
	for _, g := range root.Groups() {
		var members []*cobra.Command
		for _, c := range root.Commands() {
			if c.GroupID == g.ID {
				members = append(members, c)
			}
		}
		fmt.Fprintf(w, "\n%s:\n", g.Title)
		listCommands(w, members)
	}
	printFlags(w, "Global flags", root.PersistentFlags())
	fmt.Fprint(w, "\nExit codes:\n"+exitCodesText)
	fmt.Fprint(w, "\n`carillon VERB --help` tells more of a verb.\n")
}

// exitCodesText tells the exit codes; see the package's documentation.
const exitCodesText = "  0 ok, 1 failed, 2 usage, 3 not found, 4 conflict, 5 not allowed, 6 unavailable,\n  7 not all hosts answered, 124 timed out, 130 interrupted\n"

func listCommands(w io.Writer, commands []*cobra.Command) {
	tw := newTabs(w)
	for _, c := range commands {
		if c.IsAvailableCommand() {
			fmt.Fprintf(tw, "  %s\t%s\n", c.Name(), c.Short)
		}
	}
	_ = tw.Flush() // the sink below keeps the error
}

func printFlags(w io.Writer, title string, flags *pflag.FlagSet) {
	if flags.HasAvailableFlags() {
		fmt.Fprintf(w, "\n%s:\n%s", title, flags.FlagUsages())
	}
}

// helpCommand is `carillon help [VERB]`.
func (a *app) helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [VERB]", Short: "Show the help of a verb", Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			target, rest, err := root.Find(args)
			if err != nil || target == root && len(rest) > 0 {
				return unknownWord(root, "verb", args[0])
			}
			target.InitDefaultHelpFlag()
			return target.Help()
		},
	}
}

func orText(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

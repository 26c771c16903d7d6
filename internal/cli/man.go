package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", GroupID: groupHere, Args: exactlyOne("directory"),
		Short:   "Write the manual pages of all verbs into a directory",
		Long:    "Write the manual pages of all verbs into a directory, which is made if need be: one\nfile for each, such as carillon-get-jobs.1. They say what --help says.",
		Example: "  carillon man /usr/local/share/man/man1\n  man carillon-apply",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("write manual pages: %w", err)
			}
			n := 0
			err := eachCommand(cmd.Root(), func(c *cobra.Command) error {
				n++
				c.InitDefaultHelpFlag()
				return os.WriteFile(filepath.Join(args[0], manName(c)+".1"), manPage(c), 0o644)
			})
			if err != nil {
				return fmt.Errorf("write manual pages: %w", err)
			}
			a.note("%d pages are in %s", n, args[0])
			return nil
		},
	}
}

// eachCommand calls fn with a command and all those below it that people see.
func eachCommand(c *cobra.Command, fn func(*cobra.Command) error) error {
	if err := fn(c); err != nil {
		return err
	}
	for _, below := range c.Commands() {
		if below.IsAvailableCommand() {
			if err := eachCommand(below, fn); err != nil {
				return err
			}
		}
	}
	return nil
}

func manName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// roff writes a text so that troff prints it as it is.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

// manPage writes the manual page of a command.
func manPage(c *cobra.Command) []byte {
	var b bytes.Buffer
	section := func(title, text string) {
		if text != "" {
			fmt.Fprintf(&b, ".SH %s\n%s\n", title, text)
		}
	}
	verbatim := func(text string) string { return ".nf\n" + roff(strings.Trim(text, "\n")) + "\n.fi" }
	fmt.Fprintf(&b, ".TH %q 1 \"\" \"Carillon\" \"Carillon manual\"\n", strings.ToUpper(manName(c)))
	section("NAME", roff(manName(c)+" - "+c.Short))
	use := c.UseLine()
	if !c.HasParent() {
		use = "carillon VERB [flags]"
	}
	section("SYNOPSIS", verbatim(use))
	section("DESCRIPTION", verbatim(orText(c.Long, c.Short)))
	section("OPTIONS", manFlags(c.LocalNonPersistentFlags(), c.PersistentFlags()))
	section("GLOBAL OPTIONS", manFlags(c.InheritedFlags()))
	if c.Example != "" {
		section("EXAMPLES", verbatim(c.Example))
	}
	if !c.HasParent() {
		section("EXIT STATUS", verbatim(exitCodesText))
	}
	var also []string
	if c.HasParent() {
		also = append(also, manName(c.Parent()))
	}
	for _, below := range c.Commands() {
		if below.IsAvailableCommand() {
			also = append(also, manName(below))
		}
	}
	for i := range also {
		also[i] = ".BR " + roff(also[i]) + " (1)"
	}
	section("SEE ALSO", strings.Join(also, ",\n"))
	return b.Bytes()
}

// manFlags writes flags, each with its help below it.
func manFlags(sets ...*pflag.FlagSet) string {
	var parts []string
	for _, set := range sets {
		set.VisitAll(func(f *pflag.Flag) {
			if f.Hidden {
				return
			}
			name, help := pflag.UnquoteUsage(f)
			head := "--" + f.Name
			if f.Shorthand != "" {
				head = "-" + f.Shorthand + ", " + head
			}
			if name != "" {
				head += " " + name
			}
			parts = append(parts, ".TP\n.B "+roff(head)+"\n"+roff(help))
		})
	}
	return strings.Join(parts, "\n")
}

package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

func shells() []string { return []string{"bash", "zsh", "fish", "pwsh"} }

func (a *app) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "completion bash|zsh|fish|pwsh", GroupID: groupHere, Args: exactlyOne("shell"),
		ValidArgsFunction: cobra.FixedCompletions(shells(), cobra.ShellCompDirectiveNoFileComp),
		Short:             "Print a shell's completion script",
		Long:              "Print a shell's completion script. Verbs, flags, and names of jobs, groups,\nnodes and minions are completed.",
		Example: "  source <(carillon completion bash)\n" +
			"  carillon completion zsh > \"${fpath[1]}/_carillon\"\n" +
			"  carillon completion fish > ~/.config/fish/completions/carillon.fish",
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.out, true)
			case "zsh":
				return root.GenZshCompletion(a.out)
			case "fish":
				return root.GenFishCompletion(a.out, true)
			case "pwsh", "powershell":
				return root.GenPowerShellCompletionWithDesc(a.out)
			}
			return usagef("shell %q: want one of %s%s", args[0], strings.Join(shells(), ", "), didYouMean(args[0], shells()))
		},
	}
}

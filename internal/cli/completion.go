package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
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

// completeJobs completes the names of jobs. A server that does not answer at
// once completes nothing.
func (a *app) completeJobs(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	const none = cobra.ShellCompDirectiveNoFileComp
	if len(args) > 0 && cmd.Name() != "job" {
		return nil, none
	}
	return a.complete(cmd, func(ctx context.Context, c *client.Client) ([]cobra.Completion, error) {
		jobs, err := c.Jobs.List(ctx, api.JobQuery{Namespace: a.namespace})
		var names []cobra.Completion
		for _, j := range jobs {
			names = append(names, cobra.CompletionWithDesc(j.Name, schedules(j.Spec)))
		}
		return names, err
	})
}

// completeMinions completes the names of minions, with their states.
func (a *app) completeMinions(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.complete(cmd, func(ctx context.Context, c *client.Client) ([]cobra.Completion, error) {
		minions, err := c.Minions.List(ctx)
		var names []cobra.Completion
		for _, m := range minions {
			names = append(names, cobra.CompletionWithDesc(string(m.ID), minionState(m)))
		}
		return names, err
	})
}

// complete completes with what the server knows.
func (a *app) complete(cmd *cobra.Command, ask func(context.Context, *client.Client) ([]cobra.Completion, error)) ([]cobra.Completion, cobra.ShellCompDirective) {
	const none = cobra.ShellCompDirectiveNoFileComp
	c, err := a.newClient()
	if err != nil {
		return nil, none
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(cmd.Context(), briefly)
	defer cancel()
	names, err := ask(ctx, c)
	if err != nil {
		return nil, none
	}
	return names, none
}

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
)

// complete completes with what the server knows.
func (ca *call) complete(cmd *cobra.Command, ask func(context.Context, *client.Client) ([]cobra.Completion, error)) ([]cobra.Completion, cobra.ShellCompDirective) {
	const none = cobra.ShellCompDirectiveNoFileComp
	c, err := ca.newClient()
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

// completeJobs completes the names of jobs. A server that does not answer at
// once completes nothing.
func (ca *call) completeJobs(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	const none = cobra.ShellCompDirectiveNoFileComp
	if len(args) > 0 && cmd.Name() != "job" {
		return nil, none
	}
	return ca.complete(cmd, func(ctx context.Context, c *client.Client) ([]cobra.Completion, error) {
		jobs, err := c.Jobs.List(ctx, api.JobQuery{Namespace: ca.namespace})
		var names []cobra.Completion
		for _, j := range jobs {
			names = append(names, cobra.CompletionWithDesc(j.Name, schedules(j.Spec)))
		}
		return names, err
	})
}

// completeGroups completes the names of groups.
func (ca *call) completeGroups(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return ca.complete(cmd, func(ctx context.Context, c *client.Client) ([]cobra.Completion, error) {
		groups, err := c.Groups.List(ctx, ca.namespace)
		var names []cobra.Completion
		for i := range groups {
			names = append(names, cobra.CompletionWithDesc(groups[i].Name, groups[i].Spec.EffectiveMode()))
		}
		return names, err
	})
}

func (ca *call) completeNodes(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return ca.complete(cmd, func(ctx context.Context, c *client.Client) ([]cobra.Completion, error) {
		nodes, err := c.Nodes.List(ctx)
		var names []cobra.Completion
		for i := range nodes {
			names = append(names, cobra.CompletionWithDesc(string(nodes[i].Name), nodes[i].Phase))
		}
		return names, err
	})
}

// completeMinions completes the names of minions, with their states.
func (ca *call) completeMinions(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return ca.complete(cmd, func(ctx context.Context, c *client.Client) ([]cobra.Completion, error) {
		minions, err := c.Minions.List(ctx)
		var names []cobra.Completion
		for _, m := range minions {
			names = append(names, cobra.CompletionWithDesc(string(m.ID), minionState(m)))
		}
		return names, err
	})
}

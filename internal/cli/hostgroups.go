package cli

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/job"
)

func (a *app) getHostGroupsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "hostgroups [NAME]", Aliases: hostGroupAliases("hostgroup"), Args: atMostOne,
		Short: "List host groups, or show one",
		Long: "List host groups, which targets name as @NAME, or show one. With\n" +
			"-o yaml they are printed as manifests that `carillon apply` takes back.",
		Example: "  carillon get hostgroups\n  carillon get hostgroup frontend -o yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			groups, err := a.client.HostGroups.List(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) == 1 {
				groups = slices.DeleteFunc(groups, func(g job.HostGroup) bool { return g.Name != args[0] })
				if len(groups) == 0 {
					return fmt.Errorf("host group %s: %w", args[0], job.ErrNotFound)
				}
			}
			if len(args) == 1 {
				return printOne(a, groups[0], a.hostGroupTable())
			}
			return printList(a, groups, a.hostGroupTable())
		},
	}
}

func (a *app) hostGroupTable() table[job.HostGroup] {
	type group = job.HostGroup
	return table[group]{
		none: "no host groups; create one with `carillon apply -f FILE`",
		name: func(g group) string { return g.Name },
		manifest: func(g group) any {
			return manifestOf[job.HostGroupSpec]{job.APIVersion, job.KindHostGroup, g.Metadata, g.Spec}
		},
		columns: []column[group]{
			{head: "NAME", cell: func(g group) string { return g.Name }},
			{head: "MATCH", cell: func(g group) string { return g.Spec.Match }},
			{head: "UPDATED", cell: func(g group) string { return a.stamp(g.UpdatedAt) }},
		},
	}
}

func (a *app) deleteHostGroupsCommand(yes *bool) *cobra.Command {
	return &cobra.Command{
		Use: "hostgroup NAME...", Aliases: hostGroupAliases("hostgroups"), Args: someOf("host group"),
		Short:   "Delete host groups that no other group names",
		Long:    "Delete host groups. One that another group names is not deleted. Jobs\nthat name a deleted one match no minion.",
		Example: "  carillon delete hostgroup frontend",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.deleteClusterWide(cmd, job.KindHostGroup, args, *yes)
		},
	}
}

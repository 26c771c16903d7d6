package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/agentpush/target"
	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// hostGroupVerbs are the verbs of saved groups of hosts.
type hostGroupVerbs struct{ *call }

func (hv hostGroupVerbs) getHostGroupsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "hostgroups [NAME...]", Aliases: hostGroupAliases("hostgroup"),
		Short: "List host groups, or show one",
		Long: "List host groups, which targets name as @NAME, or show one. With\n" +
			"-o yaml they are printed as manifests that `carillon apply` takes back.",
		Example: "  carillon get hostgroups\n  carillon get hostgroup frontend -o yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			groups, err := hv.client.HostGroups.List(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) > 0 {
				return printNamed(&hv.printer, args, hv.hostGroupTable(), func(name string) (job.HostGroup, error) {
					return named(groups, func(g *job.HostGroup) bool { return g.Name == name }, "host group "+name)
				})
			}
			return printList(&hv.printer, groups, hv.hostGroupTable())
		},
	}
}

func (hv hostGroupVerbs) hostGroupTable() table[job.HostGroup] {
	type group = job.HostGroup
	return table[group]{
		none: "no host groups; create one with `carillon apply -f FILE`",
		name: func(g group) string { return g.Name },
		manifest: func(g group) any {
			return manifestOf[job.HostGroupSpec]{job.APIVersion, job.KindHostGroup, wholeCluster(g.Metadata), g.Spec}
		},
		columns: []column[group]{
			{head: "NAME", cell: func(g group) string { return g.Name }},
			{head: "MATCH", cell: func(g group) string { return g.Spec.Match }},
			{head: "UPDATED", cell: func(g group) string { return hv.stamp(g.UpdatedAt) }},
		},
	}
}

func (hv hostGroupVerbs) deleteHostGroupsCommand(yes *bool) *cobra.Command {
	return &cobra.Command{
		Use: "hostgroup NAME...", Aliases: hostGroupAliases("hostgroups"), Args: someOf("host group"),
		Short:   "Delete host groups that no other group names",
		Long:    "Delete host groups. One that another group names is not deleted. Jobs\nthat name a deleted one match no minion.",
		Example: "  carillon delete hostgroup frontend",
		RunE: func(cmd *cobra.Command, args []string) error {
			return roleVerbs(hv).deleteClusterWide(cmd, job.KindHostGroup, args, *yes)
		},
	}
}

func (hv hostGroupVerbs) describeHostGroupCommand() *cobra.Command {
	return &cobra.Command{
		Use: "hostgroup NAME", Aliases: hostGroupAliases("hostgroups"), Args: exactlyOne("host group"),
		Short:   "Show which minions a host group matches now, and what names it",
		Example: "  carillon describe hostgroup frontend",
		RunE: func(cmd *cobra.Command, args []string) error {
			groups, err := hv.client.HostGroups.List(cmd.Context())
			if err != nil {
				return err
			}
			i := slices.IndexFunc(groups, func(g job.HostGroup) bool { return g.Name == args[0] })
			if i < 0 {
				return fmt.Errorf("host group %s: %w", args[0], job.ErrNotFound)
			}
			v, err := hv.client.Minions.Match(cmd.Context(), "@"+args[0])
			if err != nil {
				return err
			}
			jobs, err := hv.client.Jobs.List(cmd.Context(), api.JobQuery{Namespace: ""})
			if err != nil {
				return err
			}
			var users []string
			names := func(expr string) bool {
				e, err := target.Parse(expr)
				return err == nil && slices.Contains(e.Groups(), args[0])
			}
			for n := range groups {
				if names(groups[n].Spec.Match) {
					users = append(users, "@"+groups[n].Name)
				}
			}
			for n := range jobs {
				if m := jobs[n].Spec.Target.Match; m != "" && names(m) {
					users = append(users, "job "+jobs[n].Key().String())
				}
			}
			return hv.describe(groups[i], args[0], func() error { hv.hostGroupText(&groups[i], &v, users); return nil })
		},
	}
}

func (hv hostGroupVerbs) hostGroupText(g *job.HostGroup, v *api.Match, users []string) {
	f := newFields(hv.out, "")
	f.add("Host group", g.Name)
	f.add("Match", g.Spec.Match)
	matched := "none"
	if n := len(v.Minions); n > 0 {
		matched = fmt.Sprintf("%d of %d: %s", n, v.Known, v.Hosts)
	}
	f.add("Minions", matched)
	for _, away := range outOfReach(v) {
		f.add("Out of reach", fmt.Sprintf("%d, %s: %s", away.n, away.hosts, away.reason))
	}
	f.add("Not known", v.Missing)
	for _, u := range v.Unknown {
		f.add("Not told", wantText(u))
	}
	f.add("Named by", orText(strings.Join(users, ", "), "nothing"))
	f.add("Updated", hv.stamp(g.UpdatedAt))
	f.flush()
}

// hostGroupAliases are the other ways to write hostgroup: one word is the way, and
// nobody is to remember which.
func hostGroupAliases(also ...string) []string {
	return append(also, "host-group", "host-groups", "hostGroup", "hostGroups", "HostGroup")
}

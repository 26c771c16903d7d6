package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/job"
)

// siteVerbs are the verbs of sites.
type siteVerbs struct{ *call }

func (sv siteVerbs) sitesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "sites", Aliases: []string{"site"}, GroupID: groupCluster, Args: noOrder,
		Short: "List the sites, and which is lost, or drain one",
		Long: "List the sites: places that may be lost as a whole, such as data centres. Nodes say by\n" +
			"--site in which they are, and minions by their label site (worker --site). A site is\n" +
			"lost while none of its nodes is live and some have not left in order. See docs/sites.md.",
		Example: "  carillon sites\n  carillon sites drain east --reason \"power works\"",
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := sv.client.Sites.List(cmd.Context())
			if err != nil {
				return err
			}
			return printList(&sv.printer, all, sv.siteTable())
		},
	}
	cmd.AddCommand(sv.siteOrders()...)
	return cmd
}

func (sv siteVerbs) siteTable() table[api.Site] {
	type site = api.Site
	return table[site]{none: "no sites", name: func(s site) string { return s.Name }, columns: []column[site]{
		{head: "SITE", cell: func(s site) string { return s.Name }},
		{head: "STATE", toned: true, cell: func(s site) string { return string(s.State) }},
		{head: "NODES", cell: func(s site) string { return fmt.Sprintf("%d/%d", len(s.Nodes), len(s.Nodes)+len(s.Gone)) }},
		{head: "SHARDS", cell: func(s site) string { return strconv.Itoa(s.Shards) }},
		{head: "MINIONS", cell: func(s site) string { return fmt.Sprintf("%d/%d", s.Connected, s.Minions) }},
		{head: "LOST", cell: func(s site) string {
			if s.LostSince.IsZero() {
				return ""
			}
			return sv.stamp(s.LostSince)
		}},
		{head: "LIVE", wide: true, cell: func(s site) string { return nodeNames(s.Nodes) }},
		{head: "GONE", wide: true, cell: func(s site) string { return nodeNames(s.Gone) }},
		{head: "DRAINED", wide: true, cell: func(s site) string { return nodeNames(s.Drained) }},
	}}
}

func nodeNames(nodes []job.NodeID) string {
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = string(n)
	}
	return strings.Join(names, ",")
}

// siteOrders returns `sites drain` and `sites undrain`.
func (sv siteVerbs) siteOrders() []*cobra.Command {
	var out []*cobra.Command
	for _, v := range []struct {
		verb, short, long, action string
		ask                       func(client.Sites, context.Context, string, api.Order) error
	}{
		{
			"drain", "Drain all live nodes of a site",
			"Drain all live nodes of a site: they hand their shards over, one by one and without a\ngap, and take none until `carillon sites undrain`, also when they are started again. It\n" +
				"is refused where no node of another site could hold them. Minions of the site go on\nas they are, and a node that comes to the site later is not drained.",
			"drained", client.Sites.Drain,
		},
		{"undrain", "End the drains of all nodes of a site", "End the drains of all nodes of a site, live or not.", "undrained", client.Sites.Undrain},
	} {
		var reason string
		cmd := &cobra.Command{
			Use: v.verb + " SITE", Args: exactlyOne("site"), ValidArgsFunction: sv.completeSites,
			Short: v.short, Long: v.long,
			Example: "  carillon sites " + v.verb + " east --reason \"power works\"",
			RunE: func(cmd *cobra.Command, args []string) error {
				if args[0] == "" {
					return usagef("sites %s: the site has no name", v.verb)
				}
				if err := v.ask(sv.client.Sites, cmd.Context(), args[0], api.Order{By: sv.user(), Reason: reason}); err != nil {
					return fmt.Errorf("%s site %s: %w", v.verb, args[0], err)
				}
				return sv.printOutcome(outcome{"site", args[0], v.action})
			},
		}
		reasonFlag(cmd, &reason)
		out = append(out, cmd)
	}
	return out
}

func (sv siteVerbs) completeSites(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return sv.complete(cmd, func(ctx context.Context, c *client.Client) ([]cobra.Completion, error) {
		all, err := c.Sites.List(ctx)
		var names []cobra.Completion
		for i := range all {
			if all[i].Name != "" {
				names = append(names, cobra.CompletionWithDesc(all[i].Name, string(all[i].State)))
			}
		}
		return names, err
	})
}

package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/job"
)

// nodeVerbs are the verbs of nodes.
type nodeVerbs struct{ *call }

func (nv nodeVerbs) nodesCommand(group string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "nodes", Aliases: []string{"node"}, GroupID: group, Args: noOrder,
		Short:   "List the scheduler nodes",
		Example: "  carillon nodes\n  carillon nodes -o wide",
		RunE: func(cmd *cobra.Command, args []string) error {
			nodes, err := nv.client.Nodes.List(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) > 0 {
				return printNamed(&nv.printer, args, nv.nodeTable(), func(name string) (api.Node, error) {
					return named(nodes, func(n *api.Node) bool { return string(n.Name) == name }, fmt.Sprintf("there is no node %q", name))
				})
			}
			return printList(&nv.printer, nodes, nv.nodeTable())
		},
	}
	if group == "" {
		cmd.Use, cmd.Args, cmd.ValidArgsFunction = "nodes [NAME...]", cobra.ArbitraryArgs, nv.completeNodes
	} else {
		cmd.Short = "List the scheduler nodes, or drain one"
		cmd.Example += "\n  carillon nodes drain n1 --reason \"new disk\""
		cmd.AddCommand(append(nv.nodeOrders(), nv.nodeTokenCommand())...)
	}
	return cmd
}

func (nv nodeVerbs) nodeTable() table[api.Node] {
	type node = api.Node
	return table[node]{none: "no nodes", name: func(n node) string { return string(n.Name) }, columns: []column[node]{
		{head: "NAME", cell: func(n node) string { return string(n.Name) }},
		{head: "SITE", cell: func(n node) string { return n.Site }},
		{head: "PHASE", toned: true, cell: func(n node) string { return nv.nodePhase(&n) }},
		{head: "SHARDS", cell: func(n node) string { return strconv.Itoa(n.Shards) }},
		{head: "MINIONS", cell: func(n node) string { return strconv.Itoa(n.Minions) }},
		{head: "AGE", cell: func(n node) string { return nv.age(n.StartedAt) }},
		{head: "VERSION", cell: func(n node) string { return n.Version }},
		{head: "HEALTH", toned: true, cell: func(n node) string { return nodeHealth(n) }},
		{head: "DRAIN", wide: true, cell: func(n node) string {
			if n.Drain == nil {
				return ""
			}
			return wanted("drained", n.Drain.By, nv.stamp(n.Drain.Since), n.Drain.Reason)
		}},
		{head: "PROBLEM", wide: true, cell: func(n node) string { return strings.Join(n.Trouble, "; ") }},
		{head: "LABELS", wide: true, cell: func(n node) string { return pairs(n.Labels) }},
		{head: "PRIORITY", wide: true, cell: func(n node) string { return strconv.Itoa(n.Priority) }},
		{head: "CAPACITY", wide: true, cell: func(n node) string { return strconv.Itoa(n.Capacity) }},
		{head: "API", wide: true, cell: func(n node) string { return n.APIAddr }},
		{head: "PEERS", wide: true, cell: func(n node) string { return n.PeerAddr }},
		{head: "STARTED", wide: true, cell: func(n node) string { return nv.stamp(n.StartedAt) }},
	}}
}

// nodePhase says in a word what a node does.
func (nv nodeVerbs) nodePhase(n *api.Node) string {
	switch {
	case n.Witness:
		return "witness"
	case n.Phase == api.NodeDown && !n.DownSince.IsZero():
		return n.Phase + " since " + nv.stamp(n.DownSince)
	}
	return n.Phase
}

// nodeHealth says in a word how a node is.
func nodeHealth(n api.Node) string {
	if len(n.Trouble) > 0 {
		return "unhealthy"
	}
	return "ok"
}

func (nv nodeVerbs) describeNodeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "node NAME", Aliases: []string{"nodes"}, Args: exactlyOne("node"), ValidArgsFunction: nv.completeNodes,
		Short:   "Show a node, its health, and what operators ordered",
		Example: "  carillon describe node n1",
		RunE: func(cmd *cobra.Command, args []string) error {
			nodes, err := nv.client.Nodes.List(cmd.Context())
			if err != nil {
				return err
			}
			i := slices.IndexFunc(nodes, func(n api.Node) bool { return string(n.Name) == args[0] })
			if i < 0 {
				return fmt.Errorf("there is no node %q: %w", args[0], job.ErrNotFound)
			}
			return nv.describe(nodes[i], args[0], func() error { nv.nodeText(&nodes[i]); return nil })
		},
	}
}

func (nv nodeVerbs) nodeText(n *api.Node) {
	f := newFields(nv.out, "")
	f.add("Node", string(n.Name))
	f.add("Phase", nv.nodePhase(n))
	f.add("Health", nodeHealth(*n))
	for _, t := range n.Trouble {
		f.add("Problem", t)
	}
	if d := n.Drain; d != nil {
		f.add("Drained", wanted("yes", d.By, nv.stamp(d.Since), d.Reason))
	}
	f.add("Site", n.Site)
	f.add("Labels", pairs(n.Labels))
	f.add("Priority", fmt.Sprint(n.Priority))
	f.add("Capacity", fmt.Sprint(n.Capacity))
	f.add("Shards", fmt.Sprint(n.Shards))
	f.add("Minions", fmt.Sprint(n.Minions))
	f.add("API and page", n.APIAddr)
	f.add("Minions and peers", n.PeerAddr)
	f.add("Version", n.Version)
	if !n.StartedAt.IsZero() {
		f.add("Started", nv.stamp(n.StartedAt)+", "+nv.relative(n.StartedAt))
	}
	f.flush()
}

// nodeOrders returns `nodes drain` and `nodes undrain`.
func (nv nodeVerbs) nodeOrders() []*cobra.Command {
	var out []*cobra.Command
	for _, v := range []struct {
		verb, short, long, action string
		ask                       func(client.Nodes, context.Context, job.NodeID, api.Order) error
	}{
		{
			"drain", "Drain a node: it hands its shards over and takes none",
			"Drain a node: it hands its shards over, one by one and without a gap, and takes none\nuntil `carillon nodes undrain`, also when it is started again.",
			"drained", client.Nodes.Drain,
		},
		{"undrain", "End a drain", "End a drain: the node may hold shards again.", "undrained", client.Nodes.Undrain},
		{"forget", "Forget a node that is gone for good", "Forget a node that is gone for good, so that `carillon doctor` no longer misses it.\nA node that lives is not forgotten.", "forgotten", client.Nodes.Forget},
	} {
		var reason string
		cmd := &cobra.Command{
			Use: v.verb + " NODE", Args: exactlyOne("node"), ValidArgsFunction: nv.completeNodes,
			Short: v.short, Long: v.long,
			Example: "  carillon nodes " + v.verb + " n1 --reason \"new disk\"",
			RunE: func(cmd *cobra.Command, args []string) error {
				if err := job.CheckName(args[0]); err != nil {
					return usagef("node %w", err)
				}
				if err := v.ask(nv.client.Nodes, cmd.Context(), job.NodeID(args[0]), api.Order{By: nv.user(), Reason: reason}); err != nil {
					return fmt.Errorf("%s node %s: %w", v.verb, args[0], err)
				}
				return nv.printOutcome(outcome{"node", args[0], v.action})
			},
		}
		reasonFlag(cmd, &reason)
		out = append(out, cmd)
	}
	return out
}

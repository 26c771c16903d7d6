package cli

import (
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

func (a *app) nodesCommand(group string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "nodes", Aliases: []string{"node"}, GroupID: group, Args: noOrder,
		Short:   "List the live scheduler nodes",
		Example: "  carillon nodes\n  carillon nodes -o wide",
		RunE: func(cmd *cobra.Command, _ []string) error {
			nodes, err := a.client.Nodes.List(cmd.Context())
			if err != nil {
				return err
			}
			return printList(a, nodes, a.nodeTable())
		},
	}
	if group != "" {
		cmd.Short = "List the live scheduler nodes, or drain one"
		cmd.Example += "\n  carillon nodes drain n1 --reason \"new disk\""
		cmd.AddCommand(a.nodeOrders()...)
	}
	return cmd
}

func (a *app) nodeTable() table[api.Node] {
	type node = api.Node
	return table[node]{none: "no nodes", name: func(n node) string { return string(n.Name) }, columns: []column[node]{
		{head: "NAME", cell: func(n node) string { return string(n.Name) }},
		{head: "SITE", cell: func(n node) string { return n.Site }},
		{head: "PHASE", cell: func(n node) string { return n.Phase }},
		{head: "SHARDS", cell: func(n node) string { return strconv.Itoa(n.Shards) }},
		{head: "MINIONS", cell: func(n node) string { return strconv.Itoa(n.Minions) }},
		{head: "AGE", cell: func(n node) string { return a.age(n.StartedAt) }},
		{head: "VERSION", cell: func(n node) string { return n.Version }},
		{head: "HEALTH", cell: func(n node) string { return nodeHealth(n) }},
		{head: "DRAIN", wide: true, cell: func(n node) string {
			if n.Drain == nil {
				return ""
			}
			return a.wanted("drained", n.Drain.By, a.stamp(n.Drain.Since), n.Drain.Reason)
		}},
		{head: "PROBLEM", wide: true, cell: func(n node) string { return strings.Join(n.Trouble, "; ") }},
		{head: "LABELS", wide: true, cell: func(n node) string { return pairs(n.Labels) }},
		{head: "PRIORITY", wide: true, cell: func(n node) string { return strconv.Itoa(n.Priority) }},
		{head: "CAPACITY", wide: true, cell: func(n node) string { return strconv.Itoa(n.Capacity) }},
		{head: "API", wide: true, cell: func(n node) string { return n.APIAddr }},
		{head: "PEERS", wide: true, cell: func(n node) string { return n.PeerAddr }},
		{head: "STARTED", wide: true, cell: func(n node) string { return a.stamp(n.StartedAt) }},
	}}
}

// nodeHealth says in a word how a node is.
func nodeHealth(n api.Node) string {
	if len(n.Trouble) > 0 {
		return "unhealthy"
	}
	return "ok"
}

func (a *app) minionsCommand(group string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "minions", Aliases: []string{"minion"}, GroupID: group, Args: noOrder,
		Short:   "List the minions, which run the commands",
		Example: "  carillon minions\n  carillon minions -o wide",
		RunE: func(cmd *cobra.Command, _ []string) error {
			minions, err := a.client.Minions.List(cmd.Context())
			if err != nil {
				return err
			}
			return printList(a, minions, a.minionTable())
		},
	}
	if group != "" {
		cmd.Short = "List the minions, which run the commands, or those that a target matches"
		cmd.Example += "\n  carillon minions match 'os == \"linux\" and web*'"
		cmd.AddCommand(a.matchCommand())
		cmd.AddCommand(a.minionOrders()...)
	}
	return cmd
}

func (a *app) minionTable() table[api.Minion] {
	type minion = api.Minion
	return table[minion]{none: "no minions", name: func(m minion) string { return string(m.ID) }, columns: []column[minion]{
		{head: "NAME", cell: func(m minion) string { return string(m.ID) }},
		{head: "STATE", cell: minionState},
		{head: "NODE", cell: func(m minion) string { return string(m.Node) }},
		{head: "RUNNING", cell: func(m minion) string { return strconv.Itoa(m.Running) }},
		{head: "LABELS", cell: func(m minion) string { return pairs(m.Labels) }},
		{head: "REQUESTED", wide: true, cell: func(m minion) string { return pairs(m.Requested) }},
		{head: "SINCE", cell: func(m minion) string { return a.stamp(minionSince(m)) }},
		{head: "KNOWN SINCE", wide: true, cell: func(m minion) string { return a.stamp(m.Since) }},
		{head: "PROBLEM", cell: func(m minion) string { return a.troubleCell(m) }},
		{head: "VERSION", wide: true, cell: func(m minion) string { return m.Version }},
		{head: "FACTS (ITS WORD)", wide: true, cell: func(m minion) string { return pairs(m.Facts) }},
	}}
}

// minionState says whether a minion gets orders.
func minionState(m api.Minion) string {
	if m.State == api.MinionConnected && m.Trouble != "" {
		return "uncontrollable"
	}
	return m.State
}

// minionSince is since when a minion is in the state that is told; zero: it is not
// known.
func minionSince(m api.Minion) time.Time {
	if m.State == api.MinionConnected && m.Trouble == "" {
		return m.ConnectedSince
	}
	return m.TroubleSince
}

// troubleCell tells why a minion gets no orders, and since when.
func (a *app) troubleCell(m api.Minion) string {
	if m.Trouble == "" || m.TroubleSince.IsZero() {
		return m.Trouble
	}
	return m.Trouble + " since " + a.stamp(m.TroubleSince)
}

func (a *app) shardsCommand(group string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "shards", Aliases: []string{"shard"}, GroupID: group, Args: noOrder,
		Short:   "List the shards and who owns them",
		Example: "  carillon shards\n  carillon shards -o wide",
		RunE: func(cmd *cobra.Command, _ []string) error {
			shards, err := a.client.Shards.List(cmd.Context())
			if err != nil {
				return err
			}
			return printList(a, shards, a.shardTable())
		},
	}
	if group != "" {
		cmd.Short = "List the shards and who owns them, or move one"
		cmd.Example += "\n  carillon shards move ledger n2"
		cmd.AddCommand(a.shardOrders()...)
	}
	return cmd
}

func (a *app) shardTable() table[api.Shard] {
	type shard = api.Shard
	return table[shard]{none: "no shards", name: func(s shard) string { return s.ID.String() }, columns: []column[shard]{
		{head: "SHARD", cell: func(s shard) string { return s.ID.String() }},
		{head: "GROUP", cell: func(s shard) string { return s.Group }},
		{head: "MODE", cell: func(s shard) string { return orText(s.Mode, job.DefaultMode) }},
		{head: "OWNER", cell: func(s shard) string { return string(s.Owner) }},
		{head: "SINCE", cell: func(s shard) string { return a.stamp(s.Since) }},
		{head: "JOBS", cell: func(s shard) string { return strconv.Itoa(s.Jobs) }},
		{head: "OPEN SLOTS", cell: func(s shard) string { return strconv.Itoa(s.OpenSlots) }},
		{head: "OVERRIDE", cell: func(s shard) string { return overrideText(s.Override) }},
		{head: "TOKEN", wide: true, cell: func(s shard) string { return s.Token.String() }},
		{head: "CURSOR", wide: true, cell: func(s shard) string { return a.exact(s.Cursor) }},
	}}
}

// noArgs refuses positional arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no argument, and got %q", cmd.CommandPath(), args[0])
	}
	return nil
}

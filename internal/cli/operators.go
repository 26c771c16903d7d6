package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/job"
)

// outcome is what an order did.
type outcome struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Action string `json:"action"`
}

func (a *app) printOutcome(o outcome) error {
	if a.output == formatTable || a.output == formatWide {
		fmt.Fprintln(a.out, o.Kind, o.Name, o.Action)
		return nil
	}
	return printOne(a, o, table[outcome]{name: func(o outcome) string { return o.Name }})
}

// nodeOrders returns `nodes drain` and `nodes undrain`.
func (a *app) nodeOrders() []*cobra.Command {
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
			Use: v.verb + " NODE", Args: exactlyOne("node"), ValidArgsFunction: a.completeNodes,
			Short: v.short, Long: v.long,
			Example: "  carillon nodes " + v.verb + " n1 --reason \"new disk\"",
			RunE: func(cmd *cobra.Command, args []string) error {
				if err := job.CheckName(args[0]); err != nil {
					return usagef("node %w", err)
				}
				if err := v.ask(a.client.Nodes, cmd.Context(), job.NodeID(args[0]), api.Order{By: a.user(), Reason: reason}); err != nil {
					return fmt.Errorf("%s node %s: %w", v.verb, args[0], err)
				}
				return a.printOutcome(outcome{"node", args[0], v.action})
			},
		}
		reasonFlag(cmd, &reason)
		out = append(out, cmd)
	}
	return out
}

// shardOrders returns `shards move`, `hold`, `release` and `failback`.
func (a *app) shardOrders() []*cobra.Command {
	var reason string
	move := &cobra.Command{
		Use: "move SHARD NODE", ValidArgsFunction: a.completeMove,
		Short: "Move a shard to a node, whatever its mode says",
		Long: "Move a shard to a node, whatever its mode says; it stays there for as long as the node\n" +
			"lives and may hold it. `carillon shards release` ends that.\n" + shardWords,
		Example: "  carillon shards move 7 n2\n  carillon shards move ledger n2 --reason \"n1 is slow\"",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usagef("%s needs a shard and a node, and got %d arguments", cmd.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := job.CheckName(args[1]); err != nil {
				return usagef("node %w", err)
			}
			return a.askShard(args[0], "move", "moved to "+args[1], func(shard string) error {
				return a.client.Shards.Move(cmd.Context(), shard, job.NodeID(args[1]), api.Order{By: a.user(), Reason: reason})
			})
		},
	}
	reasonFlag(move, &reason)
	out := []*cobra.Command{move}
	for _, v := range []struct {
		verb, short, long, action string
		ask                       func(client.Shards, context.Context, string, api.Order) error
	}{
		{"hold", "Keep a shard where it is, whatever its mode says", "Keep a shard with the node that holds it, whatever its mode says, for as long as\nthat node lives. `carillon shards release` ends that.", "held", client.Shards.Hold},
		{"release", "End a move or a hold", "End a move or a hold: the mode decides again.", "released", client.Shards.Release},
		{"failback", "Move a shard to where its mode wants it, now", "Move a shard to where its mode wants it, now: a hold-off does not count. Ends a\nmove or a hold.", "fails back", client.Shards.Failback},
	} {
		var reason string
		cmd := &cobra.Command{
			Use: v.verb + " SHARD", Args: exactlyOne("shard"), ValidArgsFunction: a.completeGroups,
			Short: v.short, Long: v.long + "\n" + shardWords,
			Example: "  carillon shards " + v.verb + " ledger",
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.askShard(args[0], v.verb, v.action, func(shard string) error {
					return v.ask(a.client.Shards, cmd.Context(), shard, api.Order{By: a.user(), Reason: reason})
				})
			},
		}
		reasonFlag(cmd, &reason)
		out = append(out, cmd)
	}
	return out
}

// shardWords says how a shard is named.
const shardWords = "SHARD is a shard's number, or the name of a group: NAME or NAMESPACE/NAME."

// askShard has an order about a shard sent, and tells what it did.
func (a *app) askShard(ref, verb, action string, ask func(shard string) error) error {
	kind := "shard"
	if _, err := strconv.ParseUint(ref, 10, 32); err != nil {
		key, err := a.keyOf("group", ref)
		if err != nil {
			return err
		}
		kind, ref = "group", key.String()
	}
	if err := ask(ref); err != nil {
		return fmt.Errorf("%s %s %s: %w", verb, kind, ref, err)
	}
	return a.printOutcome(outcome{kind, ref, action})
}

func reasonFlag(cmd *cobra.Command, reason *string) {
	cmd.Flags().StringVar(reason, "reason", "", "`TEXT` that tells others why")
}

// user is who asks.
func (a *app) user() string {
	if name := cmp.Or(a.env["USER"], a.env["LOGNAME"]); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "uid " + strconv.Itoa(os.Getuid())
}

// noOrder refuses words after a noun that has orders below it.
func noOrder(cmd *cobra.Command, args []string) error {
	if len(args) > 0 && cmd.HasSubCommands() {
		return unknownWord(cmd, "verb of "+cmd.Name(), args[0])
	}
	return noArgs(cmd, args)
}

func (a *app) completeNodes(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.complete(cmd, func(ctx context.Context, c *client.Client) ([]cobra.Completion, error) {
		nodes, err := c.Nodes.List(ctx)
		var names []cobra.Completion
		for i := range nodes {
			names = append(names, cobra.CompletionWithDesc(string(nodes[i].Name), nodes[i].Phase))
		}
		return names, err
	})
}

// completeMove completes a group's name, then a node's.
func (a *app) completeMove(cmd *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 1 {
		return a.completeNodes(cmd, nil, prefix)
	}
	return a.completeGroups(cmd, args, prefix)
}

func (a *app) auditCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "audit", GroupID: groupCluster, Args: noArgs,
		Short:   "List what operators did, newest first",
		Example: "  carillon audit\n  carillon audit --limit 200 -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 {
				return usagef("--limit %d: give 1 or more", limit)
			}
			records, err := a.client.Cluster.Audit(cmd.Context(), limit)
			if err != nil {
				return err
			}
			return printList(a, records, a.auditTable())
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 50, "list at most `N` records")
	return cmd
}

func (a *app) auditTable() table[api.AuditRecord] {
	type record = api.AuditRecord
	name := func(r record) string { return strings.TrimSpace(r.Action + " " + r.Object) }
	return table[record]{none: "no audit records", name: name, columns: []column[record]{
		{head: "WHEN", cell: func(r record) string { return a.stamp(r.At) }},
		{head: "BY", cell: func(r record) string { return r.By }},
		{head: "ACTION", cell: func(r record) string { return r.Action }},
		{head: "OBJECT", cell: func(r record) string { return r.Object }},
		{head: "REASON", cell: func(r record) string { return r.Reason }},
		{head: "BEFORE", wide: true, cell: func(r record) string { return r.Before }},
	}}
}

package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/job"
)

// shardVerbs are the verbs of shards.
type shardVerbs struct{ *call }

func (sh shardVerbs) shardsCommand(group string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "shards", Aliases: []string{"shard"}, GroupID: group, Args: noOrder,
		Short:   "List the shards and who owns them",
		Example: "  carillon shards\n  carillon shards -o wide",
		RunE: func(cmd *cobra.Command, _ []string) error {
			shards, err := sh.client.Shards.List(cmd.Context())
			if err != nil {
				return err
			}
			return printList(&sh.printer, shards, sh.shardTable())
		},
	}
	if group != "" {
		cmd.Short = "List the shards and who owns them, or move one"
		cmd.Example += "\n  carillon shards move ledger n2"
		cmd.AddCommand(sh.shardOrders()...)
	}
	return cmd
}

func (sh shardVerbs) shardTable() table[api.Shard] {
	type shard = api.Shard
	return table[shard]{none: "no shards", name: func(s shard) string { return s.ID.String() }, columns: []column[shard]{
		{head: "SHARD", cell: func(s shard) string { return s.ID.String() }},
		{head: "GROUP", cell: func(s shard) string { return s.Group }},
		{head: "MODE", cell: func(s shard) string { return orText(s.Mode, job.DefaultMode) }},
		{head: "OWNER", cell: func(s shard) string { return string(s.Owner) }},
		{head: "SINCE", cell: func(s shard) string { return sh.stamp(s.Since) }},
		{head: "JOBS", cell: func(s shard) string { return strconv.Itoa(s.Jobs) }},
		{head: "OPEN SLOTS", cell: func(s shard) string { return strconv.Itoa(s.OpenSlots) }},
		{head: "OVERRIDE", cell: func(s shard) string { return overrideText(s.Override) }},
		{head: "TOKEN", wide: true, cell: func(s shard) string { return s.Token.String() }},
		{head: "CURSOR", wide: true, cell: func(s shard) string { return sh.exact(s.Cursor) }},
	}}
}

// shardWords says how a shard is named.
const shardWords = "SHARD is a shard's number, or the name of a group: NAME or NAMESPACE/NAME."

// shardOrders returns `shards move`, `hold`, `release` and `failback`.
func (sh shardVerbs) shardOrders() []*cobra.Command {
	var reason string
	move := &cobra.Command{
		Use: "move SHARD NODE", ValidArgsFunction: sh.completeMove,
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
			return sh.askShard(args[0], "move", "moved to "+args[1], func(shard string) error {
				return sh.client.Shards.Move(cmd.Context(), shard, job.NodeID(args[1]), api.Order{By: sh.user(), Reason: reason})
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
			Use: v.verb + " SHARD", Args: exactlyOne("shard"), ValidArgsFunction: sh.completeGroups,
			Short: v.short, Long: v.long + "\n" + shardWords,
			Example: "  carillon shards " + v.verb + " ledger",
			RunE: func(cmd *cobra.Command, args []string) error {
				return sh.askShard(args[0], v.verb, v.action, func(shard string) error {
					return v.ask(sh.client.Shards, cmd.Context(), shard, api.Order{By: sh.user(), Reason: reason})
				})
			},
		}
		reasonFlag(cmd, &reason)
		out = append(out, cmd)
	}
	return out
}

// askShard has an order about a shard sent, and tells what it did.
func (sh shardVerbs) askShard(ref, verb, action string, ask func(shard string) error) error {
	kind := "shard"
	if _, err := strconv.ParseUint(ref, 10, 32); err != nil {
		key, err := sh.keyOf("group", ref)
		if err != nil {
			return err
		}
		kind, ref = "group", key.String()
	}
	if err := ask(ref); err != nil {
		return fmt.Errorf("%s %s %s: %w", verb, kind, ref, err)
	}
	return sh.printOutcome(outcome{kind, ref, action})
}

// completeMove completes a group's name, then a node's.
func (sh shardVerbs) completeMove(cmd *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 1 {
		return sh.completeNodes(cmd, nil, prefix)
	}
	return sh.completeGroups(cmd, args, prefix)
}

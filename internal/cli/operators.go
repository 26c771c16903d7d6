package cli

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// order is what an operator asks for.
type order struct {
	Node   string   `json:"node,omitempty"`
	Only   []string `json:"only,omitempty"`
	By     string   `json:"by,omitempty"`
	Reason string   `json:"reason,omitempty"`
}

// ask posts an order.
func (c *client) ask(ctx context.Context, o order, path ...string) error {
	return c.send(ctx, http.MethodPost, append([]string{"v1"}, path...), o, nil)
}

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
	for _, v := range []struct{ verb, short, long, action string }{
		{
			"drain", "Drain a node: it hands its shards over and takes none",
			"Drain a node: it hands its shards over, one by one and without a gap, and takes none\nuntil `carillon nodes undrain`, also when it is started again.",
			"drained",
		},
		{"undrain", "End a drain", "End a drain: the node may hold shards again.", "undrained"},
		{"forget", "Forget a node that is gone for good", "Forget a node that is gone for good, so that `carillon doctor` no longer misses it.\nA node that lives is not forgotten.", "forgotten"},
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
				if err := a.client.ask(cmd.Context(), order{By: a.user(), Reason: reason}, "nodes", args[0], v.verb); err != nil {
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
			return a.askShard(cmd.Context(), args[0], "move", "moved to "+args[1], order{Node: args[1], By: a.user(), Reason: reason})
		},
	}
	reasonFlag(move, &reason)
	out := []*cobra.Command{move}
	for _, v := range []struct{ verb, short, long, action string }{
		{"hold", "Keep a shard where it is, whatever its mode says", "Keep a shard with the node that holds it, whatever its mode says, for as long as\nthat node lives. `carillon shards release` ends that.", "held"},
		{"release", "End a move or a hold", "End a move or a hold: the mode decides again.", "released"},
		{"failback", "Move a shard to where its mode wants it, now", "Move a shard to where its mode wants it, now: a hold-off does not count. Ends a\nmove or a hold.", "fails back"},
	} {
		var reason string
		cmd := &cobra.Command{
			Use: v.verb + " SHARD", Args: exactlyOne("shard"), ValidArgsFunction: a.completeGroups,
			Short: v.short, Long: v.long + "\n" + shardWords,
			Example: "  carillon shards " + v.verb + " ledger",
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.askShard(cmd.Context(), args[0], v.verb, v.action, order{By: a.user(), Reason: reason})
			},
		}
		reasonFlag(cmd, &reason)
		out = append(out, cmd)
	}
	return out
}

// shardWords says how a shard is named.
const shardWords = "SHARD is a shard's number, or the name of a group: NAME or NAMESPACE/NAME."

// askShard posts an order about a shard.
func (a *app) askShard(ctx context.Context, ref, verb, action string, o order) error {
	kind := "shard"
	if _, err := strconv.ParseUint(ref, 10, 32); err != nil {
		key, err := a.keyOf("group", ref)
		if err != nil {
			return err
		}
		kind, ref = "group", key.String()
	}
	if err := a.client.ask(ctx, o, "shards", ref, verb); err != nil {
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
	return a.complete(cmd, func(ctx context.Context, c *client) ([]cobra.Completion, error) {
		nodes, err := c.nodes(ctx)
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
			var out struct{ Records []etcdkv.Audit }
			if err := a.client.get(cmd.Context(), &out, url.Values{"limit": {strconv.Itoa(limit)}}, "v1", "audit"); err != nil {
				return err
			}
			return printList(a, out.Records, a.auditTable())
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 50, "list at most `N` records")
	return cmd
}

func (a *app) auditTable() table[etcdkv.Audit] {
	type record = etcdkv.Audit
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

package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/job"
)

// etcdVerbs are the verbs of the cluster's own etcd.
type etcdVerbs struct{ *call }

func (ev etcdVerbs) etcdCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "etcd VERB", GroupID: groupCluster,
		Short: "Look after the etcd of a cluster that keeps its data itself",
		Long: "Look after the etcd of a cluster that keeps its data itself: its first node was started\n" +
			"with --cluster-init, the others with --join. The first five nodes are members; others\n" +
			"are clients of theirs, and take the place of members that are removed.",
		Example: "  carillon etcd members\n  carillon etcd remove node3 --reason \"its disk is dead\"",
		RunE:    needsVerb,
	}
	cmd.AddCommand(ev.membersCommand(), ev.statusCommand())
	cmd.AddCommand(ev.orderCommands()...)
	cmd.AddCommand(ev.replaceCommand(), ev.defragCommand())
	return cmd
}

func (ev etcdVerbs) membersCommand() *cobra.Command {
	type member = api.EtcdMember
	return &cobra.Command{
		Use: "members", Args: noArgs,
		Short:   "List the members, and the nodes that are clients of theirs",
		Example: "  carillon etcd members\n  carillon etcd members -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := ev.client.Etcd.Members(cmd.Context())
			if err != nil {
				return err
			}
			return printList(&ev.printer, all, table[member]{none: "no members", name: etcdName, columns: []column[member]{
				{head: "NODE", cell: etcdName},
				{head: "ROLE", toned: true, cell: func(m member) string { return string(m.Role) }},
				{head: "LIVE", cell: func(m member) string { return yesNo(m.Live) }},
				{head: "ID", cell: func(m member) string { return m.ID }},
				{head: "CLIENTS", cell: func(m member) string { return m.ClientURL }},
				{head: "PROBLEM", cell: func(m member) string { return strings.Join(m.Problems, "; ") }},
				{head: "PEERS", wide: true, cell: func(m member) string { return m.PeerURL }},
			}})
		},
	}
}

func etcdName(m api.EtcdMember) string {
	if m.Node == "" {
		return "(" + m.ID + ")"
	}
	return string(m.Node)
}

func (ev etcdVerbs) statusCommand() *cobra.Command {
	type member = api.EtcdMember
	return &cobra.Command{
		Use: "status", Args: noArgs,
		Short:   "Show how large the data of each member is, and how far it is",
		Example: "  carillon etcd status",
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := ev.client.Etcd.Members(cmd.Context())
			if err != nil {
				return err
			}
			all = slices.DeleteFunc(all, func(m member) bool { return m.Role == api.EtcdClient })
			return printList(&ev.printer, all, table[member]{none: "no members", name: etcdName, columns: []column[member]{
				{head: "NODE", cell: etcdName},
				{head: "ROLE", toned: true, cell: func(m member) string { return string(m.Role) }},
				{head: "VERSION", cell: func(m member) string { return m.Version }},
				{head: "SIZE", cell: func(m member) string { return sizeText(m.SizeBytes) }},
				{head: "IN USE", cell: func(m member) string { return sizeText(m.InUseBytes) }},
				{head: "QUOTA", cell: func(m member) string { return sizeText(m.QuotaBytes) }},
				{head: "BEHIND", cell: func(m member) string { return fmt.Sprint(m.Behind) }},
				{head: "PROBLEM", cell: func(m member) string { return strings.Join(m.Problems, "; ") }},
			}})
		},
	}
}

// orderCommands are the orders about one node.
func (ev etcdVerbs) orderCommands() []*cobra.Command {
	var out []*cobra.Command
	for _, v := range []struct {
		verb, short, long, action string
		ask                       func(client.Etcd, context.Context, job.NodeID, api.Order) error
	}{
		{
			"remove", "Have a node be no member",
			"Have a node be no member. If it lives, it goes on as a client of the others, and is a\nmember again by `carillon etcd add`. If it does not, it is gone for good: it is\nforgotten, and a new host of its name joins by a new token (carillon nodes token).\n" +
				"A node that is no member yet takes the place. It is refused where the members that\nwould be left could not go on.",
			"removed", client.Etcd.Remove,
		},
		{"add", "Have a node be a member again", "Have a node be a member again that was removed, as soon as there is room.", "to be a member", client.Etcd.Add},
		{"move-leader", "Have a member lead", "Have a member lead, before the host of the leader is stopped, say. A node that stops\nhands over by itself.", "leads", client.Etcd.MoveLeader},
	} {
		var reason string
		cmd := &cobra.Command{
			Use: v.verb + " NODE", Args: exactlyOne("node"), ValidArgsFunction: ev.completeNodes,
			Short: v.short, Long: v.long,
			Example: "  carillon etcd " + v.verb + " node3 --reason \"new disk\"",
			RunE: func(cmd *cobra.Command, args []string) error {
				if err := v.ask(ev.client.Etcd, cmd.Context(), job.NodeID(args[0]), api.Order{By: ev.user(), Reason: reason}); err != nil {
					return fmt.Errorf("%s %s: %w", v.verb, args[0], err)
				}
				return ev.printOutcome(outcome{"member", args[0], v.action})
			},
		}
		reasonFlag(cmd, &reason)
		out = append(out, cmd)
	}
	return out
}

// replaceCommand removes a dead member and lets a host in that takes its place.
func (ev etcdVerbs) replaceCommand() *cobra.Command {
	var (
		reason, as string
		ttl        time.Duration
	)
	cmd := &cobra.Command{
		Use: "replace NODE", Args: exactlyOne("node"), ValidArgsFunction: ev.completeNodes,
		Short: "Have a new host take the place of a node that is gone for good",
		Long: "Have a new host take the place of a node that is gone for good: it is removed and\n" +
			"forgotten, and a token is printed by which one host joins under its name, or under\n" +
			"that of --as. How that host is started is told beside it. A node that lives is not\n" +
			"replaced: stop it first, and wait until its lease has ended.",
		Example: "  carillon etcd replace node3 --reason \"its disk is dead\" > token",
		RunE: func(cmd *cobra.Command, args []string) error {
			if ttl < time.Second {
				return usagef("--ttl %s: give a second or more", ttl)
			}
			old := args[0]
			all, err := ev.client.Etcd.Members(cmd.Context())
			if err != nil {
				return err
			}
			if i := slices.IndexFunc(all, func(m api.EtcdMember) bool { return string(m.Node) == old || m.ID == old }); i >= 0 {
				old = etcdName(all[i])
				if all[i].Live {
					return fmt.Errorf("replace %s: the node lives, or its lease has not ended yet; stop it, wait until `carillon etcd members` says that it does not live, and replace it then: %w", old, job.ErrConflict)
				}
			}
			order := api.Order{By: ev.user(), Reason: reason}
			if err := ev.client.Etcd.Remove(cmd.Context(), job.NodeID(old), order); err != nil {
				return fmt.Errorf("replace %s: %w", old, err)
			}
			name := cmp.Or(as, old)
			token, err := ev.client.Etcd.CreateToken(cmd.Context(), api.TokenRequest{TTL: ttl, Uses: 1, Minions: name, Order: order})
			if err != nil {
				return fmt.Errorf("%s is removed, and no token was made; make one by `carillon nodes token --nodes %s`: %w", old, name, err)
			}
			ev.note("%s is removed. On the new host: scheduler --node %s --join %s --join-token-file FILE --advertise HOST --peer-listen :7420, with this token in FILE, and the address of that host for HOST", old, name, ev.joinAt(cmd.Context()))
			if ev.asObject() {
				return ev.printValue(token)
			}
			_, err = fmt.Fprintln(ev.out, token.Text)
			return err
		},
	}
	reasonFlag(cmd, &reason)
	cmd.Flags().StringVar(&as, "as", "", "the `NAME` of the new node (default: that of the old one)")
	addDuration(cmd.Flags(), &ttl, "ttl", time.Hour, "token lifetime, as a `DURATION`")
	return cmd
}

// joinAt is where a host joins, as far as that can be told.
func (ev etcdVerbs) joinAt(ctx context.Context) string {
	nodes, _ := ev.client.Nodes.List(ctx) // it only fills in an example
	for i := range nodes {
		if nodes[i].Phase != api.NodeDown {
			return nodes[i].PeerAddr
		}
	}
	return "HOST:7420"
}

func (ev etcdVerbs) defragCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "defrag [NODE...]", Args: cobra.ArbitraryArgs, ValidArgsFunction: ev.completeNodes,
		Short: "Have members give free space back",
		Long: "Have members give the free space in their files back; without a name all of them, one\n" +
			"after another, the leader last. A member answers nobody meanwhile.",
		Example: "  carillon etcd defrag",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				all, err := ev.client.Etcd.Members(cmd.Context())
				if err != nil {
					return err
				}
				slices.SortStableFunc(all, func(a, b api.EtcdMember) int { return leads(a) - leads(b) })
				for i := range all {
					if all[i].Role != api.EtcdClient {
						args = append(args, etcdName(all[i]))
					}
				}
			}
			for _, node := range args {
				if err := ev.client.Etcd.Defrag(cmd.Context(), job.NodeID(node), api.Order{By: ev.user(), Reason: reason}); err != nil {
					return fmt.Errorf("defrag %s: %w", node, err)
				}
				if err := ev.printOutcome(outcome{"member", node, "defragmented"}); err != nil {
					return err
				}
			}
			return nil
		},
	}
	reasonFlag(cmd, &reason)
	return cmd
}

// sizeText is a size in MiB, as the flags of etcd have it; empty: it is not known.
func sizeText(bytes int64) string {
	if bytes == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
}

func leads(m api.EtcdMember) int {
	if m.Role == api.EtcdLeader {
		return 1
	}
	return 0
}

// nodeTokenCommand is `nodes token`.
func (nv nodeVerbs) nodeTokenCommand() *cobra.Command {
	var (
		ttl   time.Duration
		uses  int
		nodes string
	)
	cmd := &cobra.Command{
		Use: "token", Args: noArgs,
		Short: "Create a token with which nodes join a cluster that keeps its data itself",
		Long: "Create a token with which nodes join a cluster that keeps its data itself, and print it.\n" +
			"It is shown this once. Whoever has it can get all that the cluster has, the key of its\n" +
			"authority among it: keep it short-lived, and in a file that only root reads.",
		Example: "  carillon nodes token --ttl 10m --nodes node2 > token\n  scheduler --join node1:7420 --join-token-file token",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if ttl < time.Second {
				return usagef("--ttl %s: give a second or more", ttl)
			}
			if uses < 1 {
				return usagef("--uses %d: give 1 or more", uses)
			}
			v, err := nv.client.Etcd.CreateToken(cmd.Context(), api.TokenRequest{TTL: ttl, Uses: uses, Minions: nodes, Order: api.Order{By: nv.user()}})
			if err != nil {
				return err
			}
			if nv.asObject() {
				return nv.printValue(v)
			}
			fmt.Fprintln(nv.out, v.Text)
			return nil
		},
	}
	addDuration(cmd.Flags(), &ttl, "ttl", time.Hour, "token lifetime, as a `DURATION`")
	cmd.Flags().IntVar(&uses, "uses", 1, "how many nodes it lets in, `N`")
	cmd.Flags().StringVar(&nodes, "nodes", "", "a `GLOB` that the names of the nodes must match")
	return cmd
}

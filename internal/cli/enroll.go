package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// enrollVerbs are the verbs of who may connect as a minion.
type enrollVerbs struct{ *call }

// minionOrders are the verbs below `minions` about who may connect.
func (en enrollVerbs) minionOrders() []*cobra.Command {
	return []*cobra.Command{minionVerbs(en).queuesCommand(), updateVerbs(en).updateCommand(), en.tokenCommand(), en.requestsCommand(), en.approveCommand(), minionVerbs(en).labelCommand(), en.certificatesCommand(), en.authorityCommand(),
		en.minionOrder("reject", "rejected", "Refuse a minion that waits to join", "Refuse a minion that waits for `carillon minions approve`.", en.rejectMinion),
		en.minionOrder("revoke", "revoked", "End a minion's certificates and its session",
			"End all certificates that a minion has, and its session, at once and at all nodes. It\njoins again only with a token that is made afterwards, or by approval.", en.revokeMinion),
		en.minionOrder("forget", "forgotten", "Forget a minion that is not connected",
			"Forget a minion that is not connected, so that it is no longer listed. What it was\nrunning, or may have been, ends as indeterminate. Its certificate stays good: see\n`carillon minions revoke`.", en.forgetMinion),
	}
}

func (en enrollVerbs) rejectMinion(ctx context.Context, id job.MinionID, o api.Order) error {
	return en.client.Enrollment.Reject(ctx, id, o)
}

func (en enrollVerbs) revokeMinion(ctx context.Context, id job.MinionID, o api.Order) error {
	return en.client.Enrollment.Revoke(ctx, id, o)
}

func (en enrollVerbs) forgetMinion(ctx context.Context, id job.MinionID, o api.Order) error {
	return en.client.Minions.Forget(ctx, id, o)
}

// authorityCommand is `minions authority`.
func (en enrollVerbs) authorityCommand() *cobra.Command {
	return &cobra.Command{
		Use: "authority", Aliases: []string{"ca"}, Args: noArgs,
		Short: "Print the certificate of the cluster's authority",
		Long: "Print the certificate of the cluster's authority, as PEM: a minion that joins by\n" +
			"approval knows the right cluster by it (`worker --ca FILE`), and so do clients of an API\n" +
			"that has a certificate of this authority (--ca FILE). It is no secret, but it has to reach\n" +
			"the other host unchanged; its SHA-256 is printed to compare. On a node's host the local\n" +
			"socket tells it.",
		Example: "  carillon minions authority --server unix:///var/lib/carillon/scheduler/carillon.sock > ca.pem\n" +
			"  carillon nodes --server https://node1:8420 --ca ca.pem\n  worker --servers node1:7420 --ca ca.pem",
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := en.client.Enrollment.Authority(cmd.Context())
			if err != nil {
				return err
			}
			if en.asObject() {
				return en.printValue(v)
			}
			fmt.Fprint(en.out, v.Certificate)
			en.note("SHA-256 %s, good until %s", v.SHA256, en.stamp(v.ExpiresAt))
			return nil
		},
	}
}

// minionOrder is a verb with one minion.
func (en enrollVerbs) minionOrder(verb, done, short, long string, ask func(context.Context, job.MinionID, api.Order) error) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: verb + " MINION", Args: exactlyOne("minion"), Short: short, Long: long,
		Example: "  carillon minions " + verb + " web1 --reason \"left the rack\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := ask(cmd.Context(), job.MinionID(args[0]), api.Order{By: en.user(), Reason: reason}); err != nil {
				return err
			}
			return en.printOutcome(outcome{"minion", args[0], done})
		},
	}
	reasonFlag(cmd, &reason)
	return cmd
}

func (en enrollVerbs) tokenCommand() *cobra.Command {
	var (
		ttl     time.Duration
		uses    int
		minions string
		labels  map[string]string
	)
	cmd := &cobra.Command{
		Use: "token", Args: noArgs,
		Short: "Create a token with which minions join the cluster",
		Long: "Create a token with which minions join the cluster, and print it. It is shown this once:\n" +
			"the cluster keeps only a hash of it. A minion that is started with it makes a key of\n" +
			"its own, checks by the token that the node is of this cluster, and gets a certificate\n" +
			"that it renews by itself. The labels of the token are granted to it: targets go by\n" +
			"them, and not by what a minion says of itself.",
		Example: "  carillon minions token --label role=web > token\n  worker --servers node1:7420 --join-token-file token\n" +
			"  carillon minions token --ttl 10m --minions 'web*' | ssh web1 worker --servers node1:7420 --join-token-file -",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if ttl < time.Second {
				return usagef("--ttl %s: give a second or more", ttl)
			}
			if uses < 1 {
				return usagef("--uses %d: give 1 or more", uses)
			}
			v, err := en.client.Enrollment.CreateToken(cmd.Context(), api.TokenRequest{
				TTL: ttl, Uses: uses, Minions: minions, Labels: labels, Order: api.Order{By: en.user()},
			})
			if err != nil {
				return err
			}
			if en.asObject() {
				return en.printValue(v)
			}
			fmt.Fprintln(en.out, v.Text)
			return nil
		},
	}
	addDuration(cmd.Flags(), &ttl, "ttl", time.Hour, "token lifetime, as a `DURATION`")
	cmd.Flags().IntVar(&uses, "uses", 1, "how many minions it enrolls, `N`")
	labelsFlag(cmd, &labels, "label", "", "label that is granted to the minions, as `KEY=VALUE`; may be given several times")
	cmd.Flags().StringVar(&minions, "minions", "", "a `GLOB` that the names of the minions must match")
	cmd.AddCommand(
		&cobra.Command{
			Use: "list", Args: noArgs, Short: "List the tokens that are still good", Example: "  carillon minions token list",
			RunE: func(cmd *cobra.Command, _ []string) error {
				tokens, err := en.client.Enrollment.Tokens(cmd.Context())
				if err != nil {
					return err
				}
				type token = api.JoinToken
				return printList(&en.printer, tokens, table[token]{none: "no tokens", name: func(t token) string { return t.ID }, columns: []column[token]{
					{head: "ID", cell: func(t token) string { return t.ID }},
					{head: "USES", cell: func(t token) string { return strconv.Itoa(t.Uses) }},
					{head: "MINIONS", cell: func(t token) string {
						if t.Nodes {
							return strings.TrimSpace("(nodes) " + t.Minions)
						}
						return t.Minions
					}},
					{head: "LABELS", cell: func(t token) string { return pairs(t.Labels) }},
					{head: "EXPIRES", cell: func(t token) string { return en.stamp(t.ExpiresAt) }},
					{head: "BY", cell: func(t token) string { return t.By }},
				}})
			},
		},
		&cobra.Command{
			Use: "delete ID", Args: exactlyOne("id"), Short: "Delete a token", Long: "Delete a token. The minions that have joined by it stay.", Example: "  carillon minions token delete k3x9",
			RunE: func(cmd *cobra.Command, args []string) error {
				if err := en.client.Enrollment.DeleteToken(cmd.Context(), args[0], api.Order{By: en.user()}); err != nil {
					return err
				}
				return en.printOutcome(outcome{"token", args[0], "deleted"})
			},
		})
	return cmd
}

// asking is one key that asks for an id.
type asking struct {
	ID string `json:"id"`
	api.RequestedKey
}

func (en enrollVerbs) requestsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "requests", Args: noArgs,
		Short:   "List the minions that ask to join without a token, and those that ask for labels",
		Example: "  carillon minions requests",
		RunE: func(cmd *cobra.Command, _ []string) error {
			requests, err := en.client.Enrollment.Requests(cmd.Context())
			if err != nil {
				return err
			}
			var rows []asking
			for _, r := range requests {
				for _, k := range r.Keys {
					rows = append(rows, asking{string(r.ID), k})
				}
			}
			if err := printList(&en.printer, rows, table[asking]{none: "no minion asks to join", name: func(r asking) string { return r.ID }, columns: []column[asking]{
				{head: "MINION", cell: func(r asking) string { return r.ID }},
				{head: "FINGERPRINT", cell: func(r asking) string { return r.Key }},
				{head: "FROM", cell: func(r asking) string { return r.From }},
				{head: "SINCE", cell: func(r asking) string { return en.stamp(r.At) }},
				{head: "STATE", cell: func(r asking) string {
					switch {
					case !r.ApprovedAt.IsZero():
						return "approved"
					case !r.RejectedAt.IsZero():
						return "rejected"
					}
					return "waits"
				}},
			}}); err != nil || en.asObject() {
				return err
			}
			return minionVerbs(en).printLabelRequests(cmd.Context())
		},
	}
}

func (en enrollVerbs) approveCommand() *cobra.Command {
	var print string
	var labels map[string]string
	cmd := &cobra.Command{
		Use: "approve MINION", Args: exactlyOne("minion"),
		Short: "Approve a minion that asks to join",
		Long: "Approve a minion that asks to join without a token. Compare the fingerprint of its key\n" +
			"(`carillon minions requests`) with the one that the minion logs, and give it. Without\n" +
			"it this asks on a terminal whether the key that asks is the right one, and elsewhere\n" +
			"approves nothing: whoever knows a node can ask for any name.",
		Example: "  carillon minions approve web1 --fingerprint SHA256:4gq...",
		RunE: func(cmd *cobra.Command, args []string) error {
			if print == "" {
				var err error
				if print, err = en.askFingerprint(cmd, args[0]); err != nil {
					return err
				}
			}
			if err := en.client.Enrollment.Approve(cmd.Context(), job.MinionID(args[0]), print, labels, api.Order{By: en.user()}); err != nil {
				return err
			}
			return en.printOutcome(outcome{"minion", args[0], "approved"})
		},
	}
	labelsFlag(cmd, &labels, "label", "", "label that is granted to the minion, as `KEY=VALUE`; may be given several times")
	cmd.Flags().StringVar(&print, "fingerprint", "", "`FINGERPRINT` of the minion's key, as the minion logs it")
	return cmd
}

// askFingerprint shows who asks for a name, and asks whether that is the minion
// which is meant.
func (en enrollVerbs) askFingerprint(cmd *cobra.Command, id string) (string, error) {
	requests, err := en.client.Enrollment.Requests(cmd.Context())
	if err != nil {
		return "", err
	}
	var keys, lines []string
	for _, r := range requests {
		if string(r.ID) != id {
			continue
		}
		for _, k := range r.Keys {
			keys = append(keys, k.Key)
			lines = append(lines, fmt.Sprintf("%s from %s since %s", k.Key, k.From, en.stamp(k.At)))
		}
	}
	asks := strings.Join(lines, "\n  ")
	switch {
	case len(keys) == 0:
		return "", fmt.Errorf("no minion asks for the name %s: %w", id, job.ErrNotFound)
	case len(keys) > 1:
		return "", usagef("%d keys ask for the name %s; say which is the minion's with --fingerprint:\n  %s", len(keys), id, asks)
	case !ownTerminal(en.opts.Stdin):
		return "", usagef("one key asks for the name %s, whoever has it; if the minion logs the same, add --fingerprint %s:\n  %s", id, keys[0], asks)
	}
	fmt.Fprintf(en.errout, "%s asks with\n  %s\nDoes the minion log the same fingerprint? [y/N] ", id, asks)
	if !en.confirmed() {
		return "", &exitError{code: exitFailed, err: fmt.Errorf("minion %s is not approved", id)}
	}
	return keys[0], nil
}

func (en enrollVerbs) certificatesCommand() *cobra.Command {
	return &cobra.Command{
		Use: "certificates", Aliases: []string{"certs"}, Args: noArgs,
		Short:   "List the minions that have, or had, a certificate",
		Example: "  carillon minions certificates",
		RunE: func(cmd *cobra.Command, _ []string) error {
			minions, err := en.client.Enrollment.Certificates(cmd.Context())
			if err != nil {
				return err
			}
			type minion = api.Enrollment
			return printList(&en.printer, minions, table[minion]{none: "no minion has joined", name: func(m minion) string { return string(m.ID) }, columns: []column[minion]{
				{head: "MINION", cell: func(m minion) string { return string(m.ID) }},
				{head: "JOINED", cell: func(m minion) string { return en.stamp(m.EnrolledAt) }},
				{head: "BY", cell: func(m minion) string {
					if m.Token != "" {
						return "token " + m.Token
					}
					return m.ApprovedBy
				}},
				{head: "EXPIRES", cell: func(m minion) string { return en.stamp(m.ExpiresAt) }},
				{head: "REVOKED", cell: func(m minion) string { return en.stamp(m.RevokedAt) }},
				{head: "CLONES", cell: func(m minion) string {
					var from []string
					for _, c := range m.Clones {
						from = append(from, c.From)
					}
					return strings.Join(from, ", ")
				}},
				{head: "FINGERPRINT", wide: true, cell: func(m minion) string { return m.Key }},
				{head: "SERIAL", wide: true, cell: func(m minion) string { return m.Serial }},
			}})
		},
	}
}

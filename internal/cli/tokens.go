package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/job"
)

// tokenVerbs are the verbs of tokens of the API, and of who one is.
type tokenVerbs struct{ *call }

// tokensCommand is `token`.
func (tv tokenVerbs) tokensCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "token", Aliases: []string{"tokens"}, GroupID: groupCluster, Args: noOrder,
		Short: "Make, list, rotate and revoke tokens of the API",
		Long: "Create, list, rotate and revoke API tokens. One stands for a program or a person, and is given by\n" +
			"--token-file FILE, " + envTokenFile + " or " + envToken + "; elsewhere by the header\n" +
			"`Authorization: Bearer TOKEN`. Minions join by tokens of another kind: see\n`carillon minions token`.",
		Example: "  carillon token create ci --ttl 720h > ci.token\n  carillon token list\n  carillon token rotate ci --grace 1h > ci.new && mv ci.new ci.token\n  carillon token revoke ci",
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(tv.createTokenCommand(), tv.listTokensCommand(), tv.rotateTokenCommand(), tv.revokeTokenCommand())
	return cmd
}

func (tv tokenVerbs) createTokenCommand() *cobra.Command {
	var req api.APITokenRequest
	cmd := &cobra.Command{
		Use: "create NAME", Args: exactlyOne("name"),
		Short: "Make a token and print it",
		Long: "Make a token of the API and print it. It is shown this once: the cluster keeps only a\n" +
			"hash of it. What the token may do is bound to its name, so no other token ever gets\n" +
			"that name.",
		Example: "  carillon token create ci --ttl 720h > ci.token\n  carillon token create backup-host --ttl 24h --owner ada --note \"moving to the new rack\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := job.CheckName(args[0]); err != nil {
				return usagef("name %w", err)
			}
			switch {
			case !cmd.Flags().Changed("ttl"):
				return usagef("say how long the token is to last, as in --ttl 720h")
			case req.TTL < time.Second:
				return usagef("--ttl %s: give a second or more", req.TTL)
			}
			req.Name, req.By = args[0], tv.user()
			v, err := tv.client.Tokens.Create(cmd.Context(), req)
			if err != nil {
				return flagOf(err, "ttlSeconds", "--ttl")
			}
			return tv.printNewToken(&v)
		},
	}
	addDuration(cmd.Flags(), &req.TTL, "ttl", 0, "how long it lasts, as a `DURATION`")
	cmd.Flags().StringVar(&req.Owner, "owner", "", "`NAME` of who answers for it (default: you)")
	cmd.Flags().StringVar(&req.Note, "note", "", "`TEXT` that tells others what it is for")
	reasonFlag(cmd, &req.Reason)
	return cmd
}

// flagOf names a field of a request that was refused as the flag that it was given by.
func flagOf(err error, field, flag string) error {
	var refused *client.Error
	if errors.As(err, &refused) {
		for i := range refused.Problems {
			if refused.Problems[i].Path == field {
				refused.Problems[i].Path = flag
			}
		}
	}
	return err
}

// printNewToken prints a token that was made, the only time.
func (tv tokenVerbs) printNewToken(v *api.APIToken) error {
	if tv.asObject() {
		return tv.printValue(v)
	}
	fmt.Fprintln(tv.out, v.Text)
	if !v.FormerUntil.IsZero() {
		tv.note("what it was before is good until %s", tv.stamp(v.FormerUntil))
	}
	tv.note("token %s (%s) is good until %s; it is not shown again", v.Name, v.ID, tv.stamp(v.ExpiresAt))
	return nil
}

func (tv tokenVerbs) listTokensCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Args: noArgs, Short: "List the tokens that were not revoked", Example: "  carillon token list -o wide",
		RunE: func(cmd *cobra.Command, _ []string) error {
			tokens, err := tv.client.Tokens.List(cmd.Context())
			if err != nil {
				return err
			}
			type token = api.APIToken
			return printList(&tv.printer, tokens, table[token]{none: "no tokens", name: func(t token) string { return t.Name }, columns: []column[token]{
				{head: "NAME", cell: func(t token) string { return t.Name }},
				{head: "ID", cell: func(t token) string { return t.ID }},
				{head: "OWNER", cell: func(t token) string { return t.Owner }},
				{head: "EXPIRES", cell: func(t token) string {
					if t.Expired {
						return "expired"
					}
					return tv.stamp(t.ExpiresAt)
				}},
				{head: "LAST USED", cell: func(t token) string { return orText(tv.stamp(t.LastUsedAt), "never") }},
				{head: "FROM", wide: true, cell: func(t token) string { return t.LastUsedFrom }},
				{head: "MADE", wide: true, cell: func(t token) string { return tv.stamp(t.CreatedAt) }},
				{head: "BY", wide: true, cell: func(t token) string { return t.By }},
				{head: "NOTE", wide: true, cell: func(t token) string { return t.Note }},
			}})
		},
	}
}

func (tv tokenVerbs) rotateTokenCommand() *cobra.Command {
	var req api.TokenRotation
	cmd := &cobra.Command{
		Use: "rotate NAME", Args: exactlyOne("token"),
		Short: "Replace the text of a token and print it",
		Long: "Replace the text of a token, which is given by its name or id, and print it. Name, id\n" +
			"and owner stay, and so do its roles. The former text ends at once, or after --grace.",
		Example: "  carillon token rotate ci > ci.new && mv ci.new ci.token\n  carillon token rotate ci --grace 1h --ttl 720h > ci.new && mv ci.new ci.token",
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case cmd.Flags().Changed("ttl") && req.TTL < time.Second:
				return usagef("--ttl %s: give a second or more", req.TTL)
			case cmd.Flags().Changed("grace") && (req.Grace < time.Second || req.Grace > api.MaxTokenGrace):
				return usagef("--grace %s: give a second to %s, or leave it out: then the former text ends at once", req.Grace, api.MaxTokenGrace)
			}
			req.By = tv.user()
			v, err := tv.client.Tokens.Rotate(cmd.Context(), args[0], req)
			if err != nil {
				return flagOf(err, "ttlSeconds", "--ttl")
			}
			return tv.printNewToken(&v)
		},
	}
	addDuration(cmd.Flags(), &req.TTL, "ttl", 0, "how long it lasts from now on, as a `DURATION` (default: as long as it would have)")
	addDuration(cmd.Flags(), &req.Grace, "grace", 0, "how long the former text is good as well, as a `DURATION` (default: not at all)")
	reasonFlag(cmd, &req.Reason)
	return cmd
}

func (tv tokenVerbs) revokeTokenCommand() *cobra.Command {
	var (
		reason string
		yes    bool
	)
	cmd := &cobra.Command{
		Use: "revoke NAME...", Aliases: []string{"delete"}, Args: someOf("token"),
		Short:   "End tokens, by their names or ids",
		Long:    "End tokens, by their names or ids: from now on they are refused. More than one needs\n--yes.",
		Example: "  carillon token revoke ci --reason \"it was in a log\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 && !yes {
				return usagef("this revokes %d tokens (%s); add --yes", len(args), strings.Join(args, ", "))
			}
			for _, name := range args {
				if err := tv.client.Tokens.Revoke(cmd.Context(), name, api.Order{By: tv.user(), Reason: reason}); err != nil {
					return err
				}
				if err := tv.printOutcome(outcome{"token", name, "revoked"}); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "revoke more than one")
	reasonFlag(cmd, &reason)
	return cmd
}

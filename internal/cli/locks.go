package cli

import (
	"bufio"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

func (a *app) lockListCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Args: noArgs,
		Short:   "List locks that somebody holds or waits for",
		Example: "  carillon lock list -A",
		RunE: func(cmd *cobra.Command, _ []string) error {
			locks, err := a.client.Locks.List(cmd.Context(), a.listed(all))
			if err != nil {
				return err
			}
			return printList(a, locks, a.lockTable(all))
		},
	}
	a.allNamespaces(cmd, &all)
	return cmd
}

func (a *app) lockTable(all bool) table[api.Lock] {
	type view = api.Lock
	first := func(v view, cell func(api.LockContender) string) string {
		if len(v.Holders) == 0 {
			return ""
		}
		return cell(v.Holders[0])
	}
	t := table[view]{
		none: "no locks " + a.where(all),
		name: func(v view) string { return v.Key().String() },
		columns: []column[view]{
			{head: "NAME", cell: func(v view) string { return v.Name }},
			{head: "HOLDER", cell: func(v view) string {
				return first(v, func(h api.LockContender) string {
					if n := len(v.Holders); n > 1 {
						return fmt.Sprintf("%s and %d more", h.Holder, n-1)
					}
					return h.Holder
				})
			}},
			{head: "SINCE", cell: func(v view) string {
				return first(v, func(h api.LockContender) string { return a.stamp(h.Since) })
			}},
			{head: "WAITING", cell: func(v view) string { return strconv.Itoa(len(v.Waiters)) }},
			{head: "PURPOSE", cell: func(v view) string {
				return first(v, func(h api.LockContender) string { return h.Purpose })
			}},
			{head: "TOKEN", wide: true, cell: func(v view) string {
				return first(v, func(h api.LockContender) string { return h.Token.String() })
			}},
		},
	}
	if all {
		t.columns = append([]column[view]{{head: "NAMESPACE", cell: func(v view) string { return v.Namespace }}}, t.columns...)
	}
	return t
}

// lockNamed asks how a lock is.
func (a *app) lockNamed(ctx context.Context, name string) (api.Lock, error) {
	key, err := a.keyOf("lock", name)
	if err != nil {
		return api.Lock{}, err
	}
	return a.client.Locks.Get(ctx, key)
}

func (a *app) lockShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Args: exactlyOne("lock"),
		Short:   "Show who holds a lock and who waits, since when and why",
		Example: "  carillon lock show deploy",
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := a.lockNamed(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.output != formatTable && a.output != formatWide {
				return printOne(a, v, a.lockTable(false))
			}
			return a.printLock(&v)
		},
	}
}

// printLock prints holders and waiters, one a line, in their order.
func (a *app) printLock(v *api.Lock) error {
	type line struct {
		State string `json:"state"`
		api.LockContender
	}
	var lines []line
	for _, h := range v.Holders {
		lines = append(lines, line{"holds", h})
	}
	for i, w := range v.Waiters {
		lines = append(lines, line{"waits, " + strconv.Itoa(i+1), w})
	}
	if v.Delayed > 0 {
		a.note("%d lost it without freeing it: it is kept free for their lock delay", v.Delayed)
	}
	return printList(a, lines, table[line]{none: "nobody", name: func(l line) string { return l.Holder }, columns: []column[line]{
		{head: "STATE", cell: func(l line) string { return l.State }},
		{head: "WHO", cell: func(l line) string { return l.Holder }},
		{head: "SINCE", cell: func(l line) string { return a.stamp(l.Since) }},
		{head: "TOKEN", cell: func(l line) string {
			if l.Token.IsZero() {
				return ""
			}
			return l.Token.String()
		}},
		{head: "HOW", cell: func(l line) string { return howHeld(&l.LockContender) }},
		{head: "PURPOSE", cell: func(l line) string { return l.Purpose }},
	}})
}

func howHeld(c *api.LockContender) string {
	var words []string
	if c.Shared {
		words = append(words, "shared")
	}
	if c.Limit > 1 {
		words = append(words, fmt.Sprintf("limit %d", c.Limit))
	}
	if c.Priority != 0 {
		words = append(words, fmt.Sprintf("priority %d", c.Priority))
	}
	if c.MaxHold > 0 {
		words = append(words, "max hold "+c.MaxHold.String())
	}
	return strings.Join(words, ", ")
}

func (a *app) lockBreakCommand() *cobra.Command {
	var (
		token, reason string
		yes           bool
	)
	cmd := &cobra.Command{
		Use: "break NAME", Args: exactlyOne("lock"),
		Short: "Take a lock away from who holds it",
		Long: "Take a lock away from who holds it. The holder is told, and may be at work still\n" +
			"for a moment: only what compares the fencing token is safe from it. What was done\n" +
			"is kept; see `carillon audit`.\n" +
			"--token says which hold is meant, so that nobody else's is broken. Without it you\n" +
			"are asked; with --yes you are not, and whoever holds it then loses it.",
		Example: "  carillon lock show deploy\n  carillon lock break deploy --token 1.4711 --reason \"host is gone\"\n  carillon lock break deploy --yes",
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := a.keyOf("lock", args[0])
			if err != nil {
				return err
			}
			if token == "" {
				if token, err = a.askToken(cmd, key, yes); err != nil {
					return err
				}
			}
			hold, err := job.ParseToken(token)
			if err != nil {
				return usagef("--token: %w", err)
			}
			if err := a.client.Locks.Break(cmd.Context(), key, hold, api.Order{By: a.user(), Reason: reason}); err != nil {
				return err
			}
			return a.printOutcome(outcome{"lock", key.String(), "broken"})
		},
	}
	cmd.Flags().StringVar(&token, "token", "", "the `TOKEN` of the hold, as `carillon lock show` prints it")
	cmd.Flags().BoolVar(&yes, "yes", false, "break the one hold that there is, without a question")
	reasonFlag(cmd, &reason)
	return cmd
}

// askToken shows who holds a lock and asks whether that hold is meant.
func (a *app) askToken(cmd *cobra.Command, key job.Key, yes bool) (string, error) {
	v, err := a.client.Locks.Get(cmd.Context(), key)
	if err != nil {
		return "", err
	}
	if len(v.Holders) == 0 {
		return "", fmt.Errorf("nobody holds lock %s: %w", key, job.ErrNotFound)
	}
	if len(v.Holders) != 1 {
		return "", usagef("%d hold lock %s; say which with --token (see `carillon lock show %s`)", len(v.Holders), key, key)
	}
	h := v.Holders[0]
	if yes {
		return h.Token.String(), nil
	}
	if !ownTerminal(a.opts.Stdin) {
		return "", usagef("%s; add --token %s to break that hold, or --yes", whoHolds(a, &v), h.Token)
	}
	fmt.Fprintf(a.errout, "%s.\nBreak it? [y/N] ", whoHolds(a, &v))
	if !a.confirmed() {
		return "", &exitError{code: exitFailed, err: fmt.Errorf("lock %s is as it was", key)}
	}
	return h.Token.String(), nil
}

// confirmed reads the answer to a question. No answer is a no.
func (a *app) confirmed() bool {
	answer, _ := bufio.NewReader(a.opts.Stdin).ReadString('\n')
	s := strings.ToLower(strings.TrimSpace(answer))
	return s == "y" || s == "yes"
}

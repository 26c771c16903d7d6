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

func (lk lockVerbs) lockListCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Args: noArgs,
		Short:   "List locks that somebody holds or waits for",
		Example: "  carillon lock list -A",
		RunE: func(cmd *cobra.Command, _ []string) error {
			locks, err := lk.client.Locks.List(cmd.Context(), lk.listed(all))
			if err != nil {
				return err
			}
			return printList(&lk.printer, locks, lk.lockTable(all))
		},
	}
	lk.allNamespaces(cmd, &all)
	return cmd
}

func (lk lockVerbs) lockTable(all bool) table[api.Lock] {
	type view = api.Lock
	first := func(v view, cell func(api.LockContender) string) string {
		if len(v.Holders) == 0 {
			return ""
		}
		return cell(v.Holders[0])
	}
	t := table[view]{
		none: "no locks " + lk.where(all),
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
				return first(v, func(h api.LockContender) string { return lk.stamp(h.Since) })
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
func (lk lockVerbs) lockNamed(ctx context.Context, name string) (api.Lock, error) {
	key, err := lk.keyOf("lock", name)
	if err != nil {
		return api.Lock{}, err
	}
	return lk.client.Locks.Get(ctx, key)
}

func (lk lockVerbs) lockShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Args: exactlyOne("lock"),
		Short:   "Show who holds a lock and who waits, since when and why",
		Example: "  carillon lock show deploy",
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := lk.lockNamed(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if lk.output != formatTable && lk.output != formatWide {
				return printOne(&lk.printer, v, lk.lockTable(false))
			}
			return lk.printLock(&v)
		},
	}
}

// printLock prints holders and waiters, one a line, in their order.
func (lk lockVerbs) printLock(v *api.Lock) error {
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
		lk.note("%d lost it without freeing it: it is kept free for their lock delay", v.Delayed)
	}
	return printList(&lk.printer, lines, table[line]{none: "nobody", name: func(l line) string { return l.Holder }, columns: []column[line]{
		{head: "STATE", cell: func(l line) string { return l.State }},
		{head: "WHO", cell: func(l line) string { return l.Holder }},
		{head: "SINCE", cell: func(l line) string { return lk.stamp(l.Since) }},
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

func (lk lockVerbs) lockBreakCommand() *cobra.Command {
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
			key, err := lk.keyOf("lock", args[0])
			if err != nil {
				return err
			}
			if token == "" {
				if token, err = lk.askToken(cmd, key, yes); err != nil {
					return err
				}
			}
			hold, err := job.ParseToken(token)
			if err != nil {
				return usagef("--token: %w", err)
			}
			if err := lk.client.Locks.Break(cmd.Context(), key, hold, api.Order{By: lk.user(), Reason: reason}); err != nil {
				return err
			}
			return lk.printOutcome(outcome{"lock", key.String(), "broken"})
		},
	}
	cmd.Flags().StringVar(&token, "token", "", "the `TOKEN` of the hold, as `carillon lock show` prints it")
	cmd.Flags().BoolVar(&yes, "yes", false, "break the one hold that there is, without a question")
	reasonFlag(cmd, &reason)
	return cmd
}

// askToken shows who holds a lock and asks whether that hold is meant.
func (lk lockVerbs) askToken(cmd *cobra.Command, key job.Key, yes bool) (string, error) {
	v, err := lk.client.Locks.Get(cmd.Context(), key)
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
	if !ownTerminal(lk.opts.Stdin) {
		return "", usagef("%s; add --token %s to break that hold, or --yes", whoHolds(lk.call, &v), h.Token)
	}
	fmt.Fprintf(lk.errout, "%s.\nBreak it? [y/N] ", whoHolds(lk.call, &v))
	if !lk.confirmed() {
		return "", &exitError{code: exitFailed, err: fmt.Errorf("lock %s is as it was", key)}
	}
	return h.Token.String(), nil
}

func (lk lockVerbs) describeLockCommand() *cobra.Command {
	return &cobra.Command{
		Use: "lock NAME", Aliases: []string{"locks"}, Args: exactlyOne("lock"),
		Short:   "Show who holds a lock and who waits, since when and why",
		Example: "  carillon describe lock deploy",
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := lk.lockNamed(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return lk.describe(v, v.Key().String(), func() error { lk.lockText(&v); return nil })
		},
	}
}

func (lk lockVerbs) lockText(v *api.Lock) {
	f := newFields(lk.out, "")
	f.add("Lock", v.Key().String())
	if len(v.Holders) == 0 {
		f.add("Held by", "nobody")
	}
	for i := range v.Holders {
		f.add("Held by", lk.contenderText(&v.Holders[i]))
	}
	for i := range v.Waiters {
		f.add(fmt.Sprintf("Waits, %d", i+1), lk.contenderText(&v.Waiters[i]))
	}
	if v.Delayed > 0 {
		f.add("Kept free", fmt.Sprintf("for the lock delay of %d that lost it without freeing it", v.Delayed))
	}
	f.flush()
}

func (lk lockVerbs) contenderText(c *api.LockContender) string {
	parts := []string{c.Holder + " since " + lk.stamp(c.Since) + " (" + short(max(lk.now().Sub(c.Since), time.Duration(0))) + ")"}
	if !c.Token.IsZero() {
		parts = append(parts, "token "+c.Token.String())
	}
	if how := howHeld(c); how != "" {
		parts = append(parts, how)
	}
	if c.Purpose != "" {
		parts = append(parts, c.Purpose)
	}
	return strings.Join(parts, ", ")
}

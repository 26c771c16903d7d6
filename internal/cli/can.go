package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/rights"
)

func (tv tokenVerbs) canICommand() *cobra.Command {
	var (
		all             bool
		labels          map[string]string
		account, target string
	)
	cmd := &cobra.Command{
		Use: "can-i VERB RESOURCE [-- COMMAND...]", Args: canIArgs,
		Short: "Tell whether you may do something",
		Long: `Tell whether you may do something in the namespace: yes, with exit code 0, or no,
with exit code 1. Verbs are read, logs, run, exec, edit, delete, pause, operate,
enroll, grant, audit and use; resources are jobs, runs, groups, calendars, scripts,
queues, secrets, locks, hostgroups, minions, nodes, shards, tokens, roles and cluster.
"*" stands for all of them.

What you may do only to things with certain labels is a no, unless -l names them;
and so is what you may only start some commands by, unless one is given: behind --,
with --as the account and with --target the minions. exec makes a job in the
namespace, and wants the right to it there.`,
		Example: "  carillon auth can-i run jobs -n billing\n  carillon auth can-i exec minions\n  carillon auth can-i edit jobs -A\n  carillon auth can-i exec minions --target 'web*' --as deploy -- /usr/bin/systemctl restart app-1",
		RunE: func(cmd *cobra.Command, args []string) error {
			command := args[2:]
			r := rights.Request{Verb: rights.Verb(args[0]), Kind: rights.Kind(args[1]), Labels: labels}
			if r.Kind.Namespaced() && !all {
				r.Namespace = tv.namespace
			}
			if err := r.Check(); err != nil {
				return err
			}
			req := api.CanIRequest{Verb: args[0], Resource: args[1], Namespace: r.Namespace, Labels: r.Labels, Command: command, RunAs: account, Target: target}
			if len(command) > 0 && r.Verb == rights.Exec {
				req.Namespace = tv.namespace
			}
			v, err := tv.client.Auth.CanI(cmd.Context(), req)
			if err != nil {
				return err
			}
			if tv.asObject() {
				if err := tv.printValue(v); err != nil {
					return err
				}
			} else {
				fmt.Fprintln(tv.out, canIText(v))
			}
			if !v.Allowed {
				return &exitError{code: exitFailed}
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "in all namespaces")
	cmd.Flags().StringVar(&account, "as", "", "the `ACCOUNT` as which the command is to run (the minion's own)")
	cmd.Flags().StringVar(&target, "target", "", "the minions on which it is to run, as a target expression (all)")
	labelsFlag(cmd, &labels, "label", "l", "to things with the label `KEY=VALUE` (may be given several times)")
	return cmd
}

// canIArgs admits a verb and a resource, and behind -- a command.
func canIArgs(cmd *cobra.Command, args []string) error {
	dash := cmd.ArgsLenAtDash()
	if dash < 0 {
		dash = len(args)
	}
	if dash != 2 {
		return usagef("%s: specify a verb and a resource, as in run jobs (got %d), and a command only after --", cmd.CommandPath(), dash)
	}
	if dash == len(args) && (cmd.Flags().Changed("as") || cmd.Flags().Changed("target")) {
		return usagef("--as and --target are of a command; give one behind --")
	}
	return nil
}

func canIText(v api.CanI) string {
	switch {
	case v.State == "open":
		return "yes: the cluster is open, and everybody may do everything"
	case v.Allowed:
		return "yes"
	case v.Why != "":
		return "no: " + v.Why
	case v.Bounded:
		return "no, but with certain commands, accounts and minions; give one behind --"
	case v.Some:
		return "no, but to things with certain labels"
	case v.State == "noting":
		return "no; it works for now, as the cluster only logs what would be refused"
	}
	return "no"
}

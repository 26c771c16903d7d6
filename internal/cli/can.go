package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/rights"
)

func (tv tokenVerbs) canICommand() *cobra.Command {
	var (
		all    bool
		labels map[string]string
	)
	cmd := &cobra.Command{
		Use: "can-i VERB RESOURCE", Args: exactly("a verb and a resource, as in run jobs", 2),
		Short: "Tell whether you may do something",
		Long: `Tell whether you may do something in the namespace: yes, with exit code 0, or no,
with exit code 1. Verbs are read, logs, run, exec, edit, delete, pause, operate,
enroll, grant and audit; resources are jobs, runs, groups, calendars, scripts,
locks, hostgroups, minions, nodes, shards, tokens, roles and cluster. "*" stands
for all of them.

What you may do only to things with certain labels is a no, unless -l names them.`,
		Example: "  carillon auth can-i run jobs -n billing\n  carillon auth can-i exec minions\n  carillon auth can-i edit jobs -A",
		RunE: func(cmd *cobra.Command, args []string) error {
			r := rights.Request{Verb: rights.Verb(args[0]), Kind: rights.Kind(args[1]), Labels: labels}
			if r.Kind.Namespaced() && !all {
				r.Namespace = tv.namespace
			}
			if err := r.Check(); err != nil {
				return err
			}
			v, err := tv.client.Auth.CanI(cmd.Context(), api.CanIRequest{Verb: args[0], Resource: args[1], Namespace: r.Namespace, Labels: r.Labels})
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
	cmd.Flags().StringToStringVarP(&labels, "label", "l", nil, "to things with the label `KEY=VALUE` (may be given several times)")
	return cmd
}

func canIText(v api.CanI) string {
	switch {
	case v.State == "open":
		return "yes: the cluster is open, and everybody may do everything"
	case v.Allowed:
		return "yes"
	case v.Some:
		return "no, but to things with certain labels"
	case v.State == "noting":
		return "no; it works for now, as the cluster only notes what would be refused"
	}
	return "no"
}

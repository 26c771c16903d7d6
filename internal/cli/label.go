package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

func (mv minionVerbs) labelCommand() *cobra.Command {
	var (
		requested bool
		reason    string
	)
	cmd := &cobra.Command{
		Use:   "label MINION [KEY=VALUE | KEY-]...",
		Short: "Grant labels to a minion, or take some away",
		Long: "Grant labels to a minion, or take some away. Targets go by granted labels only: those\n" +
			"of the token that a minion joined with, those that its approval gave, and these. What\n" +
			"a minion asks for (`worker --label`) is shown by `carillon minions requests` and\n" +
			"matches nothing before.",
		Example: "  carillon minions label web1 role=web rack-\n  carillon minions label web1 --grant-requested",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("give the minion, and its labels as KEY=VALUE, or KEY- to take one away")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			body := api.LabelRequest{Set: map[string]string{}, Order: api.Order{By: mv.user(), Reason: reason}}
			if requested {
				minions, err := mv.client.Minions.List(cmd.Context())
				if err != nil {
					return err
				}
				i := slices.IndexFunc(minions, func(m api.Minion) bool { return string(m.ID) == args[0] })
				if i < 0 || len(minions[i].Requested) == 0 {
					return usagef("minion %s asks for no label that it does not have; see carillon minions requests", args[0])
				}
				maps.Copy(body.Set, minions[i].Requested)
			}
			for _, arg := range args[1:] {
				k, v, ok := strings.Cut(arg, "=")
				name, gone := strings.CutSuffix(arg, "-")
				switch {
				case ok && k != "":
					body.Set[k] = v
				case !ok && gone && name != "":
					body.Remove = append(body.Remove, name)
				default:
					return usagef("%q: give KEY=VALUE to grant a label, or KEY- to take it away", arg)
				}
			}
			if len(body.Set)+len(body.Remove) == 0 {
				return usagef("give the labels of %s as KEY=VALUE, or KEY- to take one away, or --grant-requested", args[0])
			}
			var out struct {
				Labels map[string]string `json:"labels"`
			}
			var err error
			if out.Labels, err = mv.client.Minions.Label(cmd.Context(), job.MinionID(args[0]), body); err != nil {
				return err
			}
			if mv.asObject() {
				return mv.printValue(out)
			}
			if text := pairs(out.Labels); text != "" {
				fmt.Fprintf(mv.out, "minion %s has labels %s\n", args[0], text)
			} else {
				fmt.Fprintf(mv.out, "minion %s has no labels\n", args[0])
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&requested, "grant-requested", false, "grant what the minion asks for now")
	reasonFlag(cmd, &reason)
	return cmd
}

// printLabelRequests lists the minions that ask for labels, if any does.
func (mv minionVerbs) printLabelRequests(ctx context.Context) error {
	minions, err := mv.client.Minions.List(ctx)
	if err != nil {
		return err
	}
	asking := slices.DeleteFunc(minions, func(m api.Minion) bool { return len(m.Requested) == 0 })
	if len(asking) == 0 {
		return nil
	}
	fmt.Fprintln(mv.out)
	type minion = api.Minion
	return printList(&mv.printer, asking, table[minion]{name: func(m minion) string { return string(m.ID) }, columns: []column[minion]{
		{head: "MINION", cell: func(m minion) string { return string(m.ID) }},
		{head: "ASKS FOR", cell: func(m minion) string { return pairs(m.Requested) }},
		{head: "HAS", cell: func(m minion) string { return pairs(m.Labels) }},
	}})
}

// labelsFlag adds a flag of labels, none by default, to a command.
func labelsFlag(cmd *cobra.Command, to *map[string]string, name, short, usage string) {
	cmd.Flags().StringToStringVarP(to, name, short, nil, usage)
	cmd.Flags().Lookup(name).DefValue = "" // not "(default [])"
}

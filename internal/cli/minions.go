package cli

import (
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
)

// minionVerbs are the verbs of minions: which there are, what they are like, whom a
// target selects, and what is on its way to them.
type minionVerbs struct{ *call }

func (mv minionVerbs) minionsCommand(group string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "minions", Aliases: []string{"minion"}, GroupID: group, Args: noOrder,
		Short:   "List the minions, which run the commands",
		Example: "  carillon minions\n  carillon minions -o wide",
		RunE: func(cmd *cobra.Command, args []string) error {
			minions, err := mv.client.Minions.List(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) > 0 {
				return printNamed(&mv.printer, args, mv.minionTable(), func(name string) (api.Minion, error) {
					return named(minions, func(m *api.Minion) bool { return string(m.ID) == name }, "minion "+name)
				})
			}
			return printList(&mv.printer, minions, mv.minionTable())
		},
	}
	if group == "" {
		cmd.Use, cmd.Args, cmd.ValidArgsFunction = "minions [NAME...]", cobra.ArbitraryArgs, mv.completeMinions
	} else {
		cmd.Short = "List the minions, which run the commands, or those that a target matches"
		cmd.Example += "\n  carillon minions match 'os == \"linux\" and web*'"
		cmd.AddCommand(mv.matchCommand())
		cmd.AddCommand(enrollVerbs(mv).minionOrders()...)
	}
	return cmd
}

func (mv minionVerbs) minionTable() table[api.Minion] {
	type minion = api.Minion
	return table[minion]{none: "no minions", name: func(m minion) string { return string(m.ID) }, columns: []column[minion]{
		{head: "NAME", cell: func(m minion) string { return string(m.ID) }},
		{head: "STATE", toned: true, cell: minionState},
		{head: "NODE", cell: func(m minion) string { return string(m.Node) }},
		{head: "RUNNING", cell: func(m minion) string { return strconv.Itoa(m.Running) }},
		{head: "LABELS", cell: func(m minion) string { return pairs(m.Labels) }},
		{head: "REQUESTED", wide: true, cell: func(m minion) string { return pairs(m.Requested) }},
		{head: "SINCE", cell: func(m minion) string { return mv.stamp(minionSince(m)) }},
		{head: "KNOWN SINCE", wide: true, cell: func(m minion) string { return mv.stamp(m.Since) }},
		{head: "PROBLEM", cell: func(m minion) string { return mv.troubleCell(m) }},
		{head: "VERSION", wide: true, cell: func(m minion) string { return m.Version }},
		{head: "FACTS (ITS WORD)", wide: true, cell: func(m minion) string { return pairs(m.Facts) }},
	}}
}

// minionState says whether a minion gets orders.
func minionState(m api.Minion) string {
	if m.State == api.MinionConnected && m.Trouble != "" {
		return "uncontrollable"
	}
	return m.State
}

// minionSince is since when a minion is in the state that is told; zero: it is not
// known.
func minionSince(m api.Minion) time.Time {
	if m.State == api.MinionConnected && m.Trouble == "" {
		return m.ConnectedSince
	}
	return m.TroubleSince
}

// troubleCell tells why a minion gets no orders, and since when.
func (mv minionVerbs) troubleCell(m api.Minion) string {
	if m.Trouble == "" || m.TroubleSince.IsZero() {
		return m.Trouble
	}
	return m.Trouble + " since " + mv.stamp(m.TroubleSince)
}

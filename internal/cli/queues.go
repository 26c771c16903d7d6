package cli

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
)

// queued is a row of `minions queues`.
type queued struct {
	Node string
	api.MinionDispatch
}

func (mv minionVerbs) queuesCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "queues", Args: noArgs,
		Short: "Show what is on its way to minions",
		Long: "Show what waits for minions and what is with them, how long, and what was dropped:\n" +
			"for each node, and for each minion of which there is something to tell.",
		Example: "  carillon minions queues\n  carillon minions queues --all",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var v api.Dispatch
			v, err := mv.client.Cluster.Dispatch(cmd.Context(), all)
			if err != nil {
				return err
			}
			if v.Missing != "" {
				mv.note("some nodes did not answer: %s", v.Missing)
			}
			if mv.asObject() {
				return mv.printValue(v)
			}
			return mv.showQueues(v)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "also minions of which there is nothing to tell")
	return cmd
}

func (mv minionVerbs) showQueues(v api.Dispatch) error {
	type node = api.NodeDispatch
	if err := printList(&mv.printer, v.Nodes, table[node]{none: "no nodes", name: func(n node) string { return string(n.Node) }, columns: []column[node]{
		{head: "NODE", cell: func(n node) string { return string(n.Node) }},
		{head: "CONNECTED", cell: func(n node) string { return strconv.Itoa(n.Connected) }},
		{head: "QUEUED", cell: func(n node) string { return strconv.Itoa(n.Queued) }},
		{head: "IN FLIGHT", cell: func(n node) string { return strconv.Itoa(n.InFlight) }},
		{head: "FORWARDED", cell: func(n node) string { return strconv.Itoa(n.Forwarded) }},
		{head: "TAKEN", cell: func(n node) string { return strconv.FormatUint(n.Taken, 10) }},
		{head: "PER SECOND", cell: func(n node) string { return fmt.Sprintf("%.1f", n.TakenPerSecond) }},
		{head: "DROPPED", cell: func(n node) string { return strconv.FormatUint(n.Dropped, 10) }},
	}}); err != nil || mv.output == formatName {
		return err
	}
	var rows []queued
	for _, n := range v.Nodes {
		for _, m := range n.Minions {
			rows = append(rows, queued{string(n.Node), m})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	fmt.Fprintln(mv.out)
	return printTable(mv.out, rows, []column[queued]{
		{head: "MINION", cell: func(q queued) string { return string(q.ID) }},
		{head: "NODE", cell: func(q queued) string { return q.Node }},
		{head: "QUEUED", cell: func(q queued) string { return strconv.Itoa(q.Queued) }},
		{head: "IN FLIGHT", cell: func(q queued) string { return strconv.Itoa(q.InFlight) }},
		{head: "OLDEST", cell: func(q queued) string {
			if q.Oldest == 0 {
				return ""
			}
			return q.Oldest.Round(time.Millisecond).String()
		}},
		{head: "TAKEN", cell: func(q queued) string { return strconv.FormatUint(q.Taken, 10) }},
		{head: "DROPPED", cell: func(q queued) string { return strconv.FormatUint(q.Dropped, 10) }},
		{head: "PROBLEM", cell: func(q queued) string { return q.Trouble }},
	}, mv.output == formatWide, "")
}

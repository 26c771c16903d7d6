package cli

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// topVerbs show who has the most to do.
type topVerbs struct{ *call }

// defaultTop is how many top shows.
const defaultTop = 20

func (a *app) topCommand() *cobra.Command {
	tv := topVerbs{a.call}
	cmd := &cobra.Command{
		Use: "top minions|nodes|jobs", GroupID: groupCluster, Args: noOrder,
		Short:   "Show which minions, nodes or jobs have the most running now",
		Example: "  carillon top minions\n  carillon top jobs -A --watch",
		RunE:    needsNoun,
	}
	cmd.AddCommand(tv.topMinionsCommand(), tv.topNodesCommand(), tv.topJobsCommand())
	for _, c := range cmd.Commands() {
		a.addListFlags(c)
	}
	return cmd
}

// first returns the first of a list that is sorted already.
func first[T any](all []T, limit int) ([]T, error) {
	if limit < 1 {
		return nil, usagef("--limit %d: give a number above zero", limit)
	}
	return all[:min(limit, len(all))], nil
}

func limitFlag(cmd *cobra.Command, limit *int) {
	cmd.Flags().IntVar(limit, "limit", defaultTop, "how many at most, `N`")
}

func (tv topVerbs) topMinionsCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "minions", Aliases: []string{"minion"}, Args: noArgs,
		Short: "Show which minions have the most tasks running", Example: "  carillon top minions --limit 5",
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := tv.client.Minions.List(cmd.Context())
			if err != nil {
				return err
			}
			slices.SortStableFunc(all, func(x, y api.Minion) int {
				return cmp.Or(cmp.Compare(y.Running, x.Running), cmp.Compare(x.ID, y.ID))
			})
			shown, err := first(all, limit)
			if err != nil {
				return err
			}
			type minion = api.Minion
			return printList(&tv.printer, shown, table[minion]{none: "no minions", rolling: true, name: func(m minion) string { return string(m.ID) }, columns: []column[minion]{
				{head: "MINION", cell: func(m minion) string { return string(m.ID) }},
				{head: "RUNNING", cell: func(m minion) string { return strconv.Itoa(m.Running) }},
				{head: "STATE", toned: true, cell: minionState},
				{head: "NODE", cell: func(m minion) string { return string(m.Node) }},
			}})
		},
	}
	limitFlag(cmd, &limit)
	return cmd
}

// nodeLoad is what a node has to do.
type nodeLoad struct {
	Name job.NodeID `json:"name"`
	// Running is how many tasks run on the minions that are connected to the node.
	Running int    `json:"running"`
	Minions int    `json:"minions"`
	Shards  int    `json:"shards"`
	Phase   string `json:"phase"`
	Health  string `json:"health"`
}

func (tv topVerbs) topNodesCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "nodes", Aliases: []string{"node"}, Args: noArgs,
		Short:   "Show the nodes by the tasks that run on their minions",
		Example: "  carillon top nodes",
		RunE: func(cmd *cobra.Command, _ []string) error {
			nodes, err := tv.client.Nodes.List(cmd.Context())
			if err != nil {
				return err
			}
			minions, err := tv.client.Minions.List(cmd.Context())
			if err != nil {
				return err
			}
			running := map[job.NodeID]int{}
			for _, m := range minions {
				running[m.Node] += m.Running
			}
			var all []nodeLoad
			for _, n := range nodes {
				all = append(all, nodeLoad{n.Name, running[n.Name], n.Minions, n.Shards, n.Phase, nodeHealth(n)})
			}
			slices.SortStableFunc(all, func(x, y nodeLoad) int {
				return cmp.Or(cmp.Compare(y.Running, x.Running), cmp.Compare(x.Name, y.Name))
			})
			shown, err := first(all, limit)
			if err != nil {
				return err
			}
			return printList(&tv.printer, shown, table[nodeLoad]{none: "no nodes", rolling: true, name: func(n nodeLoad) string { return string(n.Name) }, columns: []column[nodeLoad]{
				{head: "NODE", cell: func(n nodeLoad) string { return string(n.Name) }},
				{head: "RUNNING", cell: func(n nodeLoad) string { return strconv.Itoa(n.Running) }},
				{head: "MINIONS", cell: func(n nodeLoad) string { return strconv.Itoa(n.Minions) }},
				{head: "SHARDS", cell: func(n nodeLoad) string { return strconv.Itoa(n.Shards) }},
				{head: "PHASE", toned: true, cell: func(n nodeLoad) string { return n.Phase }},
				{head: "HEALTH", toned: true, cell: func(n nodeLoad) string { return n.Health }},
			}})
		},
	}
	limitFlag(cmd, &limit)
	return cmd
}

func (tv topVerbs) topJobsCommand() *cobra.Command {
	var (
		all   bool
		limit int
	)
	cmd := &cobra.Command{
		Use: "jobs", Aliases: []string{"job"}, Args: noArgs,
		Short:   "Show which jobs have the most runs under way",
		Example: "  carillon top jobs -A",
		RunE: func(cmd *cobra.Command, _ []string) error {
			jobs, err := tv.client.Jobs.List(cmd.Context(), api.JobQuery{Namespace: tv.listed(all)})
			if err != nil {
				return err
			}
			jobs = slices.DeleteFunc(jobs, func(v api.Job) bool { return v.Running+v.Waiting == 0 && !v.RunningUnknown })
			slices.SortStableFunc(jobs, func(x, y api.Job) int {
				return cmp.Or(cmp.Compare(y.Running, x.Running), cmp.Compare(y.Waiting, x.Waiting), cmp.Compare(x.Key().String(), y.Key().String()))
			})
			shown, err := first(jobs, limit)
			if err != nil {
				return err
			}
			return printList(&tv.printer, shown, table[api.Job]{none: "nothing runs " + tv.where(all), rolling: true, name: func(v api.Job) string { return v.Key().String() }, columns: []column[api.Job]{
				{head: "JOB", cell: func(v api.Job) string { return v.Key().String() }},
				{head: "RUNNING", cell: runningCell},
				{head: "WAITING", cell: func(v api.Job) string { return strconv.Itoa(v.Waiting) }},
				{head: "LAST", toned: true, cell: jobVerbs(tv).lastRun},
			}})
		},
	}
	tv.allNamespaces(cmd, &all)
	limitFlag(cmd, &limit)
	return cmd
}

package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

func (a *app) getCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "get WHAT", GroupID: groupJobs,
		Short:   "List jobs, groups, hostgroups, calendars, scripts, roles, rolebindings, runs, pauses, backfills, nodes, minions or shards, or show one",
		Example: "  carillon get jobs\n  carillon get job backup -o yaml > backup.yaml",
		RunE:    needsNoun,
	}
	cmd.AddCommand(a.getJobsCommand(), a.getGroupsCommand(), a.getHostGroupsCommand(), a.getCalendarsCommand(), a.getScriptsCommand(), a.getRolesCommand(), a.getRoleBindingsCommand(), a.getRunsCommand(), a.getPausesCommand(), a.getBackfillsCommand(), a.nodesCommand(""), a.minionsCommand(""), a.shardsCommand(""))
	return cmd
}

// needsNoun is run when the word after a verb is missing, or unknown.
func needsNoun(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return unknownWord(cmd, "thing to "+cmd.Name(), args[0])
	}
	var nouns []string
	for _, c := range cmd.Commands() {
		nouns = append(nouns, c.Name())
	}
	return usagef("%s: specify a resource: %s", cmd.Name(), strings.Join(nouns, ", "))
}

func (a *app) getJobsCommand() *cobra.Command {
	var (
		all    bool
		labels []string
	)
	cmd := &cobra.Command{
		Use: "jobs [NAME]", Aliases: []string{"job"}, Args: atMostOne, ValidArgsFunction: a.completeJobs,
		Short: "List jobs, or show one",
		Long: "List jobs, or show one. With -o yaml jobs are printed as manifests that\n" +
			"`carillon apply` takes back.",
		Example: "  carillon get jobs -A\n  carillon get jobs -l team=db\n  carillon get job backup -o yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.getJob(cmd, args[0])
			}
			q := api.JobQuery{Namespace: a.listed(all), Labels: map[string]string{}}
			for _, l := range labels {
				k, v, ok := strings.Cut(l, "=")
				if !ok || k == "" {
					return usagef("--label %q: want KEY=VALUE", l)
				}
				q.Labels[k] = v
			}
			jobs, err := a.client.Jobs.List(cmd.Context(), q)
			if err != nil {
				return err
			}
			return printList(a, jobs, a.jobTable(all))
		},
	}
	a.allNamespaces(cmd, &all)
	cmd.Flags().StringArrayVarP(&labels, "label", "l", nil, "only jobs with this label, `KEY=VALUE` (may be given several times)")
	return cmd
}

func (a *app) getJob(cmd *cobra.Command, name string) error {
	key, err := a.key(name)
	if err != nil {
		return err
	}
	view, err := a.client.Jobs.Get(cmd.Context(), key)
	if err != nil {
		return err
	}
	return printOne(a, view, a.jobTable(false))
}

// allNamespaces adds -A to a verb that lists.
func (a *app) allNamespaces(cmd *cobra.Command, all *bool) {
	cmd.Flags().BoolVarP(all, "all-namespaces", "A", false, "in all namespaces")
}

// listed returns the namespace to list; "" stands for all.
func (a *app) listed(all bool) string {
	if all {
		return ""
	}
	return a.namespace
}

// where says where nothing was found.
func (a *app) where(all bool) string {
	if all {
		return "in any namespace"
	}
	return fmt.Sprintf("in namespace %q", a.namespace)
}

// runningCell is how many runs of a job run, as far as that is known now.
func runningCell(v api.Job) string {
	switch {
	case !v.RunningUnknown:
		return strconv.Itoa(v.Running)
	case v.Running > 0:
		return strconv.Itoa(v.Running) + "+?"
	}
	return "?"
}

func (a *app) jobTable(all bool) table[api.Job] {
	type view = api.Job
	t := table[view]{
		none: "no jobs " + a.where(all) + "; create one with `carillon apply -f FILE`",
		name: func(v view) string { return v.Key().String() },
		manifest: func(v view) any {
			return manifestOf[job.Spec]{job.APIVersion, job.KindJob, v.Metadata, v.Spec}
		},
		columns: []column[view]{
			{head: "NAME", cell: func(v view) string { return v.Name }},
			{head: "SCHEDULE", cell: func(v view) string { return schedules(v.Spec) }},
			{head: "NEXT", cell: func(v view) string { return a.nextCell(v) }},
			{head: "LAST", cell: a.lastRun},
			{head: "RUNNING", cell: runningCell},
			{head: "WAITING", wide: true, cell: func(v api.Job) string { return strconv.Itoa(v.Waiting) }},
			{head: "ENABLED", cell: func(v view) string { return enabledCell(v) }},
			{head: "GROUP", wide: true, cell: func(v view) string { return v.Spec.Group }},
			{head: "ZONE", wide: true, cell: func(v view) string { return zoneName(v.Spec) }},
			{head: "NEXT AT", wide: true, cell: func(v view) string { return a.stamp(v.NextAt) }},
			{head: "IN WORDS", wide: true, cell: func(v view) string { return strings.Join(v.Words, "; ") }},
			{head: "SHARD", wide: true, cell: func(v view) string { return v.Shard.String() }},
			{head: "LABELS", wide: true, cell: func(v view) string { return pairs(v.Labels) }},
		},
	}
	if all {
		t.columns = append([]column[view]{{head: "NAMESPACE", cell: func(v view) string { return v.Namespace }}}, t.columns...)
	}
	return t
}

// nextCell tells when a job runs next, or in brackets why it does not.
func (a *app) nextCell(v api.Job) string {
	switch {
	case v.NextAt.IsZero() && v.NoNext != "":
		return "(" + v.NoNext + ")"
	case !v.NextStartsAt.IsZero():
		return a.relative(v.NextAt) + " +" + short(v.NextStartsAt.Sub(v.NextAt))
	}
	return a.relative(v.NextAt)
}

// lastRun returns "succeeded 3m ago".
func (a *app) lastRun(v api.Job) string {
	if len(v.Last) == 0 {
		return ""
	}
	r := v.Last[0]
	at := r.EndedAt
	if at.IsZero() {
		at = r.ScheduledAt
	}
	return string(r.State) + " " + a.relative(at)
}

func schedules(s job.Spec) string {
	all := slices.Clone(s.Schedules)
	if s.After != nil {
		all = append(all, "after "+strings.Join(s.After.Jobs, ", "))
	}
	if s.Watch != nil {
		all = append(all, "key "+s.Watch.Key)
	}
	if s.Webhook != nil {
		all = append(all, "webhook")
	}
	if len(all) == 0 {
		return "manual"
	}
	return strings.Join(all, "; ")
}

func zoneName(s job.Spec) string { return orText(s.TimeZone, "UTC") }

// zoneText tells that a zone is the default where none is given.
func zoneText(s *job.Spec) string {
	if s.TimeZone == "" && len(s.Schedules) > 0 {
		return "UTC (the default)"
	}
	return zoneName(*s)
}

// timeoutText tells that a time-out is the default where none is given.
func timeoutText(s *job.Spec) string {
	if s.Timeout == 0 {
		return s.EffectiveTimeout().String() + " (the default)"
	}
	return s.EffectiveTimeout().String()
}

// orNone writes a duration that is given; empty: it is not.
func orNone(d job.Duration) string {
	if d == 0 {
		return ""
	}
	return "up to " + d.String()
}

// enabledCell tells whether a job fires by its schedule.
func enabledCell(v api.Job) string {
	if v.Aside != nil {
		return "set aside"
	}
	if v.Paused != nil {
		return "paused"
	}
	return yesNo(v.Spec.IsEnabled())
}

func atMostOne(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef("%s: specify one name at most (got %d)", cmd.CommandPath(), len(args))
	}
	return nil
}

// someOf refuses no argument; what says what one is.
func someOf(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef("%s: specify a %s", cmd.CommandPath(), what)
		}
		return nil
	}
}

// exactlyOne refuses anything but one argument; what says what it is.
func exactlyOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usagef("%s: specify one %s (got %d)", cmd.CommandPath(), what, len(args))
		}
		return nil
	}
}

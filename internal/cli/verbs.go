package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) getCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "get WHAT", GroupID: groupJobs,
		Short:   "List jobs, groups, hostgroups, calendars, queues, scripts, secrets, notifiers, defaults, roles, rolebindings, runs, pauses, backfills, nodes, minions or shards, or show one",
		Example: "  carillon get jobs --sort-by nextAt\n  carillon get job/backup -o jsonpath='{.nextAt}'\n  carillon get runs --watch",
		RunE:    needsNoun,
	}
	cmd.AddCommand(jobVerbs{a.call}.getJobsCommand(), groupVerbs{a.call}.getGroupsCommand(), hostGroupVerbs{a.call}.getHostGroupsCommand(), calendarVerbs{a.call}.getCalendarsCommand(), queueVerbs{a.call}.getQueuesCommand(), scriptVerbs{a.call}.getScriptsCommand(), secretVerbs{a.call}.getSecretsCommand(), notifierVerbs{a.call}.getNotifiersCommand(), defaultsVerbs{a.call}.getDefaultsCommand(), roleVerbs{a.call}.getRolesCommand(), roleVerbs{a.call}.getRoleBindingsCommand(), runVerbs{a.call}.getRunsCommand(), pauseVerbs{a.call}.getPausesCommand(), backfillVerbs{a.call}.getBackfillsCommand(), nodeVerbs{a.call}.nodesCommand(""), minionVerbs{a.call}.minionsCommand(""), shardVerbs{a.call}.shardsCommand(""))
	for _, c := range cmd.Commands() {
		a.addListFlags(c)
	}
	return cmd
}

// takeSeveral has a verb of one name take several, one after the other. What can be done is
// done; what was in the way of others is told at the end.
func (a *app) takeSeveral(cmd *cobra.Command) {
	one, check, complete := cmd.RunE, cmd.Args, cmd.ValidArgsFunction
	for _, word := range []string{"NAME[@VERSION]", "NAME", "JOB@TIME", "JOB", "ID", "RUN"} {
		if before, after, found := strings.Cut(cmd.Use, " "+word); found {
			cmd.Use = before + " " + word + "..." + after
			break
		}
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return nil
		}
		return check(cmd, args)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) < 2 {
			return one(cmd, args)
		}
		var failed []error
		for i, name := range args {
			if i > 0 {
				a.betweenThings(cmd)
			}
			if err := one(cmd, []string{name}); err != nil {
				failed = append(failed, err)
			}
			if cmd.Context().Err() != nil {
				break
			}
		}
		return errors.Join(failed...)
	}
	if complete != nil {
		cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
			names, directive := complete(cmd, nil, begun)
			return slices.DeleteFunc(names, func(c cobra.Completion) bool {
				name, _, _ := strings.Cut(c, "\t")
				return slices.Contains(args, name)
			}), directive
		}
	}
}

// betweenThings keeps apart what is printed of several things.
func (a *app) betweenThings(cmd *cobra.Command) {
	switch {
	case a.output == formatYAML:
		fmt.Fprintln(a.out, "---")
	case cmd.Parent().Name() == "describe" && !a.asObject() && a.output != formatName:
		fmt.Fprintln(a.out)
	}
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

func (a *app) describeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "describe WHAT NAME...", GroupID: groupJobs,
		Short:   "Show details of a job, a run, a fire, a group, a host group, a script, a secret, a notifier, a calendar, a queue, a role, a lock, a minion or a node",
		Example: "  carillon describe job backup\n  carillon describe run 9x2k-0c4g6q8m2s4v6x8z\n  carillon describe fire backup@2027-01-31T02:30:00Z",
		RunE:    needsNoun,
	}
	cmd.AddCommand(
		jobVerbs{a.call}.describeJobCommand(), runVerbs{a.call}.describeRunCommand(),
		groupVerbs{a.call}.describeGroupCommand(), jobVerbs{a.call}.describeFireCommand(), scriptVerbs{a.call}.describeScriptCommand(), secretVerbs{a.call}.describeSecretCommand(), notifierVerbs{a.call}.describeNotifierCommand(), minionVerbs{a.call}.describeMinionCommand(),
		nodeVerbs{a.call}.describeNodeCommand(), calendarVerbs{a.call}.describeCalendarCommand(), queueVerbs{a.call}.describeQueueCommand(), hostGroupVerbs{a.call}.describeHostGroupCommand(), roleVerbs{a.call}.describeRoleCommand(), lockVerbs{a.call}.describeLockCommand(),
	)
	for _, c := range cmd.Commands() {
		a.takeSeveral(c)
	}
	return cmd
}

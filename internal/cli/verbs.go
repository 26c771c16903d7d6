package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) getCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "get WHAT", GroupID: groupJobs,
		Short:   "List jobs, groups, hostgroups, calendars, queues, scripts, secrets, roles, rolebindings, runs, pauses, backfills, nodes, minions or shards, or show one",
		Example: "  carillon get jobs\n  carillon get job backup -o yaml > backup.yaml",
		RunE:    needsNoun,
	}
	cmd.AddCommand(jobVerbs{a.call}.getJobsCommand(), groupVerbs{a.call}.getGroupsCommand(), hostGroupVerbs{a.call}.getHostGroupsCommand(), calendarVerbs{a.call}.getCalendarsCommand(), queueVerbs{a.call}.getQueuesCommand(), scriptVerbs{a.call}.getScriptsCommand(), secretVerbs{a.call}.getSecretsCommand(), roleVerbs{a.call}.getRolesCommand(), roleVerbs{a.call}.getRoleBindingsCommand(), runVerbs{a.call}.getRunsCommand(), pauseVerbs{a.call}.getPausesCommand(), backfillVerbs{a.call}.getBackfillsCommand(), nodeVerbs{a.call}.nodesCommand(""), minionVerbs{a.call}.minionsCommand(""), shardVerbs{a.call}.shardsCommand(""))
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

func (a *app) describeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "describe WHAT NAME", GroupID: groupJobs,
		Short:   "Show details of a job, a run, a fire, a group, a host group, a script, a secret, a calendar, a queue, a role, a lock, a minion or a node",
		Example: "  carillon describe job backup\n  carillon describe run 9x2k-0c4g6q8m2s4v6x8z\n  carillon describe fire backup@2027-01-31T02:30:00Z",
		RunE:    needsNoun,
	}
	cmd.AddCommand(
		jobVerbs{a.call}.describeJobCommand(), runVerbs{a.call}.describeRunCommand(),
		groupVerbs{a.call}.describeGroupCommand(), jobVerbs{a.call}.describeFireCommand(), scriptVerbs{a.call}.describeScriptCommand(), secretVerbs{a.call}.describeSecretCommand(), minionVerbs{a.call}.describeMinionCommand(),
		nodeVerbs{a.call}.describeNodeCommand(), calendarVerbs{a.call}.describeCalendarCommand(), queueVerbs{a.call}.describeQueueCommand(), hostGroupVerbs{a.call}.describeHostGroupCommand(), roleVerbs{a.call}.describeRoleCommand(), lockVerbs{a.call}.describeLockCommand(),
	)
	return cmd
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

func (mf manifestVerbs) deleteCommand() *cobra.Command {
	var (
		src sourceFlags
		yes bool
	)
	jobs := &cobra.Command{
		Use: "job NAME...", Aliases: []string{"jobs"}, Args: someOf("job"), ValidArgsFunction: mf.completeJobs,
		Short:   "Delete jobs; their runs in flight go on",
		Example: "  carillon delete job backup\n  carillon delete job a b c --yes",
		RunE: func(cmd *cobra.Command, args []string) error {
			return mf.deleteNamed(cmd, job.KindJob, args, yes)
		},
	}
	groups := &cobra.Command{
		Use: "group NAME...", Aliases: []string{"groups"}, Args: someOf("group"), ValidArgsFunction: mf.completeGroups,
		Short:   "Delete groups that have no jobs",
		Long:    "Delete groups. One that has jobs, or whose jobs' runs have not ended, is not\ndeleted.",
		Example: "  carillon delete group ledger",
		RunE: func(cmd *cobra.Command, args []string) error {
			return mf.deleteNamed(cmd, job.KindGroup, args, yes)
		},
	}
	cmd := &cobra.Command{
		Use: "delete job|group|hostgroup|calendar|queue|script|secret|role|rolebinding NAME... | -f FILE|DIR|-", GroupID: groupJobs,
		Short:   "Delete jobs and groups, by name or by file",
		Long:    "Delete jobs and groups, by name or all that are in a file. Jobs' runs in flight\ngo on. More than one needs --yes.",
		Example: "  carillon delete job backup\n  carillon delete -f backup.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownWord(cmd, "thing to delete", args[0])
			}
			if len(src.files) == 0 {
				return usagef("specify what to delete: job NAME, group NAME, hostgroup NAME, calendar NAME, queue NAME, script NAME, secret NAME, notifier NAME, defaults NAME, role NAME, rolebinding NAME, or -f FILE")
			}
			files, err := mf.readManifests(src)
			if err != nil {
				return err
			}
			inFiles, err := mf.thingsIn(cmd, files)
			if err != nil {
				return err
			}
			return mf.deleteAll(cmd, inFiles, yes)
		},
	}
	src.add(cmd)
	hosts, calendars, scripts := hostGroupVerbs(mf).deleteHostGroupsCommand(&yes), calendarVerbs(mf).deleteCalendarsCommand(&yes), scriptVerbs(mf).deleteScriptsCommand(&yes)
	roles, bindings := roleVerbs(mf).deleteRolesCommand(&yes), roleVerbs(mf).deleteRoleBindingsCommand(&yes)
	queues, secrets := queueVerbs(mf).deleteQueuesCommand(&yes), secretVerbs(mf).deleteSecretsCommand(&yes)
	told, defaults := notifierVerbs(mf).deleteNotifiersCommand(&yes), defaultsVerbs(mf).deleteDefaultsCommand(&yes)
	for _, c := range []*cobra.Command{cmd, jobs, groups, hosts, calendars, queues, scripts, secrets, told, defaults, roles, bindings} {
		c.Flags().BoolVar(&yes, "yes", false, "delete more than one")
		reasonFlag(c, &mf.reason)
	}
	cmd.AddCommand(jobs, groups, hosts, calendars, queues, scripts, secrets, told, defaults, roles, bindings, backfillVerbs(mf).deleteBackfillCommand())
	return cmd
}

// thing is what can be deleted, of one of manifest.Kinds.
type thing struct {
	kind string
	key  job.Key
}

func (t thing) String() string { return describeResult(t.result("")) }

func (mf manifestVerbs) deleteNamed(cmd *cobra.Command, kind string, names []string, yes bool) error {
	things := make([]thing, len(names))
	for i, name := range names {
		key, err := mf.keyOf(strings.ToLower(kind), name)
		if err != nil {
			return err
		}
		things[i] = thing{kind, key}
	}
	return mf.deleteAll(cmd, things, yes)
}

// thingsIn returns what is in files, jobs before what they name.
func (mf manifestVerbs) thingsIn(cmd *cobra.Command, files []manifestFile) ([]thing, error) {
	var (
		things   []thing
		problems []job.Problem
	)
	for _, f := range files {
		objects, err := manifest.DecodeNames(f.name, f.body)
		if invalid, ok := errors.AsType[*job.InvalidError](err); ok {
			problems = append(problems, invalid.Problems...)
		}
		for i := range objects {
			t := thing{objects[i].Kind, objects[i].Metadata.Key()}
			problems = append(problems, mf.foreign(cmd, f.name, t.String(), t.key.Namespace)...)
			if !slices.Contains(things, t) {
				things = append(things, t)
			}
		}
	}
	if len(problems) > 0 {
		return nil, &job.InvalidError{Problems: problems}
	}
	order := manifest.Kinds() // it begins with jobs
	slices.SortStableFunc(things, func(x, y thing) int { return slices.Index(order, x.kind) - slices.Index(order, y.kind) })
	return things, nil
}

// actionDeleted is what delete prints beside the actions of apply.
const actionDeleted api.Action = "deleted"

// deleteAll deletes as many of the things as it can, and returns all that was
// in the way.
func (mf manifestVerbs) deleteAll(cmd *cobra.Command, things []thing, yes bool) error {
	if len(things) > 1 && !yes {
		names := make([]string, len(things))
		for i, t := range things {
			names[i] = t.key.String()
		}
		return usagef("named are %s (%s): to delete more than one, add --yes", counted(things), strings.Join(names, ", "))
	}
	done, failed := mf.remove(client.Because(cmd.Context(), mf.reason), things)
	if err := mf.printResults(done, ""); err != nil {
		return err
	}
	return failed
}

// remove deletes as many of the things as it can. It returns those, and all that was in
// the way.
func (mf manifestVerbs) remove(ctx context.Context, things []thing) ([]api.ApplyResult, error) {
	var (
		done   []api.ApplyResult
		failed []error
	)
	for _, t := range things {
		var holds time.Time
		remove := func(ctx context.Context, key job.Key) (err error) {
			holds, err = mf.client.Jobs.Delete(ctx, key)
			return err
		}
		switch t.kind {
		case job.KindGroup:
			remove = mf.client.Groups.Delete
		case job.KindCalendar:
			remove = mf.client.Calendars.Delete
		case job.KindQueue:
			remove = mf.client.Queues.Delete
		case job.KindSecret:
			remove = mf.client.Secrets.Delete
		case job.KindNotifier:
			remove = mf.client.Notifiers.Delete
		case job.KindDefaults:
			remove = mf.client.Defaults.Delete
		case job.KindScript:
			remove = mf.client.Scripts.Delete
		case job.KindRole:
			remove = func(ctx context.Context, key job.Key) error { return mf.client.Roles.Delete(ctx, key.Name) }
		case job.KindRoleBinding:
			remove = func(ctx context.Context, key job.Key) error { return mf.client.Bindings.Delete(ctx, key.Name) }
		case job.KindHostGroup:
			remove = func(ctx context.Context, key job.Key) error { return mf.client.HostGroups.Delete(ctx, key.Name) }
		}
		if err := remove(ctx, t.key); err != nil {
			if _, told := errors.AsType[*client.Error](err); !told { // the API says of what it speaks
				err = fmt.Errorf("delete %s: %w", t, err)
			}
			failed = append(failed, err)
			if ctx.Err() != nil {
				break
			}
			continue
		}
		r := t.result(actionDeleted)
		r.HoldsFrom = holds
		done = append(done, r)
	}
	return done, errors.Join(failed...)
}

// counted says how many there are of each kind.
func counted(things []thing) string {
	count := map[string]int{}
	for _, t := range things {
		count[t.kind]++
	}
	var parts []string
	for _, kind := range manifest.Kinds() {
		switch n := count[kind]; {
		case n == 1:
			parts = append(parts, "1 "+strings.ToLower(kind))
		case n > 1:
			parts = append(parts, fmt.Sprintf("%d %ss", n, strings.ToLower(kind)))
		}
	}
	return strings.Join(parts, " and ")
}

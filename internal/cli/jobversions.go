package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// jobVersionVerbs are the verbs of what a job was before its last edits.
type jobVersionVerbs struct{ *call }

func (vv jobVersionVerbs) versionsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "versions JOB", GroupID: groupJobs, Args: exactlyOne("job"), ValidArgsFunction: vv.completeJobs,
		Short: "List what a job was before its last edits",
		Long: "List what a job was before its last edits, the newest first: until when, and who had\n" +
			"applied it. With -o yaml each is printed whole. `carillon rollback` makes the job so again.",
		Example: "  carillon versions backup\n  carillon versions backup -o jsonpath='{[0].spec.schedules}'",
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := vv.keyOf("job", args[0])
			if err != nil {
				return err
			}
			all, err := vv.client.Jobs.Versions(cmd.Context(), key)
			if err != nil {
				return err
			}
			return printList(&vv.printer, all, table[job.Former]{
				none: "job " + key.String() + " has not been edited",
				name: func(v job.Former) string { return strconv.FormatInt(v.Generation, 10) },
				columns: []column[job.Former]{
					{head: "GENERATION", cell: func(v job.Former) string { return strconv.FormatInt(v.Generation, 10) }},
					{head: "FROM", cell: func(v job.Former) string { return vv.stamp(v.UpdatedAt) }},
					{head: "UNTIL", cell: func(v job.Former) string { return vv.stamp(v.ReplacedAt) }},
					{head: "BY", cell: func(v job.Former) string { return orDash(v.AppliedBy) }},
				},
			})
		},
	}
}

func (vv jobVersionVerbs) rollbackCommand() *cobra.Command {
	var (
		to     int64
		dry    bool
		reason string
	)
	cmd := &cobra.Command{
		Use: "rollback JOB", GroupID: groupJobs, Args: exactlyOne("job"), ValidArgsFunction: vv.completeJobs,
		Short: "Make a job again what it was before an edit",
		Long: "Make a job again what it was before its last edit, or at the generation --to: schedule,\n" +
			"command, labels and all else that its file says. That is a new edit, which can be rolled\n" +
			"back as well. What the job has run stays. With --dry-run it is shown what would change.",
		Example: "  carillon rollback backup --dry-run\n  carillon rollback backup --to 3 --reason \"the new disk is full\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := vv.keyOf("job", args[0])
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("to") && to < 1 {
				return usagef("--to %d: give a generation of `carillon versions %s`", to, key)
			}
			was, err := vv.versionOf(cmd.Context(), key, to)
			if err != nil {
				return err
			}
			if dry {
				return vv.showRollback(cmd.Context(), key, &was)
			}
			r, err := vv.client.Jobs.RollBack(cmd.Context(), key, was.Generation, api.Order{By: vv.user(), Reason: reason})
			if err != nil {
				return err
			}
			what := fmt.Sprintf("rolled back to generation %d", was.Generation)
			if r.Action == api.ActionUnchanged {
				what = fmt.Sprintf("is as it was at generation %d already", was.Generation)
			}
			return vv.printHeld(heldOutcome{outcome{"job", key.String(), what}, r.HoldsFrom})
		},
	}
	cmd.Flags().Int64Var(&to, "to", 0, "the generation `N` that the job is to be as (default: the one before the last edit)")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "show what would change, and change nothing")
	reasonFlag(cmd, &reason)
	return cmd
}

// versionOf is what a job was at a generation; 0: before its last edit.
func (vv jobVersionVerbs) versionOf(ctx context.Context, key job.Key, generation int64) (job.Former, error) {
	all, err := vv.client.Jobs.Versions(ctx, key)
	if err != nil {
		return job.Former{}, err
	}
	for i := range all {
		if generation == 0 || all[i].Generation == generation {
			return all[i], nil
		}
	}
	if generation == 0 {
		return job.Former{}, fmt.Errorf("job %s has not been edited: there is nothing to roll back to: %w", key, job.ErrNotFound)
	}
	return job.Former{}, fmt.Errorf("job %s has no version %d before its last edits; see `carillon versions %[1]s`: %[3]w", key, generation, job.ErrNotFound)
}

// showRollback prints what rolling back would change.
func (vv jobVersionVerbs) showRollback(ctx context.Context, key job.Key, was *job.Former) error {
	now, err := vv.client.Jobs.Get(ctx, key)
	if err != nil {
		return err
	}
	is := jobObject(&now)
	then := manifest.Object{Kind: job.KindJob, Metadata: is.Metadata, Spec: was.Spec}
	then.Metadata.Labels, then.Metadata.Annotations = was.Labels, was.Annotations
	before, err := encoded(&is)
	if err != nil {
		return err
	}
	after, err := encoded(&then)
	if err != nil {
		return err
	}
	return manifestVerbs(vv).printDiff(string(diff.Diff(fmt.Sprintf("generation %d", now.Generation), before, fmt.Sprintf("generation %d", was.Generation), after)))
}

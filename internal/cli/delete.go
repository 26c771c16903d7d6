package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/internal/control"
	"github.com/carillon-cron/carillon/job"
)

func (a *app) deleteCommand() *cobra.Command {
	var (
		sources []string
		yes     bool
	)
	jobs := &cobra.Command{
		Use: "job NAME...", Aliases: []string{"jobs"}, ValidArgsFunction: a.completeJobs,
		Short:   "Delete jobs; their runs in flight go on",
		Example: "  carillon delete job backup\n  carillon delete job a b c --yes",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("%s needs the name of a job", cmd.CommandPath())
			}
			keys := make([]job.Key, len(args))
			for i, name := range args {
				var err error
				if keys[i], err = a.key(name); err != nil {
					return err
				}
			}
			return a.deleteJobs(cmd, keys, yes)
		},
	}
	cmd := &cobra.Command{
		Use: "delete job NAME... | -f FILE|DIR|-", GroupID: groupJobs,
		Short:   "Delete jobs, by name or by file",
		Long:    "Delete jobs, by name or all that are in a file. Their runs in flight go on.\nMore than one job needs --yes.",
		Example: "  carillon delete job backup\n  carillon delete -f backup.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownWord(cmd, "thing to delete", args[0])
			}
			if len(sources) == 0 {
				return usagef("delete what? give job NAME, or -f FILE")
			}
			files, err := a.readManifests(sources)
			if err != nil {
				return err
			}
			inFiles, err := a.checkManifests(cmd, files)
			if err != nil {
				return err
			}
			keys := make([]job.Key, len(inFiles))
			for i, r := range inFiles {
				keys[i] = job.Key{Namespace: r.Namespace, Name: r.Name}
			}
			return a.deleteJobs(cmd, keys, yes)
		},
	}
	cmd.Flags().StringArrayVarP(&sources, "file", "f", nil, "delete the jobs of this `FILE`, directory or - (may be given several times)")
	cmd.Flags().BoolVar(&yes, "yes", false, "delete more than one job")
	jobs.Flags().BoolVar(&yes, "yes", false, "delete more than one job")
	cmd.AddCommand(jobs)
	return cmd
}

// actionDeleted is what delete prints beside the actions of apply.
const actionDeleted control.Action = "deleted"

// deleteJobs deletes as many of the jobs as it can, and returns all that was
// in the way.
func (a *app) deleteJobs(cmd *cobra.Command, keys []job.Key, yes bool) error {
	if len(keys) > 1 && !yes {
		names := make([]string, len(keys))
		for i, k := range keys {
			names[i] = k.String()
		}
		return usagef("this deletes %d jobs (%s); add --yes", len(keys), strings.Join(names, ", "))
	}
	var (
		done   []control.ApplyResult
		failed []error
	)
	for _, k := range keys {
		if err := a.client.deleteJob(cmd.Context(), k); err != nil {
			failed = append(failed, fmt.Errorf("delete job %s: %w", k, err))
			if cmd.Context().Err() != nil {
				break
			}
			continue
		}
		done = append(done, control.ApplyResult{Kind: job.KindJob, Namespace: k.Namespace, Name: k.Name, Action: actionDeleted})
	}
	if err := a.printResults(done, ""); err != nil {
		return err
	}
	return errors.Join(failed...)
}

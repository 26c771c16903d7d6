package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

func (rv runVerbs) cancelCommand() *cobra.Command {
	var (
		reason string
		wait   bool
	)
	cmd := &cobra.Command{
		Use: "cancel RUN", GroupID: groupRuns, Args: exactlyOne("run"),
		Short: "End a run, with the process trees of its commands",
		Long: "End a run: tasks that have not started never do, and minions end those that run, with\n" +
			"all their processes: first with SIGTERM, then with SIGKILL. A run whose minion is gone\n" +
			"ends at once, as indeterminate; the reason says what is not known. Once that minion is\n" +
			"connected again, it ends what it still runs of such a run.",
		Example: "  carillon cancel 9x2k-0c4g6q8m2s4v6x8z --reason \"wrong hosts\" --wait",
		RunE: func(cmd *cobra.Command, args []string) error {
			id := job.RunID(args[0])
			before, err := rv.client.Runs.Get(cmd.Context(), id)
			if err != nil {
				return fmt.Errorf("cancel: %w", err)
			}
			if err := rv.client.Runs.Cancel(cmd.Context(), id, api.Order{By: rv.user(), Reason: reason}); err != nil {
				return fmt.Errorf("cancel: %w", err)
			}
			switch {
			case before.State.Final() && !wait:
				return rv.printOutcome(outcome{"run", args[0], "has ended as " + string(before.State) + "; what its minions still run of it ends, once they are connected"})
			case !wait:
				return rv.printOutcome(outcome{"run", args[0], "is being cancelled"})
			}
			run, err := rv.wait(cmd.Context(), id, ended)
			if err != nil {
				return err
			}
			if err := printOne(&rv.printer, run, rv.runTable(false, "")); err != nil {
				return err
			}
			if run.State != job.StateCancelled {
				rv.code = exitFailed
			}
			return nil
		},
	}
	reasonFlag(cmd, &reason)
	cmd.Flags().BoolVarP(&wait, "wait", "w", false, "wait until the run has ended; the exit code is 0 if it was cancelled")
	return cmd
}

func (rv runVerbs) redoCommand() *cobra.Command {
	var (
		only   []string
		reason string
		wait   bool
	)
	cmd := &cobra.Command{
		Use: "redo RUN", GroupID: groupRuns, Args: exactlyOne("run"),
		Short: "Repeat a run, on all of its minions or on those where it failed",
		Long: "Repeat a run that has ended: the job as it is now, with the run's parameters, on\n" +
			"the run's minions. --only selects some of them by what became of it there:\n\n" +
			"  failed         it was started and did not succeed\n" +
			"  not-started    it was not started: the minion was not reached in time, or the\n                 rollout was stopped before\n" +
			"  indeterminate  nobody knows whether it ran\n" +
			"  succeeded      it succeeded\n\n" +
			"With --wait the exit code is that of the new run, as with `carillon exec`.",
		Example: "  carillon redo 9x2k-0c4g6q8m2s4v6x8z --only failed,not-started --wait",
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, o := range only {
				if err := oneOf("only", o, redoParts()); err != nil {
					return err
				}
			}
			parts := make([]api.RedoPart, len(only))
			for i, o := range only {
				parts[i] = api.RedoPart(o)
			}
			v, err := rv.client.Runs.Redo(cmd.Context(), job.RunID(args[0]), parts, api.Order{By: rv.user(), Reason: reason})
			if err != nil {
				return err
			}
			if !wait {
				return rv.printStarted(api.Started{RunID: v.RunID, FireID: v.FireID})
			}
			run, err := execVerbs(rv).followRun(cmd.Context(), v.RunID, true)
			if err != nil {
				return err
			}
			return execVerbs(rv).showExec(cmd.Context(), run, false, "")
		},
	}
	cmd.Flags().StringSliceVar(&only, "only", nil, "on which of its minions: `PART`s of failed, not-started, indeterminate, succeeded (default: all)")
	reasonFlag(cmd, &reason)
	cmd.Flags().BoolVarP(&wait, "wait", "w", false, "wait until the new run has ended; the exit code follows it")
	_ = cmd.RegisterFlagCompletionFunc("only", cobra.FixedCompletions(redoParts(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func redoParts() []string {
	var out []string
	for _, p := range api.RedoParts() {
		out = append(out, string(p))
	}
	return out
}

// resumeRunCommand is `resume run`.
func (rv runVerbs) resumeRunCommand() *cobra.Command {
	return &cobra.Command{
		Use: "run RUN", Args: exactlyOne("run"),
		Short:   "Continue a rollout after its canaries",
		Long:    "Let the rollout of a run go on that waits, after its canaries have succeeded, for\nsomebody to say so: its job has rollout.promote: manual.",
		Example: "  carillon resume run 9x2k-0c4g6q8m2s4v6x8z",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := rv.client.Runs.Promote(cmd.Context(), job.RunID(args[0]), api.Order{By: rv.user()}); err != nil {
				return fmt.Errorf("resume: %w", err)
			}
			return rv.printOutcome(outcome{"run", args[0], "resumed"})
		},
	}
}

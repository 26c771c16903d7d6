package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/job"
)

// startVerbs are the verbs that start jobs.
type startVerbs struct{ *call }

// A wait asks after minPoll at first, and ever more slowly up to maxPoll.
const (
	minPoll = 200 * time.Millisecond
	maxPoll = time.Second
)

func (st startVerbs) runCommand() *cobra.Command {
	var (
		wait   bool
		params paramFlags
		window backfillFlags
	)
	cmd := &cobra.Command{
		Use: "run JOB", GroupID: groupRuns, Args: exactlyOne("job"), ValidArgsFunction: st.completeJobs,
		Short: "Start a job now",
		Long: "Start a job now, and print the run's id. With --wait, wait until the run has\n" +
			"ended: the exit code is 0 when it succeeded, 124 when it ran into its timeout or\n" +
			"--timeout has passed, 7 when it succeeded and some of its minions took no orders,\n" +
			"1 when it failed otherwise. The run goes on when the wait is given up.\n\n" +
			"With --from and --to, run the instants of the job's schedule again that lie after\n" +
			"the one, up to and with the other: one at a time, unless --overlap is given. `carillon\n" +
			"get backfills` shows how far that is, and `carillon delete backfill ID` ends it.",
		Example: "  carillon run backup\n  carillon run backup --wait --timeout 10m\n" +
			"  carillon run report --param region=eu\n" +
			"  carillon run report --from 2027-01-01T00:00:00Z --to 2027-01-31T00:00:00Z --every 30s\n" +
			"  carillon run report --from -2h --to now",
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := st.key(args[0])
			if err != nil {
				return err
			}
			given, err := params.read(st.opts.Stdin)
			if err != nil {
				return err
			}
			if window.given(cmd) {
				if wait {
					return usagef("--wait is for one run, not for a window")
				}
				return backfillVerbs(st).backfill(cmd, key, &window, given)
			}
			run, err := st.client.Jobs.Start(client.Because(cmd.Context(), window.reason), key, api.StartRequest{By: st.user(), Params: given})
			if err != nil {
				return err
			}
			if !wait {
				return st.printStarted(run)
			}
			return st.runAndWait(cmd.Context(), run)
		},
	}
	cmd.Flags().BoolVarP(&wait, "wait", "w", false, "wait until the run has ended; the exit code follows it")
	params.add(cmd)
	window.add(cmd)
	return cmd
}

// runAndWait prints the run's id at once and its result when it has ended. As
// JSON or YAML there is one object only: the run as it ended.
func (st startVerbs) runAndWait(ctx context.Context, s api.Started) error {
	if !st.asObject() {
		fmt.Fprintln(st.out, s.RunID)
	}
	run, err := runVerbs(st).wait(ctx, s.RunID, ended)
	if err != nil {
		if ctx.Err() != nil {
			verb := "interrupted"
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				verb = fmt.Sprintf("timed out after %s", st.timeout)
			}
			// main replaces the code by that of the cause.
			now := "goes on"
			if run.Reason != "" {
				now = fmt.Sprintf("is %s (%s), and goes on", run.State, oneLine(run.Reason))
			}
			return &exitError{exitFailed, fmt.Errorf("%s; run %s %s: see `carillon describe run %s`", verb, s.RunID, now, s.RunID)}
		}
		return err
	}
	switch {
	case st.asObject():
		err = st.printValue(run)
	case st.output != formatName:
		fmt.Fprintln(st.out, runVerbs(st).resultLine(run))
	}
	st.exitAs(&run)
	return err
}

// ended is what a wait for a run's end wants.
func ended(r job.Run) bool { return r.State.Final() }

// wait asks for the run until it is as wanted. A run may not be known yet on the
// node that is asked, nodes come and go, and so do the owners of shards: all that
// is borne for a while. When ctx ends it returns the run as it was last.
func (rv runVerbs) wait(ctx context.Context, id job.RunID, wanted func(job.Run) bool) (job.Run, error) {
	lastGood, last := time.Now(), job.Run{}
	for pause := minPoll; ; pause = min(pause*5/4, maxPoll) {
		run, err := rv.client.Runs.Get(ctx, id)
		switch {
		case err == nil && wanted(run):
			return run, nil
		case err == nil:
			lastGood, last = time.Now(), run
		case !passing(err) || time.Since(lastGood) > rv.patience:
			return job.Run{}, err
		}
		select {
		case <-ctx.Done():
			return last, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// passing reports whether an error may pass by itself.
func passing(err error) bool {
	if _, ok := errors.AsType[*client.UnreachableError](err); ok {
		return true
	}
	api, ok := errors.AsType[*client.Error](err)
	return ok && (api.Status == http.StatusNotFound || codeOf(api) == exitUnavailable)
}

// resultLine returns "job default/hello failed on web-1: exit code 3 (1.2s)".
func (rv runVerbs) resultLine(r job.Run) string {
	var b strings.Builder
	fmt.Fprintf(&b, "job %s %s", r.Key(), r.State)
	if m := minionCell(r); m != "" {
		fmt.Fprintf(&b, " on %s", m)
	}
	if r.Reason != "" {
		fmt.Fprintf(&b, ": %s", oneLine(r.Reason))
	}
	if !r.StartedAt.IsZero() {
		fmt.Fprintf(&b, " (%s)", short(rv.took(r)))
	}
	return b.String()
}

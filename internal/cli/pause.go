package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// pauseVerbs are the verbs of pauses.
type pauseVerbs struct{ *call }

func (pv pauseVerbs) pauseCommand() *cobra.Command {
	var (
		reason string
		last   time.Duration
	)
	cmd := pv.pausing("pause", "paused", "Pause scheduled runs",
		"Pause the scheduled runs of a job, of the jobs of a group or of a namespace, or of\n"+
			"all jobs, until `carillon resume` or, with --for, for a while. What is due\n"+
			"meanwhile is recorded as skipped. Runs under way go on, and `carillon run` works.\n"+
			"A pause goes by when a run is due, not by when it starts: it prints from when on\n"+
			"it holds, and what was due before may still start, as after a jitter or an outage.",
		func(o *pauseOrder) error {
			if last < 0 {
				return usagef("--for %s: give a positive duration", last)
			}
			if last > 0 {
				o.until = pv.now().Add(last).UTC()
			}
			o.reason = reason
			return nil
		},
		func(ctx context.Context, o *pauseOrder, by api.Order) (time.Time, error) {
			return pv.client.Pauses.Pause(ctx, o.what, o.until, by)
		})
	addDuration(cmd.PersistentFlags(), &last, "for", 0, "resume automatically after this `DURATION`")
	cmd.PersistentFlags().StringVar(&reason, "reason", "", "`TEXT` that tells others why")
	return cmd
}

func (pv pauseVerbs) resumeCommand() *cobra.Command {
	var reason string
	cmd := pv.pausing("resume", "resumed", "End a pause",
		"End the pause of a job, of a group, of a namespace, or of all jobs. What was due\n"+
			"meanwhile is not run; `carillon run JOB --from ... --to ...` can do that.",
		func(o *pauseOrder) error { o.reason = reason; return nil },
		func(ctx context.Context, o *pauseOrder, by api.Order) (time.Time, error) {
			return pv.client.Pauses.Resume(ctx, o.what, by)
		})
	cmd.PersistentFlags().StringVar(&reason, "reason", "", "`TEXT` that tells others why")
	cmd.AddCommand(runVerbs(pv).resumeRunCommand())
	return cmd
}

// sinceWhen tells from where on something holds; empty: it is not told.
func sinceWhen(holds time.Time) string {
	if holds.IsZero() {
		return ""
	}
	return "; holds for what is due after " + holds.Add(time.Millisecond-1).Truncate(time.Millisecond).UTC().Format("2006-01-02T15:04:05.999Z07:00")
}

// pauseOrder is what pause and resume ask for.
type pauseOrder struct {
	what   api.Paused
	until  time.Time // zero: none
	reason string
}

// pausing returns the verb pause or resume.
func (pv pauseVerbs) pausing(verb, done, short, long string, complete func(*pauseOrder) error, send func(context.Context, *pauseOrder, api.Order) (time.Time, error)) *cobra.Command {
	ask := func(cmd *cobra.Command, o pauseOrder, name string) error {
		if err := complete(&o); err != nil {
			return err
		}
		holds, err := send(cmd.Context(), &o, api.Order{By: pv.user(), Reason: o.reason})
		if err != nil {
			return fmt.Errorf("%s: %w", verb, err)
		}
		return pv.printHeld(heldOutcome{outcome{string(o.what.Scope), name, done}, holds})
	}
	named := func(scope api.Scope, what string) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, args []string) error {
			key, err := pv.keyOf(what, args[0])
			if err != nil {
				return err
			}
			return ask(cmd, pauseOrder{what: api.Paused{Scope: scope, Namespace: key.Namespace, Name: key.Name}}, key.String())
		}
	}
	cmd := &cobra.Command{
		Use: verb + " JOB | group NAME | namespace NAME | all", GroupID: groupJobs, ValidArgsFunction: pv.completeJobs,
		Short: short, Long: long,
		Example: "  carillon " + verb + " backup --reason \"new disk\"\n  carillon " + verb + " group ledger\n  carillon " + verb + " all",
		Args:    exactlyOne("job"), RunE: named(api.ScopeJob, "job"),
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "job NAME", Short: short + ": one job", Args: exactlyOne("name"), ValidArgsFunction: pv.completeJobs,
			Example: "  carillon " + verb + " job all", RunE: named(api.ScopeJob, "job"),
		},
		&cobra.Command{
			Use: "group NAME", Short: short + ": the jobs of a group", Args: exactlyOne("group"), ValidArgsFunction: pv.completeGroups,
			Example: "  carillon " + verb + " group ledger", RunE: named(api.ScopeGroup, "group"),
		},
		&cobra.Command{
			Use: "namespace NAME", Short: short + ": the jobs of a namespace", Args: exactlyOne("namespace"),
			Example: "  carillon " + verb + " namespace team",
			RunE: func(cmd *cobra.Command, args []string) error {
				if err := job.CheckName(args[0]); err != nil {
					return usagef("namespace %w", err)
				}
				return ask(cmd, pauseOrder{what: api.Paused{Scope: api.ScopeNamespace, Namespace: args[0]}}, args[0])
			},
		},
		&cobra.Command{
			Use: "all", Short: short + ": all jobs", Args: noArgs,
			Example: "  carillon " + verb + " all",
			RunE: func(cmd *cobra.Command, _ []string) error {
				return ask(cmd, pauseOrder{what: api.Paused{Scope: api.ScopeAll}}, "jobs")
			},
		},
	)
	return cmd
}

func (pv pauseVerbs) getPausesCommand() *cobra.Command {
	return &cobra.Command{
		Use: "pauses", Aliases: []string{"pause"}, Args: noArgs,
		Short:   "List what is paused",
		Example: "  carillon get pauses",
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := pv.client.Pauses.List(cmd.Context())
			if err != nil {
				return err
			}
			return printList(&pv.printer, all, pv.pauseTable())
		},
	}
}

func (pv pauseVerbs) pauseTable() table[api.Pause] {
	type pause = api.Pause
	name := func(p pause) string {
		switch p.Scope {
		case api.ScopeAll:
			return "all"
		case api.ScopeNamespace:
			return p.Namespace
		case api.ScopeJob, api.ScopeGroup:
		}
		return p.Namespace + "/" + p.Name
	}
	return table[pause]{none: "nothing is paused", name: func(p pause) string { return string(p.Scope) + "/" + name(p) }, columns: []column[pause]{
		{head: "WHAT", cell: func(p pause) string { return string(p.Scope) }},
		{head: "NAME", cell: name},
		{head: "SINCE", cell: func(p pause) string { return pv.stamp(p.Since) }},
		{head: "UNTIL", cell: func(p pause) string { return orDash(pv.stamp(p.Until)) }},
		{head: "BY", cell: func(p pause) string { return p.By }},
		{head: "REASON", cell: func(p pause) string { return p.Reason }},
	}}
}

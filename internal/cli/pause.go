package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

func (a *app) pauseCommand() *cobra.Command {
	var (
		reason string
		last   time.Duration
	)
	cmd := a.pausing("pause", "paused", "Pause scheduled runs",
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
				o.until = a.now().Add(last).UTC()
			}
			o.reason = reason
			return nil
		},
		func(ctx context.Context, o *pauseOrder, by api.Order) (time.Time, error) {
			return a.client.Pauses.Pause(ctx, o.what, o.until, by)
		})
	cmd.PersistentFlags().DurationVar(&last, "for", 0, "resume automatically after this `DURATION`")
	cmd.PersistentFlags().StringVar(&reason, "reason", "", "`TEXT` that tells others why")
	return cmd
}

func (a *app) resumeCommand() *cobra.Command {
	var reason string
	cmd := a.pausing("resume", "resumed", "End a pause",
		"End the pause of a job, of a group, of a namespace, or of all jobs. What was due\n"+
			"meanwhile is not run; `carillon run JOB --from ... --to ...` can do that.",
		func(o *pauseOrder) error { o.reason = reason; return nil },
		func(ctx context.Context, o *pauseOrder, by api.Order) (time.Time, error) {
			return a.client.Pauses.Resume(ctx, o.what, by)
		})
	cmd.PersistentFlags().StringVar(&reason, "reason", "", "`TEXT` that tells others why")
	cmd.AddCommand(a.resumeRunCommand())
	return cmd
}

// sinceWhen tells from where on something holds; empty: it is not told.
func sinceWhen(holds time.Time) string {
	if holds.IsZero() {
		return ""
	}
	return "; holds for what is due after " + holds.UTC().Format(time.RFC3339Nano)
}

// heldOutcome is what an order did that holds from an instant on.
type heldOutcome struct {
	outcome

	// HoldsFrom is that instant: see api.ApplyResult. Zero: it is not told.
	HoldsFrom time.Time `json:"holdsFrom,omitzero"`
}

func (a *app) printHeld(o heldOutcome) error {
	if a.output == formatTable || a.output == formatWide {
		fmt.Fprintf(a.out, "%s %s %s%s\n", o.Kind, o.Name, o.Action, sinceWhen(o.HoldsFrom))
		return nil
	}
	return printOne(a, o, table[heldOutcome]{name: func(o heldOutcome) string { return o.Name }})
}

// pauseOrder is what pause and resume ask for.
type pauseOrder struct {
	what   api.Paused
	until  time.Time // zero: none
	reason string
}

// pausing returns the verb pause or resume.
func (a *app) pausing(verb, done, short, long string, complete func(*pauseOrder) error, send func(context.Context, *pauseOrder, api.Order) (time.Time, error)) *cobra.Command {
	ask := func(cmd *cobra.Command, o pauseOrder, name string) error {
		if err := complete(&o); err != nil {
			return err
		}
		holds, err := send(cmd.Context(), &o, api.Order{By: a.user(), Reason: o.reason})
		if err != nil {
			return fmt.Errorf("%s: %w", verb, err)
		}
		return a.printHeld(heldOutcome{outcome{string(o.what.Scope), name, done}, holds})
	}
	named := func(scope api.Scope, what string) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, args []string) error {
			key, err := a.keyOf(what, args[0])
			if err != nil {
				return err
			}
			return ask(cmd, pauseOrder{what: api.Paused{Scope: scope, Namespace: key.Namespace, Name: key.Name}}, key.String())
		}
	}
	cmd := &cobra.Command{
		Use: verb + " JOB | group NAME | namespace NAME | all", GroupID: groupJobs, ValidArgsFunction: a.completeJobs,
		Short: short, Long: long,
		Example: "  carillon " + verb + " backup --reason \"new disk\"\n  carillon " + verb + " group ledger\n  carillon " + verb + " all",
		Args:    exactlyOne("job"), RunE: named(api.ScopeJob, "job"),
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "job NAME", Short: short + ": one job", Args: exactlyOne("name"), ValidArgsFunction: a.completeJobs,
			Example: "  carillon " + verb + " job all", RunE: named(api.ScopeJob, "job"),
		},
		&cobra.Command{
			Use: "group NAME", Short: short + ": the jobs of a group", Args: exactlyOne("group"), ValidArgsFunction: a.completeGroups,
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

func (a *app) getPausesCommand() *cobra.Command {
	return &cobra.Command{
		Use: "pauses", Aliases: []string{"pause"}, Args: noArgs,
		Short:   "List what is paused",
		Example: "  carillon get pauses",
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := a.client.Pauses.List(cmd.Context())
			if err != nil {
				return err
			}
			return printList(a, all, a.pauseTable())
		},
	}
}

func (a *app) pauseTable() table[api.Pause] {
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
		{head: "SINCE", cell: func(p pause) string { return a.stamp(p.Since) }},
		{head: "UNTIL", cell: func(p pause) string { return orDash(a.stamp(p.Until)) }},
		{head: "BY", cell: func(p pause) string { return p.By }},
		{head: "REASON", cell: func(p pause) string { return p.Reason }},
	}}
}

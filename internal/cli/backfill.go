package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// backfillVerbs are the verbs of backfills.
type backfillVerbs struct{ *call }

// backfillFlags say which window of a schedule is run again, and how.
type backfillFlags struct {
	from, to, reason string
	every            time.Duration
	overlap          bool
}

func (f *backfillFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.from, "from", "", "run the instants after this `TIME` again: an instant, or one from now as in -2h")
	cmd.Flags().StringVar(&f.to, "to", "", "... up to and with this `TIME`, such as now")
	addDuration(cmd.Flags(), &f.every, "every", 0, "start them at least this `DURATION` after one another")
	cmd.Flags().BoolVar(&f.overlap, "overlap", false, "do not wait for one to end before the next begins")
	reasonFlag(cmd, &f.reason)
}

// given reports whether a window is asked for.
func (f *backfillFlags) given(cmd *cobra.Command) bool {
	for _, name := range []string{"from", "to", "every", "overlap"} {
		if cmd.Flags().Changed(name) {
			return true
		}
	}
	return false
}

func (bv backfillVerbs) backfill(cmd *cobra.Command, key job.Key, f *backfillFlags, params map[string]string) error {
	if f.from == "" || f.to == "" {
		return usagef("give both --from and --to")
	}
	from, err := bv.instantFlag("from", f.from)
	if err != nil {
		return err
	}
	to, err := bv.instantFlag("to", f.to)
	if err != nil {
		return err
	}
	if !from.Before(to) {
		return usagef("--from %s is not before --to %s", f.from, f.to)
	}
	v, err := bv.client.Jobs.Backfill(cmd.Context(), key, api.BackfillRequest{
		From: from, To: to, Overlap: f.overlap, Every: f.every, Params: params, Order: api.Order{By: bv.user(), Reason: f.reason},
	})
	if err != nil {
		return fmt.Errorf("backfill job %s: %w", key, err)
	}
	if bv.output == formatTable || bv.output == formatWide {
		fmt.Fprintf(bv.out, "backfill %s: %d runs\n", v.ID, v.Left)
		return nil
	}
	return printOne(&bv.printer, v, bv.backfillTable())
}

// instantFlag reads an instant, or a time from now, as "now", "-2h" or "+30m".
func (bv backfillVerbs) instantFlag(name, text string) (time.Time, error) {
	if t, ok := bv.fromNow(text); ok {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, usagef("--%s %q: want an instant such as 2027-01-31T09:30:00Z, or one from now, such as -2h, or now", name, text)
	}
	return t, nil
}

func (bv backfillVerbs) getBackfillsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "backfills", Aliases: []string{"backfill"}, Args: noArgs,
		Short:   "List windows of schedules that are being run again, and those that were",
		Example: "  carillon get backfills",
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := bv.client.Backfills.List(cmd.Context())
			if err != nil {
				return err
			}
			return printList(&bv.printer, all, bv.backfillTable())
		},
	}
}

func (bv backfillVerbs) deleteBackfillCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "backfill ID", Args: exactlyOne("backfill's id"),
		Short:   "End a backfill; its run under way goes on",
		Example: "  carillon delete backfill 01890a5d-ac96-774b-bcce-b302099a8057",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := bv.client.Backfills.End(cmd.Context(), args[0], api.Order{By: bv.user(), Reason: reason}); err != nil {
				return fmt.Errorf("end backfill %s: %w", args[0], err)
			}
			return bv.printOutcome(outcome{"backfill", args[0], "ended"})
		},
	}
	reasonFlag(cmd, &reason)
	return cmd
}

func (bv backfillVerbs) backfillTable() table[api.Backfill] {
	type view = api.Backfill
	return table[view]{none: "no backfills", name: func(v view) string { return v.ID }, columns: []column[view]{
		{head: "ID", cell: func(v view) string { return v.ID }},
		{head: "JOB", cell: func(v view) string { return v.Key.String() }},
		{head: "FROM", cell: func(v view) string { return bv.stamp(v.From) }},
		{head: "TO", cell: func(v view) string { return bv.stamp(v.To) }},
		{head: "DONE", cell: func(v view) string { return orDash(bv.stamp(v.Done)) }},
		{head: "LEFT", cell: func(v view) string { return fmt.Sprint(v.Left) }},
		{head: "STATE", cell: func(v view) string { return v.State }},
		{head: "ENDED", cell: func(v view) string { return bv.stamp(v.EndedAt) }},
		{head: "WHY", wide: true, cell: func(v view) string { return v.EndedWhy }},
		{head: "BY", wide: true, cell: func(v view) string { return v.By }},
		{head: "REASON", wide: true, cell: func(v view) string { return v.Reason }},
	}}
}

package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/job"
)

func (a *app) getCalendarsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "calendars [NAME]", Aliases: []string{"calendar"}, Args: atMostOne,
		Short: "List calendars, or show one",
		Long: "List calendars, which say when jobs that name them are not to run, or show one.\n" +
			"With -o yaml they are printed as manifests that `carillon apply` takes back.",
		Example: "  carillon get calendars\n  carillon get calendar holidays -o yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			namespace := a.namespace
			var key job.Key
			if len(args) == 1 {
				var err error
				if key, err = a.keyOf("calendar", args[0]); err != nil {
					return err
				}
				namespace = key.Namespace
			}
			all, err := a.client.Calendars.List(cmd.Context(), namespace)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				all = slices.DeleteFunc(all, func(c job.Calendar) bool { return c.Key() != key })
				if len(all) == 0 {
					return fmt.Errorf("calendar %s: %w", key, job.ErrNotFound)
				}
			}
			if len(args) == 1 {
				return printOne(a, all[0], a.calendarTable())
			}
			return printList(a, all, a.calendarTable())
		},
	}
}

func (a *app) calendarTable() table[job.Calendar] {
	type cal = job.Calendar
	return table[cal]{
		none: "no calendars; create one with `carillon apply -f FILE`",
		name: func(c cal) string { return c.Key().String() },
		manifest: func(c cal) any {
			return manifestOf[job.CalendarSpec]{job.APIVersion, job.KindCalendar, c.Metadata, c.Spec}
		},
		columns: []column[cal]{
			{head: "NAME", cell: func(c cal) string { return c.Name }},
			{head: "BUSINESS DAYS", cell: func(c cal) string { return orText(strings.Join(c.Spec.Weekdays, ","), "all") }},
			{head: "CLOSED", cell: func(c cal) string { return fmt.Sprint(len(c.Spec.Closed)) }},
			{head: "WINDOWS", cell: func(c cal) string { return fmt.Sprint(len(c.Spec.Windows)) }},
			{head: "ZONE", cell: func(c cal) string { return orText(c.Spec.TimeZone, "UTC") }},
			{head: "UPDATED", cell: func(c cal) string { return a.stamp(c.UpdatedAt) }},
		},
	}
}

func (a *app) deleteCalendarsCommand(yes *bool) *cobra.Command {
	return &cobra.Command{
		Use: "calendar NAME...", Aliases: []string{"calendars"}, Args: someOf("calendar"),
		Short:   "Delete calendars that no job names",
		Example: "  carillon delete calendar holidays",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.deleteNamed(cmd, job.KindCalendar, args, *yes)
		},
	}
}

package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/calendar"
	"github.com/carillon-cron/carillon/job"
)

// calendarVerbs are the verbs of calendars.
type calendarVerbs struct{ *call }

func (cv calendarVerbs) getCalendarsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "calendars [NAME...]", Aliases: []string{"calendar"},
		Short: "List calendars, or show one",
		Long: "List calendars, which say when jobs that name them are not to run, or show one.\n" +
			"With -o yaml they are printed as manifests that `carillon apply` takes back.",
		Example: "  carillon get calendars\n  carillon get calendar holidays -o yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return printNamed(&cv.printer, args, cv.calendarTable(), func(name string) (job.Calendar, error) { return cv.findCalendar(cmd, name) })
			}
			all, err := cv.client.Calendars.List(cmd.Context(), cv.namespace)
			if err != nil {
				return err
			}
			return printList(&cv.printer, all, cv.calendarTable())
		},
	}
}

func (cv calendarVerbs) findCalendar(cmd *cobra.Command, name string) (job.Calendar, error) {
	key, err := cv.keyOf("calendar", name)
	if err != nil {
		return job.Calendar{}, err
	}
	all, err := cv.client.Calendars.List(cmd.Context(), key.Namespace)
	if err != nil {
		return job.Calendar{}, err
	}
	return named(all, func(c *job.Calendar) bool { return c.Key() == key }, "calendar "+key.String())
}

func (cv calendarVerbs) calendarTable() table[job.Calendar] {
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
			{head: "UPDATED", cell: func(c cal) string { return cv.stamp(c.UpdatedAt) }},
		},
	}
}

func (cv calendarVerbs) deleteCalendarsCommand(yes *bool) *cobra.Command {
	return &cobra.Command{
		Use: "calendar NAME...", Aliases: []string{"calendars"}, Args: someOf("calendar"),
		Short:   "Delete calendars that no job names",
		Example: "  carillon delete calendar holidays",
		RunE: func(cmd *cobra.Command, args []string) error {
			return manifestVerbs(cv).deleteNamed(cmd, job.KindCalendar, args, *yes)
		},
	}
}

func (cv calendarVerbs) describeCalendarCommand() *cobra.Command {
	return &cobra.Command{
		Use: "calendar NAME", Aliases: []string{"calendars"}, Args: exactlyOne("calendar"),
		Short:   "Show when a calendar is closed, and which jobs keep to it",
		Example: "  carillon describe calendar holidays",
		RunE: func(cmd *cobra.Command, args []string) error {
			found, err := cv.findCalendar(cmd, args[0])
			if err != nil {
				return err
			}
			key := found.Key()
			jobs, err := cv.client.Jobs.List(cmd.Context(), api.JobQuery{Namespace: ""})
			if err != nil {
				return err
			}
			var users []string
			for n := range jobs {
				if slices.Contains(jobs[n].Spec.CalendarKeys(jobs[n].Namespace), key) {
					users = append(users, jobs[n].Key().String())
				}
			}
			return cv.describe(found, key.String(), func() error { cv.calendarText(&found, users); return nil })
		},
	}
}

func (cv calendarVerbs) calendarText(c *job.Calendar, users []string) {
	f := newFields(cv.out, "")
	f.add("Calendar", c.Key().String())
	if cal, problems := calendar.New(c.Key().String(), &c.Spec); len(problems) == 0 {
		now := "open"
		if why, until, closed := cal.Closed(cv.now()); closed {
			now = "closed until " + cv.stamp(until) + ": " + why
		}
		f.add("Now", now)
	}
	f.add("Time zone", orText(c.Spec.TimeZone, "UTC"))
	f.add("Business days", orText(strings.Join(c.Spec.Weekdays, ", "), "all"))
	for _, d := range c.Spec.Closed {
		f.add("Closed", d)
	}
	for _, d := range c.Spec.Open {
		f.add("Open", d)
	}
	for _, w := range c.Spec.Windows {
		f.add("Closed window", w)
	}
	if n := strings.Count(c.Spec.ICS, "BEGIN:VEVENT"); n > 0 {
		f.add("iCalendar", fmt.Sprintf("%d events", n))
	}
	f.add("Used by", orText(strings.Join(users, ", "), "no job"))
	f.add("Created", cv.stamp(c.CreatedAt))
	f.add("Updated", cv.stamp(c.UpdatedAt))
	f.flush()
}

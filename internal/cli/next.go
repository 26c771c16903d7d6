package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// maxInstants bounds how many instants next computes.
const maxInstants = api.MaxUpcoming

func (jv jobVerbs) nextCommand() *cobra.Command {
	var (
		exprs   []string
		options schedule.Options
		after   string
		count   int
	)
	cmd := &cobra.Command{
		Use: "next JOB | --schedule EXPR", GroupID: groupJobs, Args: atMostOne, ValidArgsFunction: jv.completeJobs,
		Short: "Show upcoming runs of a job or schedule",
		Long: "Show when a job is due next, in its time zone and in yours, and what its\n" +
			"schedule says in words: within its startAt, endAt and count, how much later its\n" +
			"jitter starts it, and what is skipped by a pause or a calendar.\n" +
			"With --schedule no server is needed.\n" +
			"Here -n is the number of instants; write --namespace in full.",
		Example: "  carillon next backup -n 10\n" +
			"  carillon next --schedule '30 2 * * *' --tz Europe/Berlin --after 2027-03-27T00:00:00Z",
		RunE: func(cmd *cobra.Command, args []string) error {
			if count < 1 || count > maxInstants {
				return usagef("--count %d: give a number from 1 to %d", count, maxInstants)
			}
			from, err := jv.afterTime(after, options.Zone)
			if err != nil {
				return err
			}
			up, err := jv.nextOf(cmd, args, exprs, options, from, count)
			if err != nil {
				return err
			}
			return jv.printNext(up)
		},
	}
	cmd.Flags().StringArrayVar(&exprs, "schedule", nil, "`EXPR`: cron fields, @every 5m, @at INSTANT, ... (may be given several times)")
	cmd.Flags().StringVar(&options.Zone, "tz", "", "time `ZONE` of --schedule, as in Europe/Berlin (default UTC)")
	choice(cmd, (*string)(&options.Dialect), "dialect", job.Dialects(), "how --schedule is read, `DIALECT`")
	choice(cmd, (*string)(&options.Gap), "gap", job.Gaps(), "`WHAT` becomes of times that are left out when clocks go forward")
	choice(cmd, (*string)(&options.Fold), "fold", job.Folds(), "`WHEN` times run that come twice when clocks go back")
	cmd.Flags().StringVar(&options.Seed, "seed", "", "`NAMESPACE/NAME` of the job from which H in --schedule follows")
	cmd.Flags().StringVar(&after, "after", "", "only instants after this `TIME`, as in 2027-01-31T09:30:00Z, or 2027-01-31T09:30:00 in --tz (default now)")
	cmd.Flags().IntVarP(&count, "count", "n", describedInstants, "how many instants, `N`")
	cmd.Flags().IntVar(&count, "limit", describedInstants, "the same as --count")
	_ = cmd.Flags().MarkHidden("limit") // the flag is there
	// This flag hides the global one, which has -n.
	cmd.Flags().StringVar(&jv.namespace, "namespace", job.DefaultNamespace, "`NAME` of the job's namespace")
	return cmd
}

// choice adds a flag that has one of few values.
func choice[T ~string](cmd *cobra.Command, to *string, name string, allowed []T, usage string) {
	words := make([]string, len(allowed))
	for i, v := range allowed {
		words[i] = string(v)
	}
	cmd.Flags().StringVar(to, name, "", usage+": "+strings.Join(words, ", "))
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
}

// afterTime reads --after: an instant, or a time on the clock of a zone.
func (jv jobVerbs) afterTime(text, zone string) (time.Time, error) {
	if text == "" {
		return jv.now(), nil
	}
	if t, ok := jv.fromNow(text); ok {
		return t, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	loc, err := schedule.LoadZone(zone)
	if err != nil {
		return time.Time{}, &usageError{err}
	}
	for _, form := range []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if wall, err := time.Parse(form, text); err == nil {
			return jv.onClock(wall, loc), nil
		}
	}
	return time.Time{}, usagef("--after %q: want an instant such as 2027-01-31T09:30:00Z, or a time such as 2027-01-31T09:30:00", text)
}

// nextOf computes the instants of the job named, or of the schedules given.
func (jv jobVerbs) nextOf(cmd *cobra.Command, args, exprs []string, options schedule.Options, after time.Time, count int) (upcoming, error) {
	switch {
	case len(exprs) > 0 && len(args) > 0:
		return upcoming{}, usagef("give a job or --schedule, not both")
	case len(exprs) > 0:
		options.Strict = true
		jv.tellOf(exprs, options)
		up, err := upcomingAt(exprs, options, after, count)
		if err != nil {
			return upcoming{}, &usageError{err}
		}
		return up, nil
	case len(args) == 0:
		return upcoming{}, usagef("specify a job or --schedule EXPR")
	case options != (schedule.Options{}):
		return upcoming{}, usagef("--tz, --dialect, --gap, --fold and --seed go with --schedule; a job has its own")
	}
	key, err := jv.key(args[0])
	if err != nil {
		return upcoming{}, err
	}
	if !cmd.Flags().Changed("after") {
		after = time.Time{}
	}
	return jv.upcomingOf(cmd.Context(), key, after, count)
}

// upcoming is what a set of schedules says about the time to come.
type upcoming struct {
	exprs []string
	words []string
	zone  *time.Location
	next  []api.Instant
	// ends tells why nothing follows; empty: something does, or nobody knows.
	ends string
}

// upcomingOf returns the next n instants of a job after the given one, as its
// node works them out: within its bounds, with its jitter, and with what pauses
// and calendars close. A zero time is that of the node now.
func (jv jobVerbs) upcomingOf(ctx context.Context, key job.Key, after time.Time, n int) (upcoming, error) {
	v, err := jv.client.Jobs.Upcoming(ctx, key, after, n)
	if err != nil {
		return upcoming{}, err
	}
	up := upcoming{exprs: v.Schedules, words: v.Words, zone: time.UTC, next: v.Next, ends: v.Ends}
	if zone, err := schedule.LoadZone(v.TimeZone); err == nil {
		up.zone = zone
	}
	return up, nil
}

// upcomingAt returns the next n instants of all the schedules together, or all
// that is wrong with them.
func upcomingAt(exprs []string, options schedule.Options, after time.Time, n int) (upcoming, error) {
	up := upcoming{exprs: exprs, zone: time.UTC}
	var (
		set  schedule.Set
		errs []error
	)
	for _, expr := range exprs {
		s, err := schedule.Parse(expr, options)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		set = append(set, s)
		up.words = append(up.words, s.Words())
		up.zone = set[0].Location()
	}
	if len(errs) > 0 {
		return up, errors.Join(errs...)
	}
	for t, ok := set.Next(after); ok && len(up.next) < n; t, ok = set.Next(t) {
		up.next = append(up.next, api.Instant{At: t, StartsAt: t})
	}
	return up, nil
}

// nextAnswer is what next prints as JSON. Instants are in UTC.
type nextAnswer struct {
	Schedules []string    `json:"schedules"`
	Words     []string    `json:"words"`
	TimeZone  string      `json:"timeZone"`
	Next      []time.Time `json:"next"`
	// Upcoming tells of each of them when it starts, and whether it is skipped.
	Upcoming []api.Instant `json:"upcoming,omitempty"`
	Ends     string        `json:"ends,omitempty"`
}

func (jv jobVerbs) printNext(up upcoming) error {
	switch jv.output {
	case formatJSON, formatYAML, formatJSONPath, formatGoTemplate:
		answer := nextAnswer{Schedules: append([]string{}, up.exprs...), Words: append([]string{}, up.words...),
			TimeZone: up.zone.String(), Next: make([]time.Time, len(up.next)), Upcoming: up.next, Ends: up.ends}
		for i := range up.next {
			answer.Next[i] = up.next[i].At.UTC()
		}
		return jv.printValue(answer)
	case formatName:
		for _, u := range up.next {
			fmt.Fprintln(jv.out, u.At.UTC().Format(time.RFC3339Nano))
		}
		return nil
	}
	for _, w := range up.words {
		fmt.Fprintln(jv.out, w)
	}
	jv.printInstants(up)
	return nil
}

// printInstants prints instants in the job's zone and, where it differs, in
// the viewer's.
func (jv jobVerbs) printInstants(up upcoming) {
	tw := newTabs(jv.out)
	for _, u := range up.next {
		there, here := stampIn(u.At, up.zone), jv.stamp(u.At)
		fmt.Fprintf(tw, "  %s", u.At.In(up.zone).Format("Mon ")+there)
		if here != there {
			fmt.Fprintf(tw, "\t%s", here)
		}
		fmt.Fprintf(tw, "\t%s", jv.relative(u.At))
		if u.StartsAt.After(u.At) {
			fmt.Fprintf(tw, "\tstarts %s later", short(u.StartsAt.Sub(u.At)))
		}
		if u.Skipped != "" {
			fmt.Fprintf(tw, "\tskipped: %s", oneLine(u.Skipped))
		}
		fmt.Fprintln(tw)
	}
	_ = tw.Flush() // the sink below keeps the error
	switch {
	case up.ends != "":
		jv.note("no further instant: %s", up.ends)
	case len(up.next) == 0:
		jv.note("no further instant")
	}
}

// onClock returns when the clock of a zone shows a time, which is in UTC here, and
// tells how one is read that the clock leaves out, or shows twice.
func (jv jobVerbs) onClock(wall time.Time, loc *time.Location) time.Time {
	const day = 24 * time.Hour
	shows := func(offset int) (time.Time, bool) {
		t := wall.Add(-time.Duration(offset) * time.Second)
		there := t.In(loc)
		_, is := there.Zone()
		return there, is == offset
	}
	_, before := wall.Add(-day).In(loc).Zone()
	_, after := wall.Add(day).In(loc).Zone()
	first, isFirst := shows(before)
	second, isSecond := shows(after)
	const form = "2006-01-02T15:04:05"
	switch {
	case !isFirst && !isSecond:
		jv.note("%s is no time in %s, where clocks go forward over it; read as %s (%s)",
			wall.Format(form), loc, first.Format(form), first.UTC().Format(time.RFC3339))
		return first
	case isFirst && isSecond && before != after:
		jv.note("%s comes twice in %s, where clocks go back; read as the first one (%s)", wall.Format(form), loc, first.UTC().Format(time.RFC3339))
		return first
	case isFirst:
		return first
	}
	return second
}

// tellOf tells what is to be known of schedules that somebody asks about, and is not
// in their instants.
func (jv jobVerbs) tellOf(exprs []string, options schedule.Options) {
	hashed := false
	for _, expr := range exprs {
		for _, w := range schedule.Warnings(expr, options) {
			jv.note("warning: %s", w)
		}
		if s, err := schedule.Parse(expr, options); err == nil && s.Hashed() {
			hashed = true
		}
	}
	if hashed && options.Seed == "" {
		jv.note("H follows from the name of a job; without one, this is not what any job has: give --seed NAMESPACE/NAME")
	}
}

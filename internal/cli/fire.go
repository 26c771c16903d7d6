package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
)

func (jv jobVerbs) describeFireCommand() *cobra.Command {
	return &cobra.Command{
		Use: "fire JOB@TIME", Aliases: []string{"fires"}, Args: exactlyOne("JOB@TIME"),
		Short: "Show what happened at a scheduled time of a job, and why",
		Long: "Show what happened at a scheduled time of a job: fired by whom, when and how late, or\n" +
			"skipped, missed or superseded, and why; or why nothing was due then. The time is an\n" +
			"instant, a time as `carillon runs` prints it, a time of today as in 17:50, or how\n" +
			"long ago as in -10m; the last one means the whole minute.",
		Example: "  carillon describe fire backup@2027-01-31T02:30:00Z\n  carillon describe fire 'backup@2027-01-31 02:30:00 UTC'\n  carillon describe fire backup@17:50",
		RunE: func(cmd *cobra.Command, args []string) error {
			name, at, err := fireName(args[0], jv.now(), jv.zone)
			if err != nil {
				return err
			}
			key, err := jv.key(name)
			if err != nil {
				return err
			}
			v, err := jv.client.Jobs.Fire(cmd.Context(), key, at)
			if err != nil {
				return err
			}
			return jv.describeFire(v)
		},
	}
}

// fireName reads JOB@TIME.
func fireName(text string, now time.Time, zone *time.Location) (name string, at time.Time, err error) {
	name, when, ok := strings.Cut(text, "@")
	at, read := fireTime(when, now, zone)
	if !ok || !read {
		return "", time.Time{}, usagef("%q: want JOB@TIME, as in backup@2027-01-31T02:30:00Z, 'backup@2027-01-31 02:30:00 UTC', backup@17:50 (of today) or backup@-10m", text)
	}
	return name, at, nil
}

// fireTime reads the time of a fire: what names no zone is in that in which times are shown.
// An abbreviation of a zone has to be one of that zone, or UTC: others mean several zones.
func fireTime(when string, now time.Time, zone *time.Location) (time.Time, bool) {
	if at, err := time.Parse(time.RFC3339, when); err == nil {
		return at, true
	}
	if strings.HasPrefix(when, "-") {
		ago, err := parseDuration(when[1:])
		return now.Add(-ago).Truncate(time.Minute), err == nil && ago > 0
	}
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04"} {
		if at, err := time.ParseInLocation(layout, when, zone); err == nil {
			return at, true
		}
	}
	if i := strings.LastIndexByte(when, ' '); i >= 0 {
		for _, in := range []*time.Location{zone, time.UTC} {
			at, err := time.ParseInLocation(stampLayout, when, in)
			if err == nil && stampIn(at, in) == when && (in == time.UTC || when[i:] != " UTC") {
				return at, true
			}
		}
	}
	for _, layout := range []string{"15:04:05", "15:04"} {
		if at, err := time.Parse(layout, when); err == nil {
			y, m, d := now.In(zone).Date()
			return time.Date(y, m, d, at.Hour(), at.Minute(), at.Second(), 0, zone), true
		}
	}
	return time.Time{}, false
}

func (jv jobVerbs) describeFire(v api.Fire) error {
	if gap := v.Gap(); gap != "" {
		jv.note("%s", gap)
	}
	if v.Verdict == api.VerdictUnknown {
		jv.code = exitUnavailable
	}
	switch jv.output {
	case formatName:
		for i := range v.Runs {
			fmt.Fprintln(jv.out, v.Runs[i].RunID)
		}
		return nil
	case formatJSON, formatYAML, formatJSONPath, formatGoTemplate:
		return jv.printValue(v)
	}
	f := newFields(jv.out, "")
	f.add("Job", v.Namespace+"/"+v.Job)
	f.add("Instant", jv.stamp(v.At)+" ("+v.At.UTC().Format(time.RFC3339Nano)+")")
	f.add("Verdict", string(v.Verdict))
	f.add("Shard owner", string(v.Owner))
	f.add("Committed to", jv.stamp(v.Cursor))
	f.flush()
	fmt.Fprintln(jv.out, "\nWhy:")
	for _, w := range v.Why {
		fmt.Fprintln(jv.out, "  "+oneLine(w))
	}
	return nil
}

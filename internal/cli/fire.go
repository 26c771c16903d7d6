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
			"skipped, missed or superseded, and why; or why nothing was due then.",
		Example: "  carillon describe fire backup@2027-01-31T02:30:00Z",
		RunE: func(cmd *cobra.Command, args []string) error {
			name, at, err := fireName(args[0])
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
func fireName(text string) (name string, at time.Time, err error) {
	name, when, ok := strings.Cut(text, "@")
	if at, err = time.Parse(time.RFC3339, when); !ok || err != nil {
		return "", time.Time{}, usagef("%q: want JOB@TIME, as in backup@2027-01-31T02:30:00Z", text)
	}
	return name, at, nil
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

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/query"
	"github.com/carillon-cron/carillon/job"
)

// jobVerbs are the verbs of jobs: which there are, what is to be known of one and of its
// instants; on and off.
type jobVerbs struct{ *call }

func (jv jobVerbs) getJobsCommand() *cobra.Command {
	var (
		all    bool
		labels []string
		words  string
		limit  int
	)
	cmd := &cobra.Command{
		Use: "jobs [NAME...]", Aliases: []string{"job"}, ValidArgsFunction: jv.completeJobs,
		Short: "List jobs, or show one",
		Long: "List jobs, or show one. With -o yaml jobs are printed as manifests that\n" +
			"`carillon apply` takes back.",
		Example: "  carillon get jobs -A\n  carillon get jobs -l team=db\n  carillon get jobs -A --query 'last:bad -namespace:test'\n  carillon get job backup -o yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return printNamed(&jv.printer, args, jv.jobTable(false), func(name string) (api.Job, error) { return jv.findJob(cmd, name) })
			}
			selected, err := labelPairs(labels)
			if err != nil {
				return err
			}
			if _, err := query.ParseJobs(words); err != nil {
				return queryUsage(err, query.JobWords())
			}
			q := api.JobQuery{Namespace: jv.listed(all), Labels: selected, Words: words}
			if limit < 0 {
				return usagef("--limit %d: give a number above zero", limit)
			}
			page, err := jv.readJobs(cmd.Context(), q, limit)
			if err != nil {
				return err
			}
			if err := printList(&jv.printer, page.Jobs, jv.jobTable(all)); err != nil {
				return err
			}
			if len(page.Jobs) < page.Total {
				jv.note("showing %d of %d; see more with --limit N", len(page.Jobs), page.Total)
			}
			if gap := page.Gap(); gap != "" {
				jv.note("%s", gap)
			}
			return nil
		},
	}
	jv.allNamespaces(cmd, &all)
	cmd.Flags().StringArrayVarP(&labels, "label", "l", nil, "only jobs with this label, `KEY=VALUE` (may be given several times)")
	cmd.Flags().StringVar(&words, "query", "", "only jobs of which these `WORDS` hold, such as last:bad paused:no back*")
	cmd.Flags().IntVar(&limit, "limit", 0, "how many at most, `N`; all when not given")
	return cmd
}

// readJobs reads page by page until there are limit jobs; 0 means all.
func (jv jobVerbs) readJobs(ctx context.Context, q api.JobQuery, limit int) (api.JobPage, error) {
	var all api.JobPage
	for {
		if limit > 0 {
			q.Limit = min(limit-len(all.Jobs), api.MaxJobLimit)
		}
		page, err := jv.client.Jobs.Page(ctx, q)
		if err != nil {
			return api.JobPage{}, err
		}
		all.Jobs, all.Total, all.Missing = append(all.Jobs, page.Jobs...), page.Total, page.Missing
		if q.Cursor = page.NextCursor; q.Cursor == "" || limit > 0 && len(all.Jobs) >= limit {
			return all, nil
		}
	}
}

// queryUsage tells what is wrong with a query, and which words there are.
func queryUsage(err error, words []query.Words) error {
	var invalid *job.InvalidError
	if !errors.As(err, &invalid) {
		return err
	}
	var text strings.Builder
	for _, p := range invalid.Problems {
		fmt.Fprintf(&text, "\n  %s", p.Message)
	}
	text.WriteString("\nThe words are:")
	for _, w := range words {
		fmt.Fprintf(&text, "\n  %-11s %s", w.Key+":", w.Takes)
	}
	return usagef("--query cannot be read:%s", text.String())
}

func (jv jobVerbs) findJob(cmd *cobra.Command, name string) (api.Job, error) {
	key, err := jv.key(name)
	if err != nil {
		return api.Job{}, err
	}
	return jv.client.Jobs.Get(cmd.Context(), key)
}

// runningCell is how many runs of a job run, as far as that is known now.
func runningCell(v api.Job) string {
	switch {
	case !v.RunningUnknown:
		return strconv.Itoa(v.Running)
	case v.Running > 0:
		return strconv.Itoa(v.Running) + "+?"
	}
	return "?"
}

func (jv jobVerbs) jobTable(all bool) table[api.Job] {
	type view = api.Job
	t := table[view]{
		none: "no jobs " + jv.where(all) + "; create one with `carillon apply -f FILE`",
		name: func(v view) string { return v.Key().String() },
		manifest: func(v view) any {
			return manifestOf[job.Spec]{job.APIVersion, job.KindJob, v.Metadata, v.Spec}
		},
		columns: []column[view]{
			{head: "NAME", cell: func(v view) string { return v.Name }},
			{head: "SCHEDULE", cell: func(v view) string { return schedules(v.Spec) }},
			{head: "NEXT", cell: func(v view) string { return jv.nextCell(v) }},
			{head: "LAST", toned: true, cell: jv.lastRun},
			{head: "RUNNING", cell: runningCell},
			{head: "WAITING", wide: true, cell: func(v api.Job) string { return strconv.Itoa(v.Waiting) }},
			{head: "ENABLED", toned: true, cell: func(v view) string { return enabledCell(v) }},
			{head: "GROUP", wide: true, cell: func(v view) string { return v.Spec.Group }},
			{head: "ZONE", wide: true, cell: func(v view) string { return zoneName(v.Spec) }},
			{head: "NEXT AT", wide: true, cell: func(v view) string { return jv.stamp(v.NextAt) }},
			{head: "IN WORDS", wide: true, cell: func(v view) string { return strings.Join(v.Words, "; ") }},
			{head: "SHARD", wide: true, cell: func(v view) string { return v.Shard.String() }},
			{head: "LABELS", wide: true, cell: func(v view) string { return pairs(v.Labels) }},
		},
	}
	if all {
		t.columns = append([]column[view]{{head: "NAMESPACE", cell: func(v view) string { return v.Namespace }}}, t.columns...)
	}
	return t
}

// nextCell tells when a job runs next, or in brackets why it does not.
func (jv jobVerbs) nextCell(v api.Job) string {
	switch {
	case v.NextAt.IsZero() && v.NoNext != "":
		return "(" + v.NoNext + ")"
	case !v.NextStartsAt.IsZero():
		return jv.relative(v.NextAt) + " +" + short(v.NextStartsAt.Sub(v.NextAt))
	}
	return jv.relative(v.NextAt)
}

// lastRun returns "succeeded 3m ago".
func (jv jobVerbs) lastRun(v api.Job) string {
	if len(v.Last) == 0 {
		return ""
	}
	r := v.Last[0]
	at := r.EndedAt
	if at.IsZero() {
		at = r.ScheduledAt
	}
	return string(r.State) + " " + jv.relative(at)
}

func schedules(s job.Spec) string {
	all := slices.Clone(s.Schedules)
	if s.After != nil {
		all = append(all, "after "+strings.Join(s.After.Jobs, ", "))
	}
	if s.Watch != nil {
		all = append(all, "key "+s.Watch.Key)
	}
	if s.OnStart {
		all = append(all, "start of host")
	}
	if s.Webhook != nil {
		all = append(all, "webhook")
	}
	if len(all) == 0 {
		return "manual"
	}
	return strings.Join(all, "; ")
}

func zoneName(s job.Spec) string { return orText(s.TimeZone, "UTC") }

// zoneText tells that a zone is the default where none is given.
func zoneText(s *job.Spec) string {
	if s.TimeZone == "" && len(s.Schedules) > 0 {
		return "UTC (the default)"
	}
	return zoneName(*s)
}

// timeoutText tells that a time-out is the default where none is given.
func timeoutText(s *job.Spec) string {
	if s.Timeout == 0 {
		return s.EffectiveTimeout().String() + " (the default)"
	}
	return s.EffectiveTimeout().String()
}

// orNone writes a duration that is given; empty: it is not.
func orNone(d job.Duration) string {
	if d == 0 {
		return ""
	}
	return "up to " + d.String()
}

// enabledCell tells whether a job fires by its schedule.
func enabledCell(v api.Job) string {
	if v.Aside != nil {
		return "set aside"
	}
	if v.Paused != nil {
		return "paused"
	}
	return yesNo(v.Spec.IsEnabled())
}

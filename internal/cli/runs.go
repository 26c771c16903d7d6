package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/query"
	"github.com/carillon-cron/carillon/job"
)

// runVerbs are the verbs of runs: which there are, what is to be known of one; cancel,
// promote, again.
type runVerbs struct{ *call }

// runFlags select runs.
type runFlags struct {
	allNamespaces bool
	every         bool
	state         string
	words         string
	since         string
	limit         int
}

func (rv runVerbs) runsCommand(group string) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use: "runs [JOB]", GroupID: group, Args: atMostOne, ValidArgsFunction: rv.completeJobs,
		Short:   "List runs, newest first",
		Example: "  carillon runs backup\n  carillon runs --state failed --limit 10\n  carillon runs -A --query 'state:bad since:24h minion:db*'",
		RunE: func(cmd *cobra.Command, args []string) error {
			return rv.listRuns(cmd, args, f)
		},
	}
	rv.addRunFlags(cmd, &f)
	return cmd
}

// getRunsCommand is `get runs`, and `get run ID`.
func (rv runVerbs) getRunsCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use: "runs [RUN...]", Aliases: []string{"run"},
		Short:   "List runs, newest first, or show one",
		Example: "  carillon get runs --state failed\n  carillon get run 9x2k-0c4g6q8m2s4v6x8z -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return rv.listRuns(cmd, nil, f)
			}
			return printNamed(&rv.printer, args, rv.runTable(false, ""), func(name string) (job.Run, error) {
				return rv.client.Runs.Get(cmd.Context(), job.RunID(name))
			})
		},
	}
	rv.addRunFlags(cmd, &f)
	return cmd
}

func (rv runVerbs) addRunFlags(cmd *cobra.Command, f *runFlags) {
	rv.allNamespaces(cmd, &f.allNamespaces)
	cmd.Flags().StringVar(&f.state, "state", "", "only runs in this `STATE`, or in one of several: failed,timed-out")
	cmd.Flags().StringVar(&f.words, "query", "", "only runs of which these `WORDS` hold, such as state:bad since:24h minion:db*")
	cmd.Flags().StringVar(&f.since, "since", "", "only runs that were due since this `TIME`: an instant, or so long ago as in 24h")
	cmd.Flags().IntVar(&f.limit, "limit", api.DefaultRunLimit, "how many at most, `N`")
	cmd.Flags().BoolVar(&f.every, "all", false, "all that are kept, whatever the limit")
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(stateNames(), cobra.ShellCompDirectiveNoFileComp))
}

func (rv runVerbs) listRuns(cmd *cobra.Command, args []string, f runFlags) error {
	for _, s := range strings.Split(f.state, ",") {
		if f.state != "" {
			if err := oneOf("state", s, stateNames()); err != nil {
				return err
			}
		}
	}
	if strings.Contains(f.state, ",") {
		f.state, f.words = "", strings.TrimSpace(f.words+" state:"+f.state)
	}
	if f.limit < 1 {
		return usagef("--limit %d: give a number above zero, or --all", f.limit)
	}
	since, err := pastTime("since", f.since, rv.now())
	if err != nil {
		return err
	}
	if _, err := query.ParseRuns(f.words, rv.now()); err != nil {
		return queryUsage(err, query.RunWords())
	}
	q := api.RunQuery{Namespace: rv.listed(f.allNamespaces), State: job.State(f.state), Words: f.words}
	if len(args) == 1 {
		k, err := rv.key(args[0])
		if err != nil {
			return err
		}
		q.Namespace, q.Job = k.Namespace, k.Name
	}
	limit := f.limit
	if f.every {
		limit = 0
	}
	q.Count = since.IsZero() && (rv.output == formatTable || rv.output == formatWide)
	found, more, err := rv.readRuns(cmd.Context(), q, limit, since)
	if err != nil {
		return err
	}
	if q.Job != "" && len(found.Runs) == 0 && since.IsZero() && q.Words == "" {
		if _, err := rv.client.Jobs.Get(cmd.Context(), job.Key{Namespace: q.Namespace, Name: q.Job}); err != nil {
			return err // a name that is mistyped has no runs either
		}
	}
	none := "no runs " + rv.where(f.allNamespaces)
	if q.Job != "" {
		none = "no runs of job " + q.Namespace + "/" + q.Job
	}
	if err := printList(&rv.printer, found.Runs, rv.runTable(f.allNamespaces, none)); err != nil {
		return err
	}
	rv.tellMore(&found, more)
	if gap := found.Gap(); gap != "" {
		rv.note("%s", gap)
	}
	return nil
}

// tellMore tells how much a list of runs does not show.
func (rv runVerbs) tellMore(found *api.RunPage, more bool) {
	atLeast := ""
	if found.AtLeast {
		atLeast = "more than "
	}
	switch {
	case more && found.Total > 0:
		rv.note("showing %d of %s%d; see more with --limit N or --all", len(found.Runs), atLeast, found.Total)
	case more:
		rv.note("showing the latest %d; see more with --limit N or --all", len(found.Runs))
	}
	var parts []string
	for _, s := range job.States() {
		if n := found.Others[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	if len(parts) > 0 {
		rv.note("not in the list for their state: %s%s", atLeast, strings.Join(parts, ", "))
	}
}

// readRuns reads page by page until there are limit runs; 0 means all. It
// reports whether there are more, and what a page lacked. Runs come newest first, so those
// that were due before since, unless that is zero, end it.
func (rv runVerbs) readRuns(ctx context.Context, q api.RunQuery, limit int, since time.Time) (found api.RunPage, more bool, err error) {
	for {
		q.Limit = api.MaxRunLimit
		if limit > 0 {
			q.Limit = min(limit-len(found.Runs), api.MaxRunLimit)
		}
		page, err := rv.client.Runs.List(ctx, q)
		if err != nil {
			return api.RunPage{}, false, err
		}
		for i := range page.Runs {
			if page.Runs[i].ScheduledAt.Before(since) {
				page.Runs, page.NextCursor = page.Runs[:i], ""
				break
			}
		}
		found.Runs = append(found.Runs, page.Runs...)
		if q.Count {
			found.Total, found.Others, found.AtLeast, q.Count = page.Total, page.Others, page.AtLeast, false
		}
		for _, m := range page.Missing {
			if !slices.ContainsFunc(found.Missing, func(o api.MissingRuns) bool { return o.Node == m.Node && slices.Equal(o.Shards, m.Shards) }) {
				found.Missing = append(found.Missing, m)
			}
		}
		q.Cursor = page.NextCursor
		if q.Cursor == "" || limit > 0 && len(found.Runs) >= limit {
			return found, q.Cursor != "", nil
		}
	}
}

func (rv runVerbs) runTable(all bool, none string) table[job.Run] {
	type run = job.Run
	t := table[run]{none: none, rolling: true, name: func(r run) string { return string(r.RunID) }, columns: []column[run]{
		{head: "RUN", cell: func(r run) string { return string(r.RunID) }},
		{head: "JOB", cell: func(r run) string { return r.Job }},
		{head: "SCHEDULED", cell: func(r run) string { return rv.stamp(r.ScheduledAt) }},
		{head: "STATE", toned: true, cell: stateCell},
		{head: "ATTEMPT", cell: func(r run) string { return strconv.Itoa(r.Attempt) }},
		{head: "TOOK", cell: func(r run) string { return span(r.StartedAt, r.EndedAt) }},
		{head: "MINION", cell: minionCell},
		{head: "REASON", cell: func(r run) string { return r.Reason }},
		{head: "TRIGGER", wide: true, cell: func(r run) string { return r.Trigger }},
		{head: "NODE", wide: true, cell: func(r run) string { return string(r.Node) }},
		{head: "LATE", wide: true, cell: func(r run) string { return span(r.ScheduledAt, r.StartedAt) }},
		{head: "STARTED", wide: true, cell: func(r run) string { return rv.exact(r.StartedAt) }},
		{head: "ENDED", wide: true, cell: func(r run) string { return rv.exact(r.EndedAt) }},
		{head: "FIRE", wide: true, cell: fireCell},
	}}
	if all {
		t.columns = append([]column[run]{{head: "NAMESPACE", cell: func(r run) string { return r.Namespace }}}, t.columns...)
	}
	return t
}

// stateCell tells of a record that stands for many occurrences how many. Of a run
// whose minions are gone it does not tell that it is running.
func stateCell(r job.Run) string {
	if !r.GoneSince.IsZero() {
		return "minion gone"
	}
	if r.Count > 1 {
		return string(r.State) + " x" + strconv.Itoa(r.Count)
	}
	return string(r.State)
}

func minionCell(r job.Run) string { return r.Where() }

func fireCell(r job.Run) string {
	if r.FireID.Job.IsZero() {
		return ""
	}
	return r.FireID.String()
}

func stateNames() []string {
	var names []string
	for _, s := range job.States() {
		names = append(names, string(s))
	}
	return names
}

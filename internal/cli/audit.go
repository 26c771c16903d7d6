package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
)

// auditVerbs are the verbs of what people did.
type auditVerbs struct{ *call }

// auditFlags select records.
type auditFlags struct {
	limit              int
	since, until       string
	by, action, object string
	follow             bool
}

const defaultAudit = 50

func (av auditVerbs) auditCommand() *cobra.Command {
	var f auditFlags
	cmd := &cobra.Command{
		Use: "audit", GroupID: groupCluster, Args: noOrder,
		Short: "List what people did, newest first",
		Long: "List what people did: changes, runs by hand, and what they were refused. Without\n" +
			"--since, --until and --limit these are the latest; how many more there are is said\n" +
			"on stderr. With --follow, new records are printed once they are sealed, oldest\nfirst.",
		Example: "  carillon audit\n  carillon audit --since 24h --action job -o json\n  carillon audit --object ops/backup -o wide\n  carillon audit --follow -o json >>audit.jsonl",
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := f.query(cmd, av.now())
			if err != nil {
				return err
			}
			if f.follow {
				return av.followAudit(cmd.Context(), &q)
			}
			return av.listAudit(cmd.Context(), q, f.limit)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&f.limit, "limit", defaultAudit, "list at most `N` records (default with --since or --until: all)")
	flags.StringVar(&f.since, "since", "", "only what was done since this `TIME`: an instant, or so long ago as in 24h")
	flags.StringVar(&f.until, "until", "", "only what was done until this `TIME`")
	flags.StringVar(&f.by, "by", "", "only what this `NAME` did")
	flags.StringVar(&f.action, "action", "", "only this `ACTION`, such as job.delete, or all of a kind, such as job")
	flags.StringVar(&f.object, "object", "", "only what was done to objects whose names hold this `TEXT`")
	flags.BoolVar(&f.follow, "follow", false, "go on, and print what comes")
	cmd.AddCommand(av.verifyAuditCommand())
	return cmd
}

func (f *auditFlags) query(cmd *cobra.Command, now time.Time) (api.AuditQuery, error) {
	q := api.AuditQuery{By: f.by, Action: f.action, Object: f.object}
	var err error
	if q.Since, err = pastTime("since", f.since, now); err != nil {
		return q, err
	}
	if q.Until, err = pastTime("until", f.until, now); err != nil {
		return q, err
	}
	limited := cmd.Flags().Changed("limit")
	switch {
	case f.limit < 1:
		return q, usagef("--limit %d: give 1 or more", f.limit)
	case f.follow && (limited || f.until != ""):
		return q, usagef("--follow goes on for ever; leave --limit and --until out")
	case !limited && (f.since != "" || f.until != ""):
		f.limit = 0
	}
	return q, nil
}

// pastTime reads an instant, or how long ago it was.
func pastTime(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return at, usagef("--%s %q: want an instant such as 2027-01-31T09:00:00Z, or how long ago as in 24h", flag, text)
	}
	return at, nil
}

// listAudit prints at most limit records; 0: all.
func (av auditVerbs) listAudit(ctx context.Context, q api.AuditQuery, limit int) error {
	var (
		records []api.AuditRecord
		more    string
	)
	for {
		q.Limit = api.MaxAudit
		if limit > 0 {
			q.Limit = min(limit-len(records), api.MaxAudit)
		}
		page, err := av.client.Audit.List(ctx, q)
		if err != nil {
			return err
		}
		records, q.After = append(records, page.Records...), page.Next
		if page.Next == "" {
			break
		}
		if limit > 0 && len(records) >= limit {
			more = fmt.Sprintf("%d older records are not shown", page.Older)
			if q.By+q.Action+q.Object != "" {
				more = fmt.Sprintf("%d older records were not looked at", page.Older)
			}
			break
		}
	}
	err := printList(&av.printer, records, av.auditTable())
	if more != "" {
		av.note("%s; see --limit and --since", more)
	}
	return err
}

// followEvery is how often what comes is asked for.
const followEvery = time.Second

// followAudit prints what comes until ctx ends.
func (av auditVerbs) followAudit(ctx context.Context, q *api.AuditQuery) error {
	after, since := int64(-1), q.Since
	for {
		feed, err := av.client.Audit.Sealed(ctx, after, since)
		if err != nil {
			return err
		}
		for i := range feed.Records {
			if r := &feed.Records[i]; selectsAudit(q, r) {
				if err := av.printAuditLine(r); err != nil {
					return err
				}
			}
		}
		if after == feed.Last || len(feed.Seals) == 0 {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(followEvery):
			}
		}
		after = feed.Last
	}
}

func selectsAudit(q *api.AuditQuery, r *api.AuditRecord) bool {
	return (q.By == "" || r.By == q.By) && (q.Action == "" || r.Action == q.Action || strings.HasPrefix(r.Action, q.Action+".")) &&
		strings.Contains(r.Object, q.Object)
}

func (av auditVerbs) printAuditLine(r *api.AuditRecord) error {
	if av.output == formatJSON {
		text, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("encode record: %w", err)
		}
		_, err = fmt.Fprintln(av.out, string(text))
		return err
	}
	_, err := fmt.Fprintln(av.out, strings.TrimRight(strings.Join([]string{av.stamp(r.At), r.By, r.Action, r.Object, r.Reason}, "  "), " "))
	return err
}

func (av auditVerbs) verifyAuditCommand() *cobra.Command {
	var expect, file string
	cmd := &cobra.Command{
		Use: "verify", Args: noArgs,
		Short: "Check whether records were changed, removed or put in later",
		Long: "Check all records against the segments that they are sealed in. The exit code is 1\n" +
			"when something does not fit. Who can write etcd can write all of it anew: so give the\n" +
			"file that a node exports (--audit-file), or the number and the hash of a segment\n" +
			"that you have noted, and they are compared.",
		Example: "  carillon audit verify\n  carillon audit verify --file /var/log/carillon/audit.jsonl\n  carillon audit verify --expect 41:3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b",
		RunE: func(cmd *cobra.Command, _ []string) error {
			segment, hash, exported, err := expected(expect, file)
			if err != nil {
				return err
			}
			v, err := av.client.Audit.Verify(cmd.Context(), segment, hash)
			if err != nil {
				return err
			}
			if exported != nil {
				differs, err := exported.compare(cmd.Context(), v.First, av.client.Audit.Sealed)
				if err != nil {
					return err
				}
				v.Problems = append(v.Problems, differs...)
			}
			if len(v.Problems) > 0 {
				av.code = 1
			}
			return av.printVerdict(&v)
		},
	}
	cmd.Flags().StringVar(&expect, "expect", "", "the hash of a segment, as `SEGMENT:SHA256`, that is known from elsewhere")
	cmd.Flags().StringVar(&file, "file", "", "compare with all segments in this `FILE`, which a node exports")
	return cmd
}

// expected reads which segment is compared, 0: none is, and the file that it is the last
// one of; nil: of none.
func expected(expect, file string) (int64, string, *exportedFile, error) {
	switch {
	case expect != "" && file != "":
		return 0, "", nil, usagef("give --expect or --file, not both")
	case file != "":
		f, err := readExported(file)
		if err != nil {
			return 0, "", nil, err
		}
		return f.last().Segment, f.last().SHA256, f, nil
	case expect == "":
		return 0, "", nil, nil
	}
	number, hash, _ := strings.Cut(expect, ":")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 1 || len(hash) != 64 {
		return 0, "", nil, usagef("--expect %q: want the number of a segment and its SHA-256, as `carillon audit verify` prints them", expect)
	}
	return n, hash, nil, nil
}

func (av auditVerbs) printVerdict(v *api.AuditVerdict) error {
	if av.asObject() {
		return av.printValue(v)
	}
	var b strings.Builder
	for _, p := range v.Problems {
		fmt.Fprintln(&b, p)
	}
	if v.More > 0 {
		fmt.Fprintf(&b, "and %d more\n", v.More)
	}
	word := "all records are intact"
	if n := len(v.Problems) + v.More; n > 0 {
		word = fmt.Sprintf("%d problems", n)
		if n == 1 {
			word = "1 problem"
		}
	}
	fmt.Fprintf(&b, "%s: %d records in segments %d to %d, %d not sealed yet\n", word, v.Sealed, v.First, v.Last, v.Waiting)
	if v.Last > 0 {
		fmt.Fprintf(&b, "the last segment is %d:%s, of %s\n", v.Last, v.SHA256, av.stamp(v.SealedAt))
	}
	if !v.Begins.IsZero() {
		fmt.Fprintf(&b, "records up to %s were removed, as they were old\n", av.stamp(v.Begins))
	}
	_, err := io.WriteString(av.out, b.String())
	return err
}

// auditChanges tells in a line what a record says of an object before and after.
func auditChanges(r api.AuditRecord) string {
	var parts []string
	if r.Count > 1 {
		parts = append(parts, fmt.Sprintf("%d times", r.Count))
	}
	if r.Before != "" {
		parts = append(parts, "before: "+r.Before)
	}
	const shown = 5
	for _, c := range r.Changes[:min(len(r.Changes), shown)] {
		switch {
		case c.Before == "":
			parts = append(parts, c.Path+": "+c.After)
		case c.After == "":
			parts = append(parts, c.Path+": "+c.Before+" -> none")
		default:
			parts = append(parts, c.Path+": "+c.Before+" -> "+c.After)
		}
	}
	if more := max(len(r.Changes)-shown, 0) + r.LeftOut; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, "; ")
}

func (av auditVerbs) auditTable() table[api.AuditRecord] {
	type record = api.AuditRecord
	name := func(r record) string { return strings.TrimSpace(r.Action + " " + r.Object) }
	return table[record]{none: "no audit records", name: name, columns: []column[record]{
		{head: "WHEN", cell: func(r record) string { return av.stamp(r.At) }},
		{head: "BY", cell: func(r record) string { return r.By }},
		{head: "ACTION", cell: func(r record) string { return r.Action }},
		{head: "OBJECT", cell: func(r record) string { return r.Object }},
		{head: "REASON", cell: func(r record) string { return r.Reason }},
		{head: "FROM", wide: true, cell: func(r record) string { return r.From }},
		{head: "REQUEST", wide: true, cell: func(r record) string { return r.Request }},
		{head: "CHANGES", wide: true, cell: auditChanges},
	}}
}

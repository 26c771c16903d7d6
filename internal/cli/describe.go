package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// describedInstants is how many next instants describe shows.
const describedInstants = 5

func (a *app) describeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "describe WHAT NAME", GroupID: groupJobs,
		Short:   "Show details of a job, a run, a fire, a group, a host group, a script, a calendar, a role, a lock, a minion or a node",
		Example: "  carillon describe job backup\n  carillon describe run 9x2k-0c4g6q8m2s4v6x8z\n  carillon describe fire backup@2027-01-31T02:30:00Z",
		RunE:    needsNoun,
	}
	cmd.AddCommand(
		a.describeGroupCommand(), a.describeFireCommand(), a.describeScriptCommand(), a.describeMinionCommand(),
		a.describeNodeCommand(), a.describeCalendarCommand(), a.describeHostGroupCommand(), a.describeRoleCommand(), a.describeLockCommand(),
		&cobra.Command{
			Use: "job NAME", Aliases: []string{"jobs"}, Args: exactlyOne("name"), ValidArgsFunction: a.completeJobs,
			Short:   "Show when and where a job runs, and its last runs",
			Example: "  carillon describe job backup",
			RunE: func(cmd *cobra.Command, args []string) error {
				key, err := a.key(args[0])
				if err != nil {
					return err
				}
				view, err := a.client.Jobs.Get(cmd.Context(), key)
				if err != nil {
					return err
				}
				return a.describeJob(cmd.Context(), view)
			},
		},
		&cobra.Command{
			Use: "run ID", Aliases: []string{"runs"}, Args: exactlyOne("run id"),
			Short:   "Show how a run went, step by step",
			Example: "  carillon describe run 9x2k-0c4g6q8m2s4v6x8z",
			RunE: func(cmd *cobra.Command, args []string) error {
				run, err := a.client.Runs.Get(cmd.Context(), job.RunID(args[0]))
				if err != nil {
					return err
				}
				return a.describeRun(run)
			},
		},
	)
	return cmd
}

func (a *app) describeJob(ctx context.Context, v api.Job) error {
	return a.describe(v, v.Key().String(), func() error { return a.jobText(ctx, v) })
}

func (a *app) jobText(ctx context.Context, v api.Job) error {
	s := &v.Spec
	f := newFields(a.out, "")
	f.add("Job", v.Key().String())
	f.add("Group", s.Group)
	f.add("Enabled", yesNo(s.IsEnabled()))
	for i := range v.Pauses {
		f.add("Paused", a.pausedText(&v.Pauses[i]))
	}
	if v.Aside != nil {
		f.add("Set aside", fmt.Sprintf("since %s: %s", a.stamp(v.Aside.Since), v.Aside.Reason))
	}
	f.add("Schedule", schedules(*s))
	f.add("In words", strings.Join(v.Words, "; "))
	f.add("Time zone", zoneText(s))
	f.add("Bounds", a.boundsText(&v.Job))
	f.add("Jitter", orNone(s.Jitter))
	f.add("Calendars", strings.Join(s.Calendars, ", "))
	f.add("Dialect", string(s.Dialect))
	f.add("After", afterText(s.After))
	if s.Watch != nil {
		f.add("Watches key", s.Watch.Key)
	}
	f.add("Command", commandText(s))
	for i := range s.Params {
		f.add("Param "+s.Params[i].Name, paramText(&s.Params[i]))
	}
	f.add("Working dir", s.WorkingDir)
	f.add("User", s.User)
	f.add("Limits", limitsText(s.Limits))
	f.add("Environment", pairs(s.Env))
	f.add("Target", targetText(s.Target))
	f.add("At a time", capsText(&s.Rollout))
	f.add("Timeout", timeoutText(s))
	f.add("Lost after", s.EffectiveLostAfter().String())
	f.add("Retry", retryText(s.Retry))
	f.add("Overlap", string(cmp.Or(s.Overlap, job.OverlapSkip)))
	f.add("Misfire", string(cmp.Or(s.Misfire, job.MisfireLatest)))
	f.add("Idempotent", yesNo(s.Idempotent))
	f.add("Labels", pairs(v.Labels))
	f.add("Annotations", pairs(v.Annotations))
	f.add("Created", a.stamp(v.CreatedAt))
	f.add("Updated", fmt.Sprintf("%s (generation %d)", orDash(a.stamp(v.UpdatedAt)), v.Generation))
	f.add("UID", v.UID.String())
	f.add("Shard", shardText(v.Shard, s.Group))
	f.flush()

	if s.Script != nil {
		fmt.Fprintln(a.out, "\nScript:")
		printText(a.out, "  ", s.Script.Source)
	}
	if len(s.Schedules) > 0 {
		up, err := a.upcomingOf(ctx, v.Key(), time.Time{}, describedInstants)
		if err != nil {
			return err
		}
		if len(up.next) > 0 || up.ends != "" {
			fmt.Fprintln(a.out, "\nNext:")
			a.printInstants(up)
		}
	}
	if len(v.Last) > 0 {
		fmt.Fprintln(a.out, "\nLast runs:")
		return printTable(a.out, v.Last, a.runTable(false, "").columns, a.output == formatWide, "  ")
	}
	return nil
}

// shardText names a shard: the number of a group's says nothing.
func shardText(id job.ShardID, group string) string {
	switch {
	case !id.IsGroup():
		return id.String()
	case group == "":
		return "that of its group"
	}
	return "that of group " + group
}

// pausedText tells of a pause.
func (a *app) pausedText(p *api.Pause) string {
	text := fmt.Sprintf("(%s) since %s", p.Scope, a.stamp(p.Since))
	if !p.Until.IsZero() {
		text += " until " + a.stamp(p.Until)
	}
	if p.By != "" {
		text += " by " + p.By
	}
	if p.Reason != "" {
		text += ": " + p.Reason
	}
	return text
}

// boundsText tells from when to when, and how often, a schedule holds.
func (a *app) boundsText(j *job.Job) string {
	var out []string
	if t := j.Spec.StartAt; t != nil {
		out = append(out, "from "+a.stamp(*t))
	}
	if t := j.Spec.EndAt; t != nil {
		out = append(out, "to "+a.stamp(*t))
	}
	if n := j.Spec.Count; n > 0 {
		out = append(out, fmt.Sprintf("%d times since %s", n, a.stamp(j.CountedFrom)))
	}
	return strings.Join(out, ", ")
}

func afterText(after *job.After) string {
	if after == nil {
		return ""
	}
	return fmt.Sprintf("%s of %s of %s", cmp.Or(after.On, job.OnSuccess), cmp.Or(after.Match, job.MatchAll), strings.Join(after.Jobs, ", "))
}

func commandText(s *job.Spec) string {
	if len(s.Steps) > 0 {
		names := make([]string, len(s.Steps))
		for i := range s.Steps {
			names[i] = s.StepName(i)
		}
		return fmt.Sprintf("%d steps: %s", len(names), strings.Join(names, ", "))
	}
	if s.Script != nil {
		interpreter := s.Script.Interpreter
		if len(interpreter) == 0 {
			interpreter = []string{"/bin/sh"}
		}
		return strings.Join(quoted(interpreter), " ") + " SCRIPT"
	}
	return strings.Join(quoted(s.Command), " ")
}

// quoted quotes the arguments in which one could not see where they end.
func quoted(args []string) []string {
	out := make([]string, len(args))
	for i, arg := range args {
		out[i] = arg
		if arg == "" || strings.ContainsAny(arg, " \t\r\n'\"\\$`") {
			out[i] = fmt.Sprintf("%q", arg)
		}
	}
	return out
}

func targetText(t job.Target) string {
	spread := "one minion"
	switch t.EffectiveRun() {
	case job.SpreadAll:
		spread = "all minions"
	case job.SpreadAny:
		spread = fmt.Sprintf("any %d minions", t.Count)
	case job.SpreadOne:
	}
	if len(t.Names) > 0 {
		spread += " named " + strings.Join(t.Names, " or ")
	}
	if len(t.Labels) > 0 {
		spread += " with " + pairs(t.Labels)
	}
	if t.Match != "" {
		spread += " matched by " + t.Match
	}
	return spread
}

// capsText tells how many minions of one value a rollout lets run at a time.
func capsText(r *job.Rollout) string {
	var out []string
	add := func(bounds map[string]int, where string) {
		for _, label := range slices.Sorted(maps.Keys(bounds)) {
			out = append(out, fmt.Sprintf("%d per %s in the %s", bounds[label], label, where))
		}
	}
	add(r.MaxPer, "run")
	add(r.ClusterMaxPer, "cluster")
	return strings.Join(out, ", ")
}

// limitsText lists the bounds that there are.
func limitsText(l job.Limits) string {
	var out []string
	if l.Memory != 0 {
		out = append(out, "memory "+l.Memory.String())
	}
	if l.Pids != 0 {
		out = append(out, fmt.Sprintf("%d processes", l.Pids))
	}
	if l.CPU != 0 {
		out = append(out, l.CPU.String()+" processors")
	}
	return strings.Join(out, ", ")
}

func retryText(r job.Retry) string {
	if r.Attempts <= 1 {
		return "none"
	}
	return fmt.Sprintf("up to %d attempts, after %s and ever longer up to %s", r.Attempts,
		cmp.Or(time.Duration(r.Backoff), job.DefaultBackoff), cmp.Or(time.Duration(r.MaxBackoff), job.DefaultMaxBackoff))
}

func (a *app) describeRun(r job.Run) error {
	return a.describe(r, string(r.RunID), func() error { a.runText(r); return nil })
}

func (a *app) runText(r job.Run) {
	f := newFields(a.out, "")
	f.add("Run", string(r.RunID))
	f.add("Job", r.Key().String())
	f.add("State", stateCell(r))
	f.add("Gone since", a.stamp(r.GoneSince))
	f.add("Reason", r.Reason)
	f.add("Trigger", r.Trigger)
	f.add("Cause", r.Cause)
	f.add("Params", pairs(r.Params))
	f.add("Alerts", strings.Join(r.Alerts, "; "))
	f.add("Attempt", fmt.Sprint(r.Attempt))
	f.add("Fire", fireCell(r))
	f.add("Node", string(r.Node))
	f.add("Shard", fmt.Sprintf("%s (token %s)", shardText(r.Shard, ""), r.Token))
	f.flush()

	fmt.Fprintln(a.out, "\nTimeline:")
	a.timeline(r)
	a.attempts(r)
	for _, t := range r.Tasks {
		a.describeTask(t)
	}
}

// timeline prints the steps in the order in which they were, each with the
// time since the step before. A fire is committed before it is due.
func (a *app) timeline(r job.Run) {
	type step struct {
		name string
		at   time.Time
		note string
	}
	first, again := r.FirstStartedAt(), step{}
	if !first.Equal(r.StartedAt) {
		again = step{"last attempt", r.StartedAt, fmt.Sprintf("attempt %d", r.Attempt)}
	}
	took := "" // of a last attempt that did not start
	if !r.StartedAt.IsZero() {
		took = "took " + short(a.took(r))
	}
	steps := []step{
		{"scheduled", r.ScheduledAt, ""},
		{"until", r.Until, "the last occurrence that this record stands for"},
		{"committed", r.CommittedAt, ""},
		{"dispatched", r.DispatchedAt, ""},
		{"started", first, punctual(r, first)},
		again,
		{"ended", r.EndedAt, took},
	}
	steps = slices.DeleteFunc(steps, func(s step) bool { return s.at.IsZero() })
	slices.SortStableFunc(steps, func(x, y step) int { return x.at.Compare(y.at) })
	tw := newTabs(a.out)
	for i, s := range steps {
		line := "  " + s.name + "\t" + a.exact(s.at)
		if i > 0 {
			line += "\t+" + span(steps[i-1].at, s.at)
		}
		if s.note != "" {
			line += "\t" + s.note
		}
		fmt.Fprintln(tw, line)
	}
	_ = tw.Flush() // the sink below keeps the error
}

// attempts prints the attempts that later ones have replaced.
func (a *app) attempts(r job.Run) {
	if len(r.Attempts) == 0 {
		return
	}
	fmt.Fprintln(a.out, "\nEarlier attempts:")
	if r.AttemptsLeftOut > 0 {
		fmt.Fprintf(a.out, "  (%d older ones are not kept)\n", r.AttemptsLeftOut)
	}
	type attempt = job.Attempt
	_ = printTable(a.out, r.Attempts, []column[attempt]{ // the sink keeps the error
		{head: "ATTEMPT", cell: func(t attempt) string { return strconv.Itoa(t.Attempt) }},
		{head: "MINION", cell: func(t attempt) string { return string(t.Minion) }},
		{head: "STATE", cell: func(t attempt) string { return string(t.State) }},
		{head: "STARTED", cell: func(t attempt) string { return a.exact(t.StartedAt) }},
		{head: "TOOK", cell: func(t attempt) string { return span(t.StartedAt, t.EndedAt) }},
		{head: "EXIT", cell: func(t attempt) string {
			if t.Exit == nil {
				return ""
			}
			return exitText(t.Exit)
		}},
		{head: "REASON", cell: func(t attempt) string { return t.Reason }},
	}, false, "  ")
}

// punctual says how late a run began, or how early, which a clock that was wrong has
// done. Its later attempts do not count.
func punctual(r job.Run, first time.Time) string {
	if first.Before(r.ScheduledAt) {
		return "early by " + span(first, r.ScheduledAt)
	}
	return "late by " + span(r.ScheduledAt, first)
}

func (a *app) describeTask(t job.Task) {
	fmt.Fprintf(a.out, "\nTask on %s:\n", oneLine(string(t.Minion)))
	f := newFields(a.out, "  ")
	if t.GoneSince.IsZero() {
		f.add("State", string(t.State))
	} else {
		f.add("State", fmt.Sprintf("not known: the minion is gone since %s; before, it was %s", a.stamp(t.GoneSince), t.State))
	}
	f.add("Reason", t.Reason)
	f.add("Attempt", fmt.Sprint(t.Attempt))
	f.add("Started", a.exact(t.StartedAt))
	f.add("Ended", a.exact(t.EndedAt))
	f.add("Took", span(t.StartedAt, t.EndedAt))
	for _, st := range t.Steps {
		text := string(st.State)
		if st.State != job.StateSkipped {
			text += fmt.Sprintf(", exit code %d, took %s", st.ExitCode, short(time.Duration(st.Took)))
		}
		f.add("Step "+oneLine(st.Name), text)
	}
	if e := t.Exit; e != nil {
		f.add("Exit", exitText(e))
		f.add("CPU", fmt.Sprintf("%s user, %s system", short(time.Duration(e.UserCPU)), short(time.Duration(e.SystemCPU))))
		f.add("Memory", fmt.Sprintf("%.1f MiB at most", float64(e.MaxRSS)/(1<<20)))
	}
	f.flush()
	a.printOutput("stdout", t.Stdout)
	a.printOutput("stderr", t.Stderr)
}

func exitText(e *job.Exit) string {
	if e.Signal != "" {
		return fmt.Sprintf("code %d (killed by %s)", e.ShellCode(), e.Signal)
	}
	return fmt.Sprintf("code %d", e.Code)
}

// printOutput prints the head and the tail of a stream.
func (a *app) printOutput(name string, o job.Output) {
	if o.Bytes == 0 && o.Head == "" {
		return
	}
	fmt.Fprintf(a.out, "  %s (%d bytes):\n", name, o.Bytes)
	printText(a.out, "    ", o.Head)
	if o.Truncated {
		fmt.Fprintf(a.out, "    ... %d bytes are left out; see `carillon logs` ...\n", o.LeftOut())
	}
	if o.Tail != "" {
		printText(a.out, "    ", o.Tail)
	}
}

// printText prints lines of a user's text, indented and without what would
// move a terminal's cursor.
func printText(w io.Writer, indent, text string) {
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		fmt.Fprintf(w, "%s%s\n", indent, oneLine(strings.ReplaceAll(line, "\t", "    ")))
	}
}

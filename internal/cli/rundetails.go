package cli

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/job"
)

func (rv runVerbs) describeRunCommand() *cobra.Command {
	return &cobra.Command{
		Use: "run ID", Aliases: []string{"runs"}, Args: exactlyOne("run id"),
		Short:   "Show how a run went, step by step",
		Example: "  carillon describe run 9x2k-0c4g6q8m2s4v6x8z",
		RunE: func(cmd *cobra.Command, args []string) error {
			run, err := rv.client.Runs.Get(cmd.Context(), job.RunID(args[0]))
			if err != nil {
				return err
			}
			return rv.describeRun(run)
		},
	}
}

func (rv runVerbs) describeRun(r job.Run) error {
	return rv.describe(r, string(r.RunID), func() error { rv.runText(r); return nil })
}

func (rv runVerbs) runText(r job.Run) {
	f := newFields(rv.out, "")
	f.add("Run", string(r.RunID))
	f.add("Job", r.Key().String())
	f.add("State", stateCell(r))
	f.add("Gone since", rv.stamp(r.GoneSince))
	f.add("Reason", r.Reason)
	f.add("Trigger", r.Trigger)
	f.add("Cause", r.Cause)
	f.add("Started by", r.Subject)
	f.add("Applied by", r.Author)
	f.add("Params", pairs(r.Params))
	f.add("Alerts", strings.Join(r.Alerts, "; "))
	f.add("Attempt", fmt.Sprint(r.Attempt))
	f.add("Fire", fireCell(r))
	f.add("Node", string(r.Node))
	f.add("Shard", fmt.Sprintf("%s (token %s)", shardText(r.Shard, ""), r.Token))
	f.flush()

	fmt.Fprintln(rv.out, "\nTimeline:")
	rv.timeline(r)
	rv.attempts(r)
	for _, t := range r.Tasks {
		rv.describeTask(t)
	}
}

// timeline prints the steps in the order in which they were, each with the
// time since the step before. A fire is committed before it is due.
func (rv runVerbs) timeline(r job.Run) {
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
		took = "took " + short(rv.took(r))
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
	tw := newTabs(rv.out)
	for i, s := range steps {
		line := "  " + s.name + "\t" + rv.exact(s.at)
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
func (rv runVerbs) attempts(r job.Run) {
	if len(r.Attempts) == 0 {
		return
	}
	fmt.Fprintln(rv.out, "\nEarlier attempts:")
	if r.AttemptsLeftOut > 0 {
		fmt.Fprintf(rv.out, "  (%d older ones are not kept)\n", r.AttemptsLeftOut)
	}
	type attempt = job.Attempt
	_ = printTable(rv.out, r.Attempts, []column[attempt]{ // the sink keeps the error
		{head: "ATTEMPT", cell: func(t attempt) string { return strconv.Itoa(t.Attempt) }},
		{head: "MINION", cell: func(t attempt) string { return string(t.Minion) }},
		{head: "STATE", cell: func(t attempt) string { return string(t.State) }},
		{head: "STARTED", cell: func(t attempt) string { return rv.exact(t.StartedAt) }},
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

func (rv runVerbs) describeTask(t job.Task) {
	on := string(t.Minion)
	if q, is := t.Minion.Queue(); is {
		on = "queue " + q.String()
	}
	fmt.Fprintf(rv.out, "\nTask on %s:\n", oneLine(on))
	f := newFields(rv.out, "  ")
	if it := t.Item; it != nil {
		f.add("Item", it.ID)
		if it.Minion != "" {
			f.add("Minion", fmt.Sprintf("%s, attempt %d of the item, as run %s", it.Minion, it.Attempt, it.RunID))
		}
	}
	if t.GoneSince.IsZero() {
		f.add("State", string(t.State))
	} else {
		f.add("State", fmt.Sprintf("not known: the minion is gone since %s; before, it was %s", rv.stamp(t.GoneSince), t.State))
	}
	f.add("Reason", t.Reason)
	f.add("Attempt", fmt.Sprint(t.Attempt))
	f.add("Started", rv.exact(t.StartedAt))
	f.add("Ended", rv.exact(t.EndedAt))
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
	rv.printOutput("stdout", t.Stdout)
	rv.printOutput("stderr", t.Stderr)
}

func exitText(e *job.Exit) string {
	if e.Signal != "" {
		return fmt.Sprintf("code %d (killed by %s)", e.ShellCode(), e.Signal)
	}
	return fmt.Sprintf("code %d", e.Code)
}

// printOutput prints the head and the tail of a stream.
func (rv runVerbs) printOutput(name string, o job.Output) {
	if o.Bytes == 0 && o.Head == "" {
		return
	}
	fmt.Fprintf(rv.out, "  %s (%d bytes):\n", name, o.Bytes)
	printText(rv.out, "    ", o.Head)
	if o.Truncated {
		fmt.Fprintf(rv.out, "    ... %d bytes are left out; see `carillon logs` ...\n", o.LeftOut())
	}
	if o.Tail != "" {
		printText(rv.out, "    ", o.Tail)
	}
}

// printText prints lines of a user's text, indented and without what would
// move a terminal's cursor.
func printText(w io.Writer, indent, text string) {
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		fmt.Fprintf(w, "%s%s\n", indent, oneLine(strings.ReplaceAll(line, "\t", "    ")))
	}
}

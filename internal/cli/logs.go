package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/agentpush/fold"
	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/job"
)

// logVerbs are the verbs of what runs wrote.
type logVerbs struct{ *call }

// The streams of a task's output.
const (
	streamStdout = 1
	streamStderr = 2
)

func (lv logVerbs) logsCommand() *cobra.Command {
	var (
		follow, folded       bool
		minion, grep         string
		onlyStdout, onlyErrs bool
		tail                 int
	)
	cmd := &cobra.Command{
		Use: "logs RUN|JOB", GroupID: groupRuns, Args: exactlyOne("run or job"), ValidArgsFunction: lv.completeJobs,
		Short: "Print what a run wrote",
		Long: "Print what a run wrote, to stdout and stderr as the run did. A job stands for\n" +
			"its latest run. Lines of a run on several minions begin with the minion's name;\n" +
			"with --fold, minions that wrote the same are shown as one block. --tail and --grep\n" +
			"select lines: of each stream of each minion the last ones, of those that match.",
		Example: "  carillon logs backup -f\n  carillon logs backup --tail 20 --grep '(?i)error'\n  carillon logs uptime --fold\n  carillon logs 9x2k-0c4g6q8m2s4v6x8z --stderr",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			match, err := lineMatch(grep)
			if err != nil {
				return err
			}
			if !cmd.Flags().Changed("tail") {
				tail = -1
			} else if tail < 0 {
				return usagef("--tail %d: give how many lines", tail)
			}
			if folded && (match != nil || tail >= 0) {
				return usagef("--fold shows what minions wrote as a whole; leave out --tail and --grep, or --fold")
			}
			run, err := lv.findRun(ctx, args[0])
			if err != nil {
				return err
			}
			switch {
			case len(run.Tasks) > 0:
			case run.State.Final():
				lv.noteNothing(&run)
			case !follow:
				lv.note("run %s is %s: nothing has been written yet; -f follows it", run.RunID, run.State)
			}
			if follow && minion == "" {
				if run, err = lv.waitForTasks(ctx, run); err != nil {
					return err
				}
			}
			shown := func(stream int) bool { return onlyStdout == onlyErrs || onlyStdout == (stream == streamStdout) }
			if folded {
				return lv.foldLogs(ctx, run, job.MinionID(minion), follow, shown)
			}
			l := &logPrinter{stdout: lv.out, stderr: lv.errout, prefix: minion == "" && len(run.Tasks) > 1, partial: map[source][]byte{}}
			silent := minion == "" && len(run.Tasks) > 0 &&
				!slices.ContainsFunc(run.Tasks, func(t job.Task) bool { return t.Stdout.Bytes+t.Stderr.Bytes > 0 })
			filter := newLineFilter(match, tail, l.line)
			err = lv.output(ctx, run, job.MinionID(minion), follow, filter, func(line api.OutputLine) bool {
				silent = false
				return shown(line.Stream)
			})
			l.flush()
			switch {
			case err != nil || !silent:
			case run.State.Final():
				lv.noteNothing(&run)
			case !follow:
				lv.note("run %s is %s: nothing has been written yet; -f follows it", run.RunID, run.State)
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the run has ended")
	cmd.Flags().BoolVar(&folded, "fold", false, "show minions that wrote the same as one block, when all is there")
	cmd.Flags().IntVar(&tail, "tail", 0, "only the last `N` lines of each stream of each minion, and with --follow what comes then (default all)")
	cmd.Flags().StringVar(&grep, "grep", "", "only lines that match this `REGEXP`; it is of Go's package regexp")
	cmd.Flags().StringVar(&minion, "minion", "", "only what was written on minion `NAME`")
	cmd.Flags().BoolVar(&onlyStdout, "stdout", false, "only what was written to stdout")
	cmd.Flags().BoolVar(&onlyErrs, "stderr", false, "only what was written to stderr")
	return cmd
}

// lineMatch reads --grep; empty: nil.
func lineMatch(text string) (*regexp.Regexp, error) {
	if text == "" {
		return nil, nil
	}
	match, err := regexp.Compile(text)
	if err != nil {
		return nil, usagef("--grep: %w", err)
	}
	return match, nil
}

// output has the filter read what a run wrote, as far as it is wanted. Who follows gets the
// last lines of what is there first, and then what comes.
func (lv logVerbs) output(ctx context.Context, run job.Run, minion job.MinionID, follow bool, filter *lineFilter, wanted func(api.OutputLine) bool) error {
	read := map[source]int64{}
	if follow && filter.tail >= 0 {
		err := lv.client.Runs.Output(ctx, run.RunID, minion, false, func(o api.OutputLine) {
			read[source{o.Minion, o.Stream}] += o.LeftOut + int64(len(o.Data))
			if wanted(o) {
				filter.add(o)
			}
		})
		if err != nil {
			return err
		}
		filter.pause()
	}
	err := lv.client.Runs.Output(ctx, run.RunID, minion, follow, func(o api.OutputLine) {
		s := source{o.Minion, o.Stream}
		if done := min(read[s], o.LeftOut); done > 0 {
			read[s] -= done
			o.LeftOut -= done
		}
		if done := min(read[s], int64(len(o.Data))); done > 0 {
			read[s] -= done
			o.Data = o.Data[done:]
		}
		if wanted(o) && (o.LeftOut > 0 || len(o.Data) > 0) {
			filter.add(o)
		}
	})
	filter.flush()
	return err
}

// noteNothing tells that a run that has ended wrote nothing, and why it may be so.
func (lv logVerbs) noteNothing(run *job.Run) {
	if run.State == job.StateSucceeded {
		lv.note("run %s wrote nothing", run.RunID)
		return
	}
	lv.note("run %s wrote nothing (%s: %s)", run.RunID, run.State, oneLine(run.Reason))
}

// foldLogs prints what a run wrote with the minions that wrote the same as one
// block. The streams are told apart, as their order within a run is by chance.
func (lv logVerbs) foldLogs(ctx context.Context, run job.Run, minion job.MinionID, follow bool, shown func(stream int) bool) error {
	var stdout, stderr fold.Gatherer
	if shown(streamStdout) {
		for i := range run.Tasks {
			if m := run.Tasks[i].Minion; minion == "" || m == minion {
				stdout.Add(string(m), nil) // one that wrote nothing is told, too
			}
		}
	}
	err := lv.client.Runs.Output(ctx, run.RunID, minion, follow, func(line api.OutputLine) {
		if shown(line.Stream) && line.LeftOut > 0 {
			lv.note("%s", leftOutText(line))
		}
		switch {
		case !shown(line.Stream):
		case line.Stream == streamStderr:
			stderr.Add(string(line.Minion), line.Data)
		default:
			stdout.Add(string(line.Minion), line.Data)
		}
	})
	return cmp.Or(err, fold.Write(lv.out, stdout.Groups()), fold.Write(lv.errout, stderr.Groups()))
}

// findRun returns the run of that id, or the latest run of that job. A name
// may have the form of both; the run is tried first.
func (lv logVerbs) findRun(ctx context.Context, name string) (job.Run, error) {
	if id := job.RunID(name); id.Valid() {
		run, err := lv.client.Runs.Get(ctx, id)
		if e, ok := errors.AsType[*client.Error](err); !ok || e.Status != http.StatusNotFound {
			return run, err
		}
	}
	key, err := lv.key(name)
	if err != nil {
		return job.Run{}, err
	}
	page, err := lv.client.Runs.List(ctx, api.RunQuery{Namespace: key.Namespace, Job: key.Name, Limit: latestRuns})
	if err != nil {
		return job.Run{}, err
	}
	if gap := page.Gap(); gap != "" {
		if len(page.Runs) == 0 {
			return job.Run{}, &exitError{exitUnavailable, fmt.Errorf("job %s: no run of it is known now, but %s", key, gap)}
		}
		lv.note("run %s is the latest of job %s that is known now; %s", page.Runs[0].RunID, key, gap)
	}
	if len(page.Runs) > 0 {
		return lv.latestStarted(page.Runs), nil
	}
	// Which of the two is missing, the job or a run of it?
	if _, err := lv.client.Jobs.Get(ctx, key); err != nil {
		return job.Run{}, err
	}
	return job.Run{}, fmt.Errorf("job %s has no run yet: %w", key, job.ErrNotFound)
}

// latestRuns is among how many runs of a job the latest one is looked for that
// was started, or is to be.
const latestRuns = 100

// latestStarted returns the latest run that was not skipped or missed, and tells
// of newer ones that were; one that runs comes before one that waits. Where all
// were skipped or missed it is the latest.
func (lv logVerbs) latestStarted(runs []job.Run) job.Run {
	passed := 0
	running := slices.ContainsFunc(runs, func(r job.Run) bool { return r.State == job.StateRunning })
	for i := range runs {
		r := &runs[i]
		if running && (r.State == job.StatePending || r.State == job.StateQueued) {
			continue // it waits for the one that runs, or will be skipped for it
		}
		if r.State != job.StateSkipped && r.State != job.StateMissed {
			if passed > 0 {
				newest := &runs[slices.IndexFunc(runs, func(r job.Run) bool { return r.State == job.StateSkipped || r.State == job.StateMissed })]
				what := "1 newer occurrence was"
				if passed > 1 {
					what = fmt.Sprintf("%d newer occurrences were", passed)
				}
				lv.note("run %s of %s; %s not started, the latest is %s: %s",
					r.RunID, lv.stamp(r.ScheduledAt), what, newest.State, oneLine(newest.Reason))
			}
			return *r
		}
		passed += max(r.Count, 1)
	}
	return runs[0]
}

// waitForTasks waits until the run has got its tasks, from which one sees
// whether lines need a minion's name.
func (lv logVerbs) waitForTasks(ctx context.Context, run job.Run) (job.Run, error) {
	if len(run.Tasks) > 0 || run.State.Final() {
		return run, nil
	}
	return runVerbs(lv).wait(ctx, run.RunID, func(r job.Run) bool { return len(r.Tasks) > 0 || r.State.Final() })
}

// source is one stream of one task.
type source struct {
	minion job.MinionID
	stream int
}

// logPrinter prints pieces of output. With prefix it keeps each source's last,
// incomplete line back, so that lines of several minions do not mix.
type logPrinter struct {
	stdout, stderr io.Writer
	prefix         bool
	partial        map[source][]byte
	// open: the last line on stderr has no end yet.
	open bool
}

// line prints a piece of output, and before it how much is missing there, on
// stderr: what is missing must not look like output.
func (l *logPrinter) line(o api.OutputLine) {
	s := source{o.Minion, o.Stream}
	if o.LeftOut > 0 {
		if rest := l.partial[s]; len(rest) > 0 {
			l.print(s, []byte{'\n'})
		}
		text := leftOutText(o) + "\n"
		if l.open {
			text = "\n" + text
		}
		_, _ = io.WriteString(l.stderr, text) // there is nowhere else to tell it
		l.open = false
	}
	l.print(s, o.Data)
}

// leftOutText tells how much of a stream is missing.
func leftOutText(o api.OutputLine) string {
	name := "stdout"
	if o.Stream == streamStderr {
		name = "stderr"
	}
	where := ""
	if o.Minion != "" {
		where = " of " + oneLine(string(o.Minion))
	}
	return fmt.Sprintf("[carillon: %d bytes of %s%s are left out here; the minion keeps no more of one run]", o.LeftOut, name, where)
}

func (l *logPrinter) print(s source, data []byte) {
	if !l.prefix {
		l.write(s, data)
		return
	}
	data = append(l.partial[s], data...)
	for {
		line, rest, found := bytes.Cut(data, []byte{'\n'})
		if !found {
			l.partial[s] = slices.Clone(data)
			return
		}
		l.write(s, fmt.Appendf(nil, "%s | %s\n", s.minion, line))
		data = rest
	}
}

// flush prints the lines that have no end.
func (l *logPrinter) flush() {
	for _, s := range sortedSources(l.partial) {
		if rest := l.partial[s]; len(rest) > 0 {
			l.write(s, fmt.Appendf(nil, "%s | %s\n", s.minion, rest))
		}
	}
}

func sortedSources(m map[source][]byte) []source {
	return slices.SortedFunc(maps.Keys(m), func(x, y source) int {
		return cmp.Or(cmp.Compare(x.minion, y.minion), cmp.Compare(x.stream, y.stream))
	})
}

func (l *logPrinter) write(s source, b []byte) {
	w := l.stdout
	if s.stream == streamStderr {
		w = l.stderr
		l.open = len(b) > 0 && b[len(b)-1] != '\n'
	}
	_, _ = w.Write(b) // stdout is a sink, which keeps the error; stderr has nowhere to tell it
}

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/agentpush/fold"
	"github.com/carillon-cron/carillon/agentpush/target"
	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/job"
)

// execVerbs are the verbs that run a command once.
type execVerbs struct{ *call }

// execFlags are what `exec` may be told.
type execFlags struct {
	target, on                     string
	shell                          bool
	script, scriptName             string
	interpreter                    []string
	user, dir                      string
	env                            []string
	params                         paramFlags
	limit                          time.Duration
	batch, canary, promote, orders string
	canaries                       int
	maxFailures, orderBy           string
	pause                          time.Duration
	maxPer, clusterMaxPer          []string
	keepGoing, live, detach        bool
	allowMissing                   bool
	minSuccess                     string
}

func (ev execVerbs) execCommand() *cobra.Command {
	var f execFlags
	cmd := &cobra.Command{
		Use: "exec --target TARGET [flags] -- COMMAND [ARG...]", GroupID: groupRuns,
		Short: "Run a command now on the minions that a target matches",
		Long: `Run a command now on the minions that a target matches, and print what it wrote:
minions that wrote the same are shown as one block, when all have ended, or with
--live each line as it comes. The run is in the history like that of any job;
` + "`carillon describe run`, `logs`, `cancel` and `redo`" + ` know it.

The exit code is 0 when the command succeeded on all minions that match, 124 when
it ran into its --limit somewhere, 1 when it failed somewhere otherwise,
and 7 when it failed nowhere, and some minions did not answer: they are
uncontrollable, were not reached in time, or are gone. With --min-success it is 0
once it succeeded on so many. Names that the target spells out, as web[1-5] does,
must be known, unless there is --allow-missing. With
--batch the first failure keeps the rest from being started, unless there is
--keep-going or --max-failures. An interrupt leaves the run going.`,
		Example: `  carillon exec --target 'os == "linux" and web*' -- uptime
  carillon exec --target '@frontends' --batch 10% --canary web1 -- systemctl restart app
  carillon exec --target 'web[1-20]' --shell -- 'df -h / | tail -1'
  carillon exec --target 'db*' --script check.sh --param table=users
  carillon exec --target 'db*' --script-name vacuum@2 --param table=users`,
		RunE: func(cmd *cobra.Command, args []string) error { return ev.exec(cmd, &f, args) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.target, "target", "t", "", "`TARGET` expression that says on which minions; see `minions match`")
	flags.StringVar(&f.on, "on", "all", "on how many of them: all, one, or a number `N`")
	flags.BoolVar(&f.shell, "shell", false, "the command is a line for /bin/sh")
	flags.StringVar(&f.script, "script", "", "run the script in `FILE` (- is stdin) instead of a command")
	flags.StringVar(&f.scriptName, "script-name", "", "run the script `NAME` of the library, or NAME@VERSION")
	flags.StringArrayVar(&f.interpreter, "interpreter", nil, "the script's interpreter, `PROGRAM` or one of its arguments (default /bin/sh)")
	flags.StringVar(&f.user, "user", "", "run as the account `NAME`")
	flags.StringVar(&f.dir, "dir", "", "start in the directory `PATH`")
	flags.StringArrayVar(&f.env, "env", nil, "`NAME=VALUE` for the command's environment (may be given several times)")
	f.params.add(cmd)
	addDuration(flags, &f.limit, "limit", 0, "end the command where it runs longer than this `TIME`")
	flags.StringVar(&f.batch, "batch", "", "how many minions at a time: `N` or a share such as 10%")
	addDuration(flags, &f.pause, "pause", 0, "wait this `TIME` between batches")
	flags.StringVar(&f.canary, "canary", "", "minions that go first: a `TARGET`; the others follow when these have succeeded")
	flags.IntVar(&f.canaries, "canaries", 0, "how many go first: `N`")
	flags.StringVar(&f.promote, "promote", "", "what lets the others follow, as a `WORD`: success, or manual (see carillon resume run)")
	flags.StringVar(&f.maxFailures, "max-failures", "", "how many may fail before the rest is not started: `N` or a share")
	flags.BoolVarP(&f.keepGoing, "keep-going", "k", false, "start the rest however many fail")
	flags.StringVar(&f.orders, "order", "", "which go first, as a `WORD`: name, shuffle or label")
	flags.StringVar(&f.orderBy, "order-by", "", "the `LABEL` whose values come one after the other, for --order label")
	flags.StringArrayVar(&f.maxPer, "max-per", nil, "`LABEL=N`: at most N at a time of the minions with the same value")
	flags.StringArrayVar(&f.clusterMaxPer, "cluster-max-per", nil, "`LABEL=N`: as --max-per, counted over all runs that have it")
	flags.BoolVar(&f.allowMissing, "allow-missing", false, "names that the target spells out need not be known")
	flags.StringVar(&f.minSuccess, "min-success", "", "on how many minions it has to succeed, `N` or a share such as 90% (default all)")
	flags.BoolVarP(&f.live, "live", "l", false, "print each line as it comes, with the minion's name")
	flags.BoolVarP(&f.detach, "detach", "d", false, "print the run's id, and do not wait")
	reasonFlag(cmd, &ev.reason)
	return cmd
}

func (ev execVerbs) exec(cmd *cobra.Command, f *execFlags, args []string) error {
	spec, err := ev.execSpec(cmd, f, args)
	if err != nil {
		return err
	}
	params, err := f.params.read(ev.opts.Stdin)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	v, err := ev.execute(client.Because(ctx, ev.reason), spec, params, f.allowMissing)
	if err != nil {
		ev.tellWhyNone(ctx, f.target, err)
		return err
	}
	for _, u := range v.Unknown {
		ev.note("%s", wantText(u))
	}
	if v.Missing != "" {
		ev.note("no minion is known by the name of %s", v.Missing)
	}
	if f.detach {
		return ev.printStarted(api.Started{RunID: v.RunID, FireID: v.FireID})
	}
	var wait sync.WaitGroup
	if f.live && (ev.output == formatTable || ev.output == formatWide) {
		l := &logPrinter{stdout: ev.out, stderr: ev.errout, prefix: true, partial: map[source][]byte{}}
		wait.Go(func() {
			_ = ev.client.Runs.Output(ctx, v.RunID, "", true, l.line)
			l.flush() // what is missing is told with the results
		})
	}
	run, err := ev.followRun(ctx, v.RunID, !f.live)
	wait.Wait()
	if err != nil {
		return err
	}
	return ev.showExec(ctx, run, f.live, f.minSuccess)
}

// wantText tells of a label or a fact because of whose lack minions do not match.
func wantText(u api.UnknownKey) string {
	if u.Hosts == 1 {
		return fmt.Sprintf("1 minion has no label or fact %q (%s), and does not match", u.Key, oneLine(u.First))
	}
	return fmt.Sprintf("%d minions have no label or fact %q (for example %s), and do not match", u.Hosts, u.Key, oneLine(u.First))
}

// tellWhyNone helps to see why no minion matched.
func (ev execVerbs) tellWhyNone(ctx context.Context, expr string, err error) {
	if e, ok := errors.AsType[*client.Error](err); !ok || e.Detail != job.ErrNoMinions.Error() {
		return
	}
	v, err := ev.client.Minions.Match(ctx, expr)
	if err != nil {
		return // the error itself is told
	}
	if v.Missing != "" {
		ev.note("no minion is known by the name of %s", v.Missing)
	}
	for _, u := range v.Unknown {
		ev.note("%s", wantText(u))
	}
	for _, g := range outOfReach(&v) {
		what := "1 matching minion takes no orders"
		if g.n > 1 {
			what = fmt.Sprintf("%d matching minions take no orders", g.n)
		}
		ev.note("%s (%s): %s", what, g.hosts, oneLine(g.reason))
	}
}

// execSpec makes the spec of the job that is run.
func (ev execVerbs) execSpec(cmd *cobra.Command, f *execFlags, args []string) (map[string]any, error) {
	var wrong []error
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	if _, err := enough(f.minSuccess, 1); err != nil {
		wrong = append(wrong, err)
	}
	if f.target == "" {
		bad("--target is missing: say on which minions, as in --target 'web*'; '*' stands for all")
	} else if err := checkTarget(f.target); err != nil {
		wrong = append(wrong, err)
	}
	where := map[string]any{"match": f.target, "run": job.SpreadAll}
	switch n, err := strconv.Atoi(f.on); {
	case f.on == "one":
		where["run"] = job.SpreadOne
	case err == nil && n > 0:
		where["run"], where["count"] = job.SpreadAny, n
	case f.on != "all":
		bad("--on %q: want all, one, or a number above zero", f.on)
	}
	spec := map[string]any{"target": where}
	switch {
	case f.scriptName != "" && (f.script != "" || f.shell || len(f.interpreter) > 0 || len(args) > 0):
		bad("--script-name is given beside a command, --script, --shell or --interpreter; give one way (parameters: --param)")
	case f.scriptName != "":
		spec["steps"] = []map[string]string{{"script": f.scriptName}}
	case f.script != "" && len(args) > 0:
		bad("--script is given beside a command; give one of the two (parameters: --param)")
	case f.script != "":
		text, err := ev.readScript(f.script)
		if err != nil {
			wrong = append(wrong, err)
		}
		script := map[string]any{"source": text}
		if len(f.interpreter) > 0 {
			script["interpreter"] = f.interpreter
		}
		spec["script"] = script
	case len(args) == 0:
		bad("a command is missing: write it after --, as in -- uptime")
	case f.shell:
		spec["command"] = []string{"/bin/sh", "-c", strings.Join(args, " ")}
	case len(args) == 1 && strings.ContainsAny(args[0], " \t|;&<>"):
		bad("%q is one word, and no program has such a name; for a shell line give --shell, else do not quote the command as a whole", args[0])
	default:
		spec["command"] = args
	}
	put := func(to map[string]any, name string, v any, given bool) {
		if given {
			to[name] = v
		}
	}
	put(spec, "user", f.user, f.user != "")
	put(spec, "workingDir", f.dir, f.dir != "")
	put(spec, "timeout", f.limit.String(), f.limit != 0)
	env := map[string]string{}
	for _, pair := range f.env {
		k, v, ok := strings.Cut(pair, "=")
		if !ok {
			bad("--env %q: want NAME=VALUE", pair)
		}
		env[k] = v
	}
	put(spec, "env", env, len(env) > 0)
	if err := f.params.check(); err != nil {
		wrong = append(wrong, err)
	}
	roll := map[string]any{}
	put(roll, "batch", f.batch, f.batch != "")
	put(roll, "pause", f.pause.String(), f.pause != 0)
	put(roll, "canary", f.canary, f.canary != "")
	put(roll, "canaryCount", f.canaries, f.canaries != 0)
	put(roll, "promote", f.promote, f.promote != "")
	put(roll, "order", f.orders, f.orders != "")
	put(roll, "orderBy", f.orderBy, f.orderBy != "")
	switch {
	case f.keepGoing && f.maxFailures != "":
		bad("--keep-going and --max-failures exclude one another")
	case f.maxFailures != "":
		roll["maxFailures"] = f.maxFailures
	case f.batch != "" && !f.keepGoing:
		roll["maxFailures"] = 0
	}
	maxPer := func(name, flag string, pairs []string) {
		per := map[string]int{}
		for _, pair := range pairs {
			k, v, _ := strings.Cut(pair, "=")
			n, err := strconv.Atoi(v)
			if err != nil {
				bad("--%s %q: want LABEL=N, as in rack=2", flag, pair)
			}
			per[k] = n
		}
		put(roll, name, per, len(per) > 0)
	}
	maxPer("maxPer", "max-per", f.maxPer)
	maxPer("clusterMaxPer", "cluster-max-per", f.clusterMaxPer)
	put(spec, "rollout", roll, len(roll) > 0)
	if len(wrong) > 0 {
		return nil, &usageError{errors.Join(wrong...)}
	}
	return spec, nil
}

func (ev execVerbs) readScript(name string) (string, error) {
	if name == "-" {
		b, err := io.ReadAll(ev.opts.Stdin)
		return string(b), err
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("--script: %w", err)
	}
	return string(b), nil
}

// execute has a spec run once.
func (ev execVerbs) execute(ctx context.Context, spec map[string]any, params map[string]string, allowMissing bool) (api.Exec, error) {
	manifest, err := json.Marshal(map[string]any{
		"apiVersion": job.APIVersion, "kind": job.KindJob, "metadata": map[string]string{"namespace": ev.namespace, "name": "exec"}, "spec": spec,
	})
	if err != nil {
		return api.Exec{}, fmt.Errorf("encode command: %w", err)
	}
	v, err := ev.client.Runs.Exec(ctx, "", manifest, api.StartRequest{By: ev.user(), Params: params, AllowMissing: allowMissing})
	if refused, ok := errors.AsType[*client.Error](err); ok {
		byFlags(refused.Problems)
	}
	return v, err
}

// byFlags names problems by the flags of `exec`: nobody has written the file in which
// they were found.
func byFlags(problems []job.Problem) {
	flags := map[string]string{
		"target.match": "target", "target.count": "on", "timeout": "limit", "user": "user", "workingDir": "dir", "env": "env", "params": "param",
		"script.source": "script", "script.interpreter": "interpreter", "steps[0].script": "script-name",
		"rollout.batch": "batch", "rollout.pause": "pause", "rollout.canary": "canary", "rollout.canaryCount": "canaries", "rollout.promote": "promote",
		"rollout.maxFailures": "max-failures", "rollout.order": "order", "rollout.orderBy": "order-by", "rollout.maxPer": "max-per", "rollout.clusterMaxPer": "cluster-max-per",
	}
	for i := range problems {
		p := &problems[i]
		p.File, p.Line, p.Column = "", 0, 0
		field, in := strings.CutPrefix(p.Path, "spec.")
		if !in {
			continue
		}
		p.Path = field // what is no flag is the command
		for prefix, flag := range flags {
			if rest, is := strings.CutPrefix(field, prefix); is && (rest == "" || strings.ContainsAny(rest[:1], ".[")) {
				p.Path = "--" + flag + strings.Replace(rest, ".", " ", 1)
			}
		}
	}
}

// followRun waits until a run has ended and returns it with its tasks. It tells
// how far it is, if somebody looks on. A node that goes meanwhile is borne.
func (ev execVerbs) followRun(ctx context.Context, id job.RunID, tell bool) (job.Run, error) {
	bar := ev.newBar(tell)
	defer bar.end()
	type place struct {
		minion job.MinionID
		share  job.NodeID
	}
	tasks := map[place]job.Task{}
	lastGood := time.Now()
	for {
		var run *job.Run
		err := ev.client.Runs.Results(ctx, id, func(r api.Result) {
			lastGood = time.Now()
			switch {
			case r.Task != nil:
				tasks[place{r.Task.Minion, r.Task.Share}] = *r.Task
			case r.Progress != nil:
				bar.show(r.Progress)
			case r.Run != nil:
				run = r.Run
			}
		})
		if run != nil {
			run.Tasks = make([]job.Task, 0, len(tasks))
			for _, t := range tasks {
				run.Tasks = append(run.Tasks, t)
			}
			slices.SortFunc(run.Tasks, func(x, y job.Task) int { return job.CompareNames(string(x.Minion), string(y.Minion)) })
			return *run, nil
		}
		if ctx.Err() != nil { // main replaces the code by that of the cause
			return job.Run{}, &exitError{exitFailed, fmt.Errorf("run %s goes on: see `carillon describe run %s`, or end it with `carillon cancel %s`", id, id, id)}
		}
		if err != nil && !passing(err) || time.Since(lastGood) > ev.patience {
			return job.Run{}, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(minPoll):
		}
	}
}

// showExec prints what a command wrote, and where it did not succeed.
func (ev execVerbs) showExec(ctx context.Context, run job.Run, live bool, minSuccess string) error {
	switch {
	case ev.asObject():
		if err := ev.printValue(run); err != nil {
			return err
		}
	case ev.output == formatName:
		fmt.Fprintln(ev.out, run.RunID)
	case !live:
		if err := ev.foldTasks(ctx, &run); err != nil {
			return err
		}
		ev.tellStates(&run)
	default:
		ev.tellStates(&run)
	}
	ev.code = execCode(&run, minSuccess)
	return nil
}

// enough reads how many of n minions have to succeed, as "3" or "90%"; empty: all.
func enough(text string, n int) (int, error) {
	if text == "" {
		return n, nil
	}
	a, err := job.ParseAmount(text)
	if err != nil {
		return 0, fmt.Errorf("--min-success %q: want a number of minions, or a share of them such as 90%%", text)
	}
	return a.AtLeast(n), nil
}

// execCode is the exit code that follows from how a command ended on its minions.
func execCode(run *job.Run, minSuccess string) int {
	good, failed, unheard := 0, 0, 0
	for i := range run.Tasks {
		switch s := run.Tasks[i].State; {
		case s == job.StateSucceeded:
			good++
		case s.Unheard():
			unheard++
		default:
			failed++
		}
	}
	need, err := enough(minSuccess, len(run.Tasks))
	switch {
	case err == nil && minSuccess != "" && good >= need, good == len(run.Tasks) && good > 0:
		return 0
	case run.State == job.StateTimedOut:
		return exitTimedOut
	case failed == 0 && unheard > 0:
		return exitPartly
	}
	return exitFailed
}

// fetchers is how many minions are asked for their full output at a time.
const fetchers = 16

// foldTasks prints what the tasks wrote, those that wrote the same as one block.
// What the record has cut is read from the minions.
func (ev execVerbs) foldTasks(ctx context.Context, run *job.Run) error {
	var stdout, stderr fold.Gatherer
	var mu sync.Mutex
	var wait sync.WaitGroup
	slots := make(chan struct{}, fetchers)
	for i := range run.Tasks {
		t := &run.Tasks[i]
		if !t.State.Started() && t.Stdout.Bytes+t.Stderr.Bytes == 0 {
			continue
		}
		if !t.Stdout.Truncated && !t.Stderr.Truncated {
			mu.Lock()
			stdout.Add(string(t.Minion), []byte(t.Stdout.Head+t.Stdout.Tail))
			if t.Stderr.Bytes > 0 {
				stderr.Add(string(t.Minion), []byte(t.Stderr.Head+t.Stderr.Tail))
			}
			mu.Unlock()
			continue
		}
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			err := ev.client.Runs.Output(ctx, run.RunID, t.Minion, false, func(line api.OutputLine) {
				mu.Lock()
				defer mu.Unlock()
				if line.LeftOut > 0 {
					ev.note("%s", leftOutText(line))
				}
				if line.Stream == streamStderr {
					stderr.Add(string(t.Minion), line.Data)
				} else {
					stdout.Add(string(t.Minion), line.Data)
				}
			})
			if err != nil {
				ev.note("carillon: %s", err)
			}
		})
	}
	wait.Wait()
	return errors.Join(fold.Write(ev.out, stdout.Groups()), fold.Write(ev.errout, stderr.Groups()))
}

// tellStates tells on which minions the command did not succeed, and why, those
// that are alike in one line; and how many did.
func (ev execVerbs) tellStates(run *job.Run) {
	type fate struct {
		state  job.State
		reason string
	}
	hosts := map[fate]*target.NodeSet{}
	var fates []fate
	counts := map[job.State]int{}
	for i := range run.Tasks {
		t := &run.Tasks[i]
		counts[t.State]++
		if t.State == job.StateSucceeded {
			continue
		}
		k := fate{t.State, t.Reason}
		if hosts[k] == nil {
			hosts[k] = &target.NodeSet{}
			fates = append(fates, k)
		}
		hosts[k].Add(string(t.Minion))
	}
	for _, k := range fates {
		ev.note("%s: %s: %s", hosts[k], k.state, oneLine(k.reason))
	}
	if len(run.Tasks) == 0 {
		ev.note("run %s %s: %s", run.RunID, run.State, oneLine(run.Reason))
		return
	}
	var parts []string
	for _, s := range job.States() {
		if counts[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[s], s))
		}
	}
	on := "1 minion"
	if n := len(run.Tasks); n != 1 {
		on = fmt.Sprintf("%d minions", n)
	}
	ev.note("run %s on %s: %s", run.RunID, on, strings.Join(parts, ", "))
}

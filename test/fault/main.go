package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options say what is run.
type options struct {
	scenario string
	length   time.Duration // of the disturbed time
	seed     uint64
	jobs     int
	parts    []string // of scenario dispatch; none: all
	tasks    int      // of the plan of scenario plan-large
	// once: instead of for a length, each of the scenario's disturbances is done
	// once, in an order that the seed says.
	once bool
	// hangs is how long after the disturbances it hangs.
	hangs time.Duration
	// load is how many busy programs run beside it.
	load int
	// bin is a directory with the programs; empty: they are built.
	bin     string
	keep    bool
	verbose bool
}

// again returns the one command that repeats a run.
func (o *options) again() string {
	text := fmt.Sprintf("go run ./test/fault -scenario %s -seed %d -jobs %d -load %d -keep -v", o.scenario, o.seed, o.jobs, o.load)
	if o.once {
		text += " -once"
	} else {
		text += " -for " + o.length.String()
	}
	if o.scenario == planLargeScenario {
		text += fmt.Sprintf(" -tasks %d", o.tasks)
	}
	for _, p := range o.parts {
		text += " -part " + p
	}
	return text
}

func main() {
	if len(os.Args) > 1 && servant(os.Args[1]) != nil {
		if err := servant(os.Args[1])(os.Args[2:]); err != nil {
			fmt.Fprintf(os.Stderr, "fault %s: %v\n", os.Args[1], err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) > 1 && os.Args[1] == campaignArgument {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := runCampaign(ctx, os.Args[2:], os.Stdout, os.Stderr)
		stop()
		os.Exit(code)
	}
	os.Exit(command(os.Args[1:], os.Stdout, os.Stderr))
}

// servant returns what this program does as a process of a cluster; nil: it is
// none.
func servant(name string) func(args []string) error {
	switch name {
	case etcdArgument:
		return runEtcd
	case crowdArgument:
		return runCrowd
	case busyArgument:
		return runBusy
	}
	return nil
}

// command runs one scenario and returns the exit code: 0 when every occurrence
// is accounted for, 1 when not, 2 for a wrong command line.
func command(args []string, stdout, stderr io.Writer) int {
	var o options
	fs := flag.NewFlagSet("fault", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.scenario, "scenario", "kill", "what to do to the cluster: "+strings.Join(scenarioNames(), ", "))
	fs.DurationVar(&o.length, "for", 60*time.Second, "how long to disturb it")
	fs.Uint64Var(&o.seed, "seed", 1, "seed of who is disturbed, and when")
	fs.IntVar(&o.jobs, "jobs", 100, "how many jobs fire every second")
	fs.IntVar(&o.tasks, "tasks", 100_000, "how many tasks the plan of scenario "+planLargeScenario+" has, which is disturbed until it has ended")
	fs.BoolVar(&o.once, "once", false, "do each disturbance of the scenario once, instead of -for a while")
	fs.DurationVar(&o.hangs, "hang", hangLimit, "how long after it may have ended it hangs, and what is open is stuck")
	fs.IntVar(&o.load, "load", 0, "how many busy programs run beside it")
	fs.StringVar(&o.bin, "bin", "", "a directory with the programs (default: they are built)")
	fs.Func("part", "which part of scenario dispatch to run, may be given several times (default: all): "+strings.Join(partNames(), ", "), func(name string) error {
		if !slices.Contains(partNames(), name) {
			return fmt.Errorf("want one of %s", strings.Join(partNames(), ", "))
		}
		o.parts = append(o.parts, name)
		return nil
	})
	fs.BoolVar(&o.keep, "keep", false, "keep the directory with logs, trace and data")
	fs.BoolVar(&o.verbose, "v", false, "tell every step")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	if _, ok := scenarios()[o.scenario]; !ok || fs.NArg() > 0 || o.jobs < 1 || o.length <= 0 || o.load < 0 || o.tasks < 1 || o.once && scenarios()[o.scenario].each == nil {
		fmt.Fprintf(stderr, "fault: want -scenario %s, -jobs and -for above 0, -once with a scenario that has parts to disturb, and no further arguments\n", strings.Join(scenarioNames(), "|"))
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if o.scenario == dispatchScenario {
		res, err := runDispatch(ctx, o, stderr)
		return verdictCode(&o, res, err, stdout, stderr)
	}
	if o.scenario == restoreScenario {
		res, err := runRestore(ctx, o, stderr)
		return verdictCode(&o, res, err, stdout, stderr)
	}
	if o.scenario == standbyScenario {
		res, err := runStandby(ctx, o, stderr)
		return verdictCode(&o, res, err, stdout, stderr)
	}
	if o.scenario == queueScenario && len(o.parts) == 0 {
		res, err := runQueue(ctx, o, stderr)
		return verdictCode(&o, res, err, stdout, stderr)
	}
	if (o.scenario == planScenario || o.scenario == planLargeScenario) && len(o.parts) == 0 {
		res, err := runPlans(ctx, o, stderr)
		return verdictCode(&o, res, err, stdout, stderr)
	}
	if o.scenario == notifyScenario && len(o.parts) == 0 {
		res, err := runNotify(ctx, o, stderr)
		return verdictCode(&o, res, err, stdout, stderr)
	}
	if len(o.parts) > 0 {
		fmt.Fprintln(stderr, "fault: -part goes with -scenario", dispatchScenario)
		return 2
	}
	res, err := run(ctx, o, stderr)
	return verdictCode(&o, res, err, stdout, stderr)
}

// verdictCode prints a result and returns the exit code.
func verdictCode(o *options, res interface {
	print(w io.Writer)
	good() bool
}, err error, stdout, stderr io.Writer,
) int {
	if err != nil {
		fmt.Fprintln(stderr, "fault:", err)
	} else {
		res.print(stdout)
	}
	if err != nil || !res.good() {
		fmt.Fprintln(stderr, "again:", o.again())
		return 1
	}
	return 0
}

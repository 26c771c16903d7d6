package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// campaignArgument runs many scenarios, one after the other.
const campaignArgument = "campaign"

// campaign is many runs of scenarios. It stops at nothing: what a run found is a line
// in a file, and the campaign goes on. One that was broken off goes on behind the last
// line when it is started again.
type campaign struct {
	// commit is what was built. Lines of another one do not count.
	commit    string
	scenarios []string
	seeds     uint64
	first     uint64
	length    time.Duration
	loads     []int
	jobs      int
	hangs     time.Duration
	// dir keeps the lines, and what runs print that are not clean.
	dir string
	// play runs a program, and returns all that it prints.
	play func(ctx context.Context, args []string) (string, error)
}

// leg is one run of a campaign.
type leg struct {
	scenario string
	seed     uint64
	load     int
}

// legs lists the runs: first one seed of all scenarios, so that a campaign that is
// broken off has seen each of them.
func (c *campaign) legs() []leg {
	var out []leg
	for seed := c.first; seed < c.first+c.seeds; seed++ {
		for _, load := range c.loads {
			for _, s := range c.scenarios {
				out = append(out, leg{s, seed, load})
			}
		}
	}
	return out
}

// key names a leg in the file.
func (c *campaign) key(l leg) string {
	return fmt.Sprintf("commit=%s for=%v jobs=%d scenario=%s seed=%d load=%d", c.commit, c.lengthOf(l.scenario), c.jobs, l.scenario, l.seed, l.load)
}

// lengthOf returns for how long a scenario is disturbed.
func (c *campaign) lengthOf(scenario string) time.Duration {
	if scenarios()[scenario].soak {
		return 5 * c.length // sizes tell nothing before
	}
	return c.length
}

func (c *campaign) args(l leg) []string {
	return []string{
		"-scenario", l.scenario, "-seed", fmt.Sprint(l.seed), "-load", fmt.Sprint(l.load), "-jobs", fmt.Sprint(c.jobs),
		"-for", c.lengthOf(l.scenario).String(), "-hang", c.hangs.String(), "-bin", c.bin(), "-v",
	}
}

func (c *campaign) bin() string { return filepath.Join(c.dir, "bin") }

// verdicts begin the lines of the file.
const (
	cleanVerdict   = "clean"
	uncleanVerdict = "UNCLEAN"
)

// known reads the lines of the runs that there were already, by their keys.
func (c *campaign) known() (map[string]string, error) {
	f, err := os.Open(filepath.Join(c.dir, "lines"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return map[string]string{}, nil
	case err != nil:
		return nil, fmt.Errorf("lines of the campaign: %w", err)
	}
	defer func() { _ = f.Close() }()
	if strings.HasSuffix(c.commit, dirty) {
		return map[string]string{}, nil
	}
	out := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		_, rest, _ := strings.Cut(lines.Text(), " ")
		if key, _, ok := strings.Cut(rest, ": "); ok {
			out[key] = lines.Text()
		}
	}
	return out, lines.Err()
}

// run plays all legs that were not played yet, prints a line for each, and returns how
// many were not clean. The error tells what kept it from going on.
func (c *campaign) run(ctx context.Context, out io.Writer) (unclean int, err error) {
	known, err := c.known()
	if err != nil {
		return 0, err
	}
	f, err := os.OpenFile(filepath.Join(c.dir, "lines"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, fmt.Errorf("lines of the campaign: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for _, l := range c.legs() {
		line, done := known[c.key(l)]
		if !done {
			if line, err = c.leg(ctx, l); err != nil {
				return unclean, err
			}
			if _, err := fmt.Fprintln(f, line); err != nil {
				return unclean, fmt.Errorf("lines of the campaign: %w", err)
			}
		}
		if !strings.HasPrefix(line, cleanVerdict+" ") {
			unclean++
		}
		fmt.Fprintln(out, line)
	}
	return unclean, nil
}

// leg plays one leg and returns its line. What it printed is kept if it was not clean.
func (c *campaign) leg(ctx context.Context, l leg) (string, error) {
	text, failed := c.play(ctx, c.args(l))
	if ctx.Err() != nil {
		return "", context.Cause(ctx) // it was broken off, and says nothing
	}
	last := ""
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		if strings.HasPrefix(line, "FAULT ") || last == "" || !strings.HasPrefix(last, "FAULT ") {
			last = line
		}
	}
	if failed == nil && strings.HasPrefix(last, "FAULT ") {
		return fmt.Sprintf("%s %s: %s", cleanVerdict, c.key(l), last), nil
	}
	name := filepath.Join(c.dir, fmt.Sprintf("%s-%d-load%d-%s.txt", l.scenario, l.seed, l.load, c.commit))
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		return "", fmt.Errorf("keep what a run printed: %w", err)
	}
	return fmt.Sprintf("%s %s: %s (see %s)", uncleanVerdict, c.key(l), last, name), nil
}

// runCampaign is the program: it builds once, and plays.
func runCampaign(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c := campaign{first: 1}
	var loads, only string
	flags := flag.NewFlagSet("fault campaign", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&only, "scenarios", strings.Join(slices.DeleteFunc(scenarioNames(), func(name string) bool { return scenarios()[name].alone }), ","), "which scenarios")
	flags.Uint64Var(&c.seeds, "seeds", 20, "how many seeds of each")
	flags.Uint64Var(&c.first, "first", 1, "the first seed")
	flags.DurationVar(&c.length, "for", time.Minute, "how long each is disturbed; a soak five times as long")
	flags.IntVar(&c.jobs, "jobs", 60, "how many jobs fire every second")
	flags.StringVar(&loads, "loads", "0,4", "how many busy programs run beside, one after the other")
	flags.DurationVar(&c.hangs, "hang", hangLimit, "how long after it may have ended a run hangs")
	flags.StringVar(&c.dir, "dir", filepath.Join("bin", "fault"), "where lines are kept; a campaign that was broken off goes on there")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	c.scenarios = strings.Split(only, ",")
	for _, s := range c.scenarios {
		if !slices.Contains(scenarioNames(), s) {
			fmt.Fprintf(stderr, "fault campaign: scenario %q is unknown; want some of %s\n", s, strings.Join(scenarioNames(), ", "))
			return 2
		}
	}
	for text := range strings.SplitSeq(loads, ",") {
		var load int
		if _, err := fmt.Sscan(text, &load); err != nil || load < 0 {
			fmt.Fprintf(stderr, "fault campaign: -loads %q: want numbers of programs, as in 0,4\n", loads)
			return 2
		}
		c.loads = append(c.loads, load)
	}
	unclean, err := c.prepareAndRun(ctx, stdout)
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "fault campaign:", err)
		return 1
	case unclean > 0:
		fmt.Fprintf(stderr, "fault campaign: %d of %d runs are not clean\n", unclean, len(c.legs()))
		return 1
	}
	return 0
}

func (c *campaign) prepareAndRun(ctx context.Context, stdout io.Writer) (int, error) {
	dir, err := filepath.Abs(c.dir)
	if err != nil {
		return 0, fmt.Errorf("directory of the campaign: %w", err)
	}
	c.dir = dir
	if err := os.MkdirAll(c.bin(), 0o755); err != nil {
		return 0, fmt.Errorf("directory of the campaign: %w", err)
	}
	if c.commit, err = describe(ctx); err != nil {
		return 0, err
	}
	if err := build(ctx, c.bin()); err != nil {
		return 0, err
	}
	c.play = func(ctx context.Context, args []string) (string, error) {
		var text bytes.Buffer
		cmd := exec.CommandContext(ctx, filepath.Join(c.bin(), "fault"), args...)
		cmd.Stdout, cmd.Stderr = &text, &text
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it takes its networks away
		cmd.WaitDelay = time.Minute
		err := cmd.Run()
		return text.String(), err
	}
	return c.run(ctx, stdout)
}

// dirty ends the name of what is no commit: nobody knows whether two of them are alike.
const dirty = "-dirty"

// describe names what is built.
func describe(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty="+dirty).Output()
	if err != nil {
		return "", fmt.Errorf("which commit it is: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

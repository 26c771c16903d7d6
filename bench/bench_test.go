package main

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain lets the test's program be what the benchmarks start.
func TestMain(m *testing.M) {
	if role := roleOf(os.Args[1:]); role != nil {
		if err := role(); err != nil {
			fmt.Fprintln(os.Stderr, os.Args[1:], err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// testEnv is what a toy runs in. Its patience only bounds how long a benchmark
// hangs that is broken.
func testEnv(out *bytes.Buffer) *env {
	return &env{out: out, rounds: minRounds, patience: time.Hour, calm: 200 * time.Millisecond}
}

// figureLine is what a figure looks like.
var figureLine = regexp.MustCompile(`^BENCH [a-z0-9_]+ [0-9.e+-]+ \S+ \([0-9.e+-]+\.\.[0-9.e+-]+ of [0-9]+ rounds\) `)

// A benchmark at toy size runs to its end, and its figures are positive, finite,
// and each the median of at least three rounds.
//
// The toys mostly wait, so some run at a time; the longest one goes first.
func TestToys(t *testing.T) {
	if testing.Short() {
		t.Skip("each starts processes of its own")
	}
	var all sync.WaitGroup
	defer all.Wait()
	places := make(chan struct{}, 4)
	toys := benchmarks()
	longest := slices.IndexFunc(toys, func(b benchmark) bool { return b.name == "takeover_ms" })
	toys[0], toys[longest] = toys[longest], toys[0]
	for _, b := range toys {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			t.Run(b.name, func(t *testing.T) { runToy(t, b) })
		})
	}
}

func runToy(t *testing.T, b benchmark) {
	var out bytes.Buffer
	e := testEnv(&out)
	if err := b.toy(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if len(e.figures) == 0 {
		t.Fatal("it has reported nothing")
	}
	seen := map[string]*figure{}
	for i := range e.figures {
		f := &e.figures[i]
		if err := f.check(); err != nil {
			t.Error(err)
		}
		if seen[f.name] != nil {
			t.Errorf("%s is reported twice", f.name)
		}
		seen[f.name] = f
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != len(e.figures) {
		t.Errorf("%d lines for %d figures", len(lines), len(e.figures))
	}
	for _, line := range lines {
		if !figureLine.MatchString(line) {
			t.Errorf("not the form of a figure: %s", line)
		}
	}
	t.Log(out.String())
}

// A minion that cannot connect is no benchmark that says nothing, or measures
// nothing.
func TestFailsWithoutAConnection(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	e := testEnv(&out)
	e.connects = 3 * time.Second // however long: it never does
	err := endToEnd{jobs: 10, window: time.Second, plain: true}.measure(t.Context(), e)
	if err == nil || !strings.Contains(err.Error(), "the minion is connected") {
		t.Errorf("a minion in plain text: %v, want that it does not connect", err)
	}
	if out.Len() > 0 {
		t.Errorf("figures nevertheless:\n%s", out.String())
	}
}

func TestArguments(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		code int
		errs []string
	}{
		{[]string{"-only", "herds"}, exitUsage, []string{`no benchmark "herds"`, "herd, ", "takeover_ms"}},
		{[]string{"-only", "lock,"}, exitUsage, []string{`no benchmark ""`, "lock"}},
		{[]string{"-rounds", "2"}, exitUsage, []string{"fewer than 3"}},
		{[]string{"herd"}, exitUsage, []string{"-only"}},
		{[]string{"-quick"}, exitUsage, []string{"-quick"}},
		{[]string{"-h"}, 0, []string{"-only"}},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), c.args, &out, &errs); code != c.code {
			t.Errorf("%v: exit code %d, want %d", c.args, code, c.code)
		}
		for _, want := range c.errs {
			if !strings.Contains(errs.String(), want) {
				t.Errorf("%v says %q, want %q in it", c.args, errs.String(), want)
			}
		}
		if out.Len() > 0 {
			t.Errorf("%v prints %q", c.args, out.String())
		}
	}
}

func TestFigures(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	e := testEnv(&out)
	for name, rounds := range map[string][]float64{
		"nothing":  {1, 0, 1},
		"negative": {1, 1, -1},
		"too few":  {1, 1},
	} {
		if err := e.report("x", "s", rounds, ""); err == nil {
			t.Errorf("%s: %v is taken for a figure", name, rounds)
		}
	}
	for name, by := range map[string][]float64{
		"zero":     {1, 0, 1},
		"too many": {1, 1, 1, 1},
	} {
		if err := e.ratio("x", []float64{1, 1, 1}, by, ""); err == nil {
			t.Errorf("%s: a ratio by %v", name, by)
		}
	}
	if out.Len() > 0 {
		t.Errorf("printed nevertheless:\n%s", out.String())
	}
	if err := e.ratio("x", []float64{2, 9, 8}, []float64{1, 3, 2}, "of it"); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "BENCH x 3 x (2..4 of 3 rounds) of it\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	var names []string
	for _, b := range benchmarks() {
		names = append(names, b.name)
	}
	sorted := slices.Sorted(slices.Values(names))
	if len(slices.Compact(sorted)) != len(names) {
		t.Errorf("two benchmarks have one name: %v", names)
	}
}

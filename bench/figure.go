package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// minRounds is how many rounds a figure comes from at least: fewer say nothing
// of its spread.
const minRounds = 3

// figure is one result: its value is the median of its rounds.
type figure struct {
	name, unit string
	rounds     []float64
	// note tells what was measured, for people.
	note string
}

func (f *figure) value() float64 { return median(f.rounds) }

// check tells why the figure cannot be: one that is not a positive number, or
// comes from too few rounds.
func (f *figure) check() error {
	if len(f.rounds) < minRounds {
		return fmt.Errorf("%s comes from %d rounds; %d are needed", f.name, len(f.rounds), minRounds)
	}
	for _, v := range f.rounds {
		if !(v > 0) || math.IsInf(v, 0) {
			return fmt.Errorf("%s was %v in a round; want a positive number", f.name, v)
		}
	}
	return nil
}

func (f *figure) String() string {
	return fmt.Sprintf("BENCH %s %s %s (%s..%s of %d rounds) %s",
		f.name, digits(f.value()), f.unit, digits(slices.Min(f.rounds)), digits(slices.Max(f.rounds)), len(f.rounds), f.note)
}

// digits writes a value without an exponent where people would not.
func digits(v float64) string {
	if v >= 1000 && v < 1e12 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.4g", v)
}

// env is what a benchmark runs in.
type env struct {
	out io.Writer
	// rounds is how many rounds each side has.
	rounds int
	// patience is how long anything may take that must come; then the benchmark
	// has failed.
	patience time.Duration
	// connects is how long a minion may take to connect; 0: patience.
	connects time.Duration
	// calm is how long nothing must have changed until it counts as settled.
	calm time.Duration

	figures []figure
}

// report prints a figure. One that cannot be is an error.
func (e *env) report(name, unit string, rounds []float64, note string) error {
	f := figure{name: name, unit: unit, rounds: rounds, note: note}
	if err := f.check(); err != nil {
		return err
	}
	e.figures = append(e.figures, f)
	_, err := fmt.Fprintln(e.out, f.String())
	return err
}

// ratio prints how two sides compare, round by round.
func (e *env) ratio(name string, a, b []float64, note string) error {
	if len(a) != len(b) {
		return fmt.Errorf("%s: %d rounds against %d", name, len(a), len(b))
	}
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = a[i] / b[i]
	}
	return e.report(name, "x", ratios, note)
}

// inTurns runs the sides one after the other, round by round, so that whatever
// else the machine does meets all of them. Each is first now and then.
func (e *env) inTurns(ctx context.Context, sides ...func(ctx context.Context) error) error {
	for round := range e.rounds {
		for turn := range sides {
			if err := sides[(round+turn)%len(sides)](ctx); err != nil {
				return fmt.Errorf("round %d: %w", round+1, err)
			}
		}
	}
	return nil
}

// until waits for what must come. An error of ok ends the wait.
func (e *env) until(ctx context.Context, what string, ok func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, e.patience, fmt.Errorf("not within %v", e.patience))
	defer cancel()
	for {
		is, err := ok()
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", what, err)
		case is:
			return nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

// reach waits until a count has come to a number. Patience begins anew with each
// step on the way.
func (e *env) reach(ctx context.Context, what string, number int, count func() (int, error)) error {
	for most := -1; ; {
		n := 0
		err := e.until(ctx, fmt.Sprintf("%d %s", number, what), func() (bool, error) {
			var err error
			n, err = count()
			return n > most || n >= number, err
		})
		if err != nil {
			return fmt.Errorf("%w after the last of %d", err, n)
		}
		if n >= number {
			return nil
		}
		most = n
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// pause waits for a time, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// median returns the middle value; of an even number the upper one.
func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	return s[len(s)/2]
}

// quantile returns the value that a share q of sorted ones does not exceed; 0
// where there are none.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

package phase

import (
	"slices"
	"strings"
	"testing"
)

// The table, as the doc draws it.
func TestWhatFollowsOnWhatOfAFire(t *testing.T) {
	t.Parallel()
	for from, want := range map[Fire]string{
		FireDue:      "held back, started, dropped, skipped, orphaned, ended",
		FireHeldBack: "started, orphaned, ended",
		FireStarted:  "due, ending, ended",
		FireEnding:   "dropped, ended",
		FireDropped:  "ended",
		FireSkipped:  "orphaned, ended",
		FireMissed:   "orphaned, ended",
		FireOrphaned: "due, held back, skipped, missed, ended",
		FireEnded:    "",
	} {
		var got []string
		for next := range Fire(firePhases) {
			if from.MayBecome(next) {
				got = append(got, next.String())
			}
		}
		if s := strings.Join(got, ", "); s != want {
			t.Errorf("on %s follow %s, want %s", from, s, want)
		}
	}
	if FireDue.MayBecome(FireEnded+1) || (FireEnded + 1).MayBecome(FireDue) || FireEnded.MayBecome(FireEnded) {
		t.Error("there is a phase after the last")
	}
}

// Each phase can be come to, has a name of its own, and ends.
func TestEachPhaseOfAFireIsReached(t *testing.T) {
	t.Parallel()
	var names []string
	for next := range Fire(firePhases) {
		reached := false
		for from := range Fire(firePhases) {
			reached = reached || from.MayBecome(next)
		}
		if !reached || slices.Contains(names, next.String()) {
			t.Errorf("%s is reached: %v", next, reached)
		}
		if next != FireEnded && !next.MayBecome(FireEnded) {
			t.Errorf("%s never ends", next)
		}
		names = append(names, next.String())
	}
}

// What is being ended is open, and what runs is; what only leaves a record, waits or
// has ended does neither.
func TestPhasesOfAFireThatSayTheSame(t *testing.T) {
	t.Parallel()
	for p, want := range map[Fire][3]bool{ // open, runs, ending
		FireDue: {true, false, false}, FireHeldBack: {}, FireStarted: {true, true, false}, FireEnding: {true, true, true},
		FireDropped: {true, false, true}, FireSkipped: {}, FireMissed: {}, FireOrphaned: {}, FireEnded: {},
	} {
		if got := [3]bool{p.IsOpen(), p.Runs(), p.IsEnding()}; got != want {
			t.Errorf("%s: open, runs, ending: %v, want %v", p, got, want)
		}
	}
}

package phase

import (
	"slices"
	"strings"
	"testing"
)

// The table, as the doc draws it.
func TestWhatFollowsOnWhat(t *testing.T) {
	t.Parallel()
	for from, want := range map[Task]string{
		Waiting: "waiting sent held running ended",
		Sent:    "waiting sent held running ended",
		Unknown: "waiting sent unknown held running ended",
		Held:    "waiting unknown held running ended",
		Running: "waiting unknown running ended",
		Ended:   "",
	} {
		var got []string
		for next := range Task(phases) {
			if from.MayBecome(next) {
				got = append(got, next.String())
			}
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("on %s follow %s, want %s", from, s, want)
		}
	}
	if Ended.MayBecome(Ended+1) || (Ended + 1).MayBecome(Waiting) {
		t.Error("there is a phase after the last")
	}
}

// Each phase can be come to, and has a name of its own.
func TestEachPhaseIsReached(t *testing.T) {
	t.Parallel()
	var names []string
	for next := range Task(phases) {
		from := slices.ContainsFunc([]Task{Waiting, Sent, Unknown, Held, Running}, func(t Task) bool { return t != next && t.MayBecome(next) })
		if !from || slices.Contains(names, next.String()) {
			t.Errorf("%s is reached: %v", next, from)
		}
		names = append(names, next.String())
	}
}

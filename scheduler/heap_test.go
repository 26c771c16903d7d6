package scheduler

import (
	"testing"

	"pgregory.net/rapid"
)

// The timers give each entry at the instant that was set last, in the order of
// instants where no turns are taken; and whoever takes turns meets nothing that is
// not due, and leaves nothing out.
func TestTimersAgainstAModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var h timers
		all := make([]*entry, rapid.IntRange(1, 30).Draw(t, "entries"))
		for i := range all {
			all[i] = &entry{next: never}
		}
		earliest := func() int64 {
			at := never
			for _, e := range all {
				at = min(at, e.next)
			}
			return at
		}
		set := func(e *entry, label string) {
			at := never
			if rapid.IntRange(0, 5).Draw(t, "none") > 0 {
				at = rapid.Int64Range(1, 40).Draw(t, label)
			}
			h.set(e, at)
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 2).Draw(t, "do") {
			case 0:
				set(rapid.SampledFrom(all).Draw(t, "entry"), "at")
			case 1:
				if e, at, ok := h.top(); ok {
					if at != earliest() || e.next != at {
						t.Fatalf("%d comes, and it is to be %d", at, earliest())
					}
					set(e, "after")
				}
			default:
				horizon := rapid.Int64Range(0, 40).Draw(t, "horizon")
				fair := rapid.Bool().Draw(t, "fair")
				e, at, ok := h.turn(horizon, fair)
				if ok != (earliest() <= horizon) {
					t.Fatalf("up to %d: something has its turn: %v; the earliest is %d", horizon, ok, earliest())
				}
				if !ok {
					continue
				}
				if at > horizon || e.next != at || !fair && at != earliest() {
					t.Fatalf("%d has its turn, set to %d, up to %d, the earliest is %d", at, e.next, horizon, earliest())
				}
				if rapid.Bool().Draw(t, "is planned") {
					set(e, "next")
				}
			}
			if _, at, ok := h.top(); ok != (earliest() != never) || at != earliest() {
				t.Fatalf("the next is %d, %v; want %d", at, ok, earliest())
			}
		}
	})
}

// I23: what is due after a herd does not wait for the herd to be planned.
func TestI23_AHerdIsPlannedByTurns(t *testing.T) {
	t.Parallel()
	var h timers
	for range 5000 {
		h.set(&entry{}, 10)
	}
	late := &entry{}
	often := &entry{period: 1}
	h.set(often, 10)
	for range 5000 {
		h.set(&entry{period: 5}, 10)
	}
	h.set(late, 11)
	h.turn(20, true)
	if e := h.line[len(h.line)-2].e; e != often {
		t.Errorf("of one instant, what is due often does not come last: %+v", e)
	}
	for n := 1; ; n++ {
		e, _, ok := h.turn(20, true)
		if !ok || n > 3 {
			t.Fatalf("it has not had its turn after %d", n)
		}
		h.set(e, 100)
		if e == late {
			break
		}
	}
	// Once something is missed, the oldest comes first.
	h.set(late, 12)
	for range 9000 {
		e, _, _ := h.turn(20, false)
		if e == late {
			t.Fatal("it has its turn before what is older")
		}
		h.set(e, 100)
	}
}

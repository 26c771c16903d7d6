package timers

import (
	"testing"

	"pgregory.net/rapid"
)

// stub is what a timer or a wakeup is of in tests.
type stub struct {
	timer  Timer[*stub]
	wakeup Wakeup[*stub]
	// instant is what it is due by.
	instant int64
}

// newStub returns one whose timer is in no heap.
func newStub(period int64) *stub {
	s := &stub{}
	s.timer = Timer[*stub]{Of: s, Period: period, Next: Never}
	s.wakeup.Of = s
	return s
}

// The timers give each entry at the instant that was set last, in the order of
// instants where no turns are taken; and whoever takes turns meets nothing that is
// not due, and leaves nothing out.
func TestTimersAgainstAModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var h Heap[*stub]
		all := make([]*stub, rapid.IntRange(1, 30).Draw(t, "entries"))
		for i := range all {
			all[i] = newStub(0)
		}
		earliest := func() int64 {
			at := Never
			for _, e := range all {
				at = min(at, e.timer.Next)
			}
			return at
		}
		set := func(e *stub, label string) {
			at := Never
			if rapid.IntRange(0, 5).Draw(t, "none") > 0 {
				at = rapid.Int64Range(1, 40).Draw(t, label)
			}
			h.Set(&e.timer, at)
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 2).Draw(t, "do") {
			case 0:
				set(rapid.SampledFrom(all).Draw(t, "entry"), "at")
			case 1:
				if e, at, ok := h.Top(); ok {
					if at != earliest() || e.timer.Next != at {
						t.Fatalf("%d comes, and it is to be %d", at, earliest())
					}
					set(e, "after")
				}
			default:
				horizon := rapid.Int64Range(0, 40).Draw(t, "horizon")
				fair := rapid.Bool().Draw(t, "fair")
				e, at, ok := h.Turn(horizon, fair)
				if ok != (earliest() <= horizon) {
					t.Fatalf("up to %d: something has its turn: %v; the earliest is %d", horizon, ok, earliest())
				}
				if !ok {
					continue
				}
				if at > horizon || e.timer.Next != at || !fair && at != earliest() {
					t.Fatalf("%d has its turn, set to %d, up to %d, the earliest is %d", at, e.timer.Next, horizon, earliest())
				}
				if rapid.Bool().Draw(t, "is planned") {
					set(e, "next")
				}
			}
			if _, at, ok := h.Top(); ok != (earliest() != Never) || at != earliest() {
				t.Fatalf("the next is %d, %v; want %d", at, ok, earliest())
			}
		}
	})
}

// I23: what is due after a herd does not wait for the herd to be planned.
func TestI23_AHerdIsPlannedByTurns(t *testing.T) {
	t.Parallel()
	var h Heap[*stub]
	for range 5000 {
		h.Set(&newStub(0).timer, 10)
	}
	late := newStub(0)
	often := newStub(1)
	h.Set(&often.timer, 10)
	for range 5000 {
		h.Set(&newStub(5).timer, 10)
	}
	h.Set(&late.timer, 11)
	h.Turn(20, true)
	if e := h.line[len(h.line)-2].t.Of; e != often {
		t.Errorf("of one instant, what is due often does not come last: %+v", e)
	}
	for n := 1; ; n++ {
		e, _, ok := h.Turn(20, true)
		if !ok || n > 3 {
			t.Fatalf("it has not had its turn after %d", n)
		}
		h.Set(&e.timer, 100)
		if e == late {
			break
		}
	}
	// Once something is missed, the oldest comes first.
	h.Set(&late.timer, 12)
	for range 9000 {
		e, _, _ := h.Turn(20, false)
		if e == late {
			t.Fatal("it has its turn before what is older")
		}
		h.Set(&e.timer, 100)
	}
}

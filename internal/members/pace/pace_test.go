package pace

import (
	"testing"
	"time"
)

const ms = time.Millisecond

// What is worked out can work, at any distance, and the defaults do up to 60 ms.
func TestPaceFitsTheRoundTrip(t *testing.T) {
	t.Parallel()
	for trip, want := range map[time.Duration]Pace{
		0:        {100 * ms, time.Second, 5 * time.Second},
		20 * ms:  {100 * ms, time.Second, 5 * time.Second},
		60 * ms:  {100 * ms, time.Second, 5 * time.Second},
		80 * ms:  {150 * ms, 1500 * ms, 5 * time.Second},
		200 * ms: {300 * ms, 3 * time.Second, 7 * time.Second},
		400 * ms: {600 * ms, 6 * time.Second, 13 * time.Second},
	} {
		got := For(trip)
		if got != want {
			t.Errorf("%v apart: %v, want %v", trip, got, want)
		}
		if why := got.Bears(trip); why != "" {
			t.Errorf("%v apart: %v cannot work: %s", trip, got, why)
		}
	}
}

func TestWhatCannotWorkIsTold(t *testing.T) {
	t.Parallel()
	fits := Pace{100 * ms, time.Second, 2 * time.Second}
	if why := fits.Bears(100 * ms); why != "" {
		t.Errorf("%v is refused: %s", fits, why)
	}
	for name, tc := range map[string]struct {
		p    Pace
		trip time.Duration
	}{
		"heartbeat": {fits, 101 * ms},
		"election":  {Pace{300 * ms, time.Second, 5 * time.Second}, 250 * ms},
		"lease":     {Pace{100 * ms, time.Second, 1999 * ms}, 0},
	} {
		if tc.p.Bears(tc.trip) == "" {
			t.Errorf("%s: %v is taken", name, tc.p)
		}
	}
	if got := LeaseFor(1100 * ms); got != 3*time.Second {
		t.Errorf("the shortest lease is %v", got)
	}
}

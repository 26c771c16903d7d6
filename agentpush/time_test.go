package agentpush

import (
	"testing"
	"time"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
)

// TestMinionsClocksAreRead: by hello, welcome and beat the node knows where a
// minion's clock has its origin, and how far that may be off. A minion whose clock
// has stepped since says so by an error as large as the step.
func TestMinionsClocksAreRead(t *testing.T) {
	t.Parallel()
	const wrong, trip = 20 * time.Second, 40 * time.Millisecond
	begun := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	s := &minionClock{welcomed: begun.UnixNano(), welcomedAt: time.Hour}
	s.said = begun.Add(wrong - trip/2).UnixNano() // hello is under way for as long as the welcome
	beat := func(skew time.Duration) {
		s.read(&agentpb.Beat{WallClock: 1, ClockSkew: skew.Milliseconds()})
	}
	s.read(&agentpb.Beat{}) // of a minion that tells no clock
	if s.reading.Load() != nil {
		t.Fatal("a clock is known that nobody has told of")
	}
	beat(wrong)
	r := s.reading.Load()
	if want := begun.Add(wrong).UnixNano() - int64(time.Hour); r.Origin != want || r.Err < trip/2 || r.Err > trip {
		t.Errorf("origin is %v off, error %v", time.Duration(r.Origin-want), r.Err)
	}
	if got := time.Duration(s.offset(begun.Add(time.Minute).UnixNano(), time.Hour+time.Minute)); got != wrong {
		t.Errorf("it is %v ahead, want %v", got, wrong)
	}
	beat(wrong + time.Hour)
	if r := s.reading.Load(); r.Err < time.Hour {
		t.Errorf("after a step: error %v", r.Err)
	}
}

// TestASlowWayIsNoOffset: what a minion's messages take on their way to a busy node,
// and no more, is not taken for its clock's fault: its times stay as it tells them.
func TestASlowWayIsNoOffset(t *testing.T) {
	t.Parallel()
	begun := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	hello := func(ahead, way time.Duration) *minionClock { // and what is known of the clock after it
		s := &minionClock{welcomed: begun.UnixNano(), welcomedAt: time.Hour}
		s.said = begun.Add(ahead - way).UnixNano()
		s.measure(s.said, begun.UnixNano())
		return s
	}
	for name, c := range map[string]struct {
		ahead, way time.Duration
		beat       bool // one has told of the clock since
		want       time.Duration
	}{
		"right, a slow way":         {way: 3 * time.Second},
		"right, a slow way, a beat": {way: 3 * time.Second, beat: true},
		"ahead":                     {ahead: 8 * time.Hour, way: 3 * time.Second, want: 8*time.Hour - 3*time.Second},
		"ahead, a beat":             {ahead: 8 * time.Hour, way: 3 * time.Second, beat: true, want: 8 * time.Hour},
		"behind, a beat":            {ahead: -20 * time.Second, way: 3 * time.Second, beat: true, want: -20 * time.Second},
		"far behind":                {ahead: -8 * time.Hour, way: 3 * time.Second, want: -8*time.Hour - 3*time.Second},
	} {
		s := hello(c.ahead, c.way)
		if c.beat {
			s.read(&agentpb.Beat{WallClock: 1, ClockSkew: c.ahead.Milliseconds()})
		}
		if got := time.Duration(s.offset(begun.UnixNano(), time.Hour)); got != c.want {
			t.Errorf("%s: %v ahead, want %v", name, got, c.want)
		}
	}
}

// TestADoubtfulNodeSaysSo to whom asks it for the time.
func TestADoubtfulNodeSaysSo(t *testing.T) {
	t.Parallel()
	for _, sure := range []bool{true, false} {
		h, err := New(Config{Node: "n"}, Deps{
			Directory: nowhere{}, Sink: nowhere{}, Registry: &ledger{}, Witness: func() (int64, bool) { return 7, sure },
		})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := h.services.peer.Time(t.Context(), nil); err != nil || r.GetWallClock() != 7 || r.GetDoubtful() == sure {
			t.Errorf("sure %v: %v, %v", sure, r, err)
		}
	}
}

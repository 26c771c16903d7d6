package clock

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// machine is a machine of a test: its clocks go as the test says.
type machine struct {
	mono, suspended time.Duration
	// off is by how much its wall clock is wrong.
	off time.Duration
}

// truth is when the test begins.
const truth = int64(1_700_000_000_000_000_000)

func (m *machine) now() int64 { return truth + int64(m.mono) }

func (m *machine) deps() Deps {
	return Deps{
		Wall:  func() time.Time { return time.Unix(0, m.now()+int64(m.off)) },
		Mono:  func() time.Duration { return m.mono },
		Awake: func() time.Duration { return m.mono - m.suspended },
	}
}

// reads is a reading of a clock that is off by so much, made with an error.
func (m *machine) reads(off, err time.Duration) Reading {
	return Reading{Origin: truth + int64(off+err), Err: err.Abs()}
}

func (m *machine) clock() *Clock { return New(Config{}, m.deps()) }

// early is by how much the clock's time is ahead of the true one.
func (m *machine) early(c *Clock) time.Duration { return time.Duration(c.Now() - m.now()) }

func exact(offs ...time.Duration) []Reading {
	out := make([]Reading, len(offs))
	for i, o := range offs {
		out[i] = Reading{Origin: truth + int64(o)}
	}
	return out
}

// TestC2AStepDoesNotMoveTheTime: until it is judged, and while it is in doubt, time
// goes by the monotonic clock.
func TestC2AStepDoesNotMoveTheTime(t *testing.T) {
	for name, others := range map[string]Others{
		"alone": {}, "one node": {Nodes: exact(0)}, "two nodes": {Nodes: exact(0, 0)}, "one minion": {Minions: exact(0)}, "minions": {Minions: exact(0, 0, 0)},
	} {
		for _, by := range []time.Duration{8 * time.Hour, time.Hour, 10 * time.Second, -10 * time.Second, -8 * time.Hour} {
			m := &machine{}
			c := m.clock()
			c.Judge(others)
			if !c.Fit() {
				t.Fatalf("%s: a clock that is right is not fit: %+v", name, c.State())
			}
			m.off = by
			if e := m.early(c); e != 0 {
				t.Fatalf("%s: the time followed a step of %v by %v unjudged", name, by, e)
			}
			if c.Fit() {
				t.Fatalf("%s: fit right after a step of %v", name, by)
			}
			for range 10 { // seconds
				m.mono += time.Second
				s, _ := c.Judge(others)
				if e := m.early(c); e.Abs() > 10*time.Millisecond {
					t.Fatalf("%s: the time is %v off after a step of %v: %+v", name, e, by, s)
				}
				if s.Fit() || s.Why == "" {
					t.Fatalf("%s: fit with a clock that is %v off: %+v", name, by, s)
				}
			}
			m.off = 0
			if s, _ := c.Judge(others); !s.Fit() || s.Why != "" {
				t.Fatalf("%s: not fit though its clock is right again: %+v", name, s)
			}
			if e := m.early(c); e.Abs() > 10*time.Millisecond {
				t.Fatalf("%s: the time is %v off with a right clock", name, e)
			}
			if c.Epoch() != 0 {
				t.Fatalf("%s: the time was moved", name)
			}
		}
	}
}

// TestC4AStepThatSetsAClockRight is taken at once where others say so, and after a
// while where nobody does. What was reckoned before is told to be reckoned anew.
func TestC4AStepThatSetsAClockRight(t *testing.T) {
	for name, others := range map[string]Others{
		"one node": {Nodes: exact(0)}, "one minion": {Minions: exact(0)}, "minions": {Minions: exact(0, 0)}, "alone": {},
	} {
		m := &machine{off: -time.Hour}
		c := m.clock()
		c.Judge(Others{}) // nobody has told it yet
		m.off = 0
		s, seen := c.Judge(others)
		if seen.Stepped != time.Hour {
			t.Errorf("%s: seen %+v", name, seen)
		}
		if name == "alone" {
			for range 29 {
				if s.Fit() || !strings.Contains(s.Why, "nobody can say") {
					t.Fatalf("alone: believed before it has stood: %+v", s)
				}
				m.mono += time.Second
				s, _ = c.Judge(others)
			}
			m.mono += time.Second
			s, _ = c.Judge(others)
		}
		if !s.Fit() || m.early(c).Abs() > 10*time.Millisecond || c.Epoch() != 1 {
			t.Errorf("%s: %+v, off by %v, epoch %d", name, s, m.early(c), c.Epoch())
		}
	}
}

// TestC6WhatTheOthersSaidLastHolds: a clock that is off, by the word of most, does not
// count as right because those have left.
func TestC6WhatTheOthersSaidLastHolds(t *testing.T) {
	for name, by := range map[string]time.Duration{"within the bound": 2 * time.Second, "beyond it": 8 * time.Hour, "behind": -time.Hour} {
		m := &machine{}
		c := m.clock()
		c.Judge(Others{Nodes: exact(0, 0)})
		m.off = by
		wrong := by.Abs() > DefaultBound
		s, _ := c.Judge(Others{Nodes: exact(0, 0)})
		if s.Fit() == wrong || s.Ahead != by || m.early(c) != 0 {
			t.Fatalf("%s: %+v, early by %v, with the others there", name, s, m.early(c))
		}
		for range 29 {
			m.mono += time.Second
			if s, _ = c.Judge(Others{}); s.Fit() == wrong || s.Ahead != by || m.early(c) != 0 {
				t.Fatalf("%s: %+v, early by %v, with the others gone", name, s, m.early(c))
			}
		}
		m.mono += time.Second
		s, _ = c.Judge(Others{})
		if !wrong && (!s.Fit() || s.Ahead != 0 || m.early(c) != by) {
			t.Errorf("%s: %+v, early by %v: a clock that nobody contradicts is believed after a while", name, s, m.early(c))
		}
		if !wrong {
			continue
		}
		if s.Fit() || m.early(c) != 0 || !strings.Contains(s.Why, "none can be asked now") {
			t.Errorf("%s: %+v, early by %v, after a while", name, s, m.early(c))
		}
		m.off = 0 // it is set right
		if s, _ = c.Judge(Others{}); !s.Fit() || s.Ahead != 0 || m.early(c) != 0 {
			t.Errorf("%s: %+v, early by %v, set right", name, s, m.early(c))
		}
		m.off, m.mono = by, m.mono+time.Second
		for range 31 { // a step that stands is believed, where nobody is there (C4)
			s, _ = c.Judge(Others{})
			m.mono += time.Second
		}
		if !s.Fit() || s.Ahead != 0 {
			t.Errorf("%s: %+v, after a step of its own that stands", name, s)
		}
	}
}

// TestC3TheOneAheadGivesWay: of two nodes that differ, and nobody else is there, the
// one behind goes on, by whichever's clock.
func TestC3TheOneAheadGivesWay(t *testing.T) {
	m := &machine{off: time.Minute}
	c := m.clock()
	if s, _ := c.Judge(Others{Nodes: exact(0)}); s.Fit() || s.Ahead != time.Minute || !strings.Contains(s.Why, "1m0s ahead") {
		t.Errorf("the one ahead: %+v", s)
	}
	m = &machine{}
	c = m.clock()
	if s, _ := c.Judge(Others{Nodes: exact(time.Minute)}); !s.Fit() || s.Ahead != 0 {
		t.Errorf("the one behind: %+v", s)
	}
	// A minion settles it.
	if s, _ := c.Judge(Others{Nodes: exact(time.Minute), Minions: exact(time.Minute)}); s.Fit() || s.Ahead != -time.Minute {
		t.Errorf("the one behind, against a minion: %+v", s)
	}
	// One minion alone does not.
	c = m.clock()
	if s, _ := c.Judge(Others{Minions: exact(time.Minute)}); !s.Fit() {
		t.Errorf("a node against one minion: %+v", s)
	}
}

// TestC5ADoubtfulClockIsNoWitness: the peers of a node whose clock steps do not
// count it from the very next question on.
func TestC5ADoubtfulClockIsNoWitness(t *testing.T) {
	m := &machine{}
	c := m.clock()
	c.Judge(Others{Nodes: exact(0)})
	if wall, sure := c.Witness(); !sure || wall != m.now() {
		t.Errorf("witness of a right clock: %d, %v", wall, sure)
	}
	m.off = time.Hour
	if _, sure := c.Witness(); sure {
		t.Error("a clock that has just stepped counts")
	}
}

// TestTwoClocksThatDiffer: nobody can tell which of a node's and of its only minion's
// is right. The node goes by its own, and says by how much they differ.
func TestTwoClocksThatDiffer(t *testing.T) {
	for _, off := range []time.Duration{-20 * time.Second, 0, 300 * time.Millisecond, 20 * time.Second} {
		m := &machine{}
		c := m.clock()
		s, _ := c.Judge(Others{Minions: exact(off)})
		if !s.Fit() || !s.Paired || s.Apart != off || m.early(c) != 0 || s.Nodes+s.Minions != 0 {
			t.Errorf("%v: %+v, early by %v", off, s, m.early(c))
		}
		for name, others := range map[string]Others{"nobody": {}, "two minions": {Minions: exact(off, 0)}, "a node": {Nodes: exact(off)}} {
			if s, _ := c.Judge(others); s.Paired || s.Apart != 0 {
				t.Errorf("%s: %+v", name, s)
			}
		}
	}
	m := &machine{}
	r := m.reads(20*time.Second, 2*time.Second)
	if s, _ := m.clock().Judge(Others{Minions: []Reading{r}}); s.Apart != 20*time.Second {
		t.Errorf("a reading of %v more or less: %v", r.Err, s.Apart)
	}
	r.Err = time.Minute // worth nothing
	if s, _ := m.clock().Judge(Others{Minions: []Reading{r}}); s.Paired || s.Apart != 0 {
		t.Errorf("a reading of %v more or less: %v", r.Err, s.Apart)
	}
}

// TestSuspendIsSeen: after it the clock is not fit until it has been judged anew.
func TestSuspendIsSeen(t *testing.T) {
	m := &machine{}
	c := m.clock()
	c.Judge(Others{Nodes: exact(0)})
	m.mono += 3 * time.Hour
	m.suspended += 3 * time.Hour
	if c.Fit() {
		t.Error("fit right after a suspend")
	}
	if c.Look() != (Seen{}) {
		t.Error("a suspend is seen twice")
	}
	if m.early(c) != 0 {
		t.Errorf("stale by %v", m.early(c))
	}
	if s, seen := c.Judge(Others{Nodes: exact(0)}); !s.Fit() || seen.Suspended != 3*time.Hour || seen.Stepped != 0 {
		t.Errorf("judged: %+v, seen %+v", s, seen)
	}
}

// TestSmallOffsetsAreCorrected: within the bound a node works on, by the clock of
// most.
func TestSmallOffsetsAreCorrected(t *testing.T) {
	m := &machine{off: 3 * time.Second}
	c := m.clock()
	s, _ := c.Judge(Others{Nodes: exact(0, time.Millisecond)})
	if !s.Fit() || m.early(c).Abs() > time.Millisecond || s.Ahead.Round(10*time.Millisecond) != 3*time.Second || !s.Sure() {
		t.Errorf("%+v, %v early", s, m.early(c))
	}
	// An error of the comparison larger than the difference corrects nothing.
	m = &machine{off: 20 * time.Millisecond}
	c = m.clock()
	if s, _ := c.Judge(Others{Nodes: []Reading{m.reads(0, 50*time.Millisecond), m.reads(0, -50*time.Millisecond)}}); s.Ahead != 0 {
		t.Errorf("corrected by %v on the word of readings that are 50 ms off", s.Ahead)
	}
}

// TestC1NeverAheadOfMost: whatever some of the clocks do, the time of a node is not
// ahead of that by which more than half of the clocks that it asks say that an
// instant has come.
func TestC1NeverAheadOfMost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{}
		c := m.clock()
		n := rapid.IntRange(2, 6).Draw(t, "nodes") // besides ours
		offs := make([]time.Duration, n)
		bad := rapid.IntRange(0, n/2-1).Draw(t, "bad") // so few that with ours most are right
		const tripMax = 40 * time.Millisecond
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		for range rapid.IntRange(1, 60).Draw(t, "rounds") {
			m.mono += time.Duration(rnd.Int64N(int64(3 * time.Second)))
			switch rnd.IntN(6) {
			case 0:
				m.off = time.Duration(rnd.Int64N(int64(10*time.Hour))) - 5*time.Hour
			case 1:
				m.off = time.Duration(rnd.Int64N(int64(8*time.Second))) - 4*time.Second
			case 2:
				m.off = 0
			case 3:
				if bad > 0 {
					offs[rnd.IntN(bad)] = time.Duration(rnd.Int64N(int64(time.Hour))) - 30*time.Minute
				}
			}
			if e := m.early(c); e > 2*tripMax+11*time.Millisecond {
				t.Fatalf("%v early between judgements", e)
			}
			var others Others
			for _, o := range offs {
				others.Nodes = append(others.Nodes, m.reads(o, time.Duration(rnd.Int64N(int64(tripMax)))))
			}
			s, _ := c.Judge(others)
			if e := m.early(c); e > 2*tripMax+11*time.Millisecond {
				t.Fatalf("%v early after judgement %+v; own clock off by %v, others %v", e, s, m.off, offs)
			}
			if wrong := m.off.Abs() > DefaultBound+2*tripMax; wrong && s.Fit() {
				t.Fatalf("fit with a clock %v off: %+v, others %v", m.off, s, offs)
			}
			if m.off == 0 && !s.Fit() {
				t.Fatalf("not fit with a right clock: %+v, others %v", s, offs)
			}
		}
	})
}

// TestPath: of the latest round trips the shortest counts, and those before a step
// do not.
func TestPath(t *testing.T) {
	var p Path
	if _, ok := p.Best(0); ok {
		t.Error("knows something of nothing")
	}
	p.Take(Trip(1000+int64(20*time.Millisecond), 0, 40*time.Millisecond), 40*time.Millisecond)
	if r, _ := p.Best(40 * time.Millisecond); r.Origin != 1000 || r.Err != 20*time.Millisecond {
		t.Errorf("%+v", r)
	}
	p.Take(Reading{Origin: 2000, Err: time.Millisecond}, time.Second)
	if r, _ := p.Best(time.Second); r.Origin != 2000 {
		t.Errorf("the shorter round trip does not count: %+v", r)
	}
	if r, _ := p.Best(time.Second + time.Minute); r.Err <= time.Millisecond {
		t.Errorf("an old reading is as good as new: %+v", r)
	}
	p.Take(Reading{Origin: int64(time.Hour), Err: time.Second}, 2*time.Second)
	if r, _ := p.Best(2 * time.Second); r.Origin != int64(time.Hour) {
		t.Errorf("what was before the step counts: %+v", r)
	}
}

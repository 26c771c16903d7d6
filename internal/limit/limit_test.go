package limit

import (
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var start = time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)

// TestRates: who keeps to the rate is never stopped; who does not gets burst and the rate,
// and is told a time after which it may.
func TestRates(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := Rate{PerSecond: rapid.Float64Range(0.1, 1000).Draw(t, "rate"), Burst: rapid.IntRange(1, 100).Draw(t, "burst")}
		var l Rates
		now, let := start, 0
		for range rapid.IntRange(1, 300).Draw(t, "n") {
			wait := l.Take("a", r, now)
			switch {
			case wait == 0:
				let++
			case l.Take("b", Rate{1, 1}, start.Add(time.Duration(let)*time.Hour)) != 0:
				t.Fatal("another is stopped, too")
			default:
				if l.Take("a", r, now.Add(wait)) != 0 {
					t.Fatalf("after the %s that it was told to wait it may not", wait)
				}
				now = now.Add(wait)
				let++
			}
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "pause")))
			if most := float64(r.Burst) + now.Sub(start).Seconds()*r.PerSecond + 1; float64(let) > most {
				t.Fatalf("%d in %s by %+v", let, now.Sub(start), r)
			}
		}
	})
}

// TestL1_WhatIsRememberedIsBounded: of however many callers; those that were known keep
// what they have.
func TestL1_WhatIsRememberedIsBounded(t *testing.T) {
	t.Parallel()
	var (
		l Rates
		a = Attempts{Most: 1, Span: time.Minute, MaxWait: time.Minute}
		p Places
		r = Rate{PerSecond: 1, Burst: 2}
	)
	l.Take("first", r, start)
	for i := range 3 * most {
		who := strconv.Itoa(i)
		l.Take(who, r, start)
		a.Failed(who, start)
		_, _ = p.Take(who, 1)
	}
	if len(l.by) > most+1 || len(a.by) > most+1 || len(p.by) > most+1 {
		t.Errorf("%d, %d, %d are remembered", len(l.by), len(a.by), len(p.by))
	}
	if l.Take("first", r, start) != 0 || l.Take("first", r, start) == 0 {
		t.Error("a caller that was known has not what it had")
	}
	if l.Take("new", r, start) == 0 {
		t.Error("who comes when there is no room is not counted")
	}
	if l.Take("later", r, start.Add(time.Minute)) != 0 || len(l.by) > 2 {
		t.Errorf("%d are remembered for ever", len(l.by))
	}
	if a.Wait("new", start) == 0 {
		t.Error("wrong ones are not counted when there is no room")
	}
}

// TestAttemptsBackOff: who goes on is kept out for longer and longer, up to a bound, and
// others are not.
func TestAttemptsBackOff(t *testing.T) {
	t.Parallel()
	a := Attempts{Most: 3, Span: time.Minute, MaxWait: 5 * time.Minute}
	now := start
	for _, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 5 * time.Minute, 5 * time.Minute} {
		for range 3 {
			if got := a.Wait("x", now); got != 0 {
				t.Fatalf("kept out for %s before the third", got)
			}
			a.Failed("x", now)
		}
		if got := a.Wait("x", now); got != want {
			t.Fatalf("kept out for %s, want %s", got, want)
		}
		now = now.Add(want)
	}
	if a.Wait("y", now) != 0 {
		t.Error("another is kept out")
	}
	now = now.Add(5 * time.Minute)
	for range 3 {
		a.Failed("x", now)
	}
	if got := a.Wait("x", now); got != time.Minute {
		t.Errorf("after a long rest: %s", got)
	}
	// Few are no guesses.
	for i := range 10 {
		a.Failed("z", now.Add(time.Duration(i)*time.Minute))
	}
	if a.Wait("z", now.Add(10*time.Minute)) != 0 {
		t.Error("one in a minute is kept out")
	}
}

// TestPlaces: so many at a time, and a place is given back once.
func TestPlaces(t *testing.T) {
	t.Parallel()
	var p Places
	one, _ := p.Take("a", 2)
	if _, ok := p.Take("a", 2); !ok {
		t.Fatal("no second place")
	}
	if _, ok := p.Take("a", 2); ok {
		t.Fatal("a third place")
	}
	if _, ok := p.Take("b", 2); !ok {
		t.Fatal("no place for another")
	}
	one()
	one()
	if _, ok := p.Take("a", 2); !ok {
		t.Fatal("what was given back is not there")
	}
	if _, ok := p.Take("a", 2); ok {
		t.Fatal("it was given back twice")
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"10.0.0.1": "10.0.0.1", "::ffff:10.0.0.1": "10.0.0.1", "::1": "::1", "socket": "socket", "": "",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "2001:db8:1:2:ffff::": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := Address(text); got != want {
			t.Errorf("%q counts as %q, want %q", text, got, want)
		}
	}
}

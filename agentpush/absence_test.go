package agentpush

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// TestAbsence: how long a minion is connected to no node counts from when this node
// could know it: not before its view was complete, and anew after that was not.
func TestAbsence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := newInventory("a")
		is := func(when string, id job.MinionID, want time.Duration) {
			t.Helper()
			a, away := i.absence(id)
			if want < 0 && away || want >= 0 && (!away || a.For != want || a.Forgotten) {
				t.Errorf("%s: %s is absent %v for %v, want %v (below 0: not)", when, id, away, a.For, want)
			}
		}
		i.SetMinion(job.Minion{ID: "m"})
		time.Sleep(time.Hour)
		is("before all is read", "m", 0)
		i.SetCurrent()
		time.Sleep(time.Minute)
		is("a minute after all was read", "m", time.Minute)
		is("of one that is not known", "x", time.Minute)

		edition := i.absences.count.Load()
		i.SetPresence("b", 0, []Present{{ID: "m", Session: 1}})
		is("at b", "m", -1)
		i.locals.open(job.Minion{ID: "m"}, 2)
		i.SetPresence("b", 0, nil)
		is("gone from b to here", "m", -1)
		if i.absences.count.Load() != edition {
			t.Error("an absence was counted")
		}
		i.locals.close("m", 2)
		if i.absences.count.Load() == edition {
			t.Error("no absence was counted")
		}
		time.Sleep(time.Second)
		is("a second after it has left", "m", time.Second)
		time.Sleep(time.Minute)
		i.SetCurrent() // after a lease was lost: b may have had it meanwhile
		time.Sleep(time.Second)
		is("a second after the view was complete again", "m", time.Second)

		i.SetPresence("b", 0, []Present{{ID: "new", Session: 3}})
		time.Sleep(time.Minute)
		i.SetPresence("b", 0, nil)
		time.Sleep(time.Second)
		is("of one that left before it was described", "new", time.Second)

		edition = i.absences.count.Load()
		i.RemoveMinion("m")
		if a, away := i.absence("m"); !away || !a.Forgotten || i.absences.count.Load() == edition {
			t.Errorf("after it was forgotten: %+v, %v", a, away)
		}
		i.SetMinion(job.Minion{ID: "m"})
		if a, _ := i.absence("m"); a.Forgotten {
			t.Error("it is known again, and told as forgotten")
		}
	})
}

// TestMinionsTellSinceWhenTheyAreConnected: since when a minion is connected is
// told by the node that has it, and is not since when it is known.
func TestMinionsTellSinceWhenTheyAreConnected(t *testing.T) {
	t.Parallel()
	i := newInventory("a")
	known, opened := time.Unix(1000, 0).UTC(), time.Unix(5000, 0).UTC()
	i.SetMinion(job.Minion{ID: "m", Since: known})
	told := func() job.Minion { return i.Minions()[0] }
	if m := told(); !m.Since.Equal(known) || !m.ConnectedSince.IsZero() {
		t.Errorf("not connected: %+v", m)
	}
	i.SetPresence("b", 0, []Present{{ID: "m", Session: 1, Opened: opened}})
	if m := told(); !m.Since.Equal(known) || !m.ConnectedSince.Equal(opened) {
		t.Errorf("connected elsewhere: %+v", m)
	}
	i.locals.open(job.Minion{ID: "m", Since: opened.Add(time.Second)}, 2)
	if m := told(); !m.Since.Equal(known) || !m.ConnectedSince.Equal(opened.Add(time.Second)) {
		t.Errorf("connected here: %+v", m)
	}
}

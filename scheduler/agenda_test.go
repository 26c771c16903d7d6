package scheduler

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/job"
)

// The agenda gives each fire once, in the order of when they want attention and then
// of their instants, at the time that was said last, and none that was taken out.
func TestAgendaAgainstAModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var a agenda
		at := map[*fire]int64{}
		var all []*fire
		next := func() *fire {
			var first *fire
			for _, f := range all {
				if at[f] != 0 && (first == nil || at[f] < at[first] || at[f] == at[first] && f.id.At < first.id.At) {
					first = f
				}
			}
			return first
		}
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "do") {
			case 0, 1:
				f := &fire{id: job.FireID{At: int64(len(all))}, e: &entry{}}
				all = append(all, f)
				at[f] = rapid.Int64Range(1, 20).Draw(t, "at")
				a.set(f, at[f])
			case 2:
				if len(all) > 0 {
					f := rapid.SampledFrom(all).Draw(t, "moved")
					at[f] = rapid.Int64Range(1, 20).Draw(t, "to")
					a.set(f, at[f])
				}
			case 3:
				if len(all) > 0 {
					f := rapid.SampledFrom(all).Draw(t, "removed")
					at[f] = 0
					a.remove(f)
				}
			default:
				if want := next(); want != nil {
					if got := a.pop(); got != want {
						t.Fatalf("%d at %d comes, want %d at %d", got.id.At, at[got], want.id.At, at[want])
					}
					at[want] = 0
				}
			}
			want := never
			if f := next(); f != nil {
				want = at[f]
			}
			if got := a.top(); got != want {
				t.Fatalf("the next is at %d, want %d", got, want)
			}
			n := 0
			for _, f := range all {
				if at[f] != 0 {
					n++
				}
				if (at[f] != 0) != (f.noted != 0) || f.noted > 0 && a.items[f.noted-1].f != f {
					t.Fatalf("%d has place %d", f.id.At, f.noted)
				}
			}
			if len(a.items) != n {
				t.Fatalf("%d stand in it, want %d", len(a.items), n)
			}
		}
	})
}

// I23: what has ended stands in no agenda any more, so that no more is kept of it in
// memory than is still to be done.
func TestI23_WhatHasEndedIsNotLookedAfter(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	d.crowd(100)
	d.commitPlan(nil)
	d.step()
	if len(d.agenda.items) != 100 {
		t.Fatalf("%d of 100 are looked after", len(d.agenda.items))
	}
	for _, f := range d.fires {
		d.end(f, job.StateSucceeded, "")
	}
	if n := len(d.agenda.items); n != 0 || slices.ContainsFunc(d.agenda.items[:cap(d.agenda.items)], func(a appointment) bool { return a.f != nil }) {
		t.Errorf("%d are looked after that have ended", n)
	}
}

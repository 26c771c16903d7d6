package timers

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The wakeups give each fire once, in the order of when they want attention and then
// of their instants, at the time that was said last, and none that was taken out.
func TestWakeupsAgainstAModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var q Wakeups[*stub]
		at := map[*stub]int64{}
		var all []*stub
		next := func() *stub {
			var first *stub
			for _, f := range all {
				if at[f] != 0 && (first == nil || at[f] < at[first] || at[f] == at[first] && f.instant < first.instant) {
					first = f
				}
			}
			return first
		}
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "do") {
			case 0, 1:
				f := newStub(0)
				f.instant = int64(len(all))
				all = append(all, f)
				at[f] = rapid.Int64Range(1, 20).Draw(t, "at")
				q.Set(&f.wakeup, Rank{At: at[f], Instant: f.instant, Period: Never})
			case 2:
				if len(all) > 0 {
					f := rapid.SampledFrom(all).Draw(t, "moved")
					at[f] = rapid.Int64Range(1, 20).Draw(t, "to")
					q.Set(&f.wakeup, Rank{At: at[f], Instant: f.instant, Period: Never})
				}
			case 3:
				if len(all) > 0 {
					f := rapid.SampledFrom(all).Draw(t, "removed")
					at[f] = 0
					q.Remove(&f.wakeup)
				}
			default:
				if want := next(); want != nil {
					if got := q.Pop(); got != want {
						t.Fatalf("%d at %d comes, want %d at %d", got.instant, at[got], want.instant, at[want])
					}
					at[want] = 0
				}
			}
			want := Never
			if f := next(); f != nil {
				want = at[f]
			}
			if got := q.Top(); got != want {
				t.Fatalf("the next is at %d, want %d", got, want)
			}
			n := 0
			for _, f := range all {
				if at[f] != 0 {
					n++
				}
				if (at[f] != 0) != f.wakeup.IsSet() || f.wakeup.IsSet() && q.items[f.wakeup.place-1].w.Of != f {
					t.Fatalf("%d has place %d", f.instant, f.wakeup.place)
				}
			}
			if len(q.items) != n {
				t.Fatalf("%d stand in it, want %d", len(q.items), n)
			}
		}
	})
}

// I23 of package scheduler: what is taken out leaves nothing behind, so that no more
// is kept in memory than is still to be done.
func TestWakeupsKeepNothingOfWhatIsTakenOut(t *testing.T) {
	t.Parallel()
	var q Wakeups[*stub]
	all := make([]*stub, 100)
	for i := range all {
		all[i] = newStub(0)
		q.Set(&all[i].wakeup, Rank{At: int64(i), Period: Never})
	}
	for _, f := range all {
		q.Remove(&f.wakeup)
	}
	if n := q.Len(); n != 0 || slices.ContainsFunc(q.items[:cap(q.items)], func(a appointment[*stub]) bool { return a.w != nil }) {
		t.Errorf("%d are kept that were taken out", n)
	}
}

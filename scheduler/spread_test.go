package scheduler

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-cron/carillon/job"
)

// What is preferred is taken first, and the rest while too few of that are ready; of each
// value of a label there is one, and a value of which nobody takes orders is told.
func TestMinionsArePreferredAndSpread(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 0)
	d.hosts = []job.MinionID{"a1", "a2", "b1", "b2", "c1"}
	d.racks = map[job.MinionID]string{"a1": "a", "a2": "a", "b1": "b", "b2": "b", "d1": "d", "d2": "d", "b3": "b"} // c1 has none
	d.away = []job.Uncontrollable{{Minion: "b3"}, {Minion: "d1"}, {Minion: "d2"}}
	for name, tc := range map[string]struct {
		liked  []job.MinionID
		target job.Target
		want   []string // all choices that attempts make
	}{
		"one, preferred":           {[]job.MinionID{"b1", "b2"}, job.Target{Prefer: "x"}, []string{"[b1]", "[b2]"}},
		"one, preferred alone":     {[]job.MinionID{"a2"}, job.Target{Prefer: "x"}, []string{"[a2]"}},
		"one, no preferred ready":  {[]job.MinionID{"z"}, job.Target{Prefer: "x"}, []string{"[a1]", "[a2]", "[b1]", "[b2]", "[c1]"}},
		"one, none preferred":      {nil, job.Target{}, []string{"[a1]", "[a2]", "[b1]", "[b2]", "[c1]"}},
		"any two, one preferred":   {[]job.MinionID{"c1"}, job.Target{Prefer: "x", Run: job.SpreadAny, Count: 2}, []string{"[c1 a1]", "[c1 a2]", "[c1 b1]", "[c1 b2]"}},
		"any six of five":          {[]job.MinionID{"c1"}, job.Target{Prefer: "x", Run: job.SpreadAny, Count: 6}, []string{"[]"}},
		"one of each":              {nil, job.Target{Run: job.SpreadEach, By: "rack"}, []string{"[a1 b1]", "[a2 b2]"}},
		"one of each, a preferred": {[]job.MinionID{"a2"}, job.Target{Run: job.SpreadEach, By: "rack", Prefer: "x"}, []string{"[a2 b1]", "[a2 b2]"}},
	} {
		d.canaries = tc.liked
		f := &fire{e: &entry{}}
		var got []string
		ready, away := d.choice.reach(f, tc.target)
		for attempt := 1; attempt <= 20; attempt++ {
			got = append(got, fmt.Sprint(d.choice.pick(f, ready, tc.target, attempt)))
		}
		slices.Sort(got)
		if diff := cmp.Diff(tc.want, slices.Compact(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		want := 0
		if tc.target.Run == job.SpreadEach {
			want = 1
		}
		if len(away) != want || want == 1 && away[0].Minion != "d1" {
			t.Errorf("%s: %v take no orders, want d1 alone where it is one of each", name, away)
		}
	}
}

package timekeeper

import (
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/clock"
)

// TestHealthTellsOfTwoClocksThatDiffer: by how much the only minion's clock differs is
// told from a second on, which no error of a reading explains.
func TestHealthTellsOfTwoClocksThatDiffer(t *testing.T) {
	t.Parallel()
	for apart, want := range map[time.Duration]int64{
		0: 0, 900 * time.Millisecond: 0, -900 * time.Millisecond: 0, time.Second: 1000, -20*time.Second - 40*time.Millisecond: -20_000,
	} {
		at := time.Unix(1_700_000_000, 0)
		c := clock.New(clock.Config{}, clock.Deps{
			Wall: func() time.Time { return at }, Mono: func() time.Duration { return 0 }, Awake: func() time.Duration { return 0 },
		})
		c.Judge(clock.Others{Minions: []clock.Reading{{Origin: at.Add(apart).UnixNano()}}})
		k := &Keeper{deps: Deps{Time: c}}
		k.judged.Store(true)
		if h := k.Health(); h == nil || h.ApartMillis != want || !h.Paired || h.Minions != 0 || h.Unfit != "" {
			t.Errorf("%v apart: %+v, want %d", apart, h, want)
		}
	}
}

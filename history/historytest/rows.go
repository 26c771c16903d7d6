package historytest

import (
	"errors"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/job"
)

// testRows: what did not run is one record with a count where it is not of the newest, for
// each cause in a row; each of them is found by its own id still.
func testRows(t *testing.T, s Subject) {
	const long = history.MaxRow / 4
	var all []job.Run
	skips := func(n int, reason string) {
		for range n {
			r := Run(key(1), len(all))
			r.State, r.Tasks, r.Reason, r.StartedAt, r.DispatchedAt = job.StateSkipped, []job.Task{}, reason, time.Time{}, time.Time{}
			all = append(all, r)
			s.mustAppend(t, r)
			if len(all)%Keep == 0 {
				s.mustSettle(t)
			}
		}
	}
	skips(2*Keep, "paused by ada")
	skips(3*Keep, "paused by grace")
	all = append(all, Run(key(1), len(all)))
	s.mustAppend(t, all[len(all)-1])
	skips(long, "paused by grace")
	for range 3 {
		s.mustSettle(t)
	}
	got := s.all(t, history.Query{UID: UID(key(1)), Limit: 7})
	stands := map[string]int{}
	for _, r := range got {
		stands[r.Reason] += r.Count
		if r.Count > 1 && (!r.Folded || !r.ScheduledAt.Equal(r.FireID.Time()) || r.Until.Sub(r.ScheduledAt) != time.Duration(r.Count-1)*time.Second) {
			t.Errorf("a row of %d from %v to %v, of %s", r.Count, r.ScheduledAt, r.Until, r.FireID)
		}
	}
	diff(t, "what is accounted for", map[string]int{"": 1, "paused by ada": 2 * Keep, "paused by grace": 3*Keep + long}, stands)
	if len(got) > 2*Keep+s.Slack {
		t.Errorf("%d records stand for %d occurrences", len(got), len(all))
	}
	for _, want := range all {
		r, err := s.Store.Get(t.Context(), want.RunID)
		if err != nil {
			t.Fatalf("get %v: %v", want.ScheduledAt, err)
		}
		if r.Reason != want.Reason || r.State != want.State || want.ScheduledAt.Before(r.ScheduledAt) || r.Count == 1 && r.RunID != want.RunID || r.Count > 1 && want.ScheduledAt.After(r.Until) {
			t.Errorf("the run of %v is told as %s, %s, %d from %v to %v", want.ScheduledAt, r.State, r.Reason, r.Count, r.ScheduledAt, r.Until)
		}
	}
	if _, err := s.Store.Get(t.Context(), Run(key(1), len(all)).RunID); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("an instant that was not recorded: %v", err)
	}
}

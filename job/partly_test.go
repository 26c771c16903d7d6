package job

import "testing"

func TestPartly(t *testing.T) {
	t.Parallel()
	ok, away := Task{Minion: "m1", State: StateSucceeded}, Task{Minion: "m2", State: StateUncontrollable}
	for name, c := range map[string]struct {
		run    Run
		partly bool
		where  string
	}{
		"everywhere":  {Run{State: StateSucceeded, Tasks: []Task{ok, ok}}, false, "2 minions"},
		"not on one":  {Run{State: StateSucceeded, Tasks: []Task{ok, away}}, true, "1 of 2 minions"},
		"failed":      {Run{State: StateFailed, Tasks: []Task{ok, away}}, false, "2 minions"},
		"on one":      {Run{State: StateSucceeded, Tasks: []Task{ok}}, false, "m1"},
		"nowhere yet": {Run{State: StatePending}, false, ""},
	} {
		if got := c.run.Partly(); got != c.partly || c.run.Where() != c.where {
			t.Errorf("%s: %v, %q", name, got, c.run.Where())
		}
	}
}

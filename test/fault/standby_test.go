package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// What runs twice, is not recorded, or is not known without a cause makes a run of the
// scenarios restore and standby fail.
func TestStandbyOracle(t *testing.T) {
	t.Parallel()
	uid := job.UID{1}
	at := func(second int) job.FireID {
		return job.FireID{Job: uid, At: int64(second) * int64(time.Second), Trigger: job.TriggerSchedule}
	}
	run := func(second int, state job.State, minion job.MinionID) job.Run {
		return job.Run{FireID: at(second), State: state, Tasks: []job.Task{{Minion: minion}}}
	}
	good := []job.Run{run(1, job.StateSucceeded, "w1"), run(2, job.StateIndeterminate, "w2"), run(3, job.StateSucceeded, "w1")}
	traced := []string{at(1).String(), at(3).String()}
	for _, c := range []struct {
		name   string
		runs   []job.Run
		traced []string
		lost   map[job.MinionID]bool
		want   string
	}{
		{"good", good, traced, map[job.MinionID]bool{"w2": true}, "doubled=0 missing=0 unaccounted=0"},
		{"a minion with its disk that was lost has run it", good, append([]string{at(2).String()}, traced...), map[job.MinionID]bool{"w2": true}, "doubled=0 missing=0 unaccounted=0"},
		{"no minion was lost", good, traced, nil, "doubled=0 missing=0 unaccounted=1"},
		{"another minion was lost", good, traced, map[job.MinionID]bool{"w1": true}, "doubled=0 missing=0 unaccounted=1"},
		{"ran twice", good, append([]string{at(1).String()}, traced...), map[job.MinionID]bool{"w2": true}, "doubled=1 missing=0 unaccounted=0"},
		{"an instant is not recorded", append([]job.Run{good[0]}, good[2]), traced, nil, "doubled=0 missing=1 unaccounted=0"},
		{"ran without a record", good[:1], traced, nil, "doubled=0 missing=2 unaccounted=1"},
		{"recorded, and has left nothing", good, traced[:1], map[job.MinionID]bool{"w2": true}, "doubled=0 missing=0 unaccounted=1"},
	} {
		r := &restoreResult{options: options{scenario: standbyScenario, seed: 1}, rounds: []string{"death"}, states: map[job.State]int{}, figures: " lag_ms_max=7"}
		r.compare(map[job.UID]string{uid: "steady000"}, c.traced, c.runs, time.Unix(6, 0))
		r.unaccounted = append(r.unaccounted, unexplained(c.runs, c.lost)...)
		var out bytes.Buffer
		r.print(&out)
		line := out.String()[strings.LastIndex(out.String(), "FAULT "):]
		if !strings.HasPrefix(line, "FAULT scenario=standby seed=1 ") || !strings.Contains(line, c.want) || !strings.HasSuffix(line, " lag_ms_max=7\n") || r.good() != (c.want == "doubled=0 missing=0 unaccounted=0") {
			t.Errorf("%s: %s, want %s:\n%s", c.name, line, c.want, out.String())
		}
	}
}

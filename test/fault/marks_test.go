package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
)

func TestJudgeFanouts(t *testing.T) {
	t.Parallel()
	fire := job.FireID{Job: job.UID{1}, At: 5, Trigger: job.TriggerManual}
	other := job.FireID{Job: job.UID{2}, At: 5, Trigger: job.TriggerManual}
	task := func(state job.State, attempt int) job.Task {
		return job.Task{Minion: "h1", Attempt: attempt, State: state}
	}
	began := task(job.StateCancelled, 1)
	began.StartedAt = time.Unix(1, 0)
	marked := func(n int) map[mark]int { return map[mark]int{{fire, "h1", 1}: n} }
	run := func(state job.State, tasks ...job.Task) []job.Run {
		return []job.Run{{RunID: fire.RunID(), FireID: fire, State: state, Tasks: tasks}}
	}
	granted := []order{{fire.RunID(), []job.MinionID{"h1"}}}
	for name, c := range map[string]struct {
		f                     fanouts
		doubles, lost, untrue int
	}{
		"once":                         {f: fanouts{granted, run(job.StateSucceeded, task(job.StateSucceeded, 1)), marked(1)}},
		"twice":                        {f: fanouts{granted, run(job.StateSucceeded, task(job.StateSucceeded, 1)), marked(2)}, doubles: 1},
		"twice, not known":             {f: fanouts{granted, run(job.StateIndeterminate, task(job.StateIndeterminate, 1)), marked(2)}, doubles: 1},
		"once, not known":              {f: fanouts{granted, run(job.StateIndeterminate, task(job.StateIndeterminate, 1)), marked(1)}},
		"never, not known":             {f: fanouts{granted, run(job.StateIndeterminate, task(job.StateIndeterminate, 1)), nil}},
		"said to have succeeded":       {f: fanouts{granted, run(job.StateSucceeded, task(job.StateSucceeded, 1)), nil}, untrue: 1},
		"said not to have been sent":   {f: fanouts{granted, run(job.StateDropped, task(job.StateDropped, 1)), marked(1)}, untrue: 1},
		"not sent":                     {f: fanouts{granted, run(job.StateDropped, task(job.StateDropped, 1)), nil}},
		"cancelled before the start":   {f: fanouts{granted, run(job.StateCancelled, task(job.StateCancelled, 1)), marked(1)}, untrue: 1},
		"cancelled after the start":    {f: fanouts{granted, run(job.StateCancelled, began), marked(1)}},
		"a second attempt, not known":  {f: fanouts{granted, run(job.StateSucceeded, task(job.StateSucceeded, 1)), map[mark]int{{fire, "h1", 1}: 1, {fire, "h1", 2}: 1}}, untrue: 1},
		"a second attempt":             {f: fanouts{granted, run(job.StateSucceeded, task(job.StateSucceeded, 2)), map[mark]int{{fire, "h1", 1}: 1, {fire, "h1", 2}: 1}}},
		"the second attempt left none": {f: fanouts{granted, run(job.StateSucceeded, task(job.StateSucceeded, 2)), marked(1)}, untrue: 1},
		"no record":                    {f: fanouts{granted, nil, nil}, lost: 1},
		"no task":                      {f: fanouts{granted, run(job.StateSucceeded), nil}, lost: 1},
		"no end":                       {f: fanouts{granted, run(job.StateRunning, task(job.StateRunning, 1)), marked(1)}, lost: 2},
		"of no run":                    {f: fanouts{nil, nil, map[mark]int{{other, "h1", 1}: 1}}, untrue: 1},
		"granted without an answer":    {f: fanouts{nil, run(job.StateSucceeded, task(job.StateSucceeded, 1)), marked(1)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := judgeFanouts(c.f)
			if len(j.doubles) != c.doubles || len(j.lost) != c.lost || len(j.untrue) != c.untrue {
				t.Errorf("doubles %q, lost %q, untrue %q; want %d, %d, %d", j.doubles, j.lost, j.untrue, c.doubles, c.lost, c.untrue)
			}
			if j.good() != (c.doubles+c.lost+c.untrue == 0) {
				t.Errorf("good = %v", j.good())
			}
		})
	}
}

func TestReadMarks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fire := job.FireID{Job: job.UID{1}, At: 5, Trigger: job.TriggerManual}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("h1", fire.String()+" h1 1\n"+fire.String()+" h1 1\n")
	write("h2", fire.String()+" h2 3\n")
	marks, err := readMarks(dir)
	if err != nil || len(marks) != 2 || marks[mark{fire, "h1", 1}] != 2 || marks[mark{fire, "h2", 3}] != 1 {
		t.Errorf("marks = %v, %v", marks, err)
	}
	for _, line := range []string{"x h1 1", fire.String() + " h1", fire.String() + " h1 x"} {
		write("h1", line+"\n")
		if _, err := readMarks(dir); err == nil {
			t.Errorf("%q was read as a mark", line)
		}
	}
}

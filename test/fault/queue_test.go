package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/job"
)

// What is wrong with items is found, and nothing else is.
func TestJudgeItems(t *testing.T) {
	t.Parallel()
	record := func(item string, attempt int, state job.State) job.Run {
		return job.Run{RunID: job.RunID(item), Params: map[string]string{"item": item}, Attempt: attempt, State: state}
	}
	const fine = "begin item-0 1 1.5 100\nend item-0 1 1.5 200\n"
	for name, test := range map[string]struct {
		runs  []job.Run
		trace string
		want  string
	}{
		"fine":                   {[]job.Run{record("item-0", 1, job.StateSucceeded)}, fine, ""},
		"tried again":            {[]job.Run{record("item-0", 2, job.StateSucceeded)}, "begin item-0 1 1.4 1\n" + strings.ReplaceAll(fine, " 1 1.5", " 2 1.5"), ""},
		"lost":                   {nil, fine, "lost"},
		"two records":            {[]job.Run{record("item-0", 1, job.StateSucceeded), record("item-0", 2, job.StateSucceeded)}, fine, "doubled"},
		"started twice":          {[]job.Run{record("item-0", 1, job.StateSucceeded)}, fine + "begin item-0 1 1.6 300\n", "doubled"},
		"failed":                 {[]job.Run{record("item-0", 1, job.StateFailed)}, fine, "untrue"},
		"a result of nobody":     {[]job.Run{record("item-0", 2, job.StateSucceeded)}, fine, "untrue"},
		"a result before an end": {[]job.Run{record("item-0", 1, job.StateSucceeded)}, "begin item-0 1 1.5 100\n", "untrue"},
		"an item of nobody":      {[]job.Run{record("item-0", 1, job.StateSucceeded), record("x", 1, job.StateSucceeded)}, fine, "untrue"},
	} {
		done, err := readItems(test.trace)
		if err != nil {
			t.Fatal(err)
		}
		j, _ := judgeItems([]string{"item-0"}, test.runs, done)
		got := ""
		for what, list := range map[string][]string{"lost": j.lost, "doubled": j.doubled, "untrue": j.untrue, "crowded": j.crowded} {
			if len(list) > 0 {
				got += what
			}
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q: %+v", name, got, test.want, j)
		}
	}
	// item-0 and item-21 have one key.
	for start, crowded := range map[int]int{150: 1, 200: 0} {
		done, err := readItems(fine + fmt.Sprintf("begin item-21 1 1.6 %d\nend item-21 1 1.6 400\n", start))
		if err != nil {
			t.Fatal(err)
		}
		j, _ := judgeItems([]string{"item-0", "item-21"}, []job.Run{record("item-0", 1, job.StateSucceeded), record("item-21", 1, job.StateSucceeded)}, done)
		if len(j.crowded) != crowded {
			t.Errorf("from %d: crowded %v", start, j.crowded)
		}
	}
}

// What is wrong with occurrences that are items is found, and nothing else is.
func TestJudgeTicks(t *testing.T) {
	t.Parallel()
	tick := func(second int64, state job.State) job.Run {
		id := job.FireID{At: second * 1e9, Trigger: job.TriggerSchedule}
		return job.Run{RunID: id.RunID(), FireID: id, Job: tickName + "0", State: state}
	}
	item := func(r job.Run) job.Run {
		return job.Run{Params: map[string]string{"item": string(r.RunID)}, State: job.StateSucceeded}
	}
	one, two, three := tick(1, job.StateSucceeded), tick(2, job.StateSucceeded), tick(3, job.StateMissed)
	var wrote []begun
	for _, r := range []job.Run{one, two} {
		wrote = append(wrote, begun{item: string(r.RunID), attempt: 1, start: 1, end: 2})
	}
	for name, test := range map[string]struct {
		runs, items []job.Run
		done        []begun
		want        string
	}{
		"fine":               {[]job.Run{one, two, three}, []job.Run{item(one), item(two)}, wrote, ""},
		"no record":          {[]job.Run{one, three}, []job.Run{item(one)}, wrote, "lost"},
		"two records":        {[]job.Run{one, one}, []job.Run{item(one), item(one)}, wrote, "doubled"},
		"two items":          {[]job.Run{one, two}, []job.Run{item(one), item(two), item(two)}, wrote, "doubled"},
		"no item":            {[]job.Run{one, two}, []job.Run{item(one)}, wrote, "untrue"},
		"an item of nobody":  {[]job.Run{one}, []job.Run{item(one), item(two)}, wrote, "untrue"},
		"a result of nobody": {[]job.Run{one}, []job.Run{item(one)}, nil, "untrue"},
		"not done":           {[]job.Run{tick(1, job.StateIndeterminate)}, []job.Run{item(one)}, wrote, "untrue"},
	} {
		var j judgedItems
		judgeTicks(&j, test.runs, test.items, test.done)
		for what, list := range map[string][]string{"lost": j.lost, "doubled": j.doubled, "untrue": j.untrue} {
			if test.want == "doubled" && what == "untrue" {
				continue // the second has no item of its own
			}
			if (len(list) > 0) != (test.want == what) {
				t.Errorf("%s: %s is %v", name, what, list)
			}
		}
	}
}

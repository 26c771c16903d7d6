package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/api"
)

// What is wrong with plans is found, and nothing else is.
func TestJudgePlans(t *testing.T) {
	t.Parallel()
	const fine = "begin u.0 1 1.5 100\nend u.0 1 1.5 200\nbegin u.1 1 1.6 300\nend u.1 1 1.6 400\n"
	all := []string{`1 t0 queued`, `2 t0 running, 3 t0 succeeded`, `4 t1 queued`, `5 t1 succeeded`, `6 end`}
	for name, test := range map[string]struct {
		uid       string
		succeeded int
		trace     string
		calls     []string
		want      string
	}{
		"fine":                         {"u", 2, fine, all, ""},
		"tried again":                  {"u", 2, "begin u.0 1 1.4 50\n" + fine, all, ""},
		"another plan":                 {"v", 2, fine, all, "doubled"},
		"a task that has failed":       {"u", 1, fine, all, "lost"},
		"a command that has not ended": {"u", 2, strings.Replace(fine, "end u.1 1 1.6 400\n", "", 1), all, "lost"},
		"begun before its time":        {"u", 2, strings.Replace(fine, "1.6 300", "1.6 150", 1), all, "early"},
		"a change that is not told":    {"u", 2, fine, slices.Delete(slices.Clone(all), 2, 3), "gap"},
		"an end that is not told":      {"u", 2, fine, all[:4], "gap"},
		"changes in another order":     {"u", 2, fine, []string{all[1], all[0], all[2], all[3], all[4]}, "doubledgap"},
		"two ends of a task":           {"u", 2, fine, []string{all[0], all[1], all[2], all[3], `6 t1 succeeded`, `7 end`}, "doubled"},
		"told to have failed":          {"u", 2, fine, []string{all[0], all[1], all[2], `5 t1 failed`, `6 end`}, "gap"},
		"a task that is not told":      {"u", 2, fine, []string{all[0], all[1], `4 end`}, "gap"},
	} {
		done, err := readItems(test.trace)
		if err != nil {
			t.Fatal(err)
		}
		u := &upstream{of: map[string][]planCall{}}
		for _, text := range test.calls {
			u.of[test.uid] = append(u.of[test.uid], callOf(t, text))
		}
		r := &planResult{}
		r.judge(map[string]*sentPlan{"p": {uid: "u", tasks: 2, after: map[int]int{1: 0}}},
			[]api.Plan{{ID: "p", UID: test.uid, Tasks: 2, Counts: map[string]int{"succeeded": test.succeeded, "failed": 2 - test.succeeded}}}, u, done)
		got := ""
		for _, kind := range []struct {
			name string
			list []string
		}{{"lost", r.lost}, {"doubled", r.doubled}, {"early", r.early}, {"gap", r.gaps}} {
			if len(kind.list) > 0 {
				got += kind.name
			}
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q: %+v", name, got, test.want, r)
		}
	}
}

// callOf is a callback in short: changes as number, task and state, or the end of a plan.
func callOf(t *testing.T, text string) planCall {
	t.Helper()
	type change struct {
		Seq         int64
		Task, State string
	}
	doc := map[string]any{"type": "plan.tasks"}
	data := map[string]any{}
	var changes []change
	for part := range strings.SplitSeq(text, ", ") {
		var c change
		if n, _ := fmt.Sscan(part, &c.Seq, &c.Task, &c.State); n < 2 {
			t.Fatalf("%q", part)
		}
		if len(changes) == 0 {
			data["first"] = c.Seq
		}
		if c.Task == "end" {
			doc["type"] = "plan.ended"
			continue
		}
		changes = append(changes, c)
	}
	data["tasks"], doc["data"] = changes, data
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	var call planCall
	if err := json.Unmarshal(b, &call); err != nil {
		t.Fatal(err)
	}
	return call
}

package query

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
	"github.com/carillon-cron/carillon/job"
)

// TestJobs: what words select.
func TestJobs(t *testing.T) {
	t.Parallel()
	backup := Job{
		Key: job.Key{Namespace: "ops", Name: "backup-db"}, Labels: map[string]string{"team": "db", "tier": "1"}, Group: "nightly", Enabled: true,
		Target: []string{"db*", "role=primary"}, By: []string{"schedule"}, Waiting: 1, Late: true, Last: job.StateTimedOut,
	}
	fresh := Job{Key: job.Key{Namespace: "shop", Name: "mail"}, Enabled: false, By: []string{"hand"}, Paused: true, Running: 2, Waiting: 1}
	for words, want := range map[string]string{
		"":                               "backup fresh",
		"back":                           "backup",
		"back*":                          "backup",
		"*back":                          "",
		"name:back*,mail":                "backup fresh",
		"-back":                          "fresh",
		"-name:mail back":                "backup",
		"ops/":                           "backup",
		"ops/back*":                      "backup",
		"o*/*":                           "backup",
		"namespace:ops,shop":             "backup fresh",
		"namespace:o":                    "",
		"label:team":                     "backup",
		"label:team=db label:tier=*":     "backup",
		"label:team=core":                "",
		"-label:team":                    "fresh",
		"group:nightly":                  "backup",
		"group:none":                     "fresh",
		"target:primary":                 "backup",
		"by:hand":                        "fresh",
		"state:running":                  "fresh",
		"state:waiting":                  "backup",
		"last:timed-out":                 "backup",
		"last:bad":                       "backup",
		"last:none":                      "fresh",
		"late:yes":                       "backup",
		"late:no":                        "fresh",
		"paused:yes":                     "fresh",
		"enabled:yes aside:no":           "backup",
		"enabled:no  namespace:\"shop\"": "fresh",
		"mail back":                      "",
	} {
		q, err := ParseJobs(words)
		if err != nil {
			t.Errorf("%s: %v", words, err)
			continue
		}
		var got []string
		if q.Selects(&backup) {
			got = append(got, "backup")
		}
		if q.Selects(&fresh) {
			got = append(got, "fresh")
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q selects %q, want %q", words, got, want)
		}
	}
}

// TestRuns: what words select of runs.
func TestRuns(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)
	r := job.Run{
		Namespace: "ops", Job: "backup", State: job.StateFailed, Trigger: "manual", Node: "n1", Reason: "exit code 3",
		ScheduledAt: now.Add(-2 * time.Hour), StartedAt: now.Add(-2*time.Hour + time.Second), Tasks: []job.Task{{Minion: "db7"}},
	}
	for words, want := range map[string]bool{
		"": true, "back": true, "job:backup": true, "job:ops/backup": true, "job:back": false, "job:o*/back*": true, "state:failed": true, "state:bad": true, "state:open": false,
		"state:ended": true, "trigger:manual": true, "trigger:schedule": false, "minion:db*": true, "minion:web1": false, "node:n1": true,
		`reason:"code 3"`: true, "late:no": true, "partly:no": true, "partly:yes": false, "since:3h": true, "since:1d": true, "until:1d2h": false, "since:1h": false, "until:1h": true, "until:2026-05-04T07:00:00Z": false,
	} {
		q, err := ParseRuns(words, now)
		if err != nil || q.Selects(&r) != want {
			t.Errorf("%q: want %v, %v", words, want, err)
		}
	}
	q, _ := ParseRuns("since:3h since:1h", now)
	if at := q.Since(); !at.Equal(now.Add(-time.Hour)) {
		t.Errorf("it ends at %s", at)
	}
	open := job.Run{State: job.StatePending, ScheduledAt: now.Add(-2 * time.Minute)}
	if !Late(&open, now) || Late(&open, now.Add(-90*time.Second)) {
		t.Error("a run that has not started is late after a minute")
	}
}

// TestRefused (Q1): all problems are told at once, and what would be right.
func TestRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"stat:x last:oops paused:maybe":  {`"stat:" is not a word of this list; want one of name:`, "last:oops want one of succeeded", "paused:maybe want yes or no"},
		"label:":                         {"label: has no value; want KEY or KEY=VALUE"},
		`name:"a b`:                      {"a double quote is not closed"},
		"back[":                          {"is a glob that cannot be read"},
		strings.Repeat("a ", maxWords+1): {"51 words; 50 at most"},
		strings.Repeat("a", MaxBytes+1):  {"2001 bytes; 2000 at most"},
	} {
		_, err := ParseJobs(text)
		var invalid *job.InvalidError
		if !errors.As(err, &invalid) || len(invalid.Problems) != len(want) {
			t.Errorf("%.40q: %v", text, err)
			continue
		}
		for i, w := range want {
			if p := invalid.Problems[i]; p.Path != "q" || !strings.Contains(p.Message, w) {
				t.Errorf("%.40q: %+v, want %q", text, p, w)
			}
		}
	}
	if _, err := ParseRuns("since:yesterday", time.Time{}); err == nil || !strings.Contains(err.Error(), "2027-01-31T09:00:00Z") {
		t.Errorf("since: %v", err)
	}
}

// FuzzParse: no text breaks the parser, and what it takes selects without harm.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "back -label:team=db", `name:"a b",c`, "since:1h", "[", "-", "a:b:c"} {
		f.Add(s)
	}
	fuzzed.Run(f, func(_ *testing.T, text string) {
		if q, err := ParseJobs(text); err == nil {
			q.Selects(&Job{Key: job.Key{Namespace: "a", Name: "b"}})
		}
		if q, err := ParseRuns(text, time.Time{}); err == nil {
			q.Selects(&job.Run{Job: "b"})
		}
	})
}

package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func nextInstants(t *testing.T, r result) []string {
	t.Helper()
	var got struct{ Next []string }
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || r.code != 0 {
		t.Fatalf("%v in\n%s", err, r)
	}
	return got.Next
}

func TestNextOffline(t *testing.T) {
	t.Parallel()
	gone := closedPort(t)
	next := func(args ...string) result {
		return carillon(t.Context(), nil, "", append([]string{"next", "--server", gone}, args...)...)
	}
	for name, c := range map[string]struct {
		args, want []string
	}{
		"daylight saving": {
			[]string{"--schedule", "0 9 * * *", "--tz", "Europe/Berlin", "--after", "2027-03-27T00:00:00Z", "-n", "2"},
			[]string{"2027-03-27T08:00:00Z", "2027-03-28T07:00:00Z"},
		},
		"two schedules": {
			[]string{"--schedule", "0 0 * * *", "--schedule", "0 */12 * * *", "--after", "2027-01-01T00:00:00Z", "-n", "3"},
			[]string{"2027-01-01T12:00:00Z", "2027-01-02T00:00:00Z", "2027-01-02T12:00:00Z"},
		},
		"once":      {[]string{"--schedule", "@at 2027-01-01T00:00:00+01:00"}, []string{"2026-12-31T23:00:00Z"}},
		"never":     {[]string{"--schedule", "@at 2020-01-01T00:00:00Z"}, []string{}},
		"from now":  {[]string{"--schedule", "*/5 * * * *", "-n", "1"}, []string{"2026-11-20T12:05:00Z"}},
		"fractions": {[]string{"--schedule", "@every 250ms", "-n", "2"}, []string{"2026-11-20T12:00:00.25Z", "2026-11-20T12:00:00.5Z"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, nextInstants(t, next(append(c.args, "-o", "json")...))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	for args, want := range map[string]string{
		"--schedule|61 * * * *|--schedule|* 25 * * *":  "25",
		"--schedule|* * * * *|--tz|Europe/Nowhere":     "Europe/Nowhere",
		"--schedule|* * * * *|--after|tomorrow":        "2027-01-31T09:30:00Z",
		"--schedule|* * * * *|-n|0":                    "from 1 to",
		"--schedule|* * * * *|backup":                  "not both",
		"":                                             "specify a job or --schedule EXPR",
		"backup|--tz|UTC":                              "go with --schedule",
		"--schedule|":                                  "is empty",
		"--schedule|0 0 30 2 *|--after|2027-01-01T00Z": "want an instant",
	} {
		got := next(strings.Split(args, "|")...)
		if args == "" {
			got = next()
		}
		if got.code != exitUsage || !strings.Contains(got.stderr, want) || got.stdout != "" {
			t.Errorf("next %s: want exit code 2 and %q, got\n%s", args, want, got)
		}
	}
}

func TestNextTable(t *testing.T) {
	t.Parallel()
	got := carillon(t.Context(), nil, "", "next", "--schedule", "0 9 * * 1-5", "--tz", "America/New_York", "-n", "2")
	lines := strings.Split(got.stdout, "\n")
	want := []string{
		"  Fri 2026-11-20 09:00:00 EST  2026-11-20 15:00:00 CET  in 2h",
		"  Mon 2026-11-23 09:00:00 EST  2026-11-23 15:00:00 CET  in 3d2h", "",
	}
	if got.code != 0 || len(lines) != 4 {
		t.Fatalf("got\n%s", got)
	}
	if diff := cmp.Diff(want, lines[1:]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNextOfAJob(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	want := []string{"2026-11-20T12:05:00Z", "2026-11-20T12:10:00Z"}
	if diff := cmp.Diff(want, nextInstants(t, carillon(t.Context(), f, "", "next", "backup", "-n", "2", "-o", "json"))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Nothing before the present schedule holds belongs to it.
	got := nextInstants(t, carillon(t.Context(), f, "", "next", "backup", "--after", "2020-01-01T00:00:00Z", "-n", "1", "-o", "json"))
	if diff := cmp.Diff([]string{"2026-11-20T11:05:00Z"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	r := carillon(t.Context(), f, "", "next", "report", "--namespace", "team", "-o", "json")
	if len(nextInstants(t, r)) != 0 || !strings.Contains(r.stdout, `"ends": "the job has no schedule"`) {
		t.Errorf("a job without a schedule: got\n%s", r)
	}
}

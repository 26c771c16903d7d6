package cli

import (
	"strings"
	"testing"
)

// next --after on a clock: a time that the clock leaves out, or shows twice, is read in
// one way, and said how.
func TestNextSaysHowTimesAreRead(t *testing.T) {
	t.Parallel()
	for args, want := range map[string][2]string{
		"--schedule|* * * * * *|--tz|Europe/Berlin|--after|2027-03-28T02:30:00": {
			"2027-03-28T01:30:01Z", "2027-03-28T02:30:00 is no time in Europe/Berlin, where clocks go forward over it; read as 2027-03-28T03:30:00 (2027-03-28T01:30:00Z)",
		},
		"--schedule|* * * * * *|--tz|Europe/Berlin|--after|2027-03-28T02:30":  {"2027-03-28T01:30:01Z", "read as 2027-03-28T03:30:00"},
		"--schedule|* * * * * *|--tz|Europe/Berlin|--after|2027-10-31 02:30":  {"2027-10-31T00:30:01Z", "comes twice in Europe/Berlin, where clocks go back; read as the first one (2027-10-31T00:30:00Z)"},
		"--schedule|* * * * * *|--tz|Europe/Berlin|--after|2027-10-31 12:30":  {"2027-10-31T11:30:01Z", ""},
		"--schedule|* * * * * *|--tz|Pacific/Apia|--after|2011-12-30 12:00":   {"2011-12-30T22:00:01Z", "is no time in Pacific/Apia"},
		"--schedule|H H * * *|--after|2027-03-28T00:00:00Z":                   {"2027-03-28T", "H follows from the name of a job; without one, this is not what any job has: give --seed NAMESPACE/NAME"},
		"--schedule|H H * * *|--seed|ops/backup|--after|2027-03-28T00:00:00Z": {"2027-03-28T", ""},
		"--schedule|*/90 * * * *|--dialect|kubernetes|--after|2027-03-28T00:00:00Z": {
			"2027-03-28T01:00:00Z", "warning: \"*/90 * * * *\": the step 90 is larger than the range 0-59, so that only 0 matches; the largest is 59",
		},
	} {
		got := carillon(t.Context(), nil, "", append([]string{"next", "-n", "1", "-o", "name"}, strings.Split(args, "|")...)...)
		if got.code != 0 || !strings.HasPrefix(got.stdout, want[0]) || !strings.Contains(got.stderr, want[1]) || (want[1] == "") != (got.stderr == "") {
			t.Errorf("next %s: want %q and %q, got\n%s", args, want[0], want[1], got)
		}
	}
	for args, want := range map[string]string{
		"--schedule|*/90 * * * *":                                 "the largest is 59",
		"--schedule|CRON_TZ=Europe/Rome @every 24h":               "write CRON_TZ=Europe/Rome 0 0 * * *",
		"--schedule|@daily|--tz|localtime":                        "differs between nodes",
		"--schedule|@daily|--tz|europe/berlin":                    `did you mean "Europe/Berlin"?`,
		"--schedule|5 * * * * /usr/bin/backup":                    "as in a crontab",
		"--schedule|@daily|--tz|europe/berlin|--after|2027-01-01": `did you mean "Europe/Berlin"?`,
	} {
		got := carillon(t.Context(), nil, "", append([]string{"next"}, strings.Split(args, "|")...)...)
		if got.code != exitUsage || !strings.Contains(got.stderr, want) || got.stdout != "" {
			t.Errorf("next %s: want exit code 2 and %q, got\n%s", args, want, got)
		}
	}
}

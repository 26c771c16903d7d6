package schedule

import (
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// What does less than it says is refused in new jobs, with what does it; what is
// stored already is still read.
func TestStrict(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string]string{
		"*/90 * * * *":                                `minute "*/90": the step 90 is larger than the range 0-59, so that only 0 matches; the largest is 59`,
		"5/70 * * * *":                                `minute "5/70": the step 70 is larger than the range 5-59, so that only 5 matches; the largest is 54`,
		"0 0 1-31/40 * *":                             `day of month "1-31/40": the step 40 is larger than the range 1-31, so that only 1 matches; the largest is 30`,
		"0 */24 * * *":                                `hour "*/24": the step 24 is larger than the range 0-23, so that only 0 matches; the largest is 23`,
		"0 0 * 6-6/2 *":                               `month "6-6/2": the step 2 is larger than the range 6-6, so that only 6 matches`,
		"0 0 0 1 1 * 2027/500":                        `year "2027/500": the step 500 is larger than the range 2027-2261, so that only 2027 matches; the largest is 234`,
		"CRON_TZ=Europe/Rome @every 24h":              "leave the zone out or, for the clock of Europe/Rome, write CRON_TZ=Europe/Rome 0 0 * * *",
		"CRON_TZ=Europe/Rome @every 2h":               "write CRON_TZ=Europe/Rome 0 */2 * * *",
		"CRON_TZ=Asia/Kathmandu @every 30m":           "write CRON_TZ=Asia/Kathmandu */30 * * * *",
		"CRON_TZ=Europe/Rome @every 90s":              "the zone Europe/Rome does nothing here, as @every counts from 1970-01-01T00:00:00Z; leave the zone out",
		"CRON_TZ=Asia/Tokyo @at 2027-03-27T09:00:00Z": "leave the zone out or, if the time is that of Asia/Tokyo, write @at 2027-03-27T09:00:00+09:00",
		"TZ=localtime @daily":                         `time zone "localtime" differs between nodes`,
		"TZ=right/Europe/Berlin @daily":               `time zone "right/Europe/Berlin" counts leap seconds, as no clock of a node does; write "Europe/Berlin"`,
	} {
		_, err := Parse(expr, Options{Strict: true})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q):\n got %v\nwant %s", expr, err, want)
		}
		if strings.HasPrefix(expr, "TZ=") {
			continue // whether a host has these is its own affair
		}
		if _, err := Parse(expr, Options{}); err != nil {
			t.Errorf("%q, which may be stored, is not read any more: %v", expr, err)
		}
	}
	for _, expr := range []string{"*/59 * * * *", "5/54 * * * *", "0 0 1-31/30 * *", "0 0 29 2 */7", "1-1/1 * * * *", "TZ=Etc/GMT+5 @daily", "TZ=EST5EDT @daily", "@every 90s", "H/60 * * * *"} {
		if _, err := Parse(expr, Options{Strict: true}); err != nil {
			t.Errorf("%q is refused: %v", expr, err)
		}
	}
}

// What an interval is to be written as in a zone is not named where the zone would do
// nothing for that either.
func TestNoZoneIsAdvisedThatDoesNothing(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string]string{
		"CRON_TZ=Europe/Rome @every 5m": "leave the zone out", "CRON_TZ=Europe/Rome @every 1h": "leave the zone out", "CRON_TZ=Asia/Kolkata @every 15s": "leave the zone out",
		"CRON_TZ=Asia/Kolkata @every 1h": "write CRON_TZ=Asia/Kolkata 0 * * * *",
	} {
		if _, err := Parse(expr, Options{Strict: true}); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", expr, err, want)
		}
	}
}

// A zone that moves no instant of a schedule is told from one that does, of which the
// instants themselves are the proof.
func TestZoneIsIdle(t *testing.T) {
	t.Parallel()
	begin := time.Date(2027, 3, 26, 0, 0, 0, 0, time.UTC) // clocks in Europe jump on the 28th
	for _, expr := range []string{
		"*/5 * * * *", "*/15 * * * *", "*/30 * * * *", "*/7 * * * *", "0 * * * *", "10,40 * * * *", "15 */1 * * *", "@hourly", "@daily", "*/5 9-17 * * *",
		"*/5 * 1-30 * *", "*/5 * * 1-11 *", "*/5 * * * 1-6", "*/5 * L * *", "30 */20 * * * *",
	} {
		for _, zone := range []string{"UTC", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns"} {
			there, err := Parse(expr, Options{Zone: zone})
			if err != nil {
				t.Fatal(err)
			}
			utc, err := Parse(expr, Options{})
			if err != nil {
				t.Fatal(err)
			}
			same := true
			// Some of these instants differ in a month or on a day that is left out.
			for _, at := range []time.Time{begin, begin.AddDate(0, 2, 4), begin.AddDate(0, 8, 4)} {
				for range 500 {
					next, _ := utc.Next(at)
					elsewhere, _ := there.Next(at)
					same = same && elsewhere.Equal(next)
					at = next
				}
			}
			if got := there.ZoneIsIdle(); got != same && zone != "UTC" || zone == "UTC" && got && !same {
				t.Errorf("%q in %s: idle %v, and the same instants: %v", expr, zone, got, same)
			}
		}
	}
	for _, expr := range []string{"@every 5m", "@at 2027-01-01T00:00:00Z"} {
		s, err := Parse(expr, Options{})
		if err != nil || s.ZoneIsIdle() {
			t.Errorf("%s: %v", expr, err)
		}
	}
}

// The dialects of schedulers that take a step larger than its field take it, with a
// warning.
func TestWideStepsWarn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dialect job.Dialect
		expr    string
		want    string
	}{
		{job.DialectKubernetes, "*/90 * * * *", `"*/90 * * * *": the step 90 is larger than the range 0-59, so that only 0 matches; the largest is 59`},
		{job.DialectRobfig, "5/70 * * * *", `"5/70 * * * *": the step 70 is larger than the range 5-59, so that only 5 matches; the largest is 54`},
		{job.DialectQuartz, "0 30/40 * * * ?", `"0 30/40 * * * ?": the step 40 is larger than the range 30-59, so that only 30 matches; the largest is 29`},
		{job.DialectKubernetes, "*/5 * * * *", ""},
		{job.DialectCarillon, "*/90 * * * *", ""}, // refused
	} {
		opts := Options{Dialect: c.dialect, Strict: true}
		if got := strings.Join(Warnings(c.expr, opts), "\n"); got != c.want {
			t.Errorf("%s %q warns %q, want %q", c.dialect, c.expr, got, c.want)
		}
		if _, err := Parse(c.expr, opts); (err != nil) != (c.dialect == job.DialectCarillon) {
			t.Errorf("%s %q: %v", c.dialect, c.expr, err)
		}
	}
}

// A zone is a name that means the same on every host, or is refused with the one
// that was meant.
func TestZonesThatAreNone(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"localtime":               "differs between nodes",
		"Local":                   "differs between nodes",
		"posixrules":              "differs between nodes",
		"Factory":                 `give an IANA name such as "Europe/Berlin"`,
		"right/UTC":               `write "UTC"`,
		"posix/Asia/Tokyo":        `write "Asia/Tokyo"`,
		"./Europe/Berlin":         "is a path",
		"Europe/../Europe/Berlin": "is a path",
		"Europe//Berlin":          "is a path",
		"/etc/localtime":          "is a path",
		"europe/berlin":           `did you mean "Europe/Berlin"?`,
		"EUROPE/BERLIN":           `did you mean "Europe/Berlin"?`,
		"america/new_york":        `did you mean "America/New_York"?`,
		"America/New York":        `did you mean "America/New_York"?`,
		"Europe/Berlim":           `did you mean "Europe/Berlin"?`,
		"utc":                     `did you mean "UTC"?`,
		"Mars/X":                  `give an IANA name such as "Europe/Berlin" or "UTC"`,
	} {
		if err := CheckZone(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("zone %q: %v, want %q", name, err, want)
		}
	}
	for _, name := range append(strings.Fields(zoneNames), "") {
		if err := CheckZone(name); err != nil {
			t.Errorf("zone %q: %v", name, err)
		}
		if _, err := LoadZone(name); err != nil {
			t.Errorf("zone %q is not in the database: %v", name, err)
		}
	}
}

// Messages say what was meant.
func TestParseSaysWhatWasMeant(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string]string{
		"*/5 * * * * /usr/bin/backup --all": `behind the five fields "*/5 * * * *" there is "/usr/bin/backup --all", as in a crontab; a schedule is the fields only, and the program goes under command or script`,
		"17 * * * * root cd / && run-parts": `behind the five fields "17 * * * *" there is "root cd / && run-parts"`,
		"0 2 * * * backup":                  `behind the five fields "0 2 * * *" there is "backup"`,
		"0 2 * * MON FOO=1 x":               `there is "FOO=1 x"`,
		"0 9 1 1 * 2027":                    "for a year write seven fields, as in 0 0 9 1 1 * 2027",
		"0 9 1 1 * 2027-2030":               "for a year write seven fields",
		"0 9 * * MONDAY":                    `"MONDAY" is neither a number nor a name; names are the first three letters, as in MON`,
		"0 9 * * Thurs":                     "as in THU",
		"0 0 1 JANUARY *":                   "as in JAN",
		"0 9 * * MNO":                       "did you mean MON?",
		"0 0 0 * * MON-FRY":                 "did you mean FRI?",
		"1- * * * *":                        `the range "1-" has no end; write both, as in 1-59`,
		"-1 * * * *":                        `"-1" has no number before the dash; the least is 0, and a range is written as in 0-4`,
		"@at 2027-02-30T09:00:00Z":          "there is no such date: February 2027 has 28 days",
		"@at 2027-13-01T09:00:00Z":          "there is no month 13",
		"@at 2027-01-01T24:00:00Z":          "there is no hour 24; the hours are 00 to 23",
		"@at 2027-01-01T09:61:00Z":          "there is no minute 61",
		"@at 2027-01-01 09:00":              "has no offset from UTC; write 2027-01-01T09:00:00Z, or +01:00 and the like for Z",
		"@at 2027-01-01":                    "write 2027-01-01T00:00:00Z",
		"@every 99999999999h":               "out of range; 100ms to 8784h (366 days) are allowed",
		"@every 9000h":                      "out of range; 100ms to 8784h (366 days) are allowed",
		"@every 5d":                         "a day is 24h",
		"@daily /usr/bin/backup":            "the program goes under command or script",
		"0 0 * *":                           "has 4 fields",
		"5":                                 "has 1 field;",
	} {
		_, err := Parse(expr, Options{Strict: true})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q):\n got %v\nwant %s", expr, err, want)
		}
	}
}

// Quartz leaves out the months that have no 29th, 30th or 31st; the own dialect
// takes their last working day.
func TestNearestWorkdayOfShortMonths(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dialect    job.Dialect
		expr, want string
	}{
		{job.DialectQuartz, "0 0 9 31W * ?", "2027-01-29 2027-03-31 2027-05-31 2027-07-30 2027-08-31"},
		{job.DialectQuartz, "0 0 9 30W * ?", "2027-01-29 2027-03-30 2027-04-30 2027-05-31 2027-06-30"},
		{job.DialectQuartz, "0 0 9 29W * ?", "2027-01-29 2027-03-29 2027-04-29 2027-05-28 2027-06-29"},
		{job.DialectQuartz, "0 0 9 28W * ?", "2027-01-28 2027-02-26 2027-03-29 2027-04-28 2027-05-28"},
		{job.DialectCarillon, "0 9 31W * *", "2027-01-29 2027-02-26 2027-03-31 2027-04-30 2027-05-31"},
	} {
		s, err := Parse(c.expr, Options{Dialect: c.dialect})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for at := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC); len(got) < 5; {
			at, _ = s.Next(at)
			got = append(got, at.Format(time.DateOnly))
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s %q: %s, want %s", c.dialect, c.expr, text, c.want)
		}
	}
	if s, err := Parse("0 0 9 30W 2 ?", Options{Dialect: job.DialectQuartz}); err == nil {
		t.Errorf("%q never comes due", s)
	}
}

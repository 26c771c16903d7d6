package schedule

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-cron/carillon/job"
)

// rule is a row of the conformance tables: an expression in a zone, read by a
// dialect, and its instants after one, as the clock of the zone shows them. It
// ends with "end" where there is no further instant; "error" says that it is
// refused.
type rule struct {
	expr, zone, after, want string
}

const noZone = ""

func (r rule) check(t *testing.T, opts Options) {
	t.Helper()
	opts.Zone = r.zone
	s, err := Parse(r.expr, opts)
	if (err != nil) != (r.want == "error") {
		t.Fatalf("Parse: %v, want %s", err, r.want)
	}
	if err != nil {
		return
	}
	if s.Words() == "" {
		t.Error("has no words")
	}
	at := instant(t, r.after)
	want := strings.Fields(r.want)
	var got []string
	for range want {
		n, ok := s.Next(at)
		if !ok {
			got = append(got, "end")
			break
		}
		at = n
		got = append(got, short(n.In(s.Location())))
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("instants (-want +got):\n%s", d)
	}
}

// short writes an instant as 2027-01-31T09:00, with seconds where there are
// some, and with the offset where it is not UTC.
func short(t time.Time) string {
	form := "2006-01-02T15:04"
	if t.Second() != 0 {
		form += ":05"
	}
	if t.Location() != time.UTC {
		form += "Z07:00"
	}
	return t.Format(form)
}

func conforms(t *testing.T, opts Options, table []rule) {
	t.Helper()
	name := string(opts.Dialect)
	if opts.Gap != "" || opts.Fold != "" {
		name += " " + string(opts.Gap) + " " + string(opts.Fold)
	}
	for _, r := range table {
		t.Run(strings.TrimSpace(name+" "+r.expr+" "+r.zone)+" after "+r.after, func(t *testing.T) {
			t.Parallel()
			r.check(t, opts)
		})
	}
}

// 2027-01-01 is a Friday.
const y27 = "2027-01-01T00:00:00Z"

func TestConformanceCarillon(t *testing.T) {
	t.Parallel()
	conforms(t, Options{Dialect: job.DialectCarillon}, []rule{
		// Fields.
		{"0 9 * * *", noZone, y27, "2027-01-01T09:00 2027-01-02T09:00"},
		{"15 0 9 * * *", noZone, y27, "2027-01-01T09:00:15 2027-01-02T09:00:15"},
		{"15 0 9 1 1 * 2029", noZone, y27, "2029-01-01T09:00:15 end"},
		{"0 0 0 1 1 * 2028-2032/2", noZone, y27, "2028-01-01T00:00 2030-01-01T00:00 2032-01-01T00:00 end"},
		{"0 0 0 1 1 * 2030,2028", noZone, y27, "2028-01-01T00:00 2030-01-01T00:00 end"},
		{"0 0 0 29 2 * 2027-2029", noZone, y27, "2028-02-29T00:00 end"},
		{"0 0 0 29 2 * 2027", noZone, y27, "error"},
		{"0 0 0 1 1 * 2020", noZone, y27, "end"},
		{"0 0 0 1 1 * */100", noZone, y27, "2070-01-01T00:00 2170-01-01T00:00 end"},
		{"0 0 0 1 1 * 1969", noZone, y27, "error"},
		{"0 0 0 1 1 * 2262", noZone, y27, "error"},
		{"0 0 0 1 1 * H", noZone, y27, "error"},
		{"* * * *", noZone, y27, "error"},
		{"* * * * * * * *", noZone, y27, "error"},
		// Names, in any case.
		{"0 0 1 fEb *", noZone, y27, "2027-02-01T00:00"},
		{"0 0 * * Mon,wed", noZone, y27, "2027-01-04T00:00 2027-01-06T00:00 2027-01-11T00:00"},
		{"0 0 * * fri-sun", noZone, y27, "2027-01-02T00:00 2027-01-03T00:00 2027-01-08T00:00"},
		{"0 0 * * SUN-MON", noZone, y27, "2027-01-03T00:00 2027-01-04T00:00 2027-01-10T00:00"},
		{"0 0 * * MONDAY", noZone, y27, "error"},
		{"0 0 * * 1-MON", noZone, y27, "2027-01-04T00:00 2027-01-11T00:00"},
		// L: the last day, or days before it.
		{"0 9 L * *", noZone, y27, "2027-01-31T09:00 2027-02-28T09:00 2027-03-31T09:00 2027-04-30T09:00"},
		{"0 9 l * *", noZone, y27, "2027-01-31T09:00"},
		{"0 9 L 2 *", noZone, y27, "2027-02-28T09:00 2028-02-29T09:00"},
		{"0 9 L-2 2 *", noZone, y27, "2027-02-26T09:00 2028-02-27T09:00"},
		{"0 9 L-30 * *", noZone, y27, "2027-01-01T09:00 2027-03-01T09:00 2027-05-01T09:00"},
		{"0 9 1,L * *", noZone, y27, "2027-01-01T09:00 2027-01-31T09:00 2027-02-01T09:00"},
		{"0 9 L-31 * *", noZone, y27, "error"},
		{"0 9 L3 * *", noZone, y27, "error"},
		{"0 9 L/2 * *", noZone, y27, "error"},
		// W: the nearest day from Monday to Friday, in the same month.
		{"0 9 15W * *", noZone, y27, "2027-01-15T09:00 2027-02-15T09:00 2027-03-15T09:00 2027-04-15T09:00 2027-05-14T09:00 2027-06-15T09:00"},
		{"0 9 1W * *", noZone, "2027-04-15T00:00:00Z", "2027-05-03T09:00 2027-06-01T09:00 2027-07-01T09:00 2027-08-02T09:00"},
		{"0 9 31W * *", noZone, y27, "2027-01-29T09:00 2027-02-26T09:00 2027-03-31T09:00 2027-04-30T09:00"},
		{"0 9 LW * *", noZone, y27, "2027-01-29T09:00 2027-02-26T09:00 2027-03-31T09:00 2027-04-30T09:00 2027-05-31T09:00"},
		{"0 9 L-1W * *", noZone, y27, "2027-01-29T09:00 2027-02-26T09:00 2027-03-30T09:00"},
		{"0 9 1W,15W * *", noZone, y27, "2027-01-01T09:00 2027-01-15T09:00 2027-02-01T09:00"},
		{"0 9 W * *", noZone, y27, "error"},
		{"0 9 32W * *", noZone, y27, "error"},
		{"0 9 1-5W * *", noZone, y27, "error"},
		// # and L of weekdays.
		{"0 9 * * 5#3", noZone, y27, "2027-01-15T09:00 2027-02-19T09:00 2027-03-19T09:00"},
		{"0 9 * * fri#1,fri#3", noZone, y27, "2027-01-01T09:00 2027-01-15T09:00 2027-02-05T09:00"},
		{"0 9 * * 1#5", noZone, y27, "2027-03-29T09:00 2027-05-31T09:00"},
		{"0 9 * * 7#1", noZone, y27, "2027-01-03T09:00 2027-02-07T09:00"},
		{"0 9 * * 5L", noZone, y27, "2027-01-29T09:00 2027-02-26T09:00"},
		{"0 9 * * MONL", noZone, y27, "2027-01-25T09:00 2027-02-22T09:00"},
		{"0 9 * * MON,5L", noZone, y27, "2027-01-04T09:00 2027-01-11T09:00 2027-01-18T09:00 2027-01-25T09:00 2027-01-29T09:00"},
		{"0 9 * * L", noZone, y27, "2027-01-02T09:00 2027-01-09T09:00"},
		{"0 9 * * 5#6", noZone, y27, "error"},
		{"0 9 * * 5#0", noZone, y27, "error"},
		{"0 9 * * #1", noZone, y27, "error"},
		{"0 0 * 2 1#5", noZone, y27, "2044-02-29T00:00"},
		// Day or weekday, also with special ones; both where one begins with a star.
		{"0 0 13 * FRI", noZone, "2026-11-01T00:00:00Z", "2026-11-06T00:00 2026-11-13T00:00 2026-11-20T00:00"},
		{"0 0 L * FRI#1", noZone, y27, "2027-01-31T00:00 2027-02-05T00:00 2027-02-28T00:00"},
		{"0 0 L * *", noZone, y27, "2027-01-31T00:00"},
		{"0 0 */2 * FRI#1", noZone, y27, "2027-02-05T00:00 2027-03-05T00:00 2027-05-07T00:00"},
		{"0 0 ? * MON", noZone, y27, "2027-01-04T00:00"},
		{"0 0 1 * ?", noZone, y27, "2027-02-01T00:00"},
		// Never.
		{"0 0 30 2 *", noZone, y27, "error"},
		{"0 0 31 4,6,9,11 *", noZone, y27, "error"},
		{"0 0 L-30 2,4 *", noZone, y27, "error"},
		{"@every 0s", noZone, y27, "error"},
		// The farthest bounds.
		{"0 0 29 2 */7", noZone, "2072-02-29T00:00:00Z", "2088-02-29T00:00 2128-02-29T00:00"},
		{"0 0 0 31 12 * 2261", noZone, y27, "2261-12-31T00:00 end"},
		{"0 0 29 2 *", noZone, "2096-02-29T00:00:00Z", "2104-02-29T00:00"},
		{"* * * * *", noZone, "2261-12-31T23:58:00Z", "2261-12-31T23:59 end"},
		// Ranges do not go over the end.
		{"0 22-2 * * *", noZone, y27, "error"},
		// Names for the whole.
		{"@hourly", noZone, y27, "2027-01-01T01:00 2027-01-01T02:00"},
		{"@daily", "Asia/Kathmandu", y27, "2027-01-02T00:00+05:45 2027-01-03T00:00+05:45"},
		{"@weekly", noZone, y27, "2027-01-03T00:00 2027-01-10T00:00"},
		{"@monthly", noZone, y27, "2027-02-01T00:00"},
		{"@yearly", noZone, y27, "2028-01-01T00:00"},
		{"@annually", noZone, y27, "2028-01-01T00:00"},
		{"@midnight", noZone, y27, "2027-01-02T00:00"},
		{"@every 25m", noZone, y27, "2027-01-01T00:15 2027-01-01T00:40"}, // counted from 1970
		{"@at 2027-05-01T00:00:00Z", noZone, y27, "2027-05-01T00:00 end"},
		{"CRON_TZ=Asia/Tokyo 0 9 * * *", noZone, y27, "2027-01-02T09:00+09:00 2027-01-03T09:00+09:00"},
	})
}

func TestConformanceQuartz(t *testing.T) {
	t.Parallel()
	conforms(t, Options{Dialect: job.DialectQuartz}, []rule{
		{"0 0 12 * * ?", noZone, y27, "2027-01-01T12:00 2027-01-02T12:00"},
		{"0 15 10 ? * *", noZone, y27, "2027-01-01T10:15 2027-01-02T10:15"},
		{"0 15 10 * * ? 2028", noZone, y27, "2028-01-01T10:15 2028-01-02T10:15"},
		{"0 * 14 * * ?", noZone, y27, "2027-01-01T14:00 2027-01-01T14:01"},
		{"0 0/5 14,18 * * ?", noZone, "2027-01-01T14:50:00Z", "2027-01-01T14:55 2027-01-01T18:00"},
		{"0 10,44 14 ? 3 WED", noZone, y27, "2027-03-03T14:10 2027-03-03T14:44 2027-03-10T14:10"},
		{"0 15 10 ? * MON-FRI", noZone, y27, "2027-01-01T10:15 2027-01-04T10:15"},
		{"0 15 10 15 * ?", noZone, y27, "2027-01-15T10:15"},
		{"0 15 10 L * ?", noZone, y27, "2027-01-31T10:15 2027-02-28T10:15"},
		{"0 15 10 L-2 * ?", noZone, y27, "2027-01-29T10:15 2027-02-26T10:15"},
		{"0 15 10 LW * ?", noZone, y27, "2027-01-29T10:15"},
		{"0 15 10 15W * ?", noZone, "2027-05-01T00:00:00Z", "2027-05-14T10:15"},
		{"0 15 10 ? * 6L", noZone, y27, "2027-01-29T10:15 2027-02-26T10:15"},
		{"0 15 10 ? * 6L 2027-2028", noZone, "2028-12-01T00:00:00Z", "2028-12-29T10:15 end"},
		{"0 15 10 ? * 6#3", noZone, y27, "2027-01-15T10:15 2027-02-19T10:15"},
		{"0 15 10 ? * FRI#3", noZone, y27, "2027-01-15T10:15"},
		{"0 0 12 1/5 * ?", noZone, y27, "2027-01-01T12:00 2027-01-06T12:00 2027-01-11T12:00"},
		{"0 11 11 11 11 ?", noZone, y27, "2027-11-11T11:11"},
		// The week begins with Sunday as 1.
		{"0 0 0 ? * 1", noZone, y27, "2027-01-03T00:00"},
		{"0 0 0 ? * 7", noZone, y27, "2027-01-02T00:00"},
		{"0 0 0 ? * 2-6", noZone, y27, "2027-01-04T00:00 2027-01-05T00:00"},
		{"0 0 0 ? * L", noZone, y27, "2027-01-02T00:00 2027-01-09T00:00"},
		{"0 0 0 ? * 0", noZone, y27, "error"},
		{"0 0 0 ? * 8", noZone, y27, "error"},
		{"0 0 0 ? * 2/2", noZone, y27, "2027-01-04T00:00 2027-01-06T00:00 2027-01-08T00:00 2027-01-11T00:00"},
		// Ranges go over the end.
		{"0 0 22-2 * * ?", noZone, y27, "2027-01-01T01:00 2027-01-01T02:00 2027-01-01T22:00 2027-01-01T23:00 2027-01-02T00:00"},
		{"0 0 0 ? * FRI-MON", noZone, y27, "2027-01-02T00:00 2027-01-03T00:00 2027-01-04T00:00 2027-01-08T00:00"},
		{"0 0 0 1 NOV-FEB ?", noZone, y27, "2027-02-01T00:00 2027-11-01T00:00"},
		{"0 0 0 1 1 ? 2030-2028", noZone, y27, "error"},
		{"/20 * * * * ?", noZone, y27, "2027-01-01T00:00:20 2027-01-01T00:00:40 2027-01-01T00:01"},
		// Exactly one of the day fields is ?.
		{"0 0 12 * * *", noZone, y27, "error"},
		{"0 0 12 ? * ?", noZone, y27, "error"},
		{"0 0 12 13 * FRI", noZone, y27, "error"},
		{"? 0 12 * * ?", noZone, y27, "error"},
		{"0 0 12 * *", noZone, y27, "error"},
		{"0 0/61 * * * ?", noZone, y27, "error"},
		{"H 0 12 * * ?", noZone, y27, "error"},
		{"@daily", noZone, y27, "2027-01-02T00:00"},
	})
}

func TestConformanceKubernetes(t *testing.T) {
	t.Parallel()
	conforms(t, Options{Dialect: job.DialectKubernetes}, []rule{
		{"*/15 * * * *", noZone, y27, "2027-01-01T00:15 2027-01-01T00:30"},
		{"0 0 * * 6", noZone, y27, "2027-01-02T00:00"},
		{"0 0 * * 7", noZone, y27, "error"},
		{"0 0 * * sat", noZone, y27, "2027-01-02T00:00"},
		{"0 0 * * * *", noZone, y27, "error"},
		{"0 0 L * *", noZone, y27, "error"},
		{"0 0 15W * *", noZone, y27, "error"},
		{"0 0 * * 5#2", noZone, y27, "error"},
		{"H 0 * * *", noZone, y27, "error"},
		{"0 0 ? * 1", noZone, y27, "2027-01-04T00:00"},
		// A star with a step restricts a day field, unlike in Vixie cron.
		{"0 0 */10 * MON", noZone, y27, "2027-01-04T00:00 2027-01-11T00:00 2027-01-18T00:00 2027-01-21T00:00"},
		{"0 0 */1 * MON", noZone, y27, "2027-01-04T00:00 2027-01-11T00:00"},
		{"0 0 13,* * MON", noZone, y27, "2027-01-04T00:00"},
		{"0 0 13 * FRI", noZone, y27, "2027-01-08T00:00 2027-01-13T00:00 2027-01-15T00:00"},
		{"@every 1h", noZone, "2027-01-01T00:20:00Z", "2027-01-01T01:00"},
		// What is left out does not run, and what comes twice runs twice.
		{"30 2 * * *", "America/New_York", "2027-03-13T12:00:00Z", "2027-03-15T02:30-04:00"},
		{"30 1 * * *", "America/New_York", "2027-11-06T12:00:00Z", "2027-11-07T01:30-04:00 2027-11-07T01:30-05:00 2027-11-08T01:30-05:00"},
	})
	conforms(t, Options{Dialect: job.DialectRobfig}, []rule{
		{"30 0 0 * * 6", noZone, y27, "2027-01-02T00:00:30"},
		{"0 0 * * 6", noZone, y27, "2027-01-02T00:00"},
		{"0 0 0 * * * 2027", noZone, y27, "error"},
	})
}

// TestConformanceHash: the same seed gives the same instants, seeds spread.
func TestConformanceHash(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, seed := range []string{"default/a", "default/b", "default/c", "team/a", "x", "y", "z"} {
		for expr, bounds := range map[string]struct{ low, high time.Duration }{
			"H * * * *":               {0, time.Hour},
			"H(10-19) * * * *":        {10 * time.Minute, 20 * time.Minute},
			"H H * * *":               {0, 24 * time.Hour},
			"H H(0-3) * * *":          {0, 4 * time.Hour},
			"H H H * *":               {0, 28 * 24 * time.Hour},
			"H 0 0 1 1 *":             {0, time.Minute},
			"0 0 * * H":               {0, 7 * 24 * time.Hour},
			"H(30-40)/10 * * * *":     {30 * time.Minute, 41 * time.Minute},
			"H 0 0 H(5-6) JAN *":      {4 * 24 * time.Hour, 6 * 24 * time.Hour},
			"0 0 H(2-3),20 * *":       {24 * time.Hour, 20 * 24 * time.Hour},
			"0 H(0-1),H(22-23) * * *": {0, 24 * time.Hour},
		} {
			var next [2]time.Time
			for i := range next {
				s, err := Parse(expr, Options{Seed: seed})
				if err != nil {
					t.Fatal(err)
				}
				next[i], _ = s.Next(instant(t, y27).Add(-time.Second))
			}
			if d := next[0].Sub(instant(t, y27)); !next[0].Equal(next[1]) || d < bounds.low || d >= bounds.high {
				t.Errorf("%q of %s: %v and %v, want the same within %v", expr, seed, next[0], next[1], bounds)
			}
			if expr == "H H * * *" {
				seen[next[0].String()] = true
			}
		}
	}
	if len(seen) < 6 {
		t.Errorf("7 seeds came to %d times of day", len(seen))
	}
	s, err := Parse("H/15 * * * *", Options{Seed: "default/a"})
	if err != nil {
		t.Fatal(err)
	}
	four := Set{s}.Between(instant(t, y27).Add(-time.Second), instant(t, y27).Add(time.Hour-time.Second), 10)
	if len(four) != 4 || four[1].Sub(four[0]) != 15*time.Minute || four[0].Minute() > 14 {
		t.Errorf("H/15: %v", four)
	}
	conforms(t, Options{}, []rule{
		{"H(5) * * * *", noZone, y27, "error"},
		{"H( * * * *", noZone, y27, "error"},
		{"H(9-5) * * * *", noZone, y27, "error"},
		{"H(0-70) * * * *", noZone, y27, "error"},
		{"H/0 * * * *", noZone, y27, "error"},
		{"H/61 * * * *", noZone, y27, "error"},
		{"HH * * * *", noZone, y27, "error"},
	})
}

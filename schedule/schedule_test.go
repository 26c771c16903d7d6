package schedule

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/robfig/cron/v3"
	"pgregory.net/rapid"
)

func mustTime(t testing.TB, s string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestNext(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		expr, zone, after string
		want              []string
	}{
		{"* * * * *", "", "2026-03-01T10:00:30Z", []string{"2026-03-01T10:01:00Z", "2026-03-01T10:02:00Z"}},
		{"*/15 30 9-17 * * MON-FRI", "", "2026-03-06T17:30:45Z", []string{"2026-03-09T09:30:00Z"}},
		{"0 0 31 * *", "", "2026-01-31T00:00:00Z", []string{"2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z"}},
		{"0 0 29 2 *", "", "2096-03-01T00:00:00Z", []string{"2104-02-29T00:00:00Z"}},
		{"0 0 13 * FRI", "", "2026-11-01T00:00:00Z", []string{"2026-11-06T00:00:00Z", "2026-11-13T00:00:00Z"}},
		{"@every 90s", "", "2026-03-01T00:00:00Z", []string{"2026-03-01T00:01:30Z", "2026-03-01T00:03:00Z"}},
		{"@at 2027-01-01T09:00:00+02:00", "", "2026-01-01T00:00:00Z", []string{"2027-01-01T07:00:00Z"}},
		{"CRON_TZ=Asia/Kathmandu 0 9 * * *", "Europe/Berlin", "2026-01-01T00:00:00Z", []string{"2026-01-01T03:15:00Z"}},
		// S2: 02:30 is left out on 2026-03-29 and runs at the gap's end; in
		// October it is there twice and runs once.
		{"30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"}},
		{"30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", []string{"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}},
		{"30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", []string{"2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"}},
		{"0 0 * * *", "Africa/Cairo", "2026-04-23T12:00:00Z", []string{"2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"}},
		{"0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00Z", []string{"2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"}},
		{"15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", []string{"2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"}},
		{"0 9 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", []string{"2011-12-29T19:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T19:00:00Z"}},
		// S1: hourly expressions go by elapsed time.
		{"0 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", []string{"2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"}},
		{"*/30 * * * *", "Europe/Berlin", "2026-03-29T00:40:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"}},
	} {
		t.Run(c.expr+" "+c.zone+" "+c.after, func(t *testing.T) {
			t.Parallel()
			s, err := Parse(c.expr, Options{Zone: c.zone})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			at := mustTime(t, c.after)
			for range c.want {
				n, ok := s.Next(at)
				if !ok {
					break
				}
				got, at = append(got, n.Format(time.RFC3339Nano)), n
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("instants (-want +got):\n%s", d)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string]string{
		"":               "is empty",
		"* * *":          "has 3 fields",
		"61 * * * *":     `minute "61"`,
		"0 25 * * FOO":   `day of week "FOO"`,
		"0 0 30 2 *":     "never comes due",
		"@every 1":       "want a duration",
		"@every 1ms":     "too short",
		"@at tomorrow":   "want an instant",
		"@never":         "not a schedule",
		"TZ= * * * * *":  "needs a zone name",
		"TZ=0":           "is not known",
		"CRON_TZ=Mars/X": "is not known",
	} {
		_, err := Parse(expr, Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q): %v; want an error with %q", expr, err, want)
		}
	}
	_, err := ParseSet([]string{"* * * * *", "bad", "61 * * * *"}, Options{})
	if err == nil || !strings.Contains(err.Error(), "schedules[1]") || !strings.Contains(err.Error(), "schedules[2]") {
		t.Errorf("ParseSet names not all problems: %v", err)
	}
}

// TestS3AgreesWithRobfig holds Next against robfig's own in UTC, where both
// should agree, and checks that it is strictly after its argument.
func TestS3AgreesWithRobfig(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		f := func(name string, lo, hi int) string {
			a := rapid.IntRange(lo, hi).Draw(rt, name)
			b := rapid.IntRange(a, hi).Draw(rt, name+"2")
			return rapid.SampledFrom([]string{"*", "*", fmt.Sprint(a), fmt.Sprintf("%d-%d", a, b),
				fmt.Sprintf("*/%d", max(a, 1)), fmt.Sprintf("%d,%d", a, b)}).Draw(rt, name+"form")
		}
		expr := strings.Join([]string{f("s", 0, 59), f("m", 0, 59), f("h", 0, 23), f("d", 1, 28), f("mo", 1, 12), f("w", 0, 6)}, " ")
		s, err := Parse(expr, Options{})
		if err != nil {
			rt.Fatalf("%q: %v", expr, err)
		}
		other, err := cron.NewParser(allFields).Parse(expr)
		if err != nil {
			rt.Fatal(err)
		}
		at := time.Unix(rapid.Int64Range(0, 4e9).Draw(rt, "after"), 0).UTC()
		for range 5 {
			want := other.Next(at)
			if want.IsZero() {
				return // robfig looks five years ahead
			}
			got, ok := s.Next(at)
			if !ok || !got.Equal(want) || !got.After(at) {
				rt.Fatalf("%q after %v: %v %v, robfig says %v", expr, at, got, ok, want)
			}
			at = got
		}
	})
}

// TestS3Ends walks every zone rule through expressions that robfig loops on.
func TestS3Ends(t *testing.T) {
	t.Parallel()
	for _, zone := range []string{
		"Pacific/Apia", "Africa/Cairo", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Tehran",
		"Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Antarctica/Troll", "Pacific/Kwajalein", "Africa/Casablanca",
	} {
		for _, expr := range []string{"0 0 * * *", "30 2 * * *", "59 23 30 12 *", "*/7 * * * *", "0 0 29 2 *", "0 12 * * SUN"} {
			s, err := Parse(expr, Options{Zone: zone})
			if err != nil {
				t.Fatal(err)
			}
			at := time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC)
			for range 2000 {
				n, ok := s.Next(at)
				if !ok || !n.After(at) {
					t.Fatalf("%s in %s after %v: %v %v", expr, zone, at, n, ok)
				}
				if back, _ := s.Next(n.Add(-time.Nanosecond)); !back.Equal(n) {
					t.Fatalf("%s in %s: Next just before %v is %v", expr, zone, n, back)
				}
				at = n
			}
		}
	}
}

func TestSet(t *testing.T) {
	t.Parallel()
	c := NewCache()
	set, err := c.ParseSet([]string{"0 * * * *", "30 * * * *", "0 */2 * * *"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	from := mustTime(t, "2026-01-01T00:00:00Z")
	var got []string
	for _, at := range set.Between(from, from.Add(2*time.Hour), 10) {
		got = append(got, at.Format("15:04"))
	}
	if d := cmp.Diff([]string{"00:30", "01:00", "01:30", "02:00"}, got); d != "" {
		t.Error(d)
	}
	again, _ := c.ParseSet([]string{"0 * * * *", "30 * * * *", "0 */2 * * *"}, Options{})
	if again[0] != set[0] {
		t.Error("the cache compiled the same expression twice")
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string]string{
		"* * * * *":                       "every minute",
		"*/5 * * * *":                     "every 5 minutes",
		"* * * * * *":                     "every second",
		"@hourly":                         "every hour",
		"@daily":                          "at 00:00 every day",
		"30 9 * * MON-FRI":                "at 09:30 on Monday to Friday",
		"0 2,14 * * *":                    "at 02:00 and 14:00 every day",
		"15 3 1 * *":                      "at 03:15 on day 1 of the month",
		"0 0 13 * FRI":                    "at 00:00 on day 13 of the month or Friday",
		"@every 90s":                      "every 90 seconds",
		"@every 1h":                       "every hour",
		"0 6 * 6-8 *":                     "at 06:00 every day in June to August",
		"CRON_TZ=Europe/Berlin 0 9 * * *": "at 09:00 every day, Europe/Berlin",
		"*/10 8-18 * * *":                 "every 10 minutes of hour 8 to 18 every day",
	} {
		s, err := Parse(expr, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Words(); got != want {
			t.Errorf("%q: %q, want %q", expr, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"* * * * *", "@every 1s", "TZ=UTC 0 0 1 1 *", "TZ=", "@at x", "*/0 * * * *"} {
		f.Add(s)
	}
	f.Fuzz(func(_ *testing.T, expr string) {
		if s, err := Parse(expr, Options{Zone: "Pacific/Apia"}); err == nil {
			_ = s.Words()
			s.Next(reference)
		}
	})
}

func BenchmarkNext(b *testing.B) {
	s, err := Parse("30 2 * * MON-FRI", Options{Zone: "Europe/Berlin"})
	if err != nil {
		b.Fatal(err)
	}
	other, err := cron.ParseStandard("CRON_TZ=Europe/Berlin 30 2 * * MON-FRI")
	if err != nil {
		b.Fatal(err)
	}
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	b.Run("carillon", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.Next(at)
		}
	})
	b.Run("robfig", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			other.Next(at)
		}
	})
}

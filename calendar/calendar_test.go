package calendar

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/job"
)

func compiled(t rapid.TB, spec job.CalendarSpec) *Calendar {
	t.Helper()
	c, problems := New("c", &spec)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return c
}

func instant(t rapid.TB, s string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

const ics = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n" +
	"BEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20271224\r\nDTEND;VALUE=DATE:20271227\r\nSUMMARY:Christmas\\, at\r\n  home\r\nRRULE:FREQ=YEARLY\r\nEXDATE;VALUE=DATE:20281224\r\nEND:VEVENT\r\n" +
	"BEGIN:VEVENT\r\nDTSTART;TZID=America/New_York:20270105T220000\r\nDURATION:PT4H\r\nSUMMARY:Patching\r\nRRULE:FREQ=WEEKLY;BYDAY=TU;COUNT=4\r\nEND:VEVENT\r\n" +
	"BEGIN:VEVENT\r\nDTSTART:20270301T100000Z\r\nDTEND:20270301T113000Z\r\nEND:VEVENT\r\n" +
	"END:VCALENDAR\r\n"

func TestClosed(t *testing.T) {
	t.Parallel()
	business := job.CalendarSpec{
		TimeZone: "Europe/Berlin", Weekdays: []string{"MON-FRI"},
		Closed: []string{"12-25 Christmas", "12-31..01-01 Turn of the year", "2027-04-02 Good Friday", "2027-08-02..2027-08-13 Works holidays"},
		Open:   []string{"2027-05-08 Stocktaking"},
	}
	windows := job.CalendarSpec{
		Windows: []string{"2027-03-01T20:00:00Z..2027-03-02T04:00:00Z: move to another rack", "0 2 * * SUN for 2h: weekly patching", "30 23 * * * for 1h"},
	}
	events := job.CalendarSpec{ICS: ics}
	for _, c := range []struct {
		spec  job.CalendarSpec
		at    string
		why   string // empty: open
		until string
	}{
		{business, "2027-01-04T08:00:00Z", "", ""},
		{business, "2027-01-09T08:00:00Z", "Saturday is no business day", "2027-01-09T23:00:00Z"},
		{business, "2027-01-08T23:30:00Z", "Saturday is no business day", "2027-01-09T23:00:00Z"}, // by the zone's clock
		{business, "2027-12-25T08:00:00Z", "Christmas", "2027-12-25T23:00:00Z"},
		{business, "2030-12-25T08:00:00Z", "Christmas", "2030-12-25T23:00:00Z"},
		{business, "2029-01-01T08:00:00Z", "Turn of the year", "2029-01-01T23:00:00Z"},
		{business, "2028-12-31T08:00:00Z", "Turn of the year", "2028-12-31T23:00:00Z"},
		{business, "2027-04-02T08:00:00Z", "Good Friday", "2027-04-02T22:00:00Z"},
		{business, "2028-04-03T08:00:00Z", "", ""},
		{business, "2027-08-04T08:00:00Z", "Works holidays", "2027-08-04T22:00:00Z"},
		{business, "2027-05-08T08:00:00Z", "", ""},
		{windows, "2027-03-01T19:59:59Z", "", ""},
		{windows, "2027-03-01T20:00:00Z", "move to another rack", "2027-03-02T04:00:00Z"},
		{windows, "2027-03-02T04:00:00Z", "", ""},
		{windows, "2027-01-03T03:59:59Z", "weekly patching", "2027-01-03T04:00:00Z"},
		{windows, "2027-01-03T04:00:00Z", "", ""},
		{windows, "2027-01-04T03:00:00Z", "", ""},
		{windows, "2027-01-05T00:10:00Z", "a window of maintenance", "2027-01-05T00:30:00Z"},
		{events, "2027-12-24T00:00:00Z", "Christmas, at home", "2027-12-27T00:00:00Z"},
		{events, "2027-12-26T23:59:59Z", "Christmas, at home", "2027-12-27T00:00:00Z"},
		{events, "2028-12-25T12:00:00Z", "", ""}, // left out
		{events, "2029-12-25T12:00:00Z", "Christmas, at home", "2029-12-27T00:00:00Z"},
		{events, "2027-01-06T04:00:00Z", "Patching", "2027-01-06T07:00:00Z"},
		{events, "2027-01-27T04:00:00Z", "Patching", "2027-01-27T07:00:00Z"},
		{events, "2027-02-03T04:00:00Z", "", ""}, // after the fourth
		{events, "2027-03-01T11:29:59Z", "an event", "2027-03-01T11:30:00Z"},
		{events, "2027-03-01T11:30:00Z", "", ""},
	} {
		why, until, closed := compiled(t, c.spec).Closed(instant(t, c.at))
		if closed != (c.why != "") || why != c.why || closed && !until.Equal(instant(t, c.until)) {
			t.Errorf("%s: %v %q until %v, want %q until %s", c.at, closed, why, until.UTC(), c.why, c.until)
		}
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	days := compiled(t, job.CalendarSpec{TimeZone: "Europe/Berlin", Weekdays: []string{"MON-FRI"}, Closed: []string{"2027-03-29 Easter Monday"}})
	window := compiled(t, job.CalendarSpec{Windows: []string{"0 7 * * MON for 90m"}})
	never := compiled(t, job.CalendarSpec{Closed: []string{"01-01..12-31"}})
	for _, c := range []struct {
		set      Set
		at, want string
	}{
		{Set{days}, "2027-01-08T08:00:00Z", "2027-01-08T08:00:00Z"},
		{Set{days}, "2027-01-09T08:00:00Z", "2027-01-11T08:00:00Z"},
		{Set{days}, "2027-03-27T08:00:00Z", "2027-03-30T07:00:00Z"}, // the same time by the clock, which has jumped
		{Set{days, window}, "2027-01-09T07:30:00Z", "2027-01-11T08:30:00Z"},
		{Set{window}, "2027-01-04T07:00:00Z", "2027-01-04T08:30:00Z"},
		{Set{never}, "2027-01-04T07:00:00Z", ""},
		{nil, "2027-01-04T07:00:00Z", "2027-01-04T07:00:00Z"},
	} {
		got, why, ok := c.set.Resolve(instant(t, c.at), berlin, NewWork(1e6))
		if ok != (c.want != "") || ok && !got.Equal(instant(t, c.want)) || (why != "") != (c.at != c.want) {
			t.Errorf("%s: %v %q %v, want %s", c.at, got, why, ok, c.want)
		}
	}
}

// TestC1C2C3_Resolve: whatever the calendars are, an instant stays or goes forward
// to one that is open.
func TestC1C2C3_Resolve(t *testing.T) {
	t.Parallel()
	zones := []string{"", "Europe/Berlin", "America/Sao_Paulo", "Pacific/Apia", "Asia/Kathmandu", "Australia/Lord_Howe"}
	rapid.Check(t, func(rt *rapid.T) {
		var set Set
		for range rapid.IntRange(0, 3).Draw(rt, "calendars") {
			set = append(set, compiled(rt, job.CalendarSpec{
				TimeZone: rapid.SampledFrom(zones).Draw(rt, "zone"),
				Weekdays: rapid.SampledFrom([][]string{nil, {"MON-FRI"}, {"SUN"}, {"FRI-MON"}}).Draw(rt, "weekdays"),
				Closed:   rapid.SampledFrom([][]string{nil, {"12-24..01-02"}, {"2027-03-01..2027-04-30"}}).Draw(rt, "closed"),
				Open:     rapid.SampledFrom([][]string{nil, {"2027-03-28"}, {"12-31"}}).Draw(rt, "open"),
				Windows:  rapid.SampledFrom([][]string{nil, {"0 2 * * * for 90m"}, {"*/30 * * * * for 10m", "0 0 1 * * for 48h"}}).Draw(rt, "windows"),
				ICS:      rapid.SampledFrom([]string{"", ics}).Draw(rt, "ics"),
			}))
		}
		zone, err := time.LoadLocation(rapid.SampledFrom(zones).Draw(rt, "job's zone"))
		if err != nil {
			rt.Fatal(err)
		}
		at := time.Unix(rapid.Int64Range(1_790_000_000, 1_850_000_000).Draw(rt, "at"), 0).UTC()
		got, _, ok := set.Resolve(at, zone, NewWork(1e9))
		_, _, closed := set.Closed(at)
		switch {
		case !closed && (!ok || !got.Equal(at)):
			rt.Fatalf("%v is open, and goes to %v", at, got)
		case closed && ok && !got.After(at):
			rt.Fatalf("%v is closed, and goes to %v", at, got)
		}
		if why, _, shut := set.Closed(got); ok && shut {
			rt.Fatalf("%v goes to %v, which is closed: %s", at, got, why)
		}
		if again, _, _ := set.Resolve(at, zone, NewWork(1e9)); !again.Equal(got) {
			rt.Fatalf("%v goes to %v, and to %v", at, got, again)
		}
	})
}

func TestProblems(t *testing.T) {
	t.Parallel()
	_, problems := New("c", &job.CalendarSpec{
		TimeZone: "Mars/X", Weekdays: []string{"MON", "FUNDAY"}, Closed: []string{"2027-13-01", "2027-02-02..2027-02-01", "12-24..2027-01-01"},
		Windows: []string{"never", "2027-01-02T00:00:00Z..2027-01-01T00:00:00Z", "0 25 * * * for 1h", "0 1 * * * for 99d"},
		ICS:     "BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:x\nEND:VEVENT\nBEGIN:VEVENT\nDTSTART:2027\nEND:VEVENT\nBEGIN:VEVENT\nDTSTART:20270101T000000Z\nRRULE:FREQ=SECONDLY\nEND:VEVENT\n",
	})
	var got []string
	for _, p := range problems {
		got = append(got, p.String())
	}
	text := strings.Join(got, "\n")
	for _, want := range []string{
		`spec.timeZone: time zone "Mars/X" is not known`, `spec.weekdays[1]: "FUNDAY" is not a day of the week`, `spec.closed[0]: "2027-13-01" is not a day`,
		`spec.closed[1]: "2027-02-02..2027-02-01": the last day lies before the first`, `spec.closed[2]: "12-24..2027-01-01": give a year with both days, or with none`,
		`spec.windows[0]: "never": want two instants`, `spec.windows[1]:`, `spec.windows[2]: "0 25 * * *": hour "25"`, `spec.windows[3]:`,
		`spec.ics: event in line 2: has no DTSTART`, `event in line 5: DTSTART "2027" is not a time`, `events that recur more often than daily`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("not told: %s\n%s", want, text)
		}
	}
	if _, problems := New("c", &job.CalendarSpec{ICS: "hello"}); len(problems) != 1 {
		t.Errorf("problems of no calendar file: %v", problems)
	}
}

// TestWindowEnds: the end of a window is that of its last start, which is found
// by halving.
func TestWindowEnds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		cron := rapid.SampledFrom([]string{"* * * * * *", "*/7 9-10 * * *", "0 2 * * SUN", "@every 100ms", "@every 7s", "0 0 29 2 *", "CRON_TZ=Europe/Berlin 30 2 * * *", "@at 2027-03-28T01:30:00Z"}).Draw(rt, "cron")
		long := rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, 90 * time.Minute, 2 * time.Hour}).Draw(rt, "long")
		w, _, err := parseWindow(cron+" for "+long.String(), "UTC")
		if err != nil {
			rt.Fatal(err)
		}
		at := time.Unix(1_806_192_000+rapid.Int64Range(-100_000, 100_000).Draw(rt, "at"), rapid.Int64Range(0, 1e9-1).Draw(rt, "nanos")).UTC()
		var want time.Time
		from := at.Add(-long)
		if cron == "@every 100ms" {
			from = at.Add(-min(long, time.Minute)) // enough
		}
		for s, ok := w.when.Next(from); ok && !s.After(at); s, ok = w.when.Next(s) {
			want = s.Add(long)
		}
		got, in := w.at(at)
		if in != !want.IsZero() || in && !got.Equal(want) {
			rt.Fatalf("at %v in a window: %v, until %v, want %v", at, in, got, want)
		}
	})
}

package schedule

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/robfig/cron/v3"
	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/job"
)

func instant(t testing.TB, s string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func parsed(t testing.TB, expr, zone string) *Schedule {
	t.Helper()
	s, err := Parse(expr, Options{Zone: zone})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// row is an expression and the first instants after one.
type row struct {
	expr, zone, after string
	want              string // separated by blanks; "end" for no further one
}

func (r row) check(t *testing.T) {
	t.Helper()
	s := parsed(t, r.expr, r.zone)
	want := strings.Fields(r.want)
	var got []string
	at := instant(t, r.after)
	for range want {
		n, ok := s.Next(at)
		if !ok {
			got = append(got, "end")
			break
		}
		if n.Location() != time.UTC {
			t.Errorf("Next(%v) is not in UTC: %v", at, n)
		}
		got, at = append(got, n.Format(time.RFC3339Nano)), n
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("instants (-want +got):\n%s", d)
	}
}

func checkRows(t *testing.T, rows []row) {
	t.Helper()
	t.Parallel()
	for _, r := range rows {
		t.Run(strings.TrimSpace(r.expr+" "+r.zone)+" after "+r.after, func(t *testing.T) {
			t.Parallel()
			r.check(t)
		})
	}
}

func TestTokens(t *testing.T) {
	const from = "2026-03-06T17:30:45Z" // a Friday
	checkRows(t, []row{
		{"* * * * *", "", from, "2026-03-06T17:31:00Z 2026-03-06T17:32:00Z"},
		{"* * * * * *", "", from, "2026-03-06T17:30:46Z 2026-03-06T17:30:47Z"},
		{"? ? ? ? ?", "", from, "2026-03-06T17:31:00Z"},
		{"5 * * * *", "", from, "2026-03-06T18:05:00Z 2026-03-06T19:05:00Z"},
		{"5,50 * * * *", "", from, "2026-03-06T17:50:00Z 2026-03-06T18:05:00Z"},
		{"50-52 * * * *", "", from, "2026-03-06T17:50:00Z 2026-03-06T17:51:00Z 2026-03-06T17:52:00Z 2026-03-06T18:50:00Z"},
		{"*/20 * * * *", "", from, "2026-03-06T17:40:00Z 2026-03-06T18:00:00Z"},
		{"10-30/10 * * * *", "", from, "2026-03-06T18:10:00Z 2026-03-06T18:20:00Z 2026-03-06T18:30:00Z 2026-03-06T19:10:00Z"},
		{"40/15 * * * *", "", from, "2026-03-06T17:40:00Z 2026-03-06T17:55:00Z 2026-03-06T18:40:00Z"},
		{"*/90 * * * *", "", from, "2026-03-06T18:00:00Z 2026-03-06T19:00:00Z"},
		{"*/25 30 17 * * *", "", from, "2026-03-06T17:30:50Z 2026-03-07T17:30:00Z"},
		{"59 59 23 31 12 *", "", from, "2026-12-31T23:59:59Z 2027-12-31T23:59:59Z"},
		{"0 0 1 jan *", "", from, "2027-01-01T00:00:00Z"},
		{"0 0 1 FEB-Apr *", "", from, "2026-04-01T00:00:00Z 2027-02-01T00:00:00Z"},
		{"0 0 * * mon", "", from, "2026-03-09T00:00:00Z 2026-03-16T00:00:00Z"},
		{"0 0 * * MON-FRI", "", from, "2026-03-09T00:00:00Z 2026-03-10T00:00:00Z"},
		{"0 0 * * 0", "", from, "2026-03-08T00:00:00Z 2026-03-15T00:00:00Z"},
		{"0 0 * * 7", "", from, "2026-03-08T00:00:00Z 2026-03-15T00:00:00Z"},
		{"0 0 * * 5-7", "", from, "2026-03-07T00:00:00Z 2026-03-08T00:00:00Z 2026-03-13T00:00:00Z"},
		{"0 0 * * 1-7/3", "", from, "2026-03-08T00:00:00Z 2026-03-09T00:00:00Z 2026-03-12T00:00:00Z"},
		{"0 0 * * 5/2", "", from, "2026-03-13T00:00:00Z 2026-03-20T00:00:00Z"},
		{"@hourly", "", from, "2026-03-06T18:00:00Z 2026-03-06T19:00:00Z"},
		{"@daily", "", from, "2026-03-07T00:00:00Z 2026-03-08T00:00:00Z"},
		{"@midnight", "", from, "2026-03-07T00:00:00Z"},
		{"@weekly", "", from, "2026-03-08T00:00:00Z 2026-03-15T00:00:00Z"},
		{"@monthly", "", from, "2026-04-01T00:00:00Z 2026-05-01T00:00:00Z"},
		{"@yearly", "", from, "2027-01-01T00:00:00Z 2028-01-01T00:00:00Z"},
		{"@annually", "", from, "2027-01-01T00:00:00Z"},
		{"@at 2027-01-01T09:00:00.5+02:00", "", from, "2027-01-01T07:00:00.5Z end"},
		{"@at 2026-03-06T17:30:45Z", "", from, "end"},
		{"@every 90s", "", from, "2026-03-06T17:31:30Z 2026-03-06T17:33:00Z"},
		{"@every 250ms", "", "2026-03-06T17:30:45.1Z", "2026-03-06T17:30:45.25Z 2026-03-06T17:30:45.5Z"},
		{"@every 2h", "Asia/Kathmandu", from, "2026-03-06T18:00:00Z 2026-03-06T20:00:00Z"},
		{"CRON_TZ=Asia/Kathmandu 0 9 * * *", "Europe/Berlin", from, "2026-03-07T03:15:00Z"},
		{"TZ=America/New_York @daily", "", from, "2026-03-07T05:00:00Z"},
		{"  \t0   9\t* * * ", "Europe/Berlin", from, "2026-03-07T08:00:00Z"},
	})
}

func TestDates(t *testing.T) {
	checkRows(t, []row{
		{"0 0 31 * *", "", "2026-01-31T00:00:00Z", "2026-03-31T00:00:00Z 2026-05-31T00:00:00Z 2026-07-31T00:00:00Z 2026-08-31T00:00:00Z 2026-10-31T00:00:00Z"},
		{"0 0 30 * *", "", "2026-01-30T00:00:00Z", "2026-03-30T00:00:00Z"},
		{"0 0 29 2 *", "", "2024-02-29T00:00:00Z", "2028-02-29T00:00:00Z"},
		{"0 0 29 2 *", "", "2096-02-29T00:00:00Z", "2104-02-29T00:00:00Z"}, // 2100 is no leap year
		{"0 0 29 2 *", "", "1999-01-01T00:00:00Z", "2000-02-29T00:00:00Z"}, // 2000 was one
		{"59 23 31 12 *", "", "2026-12-31T23:58:59.999Z", "2026-12-31T23:59:00Z 2027-12-31T23:59:00Z"},
		// Day or weekday, when both are restricted.
		{"0 0 13 * FRI", "", "2026-11-01T00:00:00Z", "2026-11-06T00:00:00Z 2026-11-13T00:00:00Z 2026-11-20T00:00:00Z"},
		{"0 0 1-7 * MON", "", "2026-11-05T00:00:00Z", "2026-11-06T00:00:00Z 2026-11-07T00:00:00Z 2026-11-09T00:00:00Z"},
		{"0 0 1-31 * MON", "", "2026-11-05T00:00:00Z", "2026-11-06T00:00:00Z"},
		// Day and weekday, when one begins with a star.
		{"0 0 */2 * MON", "", "2026-11-01T00:00:00Z", "2026-11-09T00:00:00Z 2026-11-23T00:00:00Z"},
		{"0 0 13 * */5", "", "2026-11-01T00:00:00Z", "2026-11-13T00:00:00Z 2026-12-13T00:00:00Z 2027-06-13T00:00:00Z"},
		// The rarest there is: 29 February on a Sunday, over 2100.
		{"0 0 29 2 */7", "", "2072-02-29T00:00:00Z", "2088-02-29T00:00:00Z 2128-02-29T00:00:00Z"},
		// The first and the last instants.
		{"0 0 1 1 *", "", "0001-01-01T00:00:00Z", "1700-01-01T00:00:00Z"},
		{"@every 1h", "", "0001-01-01T00:00:00Z", "1700-01-01T01:00:00Z"},
		{"@every 1m", "", "1969-12-31T23:59:30Z", "1970-01-01T00:00:00Z 1970-01-01T00:01:00Z"},
		{"0 0 1 1 *", "", "2260-06-01T00:00:00Z", "2261-01-01T00:00:00Z end"},
		{"0 0 1 1 *", "Europe/Berlin", "2260-06-01T00:00:00Z", "2260-12-31T23:00:00Z 2261-12-31T23:00:00Z end"},
		{"* * * * * *", "Pacific/Auckland", "2261-12-31T23:59:58Z", "2261-12-31T23:59:59Z end"},
		{"@every 1h", "", "2261-12-31T22:30:00Z", "2261-12-31T23:00:00Z end"},
		{"* * * * *", "", "9999-01-01T00:00:00Z", "end"},
		{"@every 1h", "", "9999-01-01T00:00:00Z", "end"},
	})
}

// TestS1_EveryHourRunsThrough: hourly expressions go by elapsed time.
func TestS1_EveryHourRunsThrough(t *testing.T) {
	checkRows(t, []row{
		{"0 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", "2026-10-25T00:00:00Z 2026-10-25T01:00:00Z 2026-10-25T02:00:00Z"},
		{"*/30 * * * *", "Europe/Berlin", "2026-03-29T00:40:00Z", "2026-03-29T01:00:00Z 2026-03-29T01:30:00Z"},
		{"15 0-23 * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", "2026-10-25T00:15:00Z 2026-10-25T01:15:00Z 2026-10-25T02:15:00Z"},
		{"45 * * * *", "Australia/Lord_Howe", "2026-04-04T14:00:00Z", "2026-04-04T14:45:00Z 2026-04-04T15:15:00Z 2026-04-04T16:15:00Z"},
		{"15 * * * *", "Australia/Lord_Howe", "2026-10-03T14:50:00Z", "2026-10-03T16:15:00Z"},
		{"0 * * * *", "Pacific/Apia", "2011-12-30T08:30:00Z", "2011-12-30T09:00:00Z 2011-12-30T10:00:00Z 2011-12-30T11:00:00Z"},
		{"30 * 17 2 *", "America/Sao_Paulo", "2018-02-18T01:45:00Z", "2018-02-18T02:30:00Z 2019-02-17T03:30:00Z"},
	})
}

// TestS2_WallClock: other expressions run once per time on the wall clock.
func TestS2_WallClock(t *testing.T) {
	checkRows(t, []row{
		{"30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z 2026-03-30T00:30:00Z"},
		{"30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z 2026-10-26T01:30:00Z"},
		{"30 2 * * *", "Europe/Berlin", "2026-10-25T00:45:00Z", "2026-10-26T01:30:00Z"},
		{"*/20 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z 2026-03-30T00:00:00Z"},
		{"*/20 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z 2026-03-29T01:20:00Z"},
		{"*/30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:00:00Z 2026-10-25T00:30:00Z 2026-10-26T01:00:00Z"},
		{"0 */2 * * *", "Europe/Berlin", "2026-03-28T22:30:00Z", "2026-03-28T23:00:00Z 2026-03-29T01:00:00Z 2026-03-29T02:00:00Z"},
		{"0 */2 * * *", "Europe/Berlin", "2026-10-24T22:30:00Z", "2026-10-25T00:00:00Z 2026-10-25T03:00:00Z"},
		{"0 3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z 2026-03-30T01:00:00Z"},
		{"0 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:00:00Z 2026-10-26T01:00:00Z"},
		{"30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", "2026-03-08T07:00:00Z 2026-03-09T06:30:00Z"},
		{"30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", "2026-11-01T05:30:00Z 2026-11-02T06:30:00Z"},
		// Midnight does not exist, or comes twice.
		{"0 0 * * *", "Africa/Cairo", "2026-04-23T12:00:00Z", "2026-04-23T22:00:00Z 2026-04-24T21:00:00Z"},
		{"0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00Z", "2018-11-04T03:00:00Z 2018-11-05T02:00:00Z"},
		{"30 23 * * *", "America/Sao_Paulo", "2018-02-17T12:00:00Z", "2018-02-18T01:30:00Z 2018-02-19T02:30:00Z"},
		{"0 0 1 * *", "Asia/Beirut", "2026-03-28T12:00:00Z", "2026-03-31T21:00:00Z"},
		// Half an hour.
		{"15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", "2026-10-03T15:30:00Z 2026-10-04T15:15:00Z"},
		{"45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00Z", "2026-04-04T14:45:00Z 2026-04-05T15:15:00Z"},
		// A whole day is left out: 30 December 2011.
		{"0 9 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", "2011-12-29T19:00:00Z 2011-12-30T10:00:00Z 2011-12-30T19:00:00Z"},
		{"59 23 30 12 *", "Pacific/Apia", "2011-01-01T00:00:00Z", "2011-12-30T10:00:00Z 2012-12-30T09:59:00Z"},
		{"0 0 31 12 *", "Pacific/Apia", "2011-01-01T00:00:00Z", "2011-12-30T10:00:00Z 2012-12-30T10:00:00Z"},
		{"0 12 * * *", "Pacific/Kwajalein", "1993-08-20T12:00:00Z", "1993-08-21T00:00:00Z 1993-08-21T12:00:00Z 1993-08-22T00:00:00Z"},
		{"0 12 * * *", "America/Juneau", "1867-10-17T12:00:00Z", "1867-10-17T20:57:41Z 1867-10-18T20:57:41Z"}, // a day comes twice
		// Winter time as the one that is saved, and a jump of two hours.
		{"30 1 * * *", "Europe/Dublin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z 2026-03-30T00:30:00Z"},
		{"30 1 * * *", "Antarctica/Troll", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z 2026-03-29T23:30:00Z"},
		// The name changes, the clock does not.
		{"30 0 * * *", "Asia/Amman", "2022-10-26T12:00:00Z", "2022-10-26T21:30:00Z 2022-10-27T21:30:00Z 2022-10-28T21:30:00Z"},
		// No jumps.
		{"0 9 * * *", "Asia/Kathmandu", "2026-01-01T00:00:00Z", "2026-01-01T03:15:00Z 2026-01-02T03:15:00Z"},
		{"0 9 * * *", "Asia/Kolkata", "2026-03-29T00:00:00Z", "2026-03-29T03:30:00Z"},
		// Zones by rule, beyond the table of the database.
		{"30 2 * * *", "Europe/Berlin", "2199-03-30T12:00:00Z", "2199-03-31T01:00:00Z 2199-04-01T00:30:00Z"},
	})
}

var zones = []string{
	"Pacific/Apia", "Africa/Cairo", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Tehran", "Europe/Berlin", "Europe/Dublin",
	"America/New_York", "Asia/Kathmandu", "Antarctica/Troll", "Pacific/Kwajalein", "Africa/Casablanca", "America/St_Johns", "Asia/Amman",
	"Pacific/Chatham", "America/Havana", "Asia/Gaza", "Africa/Monrovia", "Asia/Pyongyang", "America/Caracas",
}

// model says which minutes an expression without seconds fires at, by looking
// at every minute that the clock of the zone shows, and at those it leaves out.
type model struct {
	spec  *cron.SpecSchedule
	every bool
	loc   *time.Location
	dst   job.DST
}

func (m *model) matches(wall time.Time) bool {
	has := func(bits uint64, v int) bool { return bits>>v&1 == 1 }
	dom, dow := has(m.spec.Dom, wall.Day()), has(m.spec.Dow, int(wall.Weekday()))
	date := dom || dow
	if (m.spec.Dom|m.spec.Dow)>>63 != 0 {
		date = dom && dow
	}
	return date && has(m.spec.Month, int(wall.Month())) && has(m.spec.Hour, wall.Hour()) && has(m.spec.Minute, wall.Minute())
}

// fires returns the instants after from and up to to, both whole minutes.
func (m *model) fires(from, to time.Time) []time.Time {
	wallOf := func(t time.Time) time.Time {
		_, off := t.In(m.loc).Zone()
		return t.Add(time.Duration(off) * time.Second)
	}
	const margin = 26 * time.Hour
	shown := map[time.Time][]time.Time{} // when, in order
	left := map[time.Time][2]time.Time{} // the end of the gap, and the shifted instant
	latest := wallOf(from.Add(-margin))
	for t := from.Add(-margin); !t.After(to.Add(margin)); t = t.Add(time.Minute) {
		w := wallOf(t)
		shown[w] = append(shown[w], t)
		for out := latest.Add(time.Minute); out.Before(w); out = out.Add(time.Minute) {
			left[out] = [2]time.Time{t, t.Add(out.Sub(latest) - time.Minute)}
		}
		if w.After(latest) {
			latest = w
		}
	}
	due := map[time.Time]bool{}
	for w, at := range shown {
		switch {
		case !m.matches(w):
		case m.every || m.dst.Fold == job.FoldBoth:
			for _, t := range at {
				due[t] = true
			}
		case m.dst.Fold == job.FoldSecond:
			due[at[len(at)-1]] = true
		default:
			due[at[0]] = true
		}
	}
	for w, at := range left {
		switch {
		case m.every || m.dst.Gap == job.GapSkip || !m.matches(w):
		case m.dst.Gap == job.GapShift:
			due[at[1]] = true
		default:
			due[at[0]] = true
		}
	}
	var out []time.Time
	for t := range due {
		if t.After(from) && !t.After(to) {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, time.Time.Compare)
	return out
}

// TestS3_AgreesWithModel holds Next against the model, around a jump of a
// zone's clock.
func TestS3_AgreesWithModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		loc, err := LoadZone(rapid.SampledFrom(zones).Draw(rt, "zone"))
		if err != nil {
			rt.Fatal(err)
		}
		// Since 1973 all clocks have been set by whole minutes.
		start := time.Unix(rapid.Int64Range(1e8, 4e9).Draw(rt, "near")/60*60, 0).UTC()
		if _, jump := start.In(loc).ZoneBounds(); !jump.IsZero() && jump.Unix()%60 == 0 {
			start = jump.UTC()
		}
		from := start.Add(-time.Duration(rapid.IntRange(0, 26*60).Draw(rt, "before")) * time.Minute)
		to := from.Add(40 * time.Hour)
		dst := job.DST{Gap: rapid.SampledFrom(job.Gaps()).Draw(rt, "gap"), Fold: rapid.SampledFrom(job.Folds()).Draw(rt, "fold")}

		w := start.In(loc)
		some := func(name string, low, high, near int) string {
			near = min(max(near+rapid.IntRange(-1, 1).Draw(rt, name+"near"), low), high)
			return rapid.SampledFrom([]string{
				"*", fmt.Sprint(near), fmt.Sprintf("%d-%d", near, high), fmt.Sprintf("%d,%d", low, near), fmt.Sprintf("%d-%d/7", low, high),
			}).Draw(rt, name)
		}
		expr := strings.Join([]string{
			some("minute", 0, 59, rapid.IntRange(0, 59).Draw(rt, "m")), some("hour", 0, 23, w.Hour()),
			some("dom", 1, 31, w.Day()), "*", some("dow", 0, 6, int(w.Weekday())),
		}, " ")
		s, err := Parse(expr, Options{Zone: loc.String(), DST: dst})
		if err != nil {
			rt.Fatal(err)
		}
		parsed, err := cron.ParseStandard(expr)
		if err != nil {
			rt.Fatal(err)
		}
		m := &model{spec: parsed.(*cron.SpecSchedule), loc: loc, dst: dst}
		m.every = strings.Fields(expr)[1] == "*" || m.spec.Hour<<40 == (1<<24-1)<<40
		got := Set{s}.Between(from, to, 10_000)
		if d := cmp.Diff(m.fires(from, to), got); d != "" {
			rt.Fatalf("%q in %v from %v, %+v (-model +got):\n%s", expr, loc, from, dst, d)
		}
	})
}

// TestConformanceAgreesWithRobfig holds the dialect robfig against robfig/cron
// itself, in zones too, wherever robfig/cron finds an answer: days without a
// midnight take it astray.
func TestConformanceAgreesWithRobfig(t *testing.T) {
	t.Parallel()
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Sydney", "America/Chicago"}
	parser := cron.NewParser(cron.Second | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)
	rapid.Check(t, func(rt *rapid.T) {
		loc, err := LoadZone(rapid.SampledFrom(zones).Draw(rt, "zone"))
		if err != nil {
			rt.Fatal(err)
		}
		f := func(name string, low, high int) string {
			a := rapid.IntRange(low, high).Draw(rt, name)
			b := rapid.IntRange(a, high).Draw(rt, name+"to")
			return rapid.SampledFrom([]string{
				"*", "?", fmt.Sprint(a), fmt.Sprintf("%d-%d", a, b), fmt.Sprintf("%d,%d", b, a), fmt.Sprintf("%d/%d", a, max(b, 1)),
				fmt.Sprintf("%d-%d/3,%d", a, b, high), fmt.Sprintf("*/%d", max(a, 1)),
			}).Draw(rt, name+"form")
		}
		expr := strings.Join([]string{f("s", 0, 59), f("m", 0, 59), f("h", 0, 23), f("d", 1, 28), f("mo", 1, 12), f("w", 0, 6)}, " ")
		s, err := Parse(expr, Options{Zone: loc.String(), Dialect: job.DialectRobfig})
		if err != nil {
			rt.Fatal(err)
		}
		other, err := parser.Parse(expr)
		if err != nil {
			rt.Fatal(err)
		}
		at := time.Unix(rapid.Int64Range(1e9, 3e9).Draw(rt, "after"), 0).UTC()
		if _, jump := at.In(loc).ZoneBounds(); rapid.Bool().Draw(rt, "jump") && !jump.IsZero() {
			at = jump.UTC().Add(-time.Duration(rapid.IntRange(0, 180).Draw(rt, "before")) * time.Minute)
		}
		for range 5 {
			want := other.Next(at.In(loc))
			if want.IsZero() {
				return // robfig looks five years ahead
			}
			got, ok := s.Next(at)
			if !ok || !got.Equal(want) {
				rt.Fatalf("%q in %v after %v: %v %v, robfig says %v", expr, loc, at, got, ok, want)
			}
			at = got
		}
	})
}

// TestS3_AgreesWithRobfig holds Next against robfig's own in UTC, where both
// should agree.
func TestS3_AgreesWithRobfig(t *testing.T) {
	t.Parallel()
	parser := cron.NewParser(cron.Second | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)
	rapid.Check(t, func(rt *rapid.T) {
		f := func(name string, low, high int, starStep bool) string {
			a := rapid.IntRange(low, high).Draw(rt, name)
			b := rapid.IntRange(a, high).Draw(rt, name+"to")
			forms := []string{"*", "?", fmt.Sprint(a), fmt.Sprintf("%d-%d", a, b), fmt.Sprintf("%d,%d", b, a), fmt.Sprintf("%d/%d", a, max(b, 1)), fmt.Sprintf("%d-%d/3,%d", a, b, high)}
			if starStep { // robfig/cron takes */2 in the day fields for a restriction, Vixie cron does not
				forms = append(forms, fmt.Sprintf("*/%d", max(a, 1)))
			}
			return rapid.SampledFrom(forms).Draw(rt, name+"form")
		}
		expr := strings.Join([]string{
			f("s", 0, 59, true), f("m", 0, 59, true), f("h", 0, 23, true), f("d", 1, 28, false), f("mo", 1, 12, true), f("w", 0, 6, false),
		}, " ")
		s, err := Parse(expr, Options{})
		if err != nil {
			rt.Fatal(err)
		}
		other, err := parser.Parse("TZ=UTC " + expr)
		if err != nil {
			rt.Fatal(err)
		}
		at := time.Unix(rapid.Int64Range(-4e9, 9e9).Draw(rt, "after"), rapid.Int64Range(0, 1e9-1).Draw(rt, "nanos")).UTC()
		for range 5 {
			want := other.Next(at)
			if want.IsZero() {
				return // robfig looks five years ahead
			}
			got, ok := s.Next(at)
			if !ok || !got.Equal(want) {
				rt.Fatalf("%q after %v: %v %v, robfig says %v", expr, at, got, ok, want)
			}
			at = got
		}
	})
}

// anyExpr draws an expression of any kind.
func anyExpr(rt *rapid.T) string {
	return rapid.SampledFrom([]string{
		"0 0 * * *", "30 2 * * *", "59 23 30 12 *", "*/7 * * * *", "0 0 29 2 *", "0 12 * * SUN", "* * * * * *", "0 0 1 1 *", "30 23 31 * *",
		"*/13 */5 * * 1-5", "0 0 29 2 */7", "@every 7m", "30 * 30 12 *", "0 0 31 12 */7", "15,45 0-3 * * *", "@at 2020-02-02T02:02:02Z",
	}).Draw(rt, "expr")
}

// TestS3_NextIsMonotonic: between an instant and the next one there is none,
// wherever one asks from.
func TestS3_NextIsMonotonic(t *testing.T) {
	t.Parallel()
	cache := NewCache()
	rapid.Check(t, func(rt *rapid.T) {
		expr, zone := anyExpr(rt), rapid.SampledFrom(zones).Draw(rt, "zone")
		s, err := cache.Parse(expr, Options{Zone: zone})
		if err != nil {
			rt.Fatal(err)
		}
		at := time.Unix(rapid.Int64Range(-6e9, 9.2e9).Draw(rt, "after"), 0).UTC()
		for range 20 {
			n, ok := s.Next(at)
			if !ok {
				return
			}
			if !n.After(at) {
				rt.Fatalf("%s in %s: Next(%v) is %v", expr, zone, at, n)
			}
			between := at.Add(time.Duration(rapid.Int64Range(0, int64(n.Sub(at))-1).Draw(rt, "between")))
			for _, from := range []time.Time{n.Add(-time.Nanosecond), between} {
				if again, ok := s.Next(from); !ok || !again.Equal(n) {
					rt.Fatalf("%s in %s: Next(%v) is %v, but Next(%v) is %v", expr, zone, at, n, from, again)
				}
			}
			at = n
		}
	})
}

// TestS5_EveryDependsOnNothing: the instants are multiples of the interval.
func TestS5_EveryDependsOnNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		every := time.Duration(rapid.Int64Range(int64(MinEvery/time.Millisecond), int64(MaxEvery/time.Millisecond)).Draw(rt, "ms")) * time.Millisecond
		s, err := Parse("@every "+every.String(), Options{Zone: rapid.SampledFrom(zones).Draw(rt, "zone")})
		if err != nil {
			rt.Fatal(err)
		}
		after := time.Unix(0, rapid.Int64Range(-8e18, 9e18).Draw(rt, "after"))
		next, ok := s.Next(after)
		if !ok || next.UnixNano()%int64(every) != 0 || !next.After(after) || next.Sub(after) > every {
			rt.Fatalf("@every %v after %v: %v %v", every, after, next, ok)
		}
	})
}

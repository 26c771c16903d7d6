package calendar

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/teambition/rrule-go"

	"github.com/carillon-cron/carillon/job"
)

// randomRule makes a rule that means the same to rrule-go, which takes BYDAY=MO,2TU
// for days that are both, and gets some weeks around new year wrong.
func randomRule(rng *rand.Rand) string {
	pick := func(values ...string) string { return values[rng.IntN(len(values))] }
	freq := pick("YEARLY", "MONTHLY", "WEEKLY", "DAILY")
	parts := []string{"FREQ=" + freq}
	maybe := func(part string) {
		if rng.IntN(3) == 0 {
			parts = append(parts, part)
		}
	}
	maybe(fmt.Sprintf("INTERVAL=%d", 1+rng.IntN(5)))
	maybe("WKST=" + pick("MO", "SU", "WE"))
	maybe("BYMONTH=" + pick("1", "2,6", "12", "1,2,3,4,5,6,7,8"))
	maybe("BYMONTHDAY=" + pick("1", "31", "-1", "13,-2", "29,30,31"))
	if freq == "YEARLY" {
		maybe("BYYEARDAY=" + pick("1,100,200,300", "-1", "366", "60,-60"))
		maybe("BYWEEKNO=" + pick("20", "2,3,4", "10,30"))
		maybe("BYDAY=" + pick("MO", "FR,SA,SU", "2TU,-1MO", "5FR"))
	}
	if freq == "MONTHLY" {
		maybe("BYDAY=" + pick("MO", "FR,SA,SU", "2TU,-1MO", "5FR", "-5SU"))
	}
	if freq == "WEEKLY" {
		maybe("BYDAY=" + pick("MO", "FR,SA,SU", "TU,TH"))
	}
	maybe("BYHOUR=" + pick("9", "17,9", "0,23"))
	maybe("BYMINUTE=" + pick("0", "0,30"))
	maybe("BYSETPOS=" + pick("1", "-1", "2,-2", "1,3"))
	switch rng.IntN(4) {
	case 0:
		parts = append(parts, fmt.Sprintf("COUNT=%d", 1+rng.IntN(20)))
	case 1:
		parts = append(parts, "UNTIL=20290101T000000Z")
	}
	return strings.Join(parts, ";")
}

// TestRuleAsReference: a rule has the occurrences that rrule-go counts up from
// its first one.
func TestRuleAsReference(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	some := 0
	for range 70 {
		text := randomRule(rng)
		loc := []*time.Location{time.UTC, berlin}[rng.IntN(2)]
		from := time.Date(2027, time.Month(1+rng.IntN(12)), 1+rng.IntN(28), rng.IntN(24), 15, 0, 0, loc)
		if strings.Contains(text, "WEEKLY") && strings.Contains(text, "SETPOS") {
			continue // the first week of rrule-go begins with the rule, not with its Monday
		}
		opts, err := rrule.StrToROptionInLocation(text, loc)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		opts.Dtstart = from
		reference, err := rrule.NewRRule(*opts)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		end := from.AddDate(2, 0, 0)
		want := reference.Between(from, end, true)
		steps := maxCountSteps
		r, err := newRule(text, from, &steps)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		var got []time.Time
		for day := r.first; day <= dayNumber(end.Date()); day++ {
			for _, s := range r.on(day) {
				if at := r.at(day, s); !at.Before(from) && !at.After(r.until) && !at.After(end) {
					got = append(got, at)
				}
			}
		}
		if len(want) > 0 {
			some++
		}
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || !got[i].Equal(want[i]) {
				t.Errorf("%s from %v: occurrence %d of %d is %v, want that of %d: %v", text, from, i, len(got), nth(got, i), len(want), nth(want, i))
				break
			}
		}
	}
	if some < 25 {
		t.Errorf("only %d rules had occurrences", some)
	}
}

func nth(all []time.Time, i int) any {
	if i < len(all) {
		return all[i]
	}
	return "none"
}

// TestRuleWeeks: weeks are numbered as in ISO 8601, also around new year.
func TestRuleWeeks(t *testing.T) {
	t.Parallel()
	for d := time.Date(2019, 12, 1, 0, 0, 0, 0, time.UTC); d.Year() < 2034; d = d.AddDate(0, 0, 1) {
		_, want := d.ISOWeek()
		got, all := weekOf(dayNumber(d.Date()), time.Monday)
		if got != want || all < 52 || all > 53 || got > all {
			t.Fatalf("%v is in week %d of %d, want %d", d.Format(time.DateOnly), got, all, want)
		}
	}
}

// list returns "0,1,2" up to n-1.
func list(n int) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = fmt.Sprint(i)
	}
	return strings.Join(parts, ",")
}

func icsOf(lines ...string) string {
	return "BEGIN:VCALENDAR\nBEGIN:VEVENT\n" + strings.Join(lines, "\n") + "\nEND:VEVENT\nEND:VCALENDAR\n"
}

// TestC4_RefusesWhatIsTooMuch: what could not be looked at quickly is refused,
// with the field and what would be right, and quickly.
func TestC4_RefusesWhatIsTooMuch(t *testing.T) {
	t.Parallel()
	const start = "DTSTART:19700101T000000Z"
	var windows []string
	for i := range 1100 {
		windows = append(windows, fmt.Sprintf("%d * * * * * for 744h", i%60))
	}
	many := "BEGIN:VCALENDAR\n" + strings.Repeat("BEGIN:VEVENT\n"+start+"\nDURATION:P300D\nRRULE:FREQ=DAILY\nEND:VEVENT\n", 100) + "END:VCALENDAR\n"
	for name, c := range map[string]struct {
		spec job.CalendarSpec
		want string
	}{
		"each second":        {job.CalendarSpec{ICS: icsOf(start, "RRULE:FREQ=YEARLY;BYHOUR="+list(24)+";BYMINUTE="+list(60)+";BYSECOND="+list(60))}, "spec.ics: event in line 2: RRULE"},
		"the same again":     {job.CalendarSpec{ICS: icsOf(start, "RRULE:FREQ=DAILY;BYHOUR="+strings.Repeat("1,", 5000)+"1")}, "at most 4096 are allowed"},
		"endless step":       {job.CalendarSpec{ICS: icsOf(start, "RRULE:FREQ=WEEKLY;INTERVAL=9223372036854775807")}, "INTERVAL is 9223372036854775807; 1 to 10000 are allowed"},
		"easter":             {job.CalendarSpec{ICS: icsOf(start, "RRULE:FREQ=YEARLY;BYEASTER=400")}, "BYEASTER is not understood"},
		"count":              {job.CalendarSpec{ICS: icsOf(start, "RRULE:FREQ=YEARLY;COUNT=100000000")}, "COUNT is 100000000; 1 to 10000 are allowed"},
		"seconds":            {job.CalendarSpec{ICS: icsOf(start, "RRULE:FREQ=SECONDLY")}, "more often than daily"},
		"zero":               {job.CalendarSpec{ICS: icsOf(start, "RRULE:FREQ=YEARLY;BYMONTHDAY=0")}, "BYMONTHDAY has 0; 1 to 31 are allowed"},
		"a long one":         {job.CalendarSpec{ICS: icsOf(start, "RRULE:FREQ=DAILY", "DURATION:P400D")}, "lasts longer than 366 days"},
		"longer than time":   {job.CalendarSpec{ICS: icsOf(start, "DURATION:P999999999W")}, "is longer than 100 years"},
		"many long ones":     {job.CalendarSpec{ICS: many}, "spec.ics: has 100 events that come again"},
		"picks of long ones": {job.CalendarSpec{ICS: icsOf(start, "RRULE:FREQ=YEARLY;BYDAY=MO;BYSETPOS=3", "DURATION:P300D")}, "spec.ics: has 1 events that come again"},
		"windows":            {job.CalendarSpec{Windows: windows}, "spec.windows: has 1100 windows that come again"},
	} {
		_, problems := New("c", &c.spec)
		text := fmt.Sprint(problems)
		if !strings.Contains(text, c.want) {
			t.Errorf("%s: %.500s\nwant %s", name, text, c.want)
		}
	}
}

// TestC4_LooksAreCheap: what passes takes no more steps than allowed, whatever
// the instant; rules that rrule-go has no end or an index beyond its tables for
// are read.
func TestC4_LooksAreCheap(t *testing.T) {
	t.Parallel()
	for _, rule := range []string{
		"FREQ=MONTHLY;BYDAY=53MO", "FREQ=MONTHLY;BYDAY=-53MO", "FREQ=YEARLY;BYMONTH=12;BYDAY=53FR", "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
		"FREQ=DAILY;INTERVAL=9999;BYMONTH=2;BYMONTHDAY=29;COUNT=9999", "FREQ=YEARLY;BYYEARDAY=366;BYMONTH=1", "FREQ=WEEKLY;BYMONTH=2;BYMONTHDAY=30;COUNT=1",
	} {
		c := compiled(t, job.CalendarSpec{ICS: icsOf("DTSTART:17000101T000000Z", "RRULE:"+rule)})
		if c.cost > MaxCost {
			t.Errorf("%s costs %d", rule, c.cost)
		}
		for _, at := range []string{"1700-01-01T00:00:00Z", "2027-01-31T00:00:00Z", "2261-12-31T00:00:00Z"} {
			c.Closed(instant(t, at))
		}
	}
}

// TestUnfold: a line that is folded often costs as much as a long one.
func TestUnfold(t *testing.T) {
	t.Parallel()
	const folds = 120_000
	got := unfold("A:\r\n" + strings.Repeat(" x\n", folds) + "\n\tend\nB:2\n")
	if len(got) != 2 || got[0].text != "A:"+strings.Repeat("x", folds)+"end" || got[1].text != "B:2" || got[1].number != folds+4 {
		t.Errorf("%d lines, the last %+v", len(got), got[len(got)-1])
	}
}

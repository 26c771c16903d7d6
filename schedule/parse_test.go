package schedule

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
)

func TestParseErrors(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string]string{
		"":                                      `"": the expression is empty; give five fields (minute hour day month weekday), six (second first), seven (year last), @daily, @every 5m, or @at 2027-01-01T00:00:00Z`,
		" TZ=UTC ":                              `" TZ=UTC ": the expression is empty; give five fields (minute hour day month weekday), six (second first), seven (year last), @daily, @every 5m, or @at 2027-01-01T00:00:00Z`,
		"* * *":                                 `"* * *": has 3 fields; give five fields (minute hour day month weekday), six (second first), seven (year last), @daily, @every 5m, or @at 2027-01-01T00:00:00Z`,
		"61 * * * *":                            `"61 * * * *": minute "61": 61 is out of range; allowed are 0-59, ranges (2-5), lists (2,5), steps (*/2) and *`,
		"0 25 * * F":                            `"0 25 * * F": hour "25": 25 is out of range; allowed are 0-23, ranges (2-5), lists (2,5), steps (*/2) and *; day of week "F": "F" is neither a number nor a name; allowed are 0-7 or SUN-SAT, ranges (2-5), lists (2,5), steps (*/2) and *, also 5L and 5#3`,
		"0 0 0 * *":                             `"0 0 0 * *": day of month "0": 0 is out of range; allowed are 1-31, ranges (2-5), lists (2,5), steps (*/2) and *, also L, L-3, LW and 15W`,
		"0 0 * 13 *":                            `"0 0 * 13 *": month "13": 13 is out of range; allowed are 1-12 or JAN-DEC, ranges (2-5), lists (2,5), steps (*/2) and *`,
		"0 0 * * 8":                             `"0 0 * * 8": day of week "8": 8 is out of range; allowed are 0-7 or SUN-SAT, ranges (2-5), lists (2,5), steps (*/2) and *, also 5L and 5#3`,
		"0 22-2 * * *":                          `"0 22-2 * * *": hour "22-2": the range 22-2 runs backwards; write two, as in 22-23,0-2; allowed are 0-23, ranges (2-5), lists (2,5), steps (*/2) and *`,
		"1,,2 * * * *":                          `"1,,2 * * * *": minute "1,,2": an entry of the list is empty; allowed are 0-59, ranges (2-5), lists (2,5), steps (*/2) and *`,
		", * * * *":                             `", * * * *": minute ",": an entry of the list is empty; allowed are 0-59, ranges (2-5), lists (2,5), steps (*/2) and *`,
		"*/0 * * * *":                           `"*/0 * * * *": minute "*/0": the step "0" is not a whole number above 0; allowed are 0-59, ranges (2-5), lists (2,5), steps (*/2) and *`,
		"+5 * * * *":                            `"+5 * * * *": minute "+5": "+5" is not a number; allowed are 0-59, ranges (2-5), lists (2,5), steps (*/2) and *`,
		"1-2-3 * * * *":                         `"1-2-3 * * * *": minute "1-2-3": "2-3" is not a number; allowed are 0-59, ranges (2-5), lists (2,5), steps (*/2) and *`,
		"1/2/3 * * * *":                         `"1/2/3 * * * *": minute "1/2/3": the step "2/3" is not a whole number above 0; allowed are 0-59, ranges (2-5), lists (2,5), steps (*/2) and *`,
		"*-5 * * * *":                           `"*-5 * * * *": minute "*-5": "*" is not a number; allowed are 0-59, ranges (2-5), lists (2,5), steps (*/2) and *`,
		"0 0 30 2 *":                            `"0 0 30 2 *": never comes due: there is no such date`,
		"0 0 31 4,6,9 *":                        `"0 0 31 4,6,9 *": never comes due: there is no such date`,
		"@every 1":                              `"@every 1": @every "1": write a number with a unit (ms, s, m, h), as in 90s or 1h30m; a day is 24h`,
		"@every":                                `"@every": @every "": write a number with a unit (ms, s, m, h), as in 90s or 1h30m; a day is 24h`,
		"@every 99ms":                           `"@every 99ms": @every "99ms": out of range; 100ms to 8784h (366 days) are allowed`,
		"@every -1h":                            `"@every -1h": @every "-1h": out of range; 100ms to 8784h (366 days) are allowed`,
		"@every 9000h":                          `"@every 9000h": @every "9000h": out of range; 100ms to 8784h (366 days) are allowed`,
		"@every 100.0001ms":                     `"@every 100.0001ms": @every "100.0001ms": write a whole number of milliseconds`,
		"@at tomorrow":                          `"@at tomorrow": @at "tomorrow": write an instant with its offset, as in 2027-01-01T09:00:00Z or 2027-01-01T09:00:00+01:00`,
		"@at 1600-01-01T00:00:00Z":              `"@at 1600-01-01T00:00:00Z": @at "1600-01-01T00:00:00Z": out of range; the years 1700 to 2261 are allowed`,
		"@dayly":                                `"@dayly": "@dayly" is unknown; did you mean @daily? (allowed: @every, @at, @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly)`,
		"@reboot":                               `"@reboot": "@reboot" is unknown (allowed: @every, @at, @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly)`,
		"@daily 5":                              `"@daily 5": @daily takes nothing behind it, but has "5"; the program goes under command or script`,
		"TZ= * * * * *":                         `"TZ= * * * * *": TZ= needs the name of a zone, as in TZ=Europe/Berlin 0 9 * * *`,
		"CRON_TZ=":                              `"CRON_TZ=": CRON_TZ= needs the name of a zone, as in CRON_TZ=Europe/Berlin 0 9 * * *`,
		"TZ=0":                                  `"TZ=0": time zone "0" is not known; give an IANA name such as "Europe/Berlin" or "UTC"`,
		"CRON_TZ=Mars/X 0 0 * * *":              `"CRON_TZ=Mars/X 0 0 * * *": time zone "Mars/X" is not known; give an IANA name such as "Europe/Berlin" or "UTC"`,
		"TZ=../zone @daily":                     `"TZ=../zone @daily": time zone "../zone" is not known; give an IANA name such as "Europe/Berlin" or "UTC"`,
		"TZ=Local @daily":                       `"TZ=Local @daily": time zone "Local" differs between nodes; give an IANA name such as "Europe/Berlin"`,
		strings.Repeat("1,", 600) + "1 * * * *": `the expression has 1209 characters; at most 1024 are allowed`,
	} {
		_, err := Parse(expr, Options{})
		if err == nil || err.Error() != want {
			t.Errorf("Parse(%.40q):\n got %v\nwant %s", expr, err, want)
		}
		if errors.Unwrap(err) != nil {
			t.Errorf("Parse(%.40q) wraps an error", expr)
		}
	}
}

// TestTokensAsRobfig holds every short token against robfig/cron: what both
// take means the same, and what only one takes is listed.
func TestTokensAsRobfig(t *testing.T) {
	t.Parallel()
	parser := cron.NewParser(cron.Second | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)
	var tokens []string
	atoms := []string{"", "*", "?", "0", "1", "3", "6", "7", "12", "23", "24", "31", "32", "59", "60", "-1", "jan", "DEC", "Sun", "fri", "x", "+3", "07"}
	for _, a := range atoms {
		tokens = append(tokens, a, a+"/2", a+"/0", a+"/", a+"/70", a+",3", ","+a)
		for _, b := range atoms {
			tokens = append(tokens, a+"-"+b, a+"-"+b+"/2")
		}
	}
	for i := range dowField + 1 {
		for _, token := range tokens {
			fields := []string{"0", "0", "0", "1", "1", "*"}
			fields[i] = token
			if i == 5 {
				fields[3], fields[4] = "*", "*"
			}
			expr := strings.Join(fields, " ")
			if token == "" {
				continue // would be another field's
			}
			s, err := Parse(expr, Options{})
			other, otherErr := parser.Parse(expr)
			switch {
			case i == 5 && strings.Contains(token, "-Sun") && otherErr != nil: // ours goes to 7
			case err == nil && otherErr == nil:
				want := fieldsOf(other.(*cron.SpecSchedule))
				want.either = s.fields.either // see TestDates
				if s.fields != want {
					t.Errorf("%q: %+v, robfig/cron has %+v", expr, s.fields, want)
				}
			case err == nil && i == 5 && strings.Contains(token, "7"): // robfig/cron does not know 7 for Sunday
			case err != nil && otherErr == nil && strings.ContainsAny(token, ",+-"): // robfig/cron takes ",", "+3" and "*-x"
			case (err == nil) != (otherErr == nil):
				t.Errorf("%q: %v, robfig/cron says %v", expr, err, otherErr)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"* * * * *", "@every 1s", "TZ=UTC 0 0 1 1 *", "TZ=", "@at x", "*/0 * * * *", "0 0 29 2 */7", "@at 2026-01-01T00:00:00Z", "0 0 * * 5-7"} {
		f.Add(s, int64(0))
	}
	cache := NewCache()
	fuzzed.Run(f, func(t *testing.T, expr string, after int64) {
		s, err := cache.Parse(expr, Options{Zone: "Pacific/Apia"})
		if err != nil {
			return
		}
		if s.Words() == "" {
			t.Errorf("%q has no words", expr)
		}
		at := time.Unix(after, 0)
		for range 10 { // one that does not end is a hang
			n, ok := s.Next(at)
			if !ok {
				break
			}
			if !n.After(at) {
				t.Fatalf("%q: Next(%v) is %v", expr, at, n)
			}
			at = n
		}
		again, err := cache.Parse(s.String(), Options{Zone: "Pacific/Apia"})
		if err != nil || !reflect.DeepEqual(again.fields, s.fields) || again.nanos != s.nanos || again.loc.String() != s.loc.String() {
			t.Errorf("%q is not what String says: %q, %v", expr, s.String(), err)
		}
	})
}

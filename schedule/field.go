package schedule

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/robfig/cron/v3"
)

// unit is one field of an expression: what it is called and may hold.
type unit struct {
	name     string
	min, max int
	names    []string // of the values from min on
}

//nolint:gochecknoglobals // constants
var (
	months   = []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}
	weekdays = []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}
	units    = [...]unit{
		{"second", 0, 59, nil},
		{"minute", 0, 59, nil},
		{"hour", 0, 23, nil},
		{"day of month", 1, 31, nil},
		{"month", 1, 12, months},
		{"day of week", 0, 7, weekdays}, // Sunday is 0 and 7
	}
)

// sunday is what robfig/cron does not know Sunday by.
const sunday = 7

// allowed tells what the field may hold.
func (u *unit) allowed() string {
	text := fmt.Sprintf("%d-%d", u.min, u.max)
	if u.names != nil {
		text += fmt.Sprintf(" or %s-%s", u.names[0], u.names[len(u.names)-1])
	}
	return text + ", ranges (2-5), lists (2,5), steps (*/2) and *"
}

// compileFields checks the fields, and has robfig/cron compile them.
func (s *Schedule) compileFields(given []string) error {
	switch len(given) {
	case 5:
		given = append([]string{"0"}, given...)
	case 6:
	default:
		return fmt.Errorf("has %d fields; give %s", len(given), examples)
	}
	var wrong []string
	plain := make([]string, len(given))
	for i, text := range given {
		p, err := units[i].plain(text)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("%s %q: %v; allowed are %s", units[i].name, text, err, units[i].allowed()))
		}
		plain[i] = p
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	const all = cron.Second | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow
	parsed, err := cron.NewParser(all).Parse(strings.Join(plain, " "))
	if err != nil {
		return err
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return errors.New("is no schedule of fields")
	}
	spec.Dom, spec.Dow = star(spec.Dom, given[3]), star(spec.Dow, given[5])
	s.fields = fieldsOf(spec)
	s.everyHour = s.fields.everyHour()
	if _, ok := s.fields.next(0); !ok {
		return errors.New("never comes due: there is no such date")
	}
	return nil
}

// star marks a field as not restricted when it begins with a star, as Vixie
// cron does. robfig/cron does not do so for a star with a step.
func star(bits uint64, text string) uint64 {
	if text[0] == '*' || text[0] == '?' {
		return bits | starBit
	}
	return bits &^ starBit
}

// plain checks a field, and writes it in numbers that robfig/cron knows.
func (u *unit) plain(text string) (string, error) {
	tokens := strings.Split(text, ",")
	for i, token := range tokens {
		p, err := u.plainToken(token)
		if err != nil {
			return "", err
		}
		tokens[i] = p
	}
	return strings.Join(tokens, ","), nil
}

func (u *unit) plainToken(token string) (string, error) {
	body, stepText, hasStep := strings.Cut(token, "/")
	step := 1
	if hasStep {
		n, ok := number(stepText)
		if !ok || n == 0 {
			return "", fmt.Errorf("the step %q is not a whole number above 0", stepText)
		}
		step = n
	}
	var low int
	high := u.max
	switch first, last, isRange := strings.Cut(body, "-"); {
	case token == "":
		return "", errors.New("an entry of the list is empty")
	case body == "*" || body == "?":
		return token, nil
	default:
		var err error
		if low, err = u.value(first); err != nil {
			return "", err
		}
		if isRange {
			if high, err = u.value(last); err != nil {
				return "", err
			}
		} else if !hasStep {
			high = low
		} else if high == sunday && low < sunday {
			high-- // "1/2" goes to Saturday
		}
	}
	if low > high {
		return "", fmt.Errorf("the range %s runs backwards; write two, as in %d-%d,%d-%d", body, low, u.max, u.min, high)
	}
	if u.max == sunday && high == sunday {
		return sundays(low, step), nil
	}
	return fmt.Sprintf("%d-%d/%d", low, high, step), nil
}

// sundays writes a range of weekdays that goes to 7 as a list.
func sundays(low, step int) string {
	var days []string
	for d := low; d <= sunday; d += step {
		days = append(days, strconv.Itoa(d%sunday))
	}
	return strings.Join(days, ",")
}

// value reads a number or a name.
func (u *unit) value(text string) (int, error) {
	for i, n := range u.names {
		if strings.EqualFold(n, text) {
			return u.min + i, nil
		}
	}
	n, ok := number(text)
	switch {
	case !ok && u.names != nil:
		return 0, fmt.Errorf("%q is neither a number nor a name", text)
	case !ok:
		return 0, fmt.Errorf("%q is not a number", text)
	case n < u.min || n > u.max:
		return 0, fmt.Errorf("%s is out of range", text)
	}
	return n, nil
}

// number reads digits, and nothing else.
func number(text string) (int, bool) {
	const longest = 6
	if text == "" || len(text) > longest || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}

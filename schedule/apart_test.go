package schedule

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// meaning tells when fields match: times of day, days of every kind of month, months
// and years. Fields with the same meaning are due at the same times.
func (f *fields) meaning() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%x %x %x", f.second, f.minute, f.hour)
	for m := 1; m <= 12; m++ {
		if f.month>>m&1 == 0 {
			continue
		}
		for y := 2000; y < 2028; y++ { // each month with each length and first weekday
			fmt.Fprintf(&b, " %x", f.days(y, m))
		}
		fmt.Fprintf(&b, ";%d", m)
	}
	if f.extra != nil && f.extra.years != nil {
		fmt.Fprintf(&b, " %x", *f.extra.years)
	}
	return b.String()
}

// fieldText draws what a field may hold.
func fieldText(rt *rapid.T, name string, low, high int, words []string, special []string) string {
	value := func(label string, from int) string {
		n := rapid.IntRange(from, high).Draw(rt, name+label)
		if n-low < len(words) && rapid.Bool().Draw(rt, name+" named") {
			return words[n-low]
		}
		return fmt.Sprint(n)
	}
	token := func() string {
		switch kind := rapid.IntRange(0, 9).Draw(rt, name+" kind"); {
		case kind < 3:
			return "*"
		case kind == 3:
			return fmt.Sprintf("*/%d", rapid.IntRange(1, high-low).Draw(rt, name+" step"))
		case kind == 4:
			from := rapid.IntRange(low, high).Draw(rt, name+" from")
			return fmt.Sprintf("%d-%d", from, rapid.IntRange(from, high).Draw(rt, name+" to"))
		case kind == 5:
			from := rapid.IntRange(low, high-1).Draw(rt, name+" from")
			return fmt.Sprintf("%d/%d", from, rapid.IntRange(1, high-from).Draw(rt, name+" step"))
		case kind == 6 && len(special) > 0:
			return rapid.SampledFrom(special).Draw(rt, name+" special")
		}
		return value(" value", low)
	}
	tokens := []string{token()}
	for len(tokens) < 3 && rapid.IntRange(0, 3).Draw(rt, name+" more") == 0 {
		tokens = append(tokens, token())
	}
	return strings.Join(tokens, ",")
}

// expression draws fields of the own dialect.
func expression(rt *rapid.T) string {
	parts := []string{
		fieldText(rt, "minute", 0, 59, nil, nil), fieldText(rt, "hour", 0, 23, nil, nil),
		fieldText(rt, "day", 1, 31, nil, []string{"L", "L-1", "L-3", "LW", "L-3W", "1W", "15W", "31W"}),
		fieldText(rt, "month", 1, 12, months, nil), fieldText(rt, "weekday", 0, 6, weekdays, []string{"5L", "SUNL", "MON#1", "5#3", "L"}),
	}
	if n := rapid.IntRange(0, 3).Draw(rt, "form"); n > 1 {
		parts = append([]string{fieldText(rt, "second", 0, 59, nil, nil)}, parts...)
		if n > 2 {
			parts = append(parts, rapid.SampledFrom([]string{"*", "2027", "2027-2029", "2028/2", "2027,2029"}).Draw(rt, "year"))
		}
	}
	return strings.Join(parts, " ")
}

// TestS6_WordsTellApart: of two schedules that are due at different times the words
// differ.
func TestS6_WordsTellApart(t *testing.T) {
	t.Parallel()
	type said struct{ expr, meaning string }
	seen := map[string]said{}
	rapid.Check(t, func(rt *rapid.T) {
		// Near ones, too: the same but for one field.
		exprs := []string{expression(rt), expression(rt)}
		a, b := strings.Fields(exprs[0]), strings.Fields(exprs[1])
		if len(a) == len(b) {
			i := rapid.IntRange(0, len(a)-1).Draw(rt, "differs")
			a[i] = b[i]
			exprs = append(exprs, strings.Join(a, " "))
		}
		for _, expr := range slices.Clone(exprs) {
			// The same days, with the star that says that both have to match, and without.
			fields := strings.Fields(expr)
			if day := len(fields) - 3 - (len(fields)-5)/2; strings.HasPrefix(fields[day], "*/") {
				fields[day] = "1" + fields[day][1:]
				exprs = append(exprs, strings.Join(fields, " "))
			}
		}
		for _, expr := range exprs {
			s, err := Parse(expr, Options{})
			if err != nil {
				continue // never due
			}
			words, meaning := s.Words(), s.fields.meaning()
			if other, ok := seen[words]; ok && other.meaning != meaning {
				rt.Fatalf("%q and %q are both %q", other.expr, expr, words)
			}
			seen[words] = said{expr, meaning}
		}
	})
}

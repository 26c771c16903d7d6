package schedule

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
)

var (
	// tooLong is an interval that is well written and longer than a Go duration.
	tooLong = regexp.MustCompile(`^\+?([0-9]+(\.[0-9]*)?(ms|s|m|h))+$`)
	// yearToken is a year, or a list or range of them, in a field.
	yearToken = regexp.MustCompile(`^(19[7-9]|2[01]\d|22[0-6])\d([-,](19[7-9]|2[01]\d|22[0-6])\d)*$`)
	// dateText is what looks like a date, with or without a time and an offset.
	dateText = regexp.MustCompile(`^(\d{4})-(\d\d?)-(\d\d?)(?:[Tt ](\d\d?):(\d\d)(?::(\d\d)(?:\.\d+)?)?)?\s*([Zz]|[+-]\d\d:?\d\d)?$`)
)

// counted writes a number with its unit: "1 field", "2 fields".
func counted(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return strconv.Itoa(n) + " " + unit + "s"
}

// meant tells what was probably meant by fields that are the line of a crontab, that
// have a year where the weekday is, or that say there is no schedule; empty: none of these.
func meant(given []string, g *grammar, opts Options) string {
	if len(given) == 1 && slices.Contains([]string{"manual", "none", "never", "off"}, strings.ToLower(given[0])) {
		return fmt.Sprintf("%q is no schedule: leave the field out for a job that is started by hand, or by another one", given[0])
	}
	if len(given) == 6 && yearToken.MatchString(given[5]) {
		return fmt.Sprintf("six fields begin with the second and end with the weekday, which %s is not; for a year write seven fields, as in 0 %s", given[5], strings.Join(given, " "))
	}
	if len(given) < 6 {
		return ""
	}
	opts.Strict = false
	first := compiler{grammar: g, opts: opts}
	for i, text := range given[:5] {
		if _, err := first.plain(i+1, text); err != nil {
			return ""
		}
	}
	if !program(given[5]) {
		return ""
	}
	return fmt.Sprintf("behind the five fields %q there is %q, as in a crontab; a schedule is the fields only, and the program goes under command or script",
		strings.Join(given[:5], " "), strings.Join(given[5:], " "))
}

// program reports whether a word is rather a program, an account or a variable
// than a field.
func program(word string) bool {
	if strings.ContainsAny(word, ".=$~\"'&|;<>_") || strings.HasPrefix(word, "/") {
		return true
	}
	if word[0] < 'A' || strings.ContainsAny(word, "*/,?#") {
		return false
	}
	for w := range strings.SplitSeq(word, "-") {
		if _, near := job.Nearest(w, weekdays); near || len(w) < 2 || fullName(w, weekdays) {
			return false
		}
	}
	return len(word) > 3
}

// nearName helps to find the name that was meant.
func (u *unit) nearName(text string) string {
	for _, n := range u.names {
		if fullName(text, []string{n}) {
			return "; names are the first three letters, as in " + n
		}
	}
	if near, ok := job.Nearest(text, u.names); ok {
		return fmt.Sprintf("; did you mean %s?", near)
	}
	return ""
}

// fullName reports whether a text is a weekday or a month in full, or the
// beginning of one, that one of the short names stands for.
func fullName(text string, short []string) bool {
	var full []string
	for d := time.Sunday; d <= time.Saturday; d++ {
		full = append(full, d.String())
	}
	for m := time.January; m <= time.December; m++ {
		full = append(full, m.String())
	}
	for _, f := range full {
		for _, s := range short {
			if len(text) > len(s) && len(text) <= len(f)+1 && strings.EqualFold(f[:3], s) && strings.EqualFold(text[:min(len(text), len(f))], f[:min(len(text), len(f))]) {
				return true
			}
		}
	}
	return false
}

// whyNoInstant tells what is wrong with the text of an instant.
func whyNoInstant(text string) string {
	const form = "write an instant with its offset, as in 2027-01-01T09:00:00Z or 2027-01-01T09:00:00+01:00"
	m := dateText.FindStringSubmatch(text)
	if m == nil {
		return form
	}
	var n [7]int
	for i := 1; i < len(n); i++ {
		n[i], _ = strconv.Atoi(m[i]) // digits, or nothing
	}
	year, month, date, hour, minute, second := n[1], n[2], n[3], n[4], n[5], n[6]
	switch {
	case month < 1 || month > 12:
		return fmt.Sprintf("there is no month %d; the months are 01 to 12", month)
	case date < 1 || date > daysIn(year, month):
		return fmt.Sprintf("there is no such date: %s %d has %d days", time.Month(month), year, daysIn(year, month))
	case hour > 23:
		return fmt.Sprintf("there is no hour %d; the hours are 00 to 23", hour)
	case minute > 59:
		return fmt.Sprintf("there is no minute %d; the minutes are 00 to 59", minute)
	case second > 59:
		return fmt.Sprintf("there is no second %d; the seconds are 00 to 59", second)
	case m[7] == "":
		return fmt.Sprintf("has no offset from UTC; write %04d-%02d-%02dT%02d:%02d:%02dZ, or +01:00 and the like for Z", year, month, date, hour, minute, second)
	}
	return form
}

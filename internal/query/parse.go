package query

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// MaxBytes bounds the text of a query, and maxWords how many words it has.
const (
	MaxBytes = 2000
	maxWords = 50
)

// word is one word of a query.
type word struct {
	not    bool
	key    string
	values []string
}

// key is a row of the table of the keys of a kind of list.
type key struct {
	name string
	// takes tells people what it takes.
	takes string
	// check says what is wrong with a value; empty: nothing. Nil: any text will do.
	check func(value string) string
}

// yesNo takes yes and no.
func yesNo(v string) string {
	if v == "yes" || v == "no" {
		return ""
	}
	return "want yes or no"
}

// pattern takes text and globs.
func pattern(v string) string {
	if _, err := path.Match(v, ""); err != nil {
		return "is a glob that cannot be read: a [ has no ]"
	}
	return ""
}

// oneOf takes one of a few words.
func oneOf(words ...string) func(string) string {
	return func(v string) string {
		if slices.Contains(words, v) {
			return ""
		}
		return "want one of " + strings.Join(words, ", ")
	}
}

// parse reads a query of the given keys. name is that of a word without a key.
func parse(text string, keys []key) ([]word, error) {
	var problems []job.Problem
	add := func(format string, args ...any) {
		problems = append(problems, job.Problem{Path: "q", Message: fmt.Sprintf(format, args...)})
	}
	if len(text) > MaxBytes {
		add("has %d bytes; %d at most", len(text), MaxBytes)
		return nil, &job.InvalidError{Problems: problems}
	}
	raw, open := split(text)
	if open {
		add("a double quote is not closed")
	}
	if len(raw) > maxWords {
		add("has %d words; %d at most", len(raw), maxWords)
		raw = nil
	}
	var words []word
	for _, r := range raw {
		w := word{key: "name", not: r.not}
		values := r.text
		if name, rest, ok := cutKey(r.text); ok {
			w.key, values = name, rest
		}
		i := slices.IndexFunc(keys, func(k key) bool { return k.name == w.key })
		if i < 0 {
			add("%q is not a word of this list; want one of %s", w.key+":", names(keys))
			continue
		}
		w.values = list(values)
		if len(w.values) == 0 || slices.Contains(w.values, "") {
			add("%s: has no value; want %s", w.key, keys[i].takes)
			continue
		}
		for _, v := range w.values {
			if keys[i].check == nil {
				continue
			}
			if wrong := keys[i].check(v); wrong != "" {
				add("%s:%s %s", w.key, v, wrong)
			}
		}
		words = append(words, w)
	}
	if len(problems) > 0 {
		return nil, &job.InvalidError{Problems: problems}
	}
	return words, nil
}

func names(keys []key) string {
	all := make([]string, len(keys))
	for i, k := range keys {
		all[i] = k.name + ":"
	}
	return strings.Join(all, " ")
}

// rawWord is a word as it is written, its minus apart.
type rawWord struct {
	not  bool
	text string
}

// split cuts a query at its spaces, those in double quotes excepted; open: the last
// quote has no end.
func split(text string) (words []rawWord, open bool) {
	var one strings.Builder
	end := func() {
		t := one.String()
		one.Reset()
		if t == "" {
			return
		}
		not := len(t) > 1 && t[0] == '-'
		if not {
			t = t[1:]
		}
		words = append(words, rawWord{not, t})
	}
	for _, r := range text {
		switch {
		case r == '"':
			open = !open
			one.WriteRune(r)
		case !open && (r == ' ' || r == '\t' || r == '\n' || r == '\r'):
			end()
		default:
			one.WriteRune(r)
		}
	}
	end()
	return words, open
}

// cutKey cuts a word at its first colon, unless that stands in quotes.
func cutKey(text string) (name, rest string, ok bool) {
	i := strings.IndexAny(text, `:"`)
	if i < 1 || text[i] != ':' {
		return "", "", false
	}
	return text[:i], text[i+1:], true
}

// list cuts values at their commas, those in quotes excepted, and takes the quotes away.
func list(text string) []string {
	var all []string
	var one strings.Builder
	open := false
	for _, r := range text {
		switch {
		case r == '"':
			open = !open
		case r == ',' && !open:
			all = append(all, one.String())
			one.Reset()
		default:
			one.WriteRune(r)
		}
	}
	return append(all, one.String())
}

// hits reports whether a text has a value in it, or is matched by a glob.
func hits(value, text string) bool {
	if strings.ContainsAny(value, "*?[") {
		ok, err := path.Match(value, text)
		return err == nil && ok
	}
	return strings.Contains(text, value)
}

// is reports whether a text is a value, or is matched by a glob.
func is(value, text string) bool { return value == text || isGlob(value) && hits(value, text) }

func isGlob(value string) bool { return strings.ContainsAny(value, "*?[") }

// named holds a value against a name: with a slash against that with its namespace. A
// glob has to be all of it.
func named(value string, k job.Key) bool {
	if !strings.Contains(value, "/") {
		return hits(value, k.Name)
	}
	if !isGlob(value) {
		return strings.Contains(k.String(), value)
	}
	ns, name, _ := strings.Cut(value, "/")
	return is(ns, k.Namespace) && is(name, k.Name)
}

// labeled holds KEY=VALUE, or KEY alone, against labels.
func labeled(value string, labels map[string]string) bool {
	k, v, valued := strings.Cut(value, "=")
	got, ok := labels[k]
	return ok && (!valued || is(v, got))
}

func yes(value string, holds bool) bool { return (value == "yes") == holds }

// instant reads an instant, or how long ago.
func instant(v string, now time.Time) (time.Time, bool) {
	if d, ok := span(v); ok {
		return now.Add(-d), true
	}
	at, err := time.Parse(time.RFC3339Nano, v)
	return at, err == nil
}

// span reads how long ago, as 90m or 7d12h.
func span(v string) (time.Duration, bool) {
	var days time.Duration
	if n, rest, ok := strings.Cut(v, "d"); ok {
		count, err := strconv.ParseUint(n, 10, 16)
		if err != nil {
			return 0, false
		}
		days, v = time.Duration(count)*24*time.Hour, rest
		if v == "" {
			return days, true
		}
	}
	d, err := time.ParseDuration(v)
	return days + d, err == nil && d >= 0
}

func instants(v string) string {
	if _, ok := instant(v, time.Time{}); ok {
		return ""
	}
	return "want an instant such as 2027-01-31T09:00:00Z, or how long ago as in 24h or 7d"
}

// holds reports whether all words hold.
func holds(words []word, one func(key, value string) bool) bool {
	for i := range words {
		w := &words[i]
		if slices.ContainsFunc(w.values, func(v string) bool { return one(w.key, v) }) == w.not {
			return false
		}
	}
	return true
}

package plan

import (
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/carillon-cron/carillon/job"
)

// MaxTypes bounds the types of a plan.
const MaxTypes = 100

// fields reads values, and tells what is wrong with them.
type fields struct {
	path string
	p    *problems
}

func (v *fields) add(f field, format string, args ...any) {
	v.p.add(f.value.at, v.path+f.name, format, args...)
}

// text returns a text.
func (v *fields) text(f field) (string, bool) {
	if f.value.kind != kindText && f.value.kind != kindPlain {
		hint := ""
		if f.value.kind == kindNumber || f.value.kind == kindBool {
			hint = "; put it in quotes"
		}
		v.add(f, "is %s; a text is needed%s", kindNames[f.value.kind], hint)
		return "", false
	}
	return f.value.text, true
}

// name returns an id, or another name.
func (v *fields) name(f field) string {
	s, ok := v.text(f)
	switch {
	case !ok:
		return ""
	case s == "":
		v.add(f, "is empty")
	case len(s) > MaxID:
		v.add(f, "has %d bytes; at most %d are allowed", len(s), MaxID)
		return ""
	case !IsName(s):
		v.add(f, "%q has a space, a slash or something else than printable ASCII", s)
		return ""
	}
	return s
}

// IsName reports whether a text may be an id, an upstream or a group.
func IsName(s string) bool {
	return s != "" && len(s) <= MaxID && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '/' || r > '~' })
}

func (v *fields) callback(f field) string {
	s, ok := v.text(f)
	if !ok {
		return ""
	}
	if wrong := CheckCallback(s); wrong != "" {
		v.add(f, "%s", wrong)
		return ""
	}
	return s
}

// CheckCallback tells what is wrong with an address; empty: nothing.
func CheckCallback(s string) string {
	u, err := url.Parse(s)
	switch {
	case len(s) > MaxCallback:
		return "is too long: at most " + strconv.Itoa(MaxCallback) + " bytes are allowed"
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return "is no address such as https://erp.example.org/carillon"
	case u.User != nil:
		return "has a password in it; calls are signed instead"
	case u.Fragment != "":
		return "has a fragment (#), which no server gets"
	}
	return ""
}

func (v *fields) time(f field) time.Time {
	s, ok := v.text(f)
	if !ok {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Year() < 2000 || t.Year() > 9999 {
		v.add(f, "%q is no time such as 2027-01-31T02:00:00Z", s)
		return time.Time{}
	}
	return t.UTC()
}

// truth returns true or false.
func (v *fields) truth(f field) bool {
	if f.value.kind != kindBool && f.value.kind != kindPlain || f.value.text != "true" && f.value.text != "false" {
		v.add(f, "is true or false")
		return false
	}
	return f.value.text == "true"
}

func (v *fields) priority(f field) int {
	n, err := strconv.Atoi(f.value.text)
	if f.value.kind != kindNumber && f.value.kind != kindPlain || err != nil || n < 0 || n > MaxPriority {
		v.add(f, "is a whole number from 0 to %d", MaxPriority)
		return 0
	}
	return n
}

// after returns the tasks that a task waits for, and where they are named.
func (v *fields) after(f field) (out []string, at []place) {
	if f.value.kind != kindList {
		v.add(f, "is %s; a list of ids is needed", kindNames[f.value.kind])
		return nil, nil
	}
	if n := len(f.value.items); n > MaxAfter {
		v.add(f, "names %d tasks; at most %d are allowed", n, MaxAfter)
		return nil, nil
	}
	seen := map[string]bool{}
	for i, item := range f.value.items {
		one := field{name: f.name + "[" + strconv.Itoa(i) + "]", at: item.at, value: item}
		name := v.name(one)
		switch {
		case name == "":
		case seen[name]:
			v.add(one, "names %q twice", name)
		default:
			seen[name] = true
			out, at = append(out, name), append(at, item.at)
		}
	}
	return out, at
}

func (v *fields) parameters(f field) map[string]Value {
	if f.value.kind != kindObject {
		v.add(f, "is %s; an object of names and values is needed", kindNames[f.value.kind])
		return nil
	}
	if n := len(f.value.fields); n > MaxParameters {
		v.add(f, "has %d members; at most %d are allowed", n, MaxParameters)
		return nil
	}
	out := map[string]Value{}
	for _, one := range f.value.fields {
		name := one.name
		one.name = f.name + "." + name
		_, twice := out[name]
		switch {
		case name == "" || len(name) > MaxID || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }):
			v.add(one, "its name is to have 1 to %d bytes, and no control characters", MaxID)
		case twice:
			v.add(one, "is given twice")
		case one.value.kind == kindNumber || one.value.kind == kindBool:
			out[name] = Value(one.value.text)
		case one.value.kind == kindText || one.value.kind == kindPlain:
			if strings.ContainsRune(one.value.text, 0) {
				v.add(one, "has a zero byte")
				continue
			}
			out[name] = Text(one.value.text)
		default:
			v.add(one, "is %s; a text, a number, true or false is needed", kindNames[one.value.kind])
		}
	}
	return out
}

// task reads a task, and where it names those that it waits for.
func (v *fields) task(n *node) (Task, []place) {
	var t Task
	var after []place
	if n.kind != kindObject {
		v.p.add(n.at, strings.TrimSuffix(v.path, "."), "is %s; a task is an object", kindNames[n.kind])
		return t, nil
	}
	seen := map[string]bool{}
	for _, f := range n.fields {
		if seen[f.name] {
			v.add(f, "is given twice")
			continue
		}
		seen[f.name] = true
		switch f.name {
		case "id":
			t.ID = v.name(f)
		case "type":
			t.Type = v.name(f)
			if err := job.CheckName(t.Type); t.Type != "" && err != nil {
				v.add(f, "%q is no name of a queue: %v", t.Type, err)
			}
		case "priority":
			t.Priority = v.priority(f)
		case "notBefore":
			t.NotBefore = v.time(f)
		case "deadline":
			t.Deadline = v.time(f)
		case "group":
			t.Group = v.name(f)
		case "after":
			t.After, after = v.after(f)
		case "parameters":
			t.Parameters = v.parameters(f)
		default:
			v.p.add(f.at, v.path+f.name, "is no member of a task; id, type, priority, notBefore, deadline, group, after and parameters are")
		}
	}
	for _, name := range []string{"id", "type"} {
		if !seen[name] {
			v.p.add(n.at, v.path+name, "is needed")
		}
	}
	if !t.Deadline.IsZero() && !t.Deadline.After(t.NotBefore) {
		v.p.add(n.at, v.path+"deadline", "is not after notBefore: the task could never begin")
	}
	if len(t.Parameters) == 0 {
		t.Parameters = nil
	}
	if size := len(t.Payload()); size > job.MaxItemPayload {
		v.p.add(n.at, v.path+"parameters", "have %d bytes as JSON; at most %d are allowed", size, job.MaxItemPayload)
	}
	return t, after
}

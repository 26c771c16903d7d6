package message

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
)

func notifier(subject, text string) *job.Notifier {
	return &job.Notifier{Metadata: job.Metadata{Namespace: "prod", Name: "oncall"}, Spec: job.NotifierSpec{Subject: subject, Text: text}}
}

// TestWording: what is told where nobody has written a template.
func TestWording(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 30, 3, 14, 0, 0, time.UTC)
	one := job.Alert{Event: job.AlertFailed, Job: job.Key{Namespace: "prod", Name: "backup"}, Run: "r1", Reason: "exit code 1", ScheduledAt: at, Since: at, Count: 3}
	two := job.Alert{Event: job.AlertMissed, Job: job.Key{Namespace: "prod", Name: "report"}}
	m, err := Compose(notifier("", ""), "id", []job.Alert{one, two})
	if err != nil {
		t.Fatal(err)
	}
	if want := "ALERT: prod/backup failed, and 1 more"; m.Subject != want {
		t.Errorf("%q", m.Subject)
	}
	want := "prod/backup failed (3 in a row): exit code 1\n  due 2026-11-30 03:14:00 UTC, run r1\n  in trouble since 2026-11-30 03:14:00 UTC\nprod/report was missed"
	if m.Text != want {
		t.Errorf("%s\nwant\n%s", m.Text, want)
	}
	for _, e := range job.AlertEvents() {
		if Wording(e) == string(e) && e != job.AlertFailed {
			t.Errorf("%s has no words", e)
		}
	}
}

// TestSubjectOfTemplates: .Job is what an alert is about, of the cluster's events, too, and
// samples show both.
func TestSubjectOfTemplates(t *testing.T) {
	t.Parallel()
	n := notifier("{{.Job}} {{words .Event}}", "{{range .Alerts}}{{.Job}}|{{.Job.Name}}|{{.What}}{{end}}")
	for everywhere, want := range map[bool][]string{
		false: {"prod/example failed prod/example|example|prod/example"},
		true:  {"prod/example failed prod/example|example|prod/example", "node example is lost node example||node example"},
	} {
		n.Spec.Everywhere = everywhere
		var got []string
		for _, a := range Samples(n, time.Unix(0, 0)) {
			m, err := Compose(n, a.ID, []job.Alert{a})
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, m.Subject+" "+m.Text)
		}
		if !slices.Equal(got, want) {
			t.Errorf("everywhere %v: %q", everywhere, got)
		}
	}
	n.Spec.On = []job.AlertEvent{job.AlertQuota}
	if all := Samples(n, time.Unix(0, 0)); len(all) != 1 || all[0].What() != "etcd's space" {
		t.Errorf("%+v", all)
	}
}

// grow is a template that makes x longer, by a function that takes texts.
func grow(function string) string {
	var out strings.Builder
	for range 8 {
		out.WriteString("{{$x = " + function + strings.Repeat(" $x", 8) + "}}")
	}
	return out.String() + "{{len $x}}"
}

// TestPrintf: it says what fmt says.
func TestPrintf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		format string
		args   []any
	}{
		{"", nil}, {"plain", nil}, {"%s and %d%%", []any{"a", 3}}, {"%-8s|%08.3f|%+d|%x|%v", []any{"ä", 1.5, 2, "z", []string{"a"}}},
		{"%é%s", []any{1, "b"}}, {"%d", nil}, {"%s\xff%\xffx", []any{"a", "b"}}, {"%", nil}, {"%5", nil}, {"%!", []any{1}},
	} {
		var b budget
		got, err := b.printf(c.format, c.args...)
		if want := fmt.Sprintf(c.format, c.args...); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", c.format, got, err, want)
		}
	}
}

// TestTemplatesAreBounded: in what they write, and in how long they take.
func TestTemplatesAreBounded(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"{{.Nope}}":             "Nope",
		"{{":                    "unclosed",
		`{{template "text" .}}`: "{{template}} is not allowed",
		`{{define "x"}}{{template "x" .}}{{end}}{{range .Alerts}}{{end}}`:                     "{{template}} is not allowed",
		"{{range .Alerts}}{{range .Labels}}{{end}}{{end}}":                                    "within another",
		"{{if true}}{{range .Alerts}}{{with .Labels}}{{range .}}{{end}}{{end}}{{end}}{{end}}": "within another",
		`{{printf "%099999d" 1}}`:                                                      "more than",
		`{{$x := printf "%1000000d" 1}}{{len $x}}`:                                     "a width or precision of printf is more than 1024",
		`{{len (printf "%.99999999999999999999d" 1)}}`:                                 "a width or precision",
		`{{len (printf "%*d" 9 1)}}`:                                                   "neither *",
		`{{len (printf "%[1]s" "a")}}`:                                                 "neither *",
		`{{printf "a" 1}}`:                                                             "1 values more",
		`{{$x := printf "%1024d" 1}}` + grow("print"):                                  "a value has more than",
		`{{$x := printf "%1024d" 1}}` + grow("printf \"%s%s%s%s%s%s%s%s\""):            "a value has more than",
		`{{$x := printf "%1024d" 1}}` + grow("println"):                                "a value has more than",
		`{{$x := printf "%1024d" 1}}` + grow("html"):                                   "a value has more than",
		`{{$x := printf "%1024d" 1}}` + grow("js"):                                     "a value has more than",
		`{{$x := printf "%1024d" 1}}` + grow("urlquery"):                               "a value has more than",
		`{{range 2000}}{{$x := printf "%1024d" 1}}{{end}}`:                             "of the template have more than",
		`{{range 2000000000}}{{end}}`:                                                  "more than 10000 steps",
		`{{range $i := 2000000000}}{{if $i}}{{continue}}{{end}}{{end}}`:                "more than 10000 steps",
		`{{$x := "1"}}{{$x = .At.Format $x}}`:                                          "is written out",
		`{{$x := "1"}}{{$x = $x | .At.Format}}`:                                        "is written out",
		`{{with $t := .At}}{{len ($t.Format (print "1"))}}{{end}}`:                     "is written out",
		`{{len ((.At).Format (print "1"))}}`:                                           "is written out",
		`{{.At.Format "15:04"}} {{printf "%-5s|%5.1f|100%%|%v|%q" "a" 1.5 .Job "é"}}`:  "",
		`{{html .Reason | upper | lower}} {{urlquery "a b"}} {{js "'"}} {{print 1 2}}`: "",
		"{{range $i, $e := .Alerts}}{{$e.Job}}{{end}}":                                 "",
	} {
		n := notifier("", text)
		var told string
		for _, p := range Check(n) {
			told += p.Path + ": " + p.Message
		}
		if (told == "") != (want == "") || !strings.Contains(told, want) {
			t.Errorf("%s: %q, want %q", text, told, want)
		}
	}
}

// TestCheckAddresses: all at once, and without repeating what may be secret.
func TestCheckAddresses(t *testing.T) {
	t.Parallel()
	n := notifier("{{", "{{")
	n.Spec.Webhook = &job.WebhookReceiver{URL: "ftp://secret"}
	problems := Check(n)
	if len(problems) != 3 {
		t.Errorf("%v", problems)
	}
	for _, p := range problems {
		if strings.Contains(p.Message, "secret") {
			t.Errorf("%v", p)
		}
	}
}

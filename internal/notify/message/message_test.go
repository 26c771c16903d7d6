package message

import (
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
		`{{printf "%099999d" 1}}`:                      "more than",
		"{{range $i, $e := .Alerts}}{{$e.Job}}{{end}}": "",
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

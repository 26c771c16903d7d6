// Package message words what people are told: it renders the templates of notifiers, bounded
// in what they may write and how long they may take, and checks what notifiers say.
package message

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
	"time"

	"github.com/carillon-cron/carillon/internal/egress"
	"github.com/carillon-cron/carillon/job"
)

// Message is what is sent at once: an alert, or several.
type Message struct {
	// ID is the same whenever the same is sent.
	ID     string
	Alerts []job.Alert
	// Subject and Text are for people.
	Subject, Text string
}

// Data is what templates see.
type Data struct {
	// Notifier is NAMESPACE/NAME.
	Notifier string
	// Alerts are all of the message; the fields of the first one are there as well.
	Alerts []Told
	Told
	// More is how many alerts there are besides the first.
	More int
}

// Told is an alert as templates see it.
type Told struct {
	*job.Alert
	// Job is what it is about: a job, or, of an event of the cluster, "node n1".
	Job Subject
}

// Subject is a job, or what else an alert is about. A template writes it as words.
type Subject struct {
	job.Key
	about string
}

func (s Subject) String() string {
	if s.about != "" {
		return s.about
	}
	return s.Key.String()
}

func told(a *job.Alert) Told { return Told{a, Subject{a.Job, a.About}} }

const (
	defaultSubject = `{{if .Event.Good}}OK{{else}}ALERT{{end}}: {{.What}} {{words .Event}}{{if .More}}, and {{.More}} more{{end}}`
	defaultText    = `{{range .Alerts}}{{.What}} {{words .Event}}{{if gt .Count 1}} ({{.Count}} in a row){{end}}
{{- if .Reason}}: {{.Reason}}{{end}}
{{- if not .ScheduledAt.IsZero}}
  due {{time .ScheduledAt}}{{end}}{{if .Run}}, run {{.Run}}{{end}}
{{- if not .Since.IsZero}}
  in trouble since {{time .Since}}{{end}}
{{end}}`
	// maxRendered bounds what a template may write.
	maxRendered = 32 << 10
)

// Wording is how an event is told.
func Wording(e job.AlertEvent) string {
	switch e {
	case job.AlertFailed:
		return "failed"
	case job.AlertRecovered:
		return "has recovered"
	case job.AlertLate:
		return "is late"
	case job.AlertMissed:
		return "was missed"
	case job.AlertSkipped:
		return "is skipped again and again"
	case job.AlertDeadline:
		return "is over its deadline"
	case job.AlertLongRunning:
		return "runs for long"
	case job.AlertIndeterminate:
		return "ended, nobody knows how"
	case job.AlertPaused:
		return "was paused after failures"
	case job.AlertNodeLost, job.AlertSiteLost, job.AlertMinionLost:
		return "is lost"
	case job.AlertQuota:
		return "is nearly used up"
	}
	return string(e)
}

// compile reads a template, for one rendering. What could write without end is refused.
func compile(name, text string) (*template.Template, error) {
	var b budget
	t, err := template.New(name).Funcs(b.functions()).Option("missingkey=zero").Parse(text)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "template: "))
	}
	for _, one := range t.Templates() {
		if one.Tree != nil && one.Root != nil {
			if err := bounded(one.Root, 0); err != nil {
				return nil, err
			}
		}
	}
	return t, nil
}

// bounded refuses templates that call others, which may call one another for ever, and
// loops within loops.
func bounded(n parse.Node, loops int) error {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		for _, c := range n.Nodes {
			if err := bounded(c, loops); err != nil {
				return err
			}
		}
	case *parse.TemplateNode:
		return errors.New("{{template}} is not allowed; write it where it belongs")
	case *parse.RangeNode:
		if loops > 0 {
			return errors.New("a {{range}} within another is not allowed")
		}
		return errors.Join(plain(n.Pipe), bounded(n.List, loops+1), bounded(n.ElseList, loops), counted(n))
	case *parse.ActionNode:
		return plain(n.Pipe)
	case *parse.IfNode:
		return errors.Join(plain(n.Pipe), bounded(n.List, loops), bounded(n.ElseList, loops))
	case *parse.WithNode:
		return errors.Join(plain(n.Pipe), bounded(n.List, loops), bounded(n.ElseList, loops))
	}
	return nil
}

// limited takes so much and no more.
type limited struct{ bytes.Buffer }

var errLong = fmt.Errorf("the template writes more than %d bytes", maxRendered)

func (l *limited) Write(b []byte) (int, error) {
	if l.Len()+len(b) > maxRendered {
		return 0, errLong
	}
	return l.Buffer.Write(b)
}

// Compose words a message.
func Compose(n *job.Notifier, id string, alerts []job.Alert) (*Message, error) {
	m := &Message{ID: id, Alerts: alerts}
	data := Data{Notifier: n.Key().String(), More: len(alerts) - 1, Told: told(&job.Alert{})}
	for i := range alerts {
		data.Alerts = append(data.Alerts, told(&alerts[i]))
	}
	if len(alerts) > 0 {
		data.Told = data.Alerts[0]
	}
	for _, part := range []struct {
		name, text, otherwise string
		to                    *string
	}{{"subject", n.Spec.Subject, defaultSubject, &m.Subject}, {"text", n.Spec.Text, defaultText, &m.Text}} {
		if part.text == "" {
			part.text = part.otherwise
		}
		t, err := compile(part.name, part.text)
		if err != nil {
			return nil, err
		}
		var out limited
		if err := t.Execute(&out, data); err != nil {
			return nil, errors.New(strings.TrimPrefix(err.Error(), "template: "))
		}
		*part.to = strings.TrimSpace(out.String())
	}
	m.Subject = strings.Join(strings.Fields(m.Subject), " ")
	return m, nil
}

// Samples are alerts as a test of a notifier, or a preview, shows them: of a job, and, if it
// tells of the cluster, of an event of that.
func Samples(n *job.Notifier, now time.Time) []job.Alert {
	events := n.Spec.Events()
	var all []job.Alert
	add := func(of bool, more func(*job.Alert)) {
		i := slices.IndexFunc(events, func(e job.AlertEvent) bool { return e.OfCluster() == of })
		if i < 0 {
			return
		}
		a := job.Alert{
			ID: fmt.Sprintf("test_%x_%d", now.UnixNano(), len(all)), Event: events[i], At: now.UTC(),
			Reason: "this is a test of notifier " + n.Key().String(), Since: now.UTC(), Count: 1,
		}
		more(&a)
		all = append(all, a)
	}
	add(false, func(a *job.Alert) {
		a.Job, a.Run = job.Key{Namespace: n.Namespace, Name: "example"}, "example-run"
		a.ScheduledAt, a.State = now.UTC().Truncate(time.Minute), job.StateFailed
	})
	add(true, func(a *job.Alert) {
		a.About = map[job.AlertEvent]string{job.AlertNodeLost: "node example", job.AlertSiteLost: "site example", job.AlertMinionLost: "minion example", job.AlertQuota: "etcd's space"}[a.Event]
	})
	return all
}

// Check tells what is wrong with the addresses and templates of a notifier.
func Check(n *job.Notifier) []job.Problem {
	var out []job.Problem
	add := func(path string, err error) {
		if err != nil {
			out = append(out, job.Problem{Path: path, Message: err.Error()})
		}
	}
	for _, t := range []struct{ path, text string }{{"spec.subject", n.Spec.Subject}, {"spec.text", n.Spec.Text}} {
		_, err := compile(strings.TrimPrefix(t.path, "spec."), t.text)
		add(t.path, err)
	}
	if len(out) == 0 {
		for _, a := range Samples(n, time.Unix(0, 0)) {
			_, err := Compose(n, "check", []job.Alert{a})
			add("spec.text", err)
			if err != nil {
				break
			}
		}
	}
	for path, url := range addresses(&n.Spec) {
		if url != "" {
			add(path, egress.CheckURL(url))
		}
	}
	return out
}

// addresses are the addresses that stand in a notifier, by their paths.
func addresses(s *job.NotifierSpec) map[string]string {
	out := map[string]string{}
	if s.Webhook != nil {
		out["spec.webhook.url"] = s.Webhook.URL
	}
	if s.Slack != nil {
		out["spec.slack.url"] = s.Slack.URL
	}
	if s.Ntfy != nil {
		out["spec.ntfy.url"] = s.Ntfy.URL
	}
	if s.PagerDuty != nil {
		out["spec.pagerDuty.url"] = s.PagerDuty.URL
	}
	if s.Alertmanager != nil {
		out["spec.alertmanager.url"] = s.Alertmanager.URL
	}
	if s.Healthchecks != nil {
		out["spec.healthchecks.url"] = s.Healthchecks.URL
	}
	return out
}

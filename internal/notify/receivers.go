package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/internal/notify/message"
	"github.com/carillon-cron/carillon/internal/webhook"
	"github.com/carillon-cron/carillon/job"
)

// called is what a webhook gets: {type, timestamp, data}, as the Standard Webhooks
// specification says.
type called struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      struct {
		Notifier job.Key     `json:"notifier"`
		Subject  string      `json:"subject"`
		Text     string      `json:"text"`
		Alerts   []job.Alert `json:"alerts"`
	} `json:"data"`
}

func (s *Sender) webhook(ctx context.Context, n *job.Notifier, r *job.WebhookReceiver, m *message.Message) error {
	to, err := s.address(n, r.URL, r.URLFile)
	if err != nil {
		return err
	}
	v := called{Type: "alert." + string(m.Alerts[0].Event), Timestamp: m.Alerts[0].At}
	if len(m.Alerts) > 1 {
		v.Type = "alerts"
	}
	v.Data.Notifier, v.Data.Subject, v.Data.Text, v.Data.Alerts = n.Key(), m.Subject, m.Text, m.Alerts
	body, err := json.Marshal(v)
	if err != nil {
		return encodeErr(err)
	}
	h := asJSON()
	now := s.now()
	signed := webhook.Signed{ID: m.ID, Timestamp: webhook.Timestamp(now)}
	if r.SecretFile != "" {
		text, err := s.secrets.of(n.Namespace, r.SecretFile, to)
		if err != nil {
			return err
		}
		var all []string
		for line := range strings.Lines(text) { // the new one and the old one, while they are changed
			secret, err := webhook.ParseSecret(strings.TrimSpace(line))
			if err != nil {
				return err
			}
			all = append(all, secret.Sign(m.ID, now, body).Signature)
		}
		signed.Signature = strings.Join(all, " ")
	}
	signed.Put(h)
	return s.post(ctx, to, h, body)
}

func (s *Sender) slack(ctx context.Context, n *job.Notifier, r *job.SlackReceiver, m *message.Message) error {
	to, err := s.address(n, r.URL, r.URLFile)
	if err != nil {
		return err
	}
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	v := map[string]any{"text": "*" + escape.Replace(m.Subject) + "*\n" + escape.Replace(m.Text)}
	if r.Channel != "" {
		v["channel"] = r.Channel
	}
	body, err := json.Marshal(v)
	if err != nil {
		return encodeErr(err)
	}
	return s.post(ctx, to, asJSON(), body)
}

func (s *Sender) ntfy(ctx context.Context, n *job.Notifier, r *job.NtfyReceiver, m *message.Message) error {
	to, err := s.address(n, r.URL, r.URLFile)
	if err != nil {
		return err
	}
	h := http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "Title": {mime.QEncoding.Encode("utf-8", m.Subject)}}
	h.Set("Priority", "high")
	h.Set("Tags", "rotating_light")
	if m.Alerts[0].Event.Good() {
		h.Set("Priority", "default")
		h.Set("Tags", "white_check_mark")
	}
	if err := s.bearer(n, h, r.TokenFile, to); err != nil {
		return err
	}
	text := m.Text
	if len(text) > 4000 { // more becomes an attachment there
		text = text[:4000] + "..."
	}
	return s.post(ctx, to, h, []byte(strings.ToValidUTF8(text, "?")))
}

const pagerDutyURL = "https://events.pagerduty.com/v2/enqueue"

// troubleOf is what an alert begins, goes on with, or ends.
func troubleOf(a *job.Alert) string {
	if a.Trouble != "" {
		return a.Trouble
	}
	return a.ID
}

func (s *Sender) pagerDuty(ctx context.Context, n *job.Notifier, r *job.PagerDutyReceiver, m *message.Message) error {
	to, severity := cmp.Or(r.URL, pagerDutyURL), r.Severity
	key, err := s.secrets.of(n.Namespace, r.RoutingKeyFile, to)
	if err != nil {
		return err
	}
	if severity == "" {
		severity = job.DefaultAlertSeverity
	}
	for i := range m.Alerts { // again after a failure: the same keys, which it takes once
		a := &m.Alerts[i]
		v := map[string]any{"routing_key": key, "event_action": "trigger", "dedup_key": troubleOf(a)}
		if a.Event.Good() {
			v["event_action"] = "resolve"
		} else {
			summary := a.What() + " " + message.Wording(a.Event)
			if a.Reason != "" {
				summary += ": " + a.Reason
			}
			if len(summary) > 1024 {
				summary = summary[:1024]
			}
			v["payload"] = map[string]any{
				"summary": strings.ToValidUTF8(summary, "?"), "source": a.What(), "severity": severity, "timestamp": a.At.Format(time.RFC3339Nano),
				"component": a.Job.Name, "group": a.Job.Namespace, "class": string(a.Event), "custom_details": a,
			}
		}
		body, err := json.Marshal(v)
		if err != nil {
			return encodeErr(err)
		}
		if err := s.post(ctx, to, asJSON(), body); err != nil {
			return err
		}
	}
	return nil
}

// firing is how long an alert fires in Alertmanager that nothing ends: until the next
// reminder at the latest.
const firing = 25 * time.Hour

func (s *Sender) alertmanager(ctx context.Context, n *job.Notifier, r *job.AlertmanagerReceiver, m *message.Message) error {
	type one struct {
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
		StartsAt    time.Time         `json:"startsAt,omitzero"`
		EndsAt      time.Time         `json:"endsAt"`
	}
	all := make([]one, 0, len(m.Alerts))
	for i := range m.Alerts {
		a := &m.Alerts[i]
		name := "CarillonJob"
		if !a.Event.Troubles() && !a.Event.Good() { // it has no end of its own
			name += strings.ToUpper(string(a.Event[:1])) + string(a.Event[1:])
		}
		v := one{
			Labels:      map[string]string{"alertname": name, "namespace": a.Job.Namespace, "job": a.Job.Name, "notifier": n.Key().String()},
			Annotations: map[string]string{"summary": a.What() + " " + message.Wording(a.Event), "description": a.Reason, "run": string(a.Run), "event": string(a.Event), "id": a.ID},
			StartsAt:    a.At, EndsAt: a.At.Add(firing),
		}
		if !a.Since.IsZero() {
			v.StartsAt = a.Since
		}
		if a.About != "" { // no job
			v.Labels = map[string]string{"alertname": "CarillonCluster", "about": a.About, "notifier": n.Key().String()}
		}
		for k, l := range a.Labels {
			v.Labels["label_"+labelName(k)] = l
		}
		if a.Event.Good() {
			v.EndsAt = a.At
		} else if !a.Event.Troubles() {
			v.EndsAt = a.At.Add(time.Hour)
		}
		all = append(all, v)
	}
	body, err := json.Marshal(all)
	if err != nil {
		return encodeErr(err)
	}
	h := asJSON()
	if err := s.bearer(n, h, r.TokenFile, r.URL); err != nil {
		return err
	}
	return s.post(ctx, strings.TrimSuffix(r.URL, "/")+"/api/v2/alerts", h, body)
}

// labelName makes a name that Prometheus takes of a label's key.
func labelName(key string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			return c
		}
		return '_'
	}, key)
}

func (s *Sender) healthchecks(ctx context.Context, n *job.Notifier, r *job.HealthchecksReceiver, m *message.Message) error {
	to, err := s.address(n, r.URL, r.URLFile)
	if err != nil {
		return err
	}
	to = strings.TrimSuffix(to, "/")
	if !m.Alerts[len(m.Alerts)-1].Event.Good() {
		to += "/fail"
	}
	return s.post(ctx, to, http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, []byte(m.Subject+"\n"+m.Text))
}

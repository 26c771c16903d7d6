package job

import (
	"net/mail"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// KindNotifier is the kind of a notifier's manifest.
const KindNotifier = "Notifier"

// NotifierSpec is what a user writes about a notifier: who is told of what becomes of
// jobs. Exactly one receiver is given. Its JSON form is the manifest's.
type NotifierSpec struct {
	// Description is for people.
	Description string `json:"description,omitempty"`
	// On are the events that it tells of: failed, recovered, late, missed, skipped,
	// deadline, longRunning, indeterminate, paused; and, with everywhere, of the cluster:
	// nodeLost, siteLost, minionLost, quota. None: all but skipped and longRunning, and
	// those of the cluster only where all jobs of all namespaces are told of.
	On []AlertEvent `json:"on,omitempty"`
	// Everywhere: it tells of jobs of all namespaces, not only of its own. Who writes that
	// needs the right to edit notifiers of all namespaces.
	Everywhere bool `json:"everywhere,omitempty"`
	// Namespaces are those whose jobs it tells of; * stands for any text. None: all.
	Namespaces []string `json:"namespaces,omitempty"`
	// Jobs are the names of the jobs that it tells of; * stands for any text. None: all.
	Jobs []string `json:"jobs,omitempty"`
	// Labels are what a job has to have.
	Labels map[string]string `json:"labels,omitempty"`
	// SkippedRuns is how many runs in a row have to be skipped. 0: 5.
	SkippedRuns int `json:"skippedRuns,omitempty"`
	// RunsFor is how long a run may go on until it is told of. Empty: for ever.
	RunsFor Duration `json:"runsFor,omitempty"`
	// RemindAfter is how long a job may go on failing until that is told again; then twice
	// as long, up to a day. Empty: 1h.
	RemindAfter Duration `json:"remindAfter,omitempty"`
	// GroupFor is how long further alerts are waited for, to be told in one message. Empty:
	// each is told at once.
	GroupFor Duration `json:"groupFor,omitempty"`
	// MaxPerHour is how many messages are sent in an hour; what is more waits, and is told
	// in one. 0: 60.
	MaxPerHour int `json:"maxPerHour,omitempty"`
	// Quiet are calendars: while one of them is closed, alerts wait.
	Quiet []string `json:"quiet,omitempty"`
	// Subject is a template (Go text/template) of the subject. Empty: as Carillon words it.
	Subject string `json:"subject,omitempty"`
	// Text is a template (Go text/template) of the text. Empty: as Carillon words it.
	Text string `json:"text,omitempty"`

	// Webhook is a receiver of JSON, as the Standard Webhooks specification says.
	Webhook *WebhookReceiver `json:"webhook,omitempty"`
	// Email is who gets mails.
	Email *EmailReceiver `json:"email,omitempty"`
	// Slack is an incoming webhook of Slack, Mattermost, Rocket.Chat and others.
	Slack *SlackReceiver `json:"slack,omitempty"`
	// Ntfy is a topic of ntfy.
	Ntfy *NtfyReceiver `json:"ntfy,omitempty"`
	// PagerDuty is a service of PagerDuty.
	PagerDuty *PagerDutyReceiver `json:"pagerDuty,omitempty"`
	// Alertmanager is an Alertmanager of Prometheus.
	Alertmanager *AlertmanagerReceiver `json:"alertmanager,omitempty"`
	// Healthchecks is a check of healthchecks.io, or of what speaks as it does.
	Healthchecks *HealthchecksReceiver `json:"healthchecks,omitempty"`
}

// WebhookReceiver gets each message as JSON, as the Standard Webhooks specification says.
type WebhookReceiver struct {
	// URL is where it is sent.
	URL string `json:"url,omitempty"`
	// URLFile is a file with the address, in the place of URL.
	URLFile string `json:"urlFile,omitempty"`
	// SecretFile is a file with the secret by which messages are signed (whsec_...); several
	// lines, several signatures. Empty: they are not signed.
	SecretFile string `json:"secretFile,omitempty"`
}

// EmailReceiver gets each message by SMTP.
type EmailReceiver struct {
	// Server is the mail server, as in smtp.example.org:587.
	Server string `json:"server"`
	// TLS is starttls, tls or none. Empty: tls on port 465, else starttls.
	TLS string `json:"tls,omitempty"`
	// From is the sender.
	From string `json:"from"`
	// To are the receivers.
	To []string `json:"to"`
	// User is the name at the mail server.
	User string `json:"user,omitempty"`
	// PasswordFile is a file with the password of User.
	PasswordFile string `json:"passwordFile,omitempty"`
}

// SlackReceiver is an incoming webhook of Slack, Mattermost, Rocket.Chat and others.
type SlackReceiver struct {
	// URL is the webhook's.
	URL string `json:"url,omitempty"`
	// URLFile is a file with the address, in the place of URL.
	URLFile string `json:"urlFile,omitempty"`
	// Channel is another channel than the webhook's, where that may be chosen.
	Channel string `json:"channel,omitempty"`
}

// NtfyReceiver is a topic of ntfy.
type NtfyReceiver struct {
	// URL is the topic's, as in https://ntfy.sh/mytopic.
	URL string `json:"url,omitempty"`
	// URLFile is a file with the address, in the place of URL.
	URLFile string `json:"urlFile,omitempty"`
	// TokenFile is a file with an access token.
	TokenFile string `json:"tokenFile,omitempty"`
}

// PagerDutyReceiver is a service of PagerDuty: the Events API, version 2.
type PagerDutyReceiver struct {
	// RoutingKeyFile is a file with the integration key of the service.
	RoutingKeyFile string `json:"routingKeyFile"`
	// URL is another address than https://events.pagerduty.com/v2/enqueue.
	URL string `json:"url,omitempty"`
	// Severity is critical, error, warning or info. Empty: error.
	Severity string `json:"severity,omitempty"`
}

// AlertmanagerReceiver is an Alertmanager of Prometheus: its API, version 2.
type AlertmanagerReceiver struct {
	// URL is its address, as in http://alertmanager:9093.
	URL string `json:"url"`
	// TokenFile is a file with a token that is sent as a bearer.
	TokenFile string `json:"tokenFile,omitempty"`
}

// HealthchecksReceiver is a check of healthchecks.io, or of what speaks as it does: a
// failure is pinged as /fail, a recovery as success.
type HealthchecksReceiver struct {
	// URL is the check's ping address, as in https://hc-ping.com/UUID.
	URL string `json:"url,omitempty"`
	// URLFile is a file with the address, in the place of URL.
	URLFile string `json:"urlFile,omitempty"`
}

// Notifier is a stored notifier.
type Notifier struct {
	Metadata
	Spec NotifierSpec `json:"spec"`

	// CreatedAt and UpdatedAt are for people; nothing is decided by them.
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
}

// Limits and defaults of notifiers.
const (
	MaxNotifiers         = 500 // of a cluster
	MaxNotifierPatterns  = 64  // in each of its lists
	MaxNotifierMails     = 32
	MaxTemplateBytes     = 4 << 10
	DefaultSkippedRuns   = 5
	MaxSkippedRuns       = 1000
	DefaultRemindAfter   = time.Hour
	MaxRemindAfter       = 24 * time.Hour
	MaxGroupFor          = time.Hour
	DefaultMaxPerHour    = 60
	MaxMaxPerHour        = 3600
	minRemindAfter       = time.Minute
	TLSStart, TLSDirect  = "starttls", "tls"
	TLSNone              = "none"
	DefaultAlertSeverity = "error"
)

// AlertSeverities lists how bad an alert may be to PagerDuty.
func AlertSeverities() []string { return []string{"critical", "error", "warning", "info"} }

// Events are the events that it tells of.
func (s *NotifierSpec) Events() []AlertEvent {
	switch {
	case len(s.On) > 0:
		return s.On
	case s.Everywhere && len(s.Namespaces)+len(s.Jobs)+len(s.Labels) == 0:
		return append(DefaultAlertEvents(), ClusterEvents()...)
	}
	return DefaultAlertEvents()
}

// Matches reports whether a notifier tells of a job.
func (n *Notifier) Matches(k Key, labels map[string]string) bool {
	s := &n.Spec
	if !s.Everywhere && k.Namespace != n.Namespace {
		return false
	}
	if !matchesAny(s.Namespaces, k.Namespace) || !matchesAny(s.Jobs, k.Name) {
		return false
	}
	for key, want := range s.Labels {
		if got, ok := labels[key]; !ok || got != want {
			return false
		}
	}
	return true
}

func matchesAny(patterns []string, text string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, text)
		return err == nil && ok
	})
}

// QuietKeys are the calendars that it keeps to.
func (s *NotifierSpec) QuietKeys(namespace string) []Key {
	c := Spec{Calendars: s.Quiet}
	return c.CalendarKeys(namespace)
}

// Receiver is the name of the receiver that is given; empty: none is, or several are.
func (s *NotifierSpec) Receiver() string {
	given := s.receivers()
	if len(given) != 1 {
		return ""
	}
	return given[0]
}

// Receivers lists the names of the receivers.
func Receivers() []string {
	return []string{"webhook", "email", "slack", "ntfy", "pagerDuty", "alertmanager", "healthchecks"}
}

func (s *NotifierSpec) receivers() []string {
	var given []string
	for _, r := range []struct {
		name  string
		given bool
	}{
		{"webhook", s.Webhook != nil}, {"email", s.Email != nil}, {"slack", s.Slack != nil}, {"ntfy", s.Ntfy != nil},
		{"pagerDuty", s.PagerDuty != nil}, {"alertmanager", s.Alertmanager != nil}, {"healthchecks", s.Healthchecks != nil},
	} {
		if r.given {
			given = append(given, r.name)
		}
	}
	return given
}

// Validate returns what is wrong with a notifier, but for its addresses and templates.
func (s *NotifierSpec) Validate() []Problem {
	var p problems
	switch given := s.receivers(); {
	case len(given) == 0:
		p.add("spec", "has no receiver; give one of %s", strings.Join(Receivers(), ", "))
	case len(given) > 1:
		p.add("spec."+given[1], "is a second receiver, beside %s; write a notifier for each", given[0])
	}
	for i, e := range s.On {
		if !slices.Contains(AlertEvents(), e) {
			p.add(entryAt("spec.on", i), "%q is unknown%s (allowed: %s)", e, nearest(string(e), texts(AlertEvents())), strings.Join(texts(AlertEvents()), ", "))
		} else if slices.Contains(s.On[:i], e) {
			p.add(entryAt("spec.on", i), "%q is there twice; leave one out", e)
		} else if e.OfCluster() && !s.Everywhere {
			p.add(entryAt("spec.on", i), "%q is about the cluster, and no namespace; give everywhere: true", e)
		}
	}
	for _, l := range []struct {
		path string
		list []string
	}{{"spec.namespaces", s.Namespaces}, {"spec.jobs", s.Jobs}} {
		if len(l.list) > MaxNotifierPatterns {
			p.add(l.path, "has %d entries; at most %d are allowed", len(l.list), MaxNotifierPatterns)
			continue
		}
		for i, text := range l.list {
			if _, err := path.Match(text, ""); err != nil || strings.Contains(text, "/") || text == "" || len(text) > MaxNameLen {
				p.add(entryAt(l.path, i), "%q is no pattern of names; write a name, in which * stands for any text, as in backup-*", text)
			}
		}
	}
	p.labels("spec.labels", s.Labels)
	p.rangeOf("spec.skippedRuns", s.SkippedRuns, MaxSkippedRuns)
	p.rangeOf("spec.maxPerHour", s.MaxPerHour, MaxMaxPerHour)
	p.spanOf("spec.runsFor", s.RunsFor, time.Second, 365*24*time.Hour)
	p.spanOf("spec.remindAfter", s.RemindAfter, minRemindAfter, MaxRemindAfter)
	p.spanOf("spec.groupFor", s.GroupFor, time.Second, MaxGroupFor)
	if len(s.Quiet) > MaxCalendars {
		p.add("spec.quiet", "has %d calendars; at most %d are allowed", len(s.Quiet), MaxCalendars)
	}
	for i, text := range s.Quiet {
		if _, err := ParseKey(text); err != nil {
			p.add(entryAt("spec.quiet", i), "%q is no calendar: %v", text, err)
		}
	}
	for _, t := range []struct{ path, text string }{{"spec.subject", s.Subject}, {"spec.text", s.Text}} {
		if len(t.text) > MaxTemplateBytes {
			p.add(t.path, "has %d bytes; at most %d are allowed", len(t.text), MaxTemplateBytes)
		}
	}
	s.checkReceivers(&p)
	effects(&p, "spec.", notifierRows(), s, reflect.ValueOf(s).Elem())
	return p
}

func (s *NotifierSpec) checkReceivers(p *problems) {
	if r := s.Webhook; r != nil {
		p.address("spec.webhook", r.URL, r.URLFile)
		p.nodeFile("spec.webhook.secretFile", r.SecretFile)
	}
	if r := s.Slack; r != nil {
		p.address("spec.slack", r.URL, r.URLFile)
	}
	if r := s.Ntfy; r != nil {
		p.address("spec.ntfy", r.URL, r.URLFile)
		p.nodeFile("spec.ntfy.tokenFile", r.TokenFile)
	}
	if r := s.Healthchecks; r != nil {
		p.address("spec.healthchecks", r.URL, r.URLFile)
	}
	if r := s.PagerDuty; r != nil {
		if r.RoutingKeyFile == "" {
			p.add("spec.pagerDuty.routingKeyFile", "is missing; give the name of a file that has the integration key")
		}
		p.nodeFile("spec.pagerDuty.routingKeyFile", r.RoutingKeyFile)
		if r.Severity != "" && !slices.Contains(AlertSeverities(), r.Severity) {
			p.add("spec.pagerDuty.severity", "%q is unknown%s (allowed: %s)", r.Severity, nearest(r.Severity, AlertSeverities()), strings.Join(AlertSeverities(), ", "))
		}
	}
	if r := s.Alertmanager; r != nil {
		p.address("spec.alertmanager", r.URL, "")
		p.nodeFile("spec.alertmanager.tokenFile", r.TokenFile)
	}
	if s.Email != nil {
		s.Email.check(p)
	}
}

func (r *EmailReceiver) check(p *problems) {
	const at0 = "spec.email."
	if host, port, ok := strings.Cut(r.Server, ":"); r.Server == "" || ok && (host == "" || port == "") || strings.ContainsAny(r.Server, "/@ \r\n") {
		p.add(at0+"server", "%q is no mail server; give host and port, as in smtp.example.org:587", r.Server)
	}
	modes := []string{TLSStart, TLSDirect, TLSNone}
	if r.TLS != "" && !slices.Contains(modes, r.TLS) {
		p.add(at0+"tls", "%q is unknown%s (allowed: %s)", r.TLS, nearest(r.TLS, modes), strings.Join(modes, ", "))
	}
	if _, err := mail.ParseAddress(r.From); err != nil {
		p.add(at0+"from", "%q is no mail address; write one as in carillon@example.org", r.From)
	}
	switch {
	case len(r.To) == 0:
		p.add(at0+"to", "is missing; give the mail addresses of the receivers")
	case len(r.To) > MaxNotifierMails:
		p.add(at0+"to", "has %d addresses; at most %d are allowed: give a list's", len(r.To), MaxNotifierMails)
	}
	for i, text := range r.To {
		if _, err := mail.ParseAddress(text); err != nil {
			p.add(entryAt(at0+"to", i), "%q is no mail address; write one as in oncall@example.org", text)
		}
	}
	if (r.User == "") != (r.PasswordFile == "") {
		p.add(at0+"user", "user and passwordFile belong together; give both, or neither")
	}
	if r.User != "" && r.TLS == TLSNone {
		p.add(at0+"tls", "%q lets others read the password; write %s or %s", TLSNone, TLSStart, TLSDirect)
	}
	p.nodeFile(at0+"passwordFile", r.PasswordFile)
}

// address checks that one of two ways to give an address is used.
func (p *problems) address(path, url, file string) {
	switch {
	case url == "" && file == "":
		p.add(path+".url", "is missing; give an address, as in https://hooks.example.org/path")
	case url != "" && file != "":
		p.add(path+".urlFile", "is a second address; give url or urlFile")
	}
	p.nodeFile(path+".urlFile", file)
}

// nodeFile checks the name of a file with a secret on the nodes.
func (p *problems) nodeFile(path, name string) {
	if name != "" && CheckName(name) != nil {
		p.add(path, "%q is no name of a file; give it without a path, as in oncall-key: nodes look for it below their secretsDir, in a folder named as the namespace", name)
	}
}

func (p *problems) rangeOf(path string, n, most int) {
	if n < 0 || n > most {
		p.add(path, "%d is out of range; 1 to %d are allowed", n, most)
	}
}

func (p *problems) spanOf(path string, d Duration, least, most time.Duration) {
	if d != 0 {
		p.within(path, d, least, most)
	}
}

// at is the path of an entry of a list.
func entryAt(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func nearest(text string, allowed []string) string {
	if near, ok := Nearest(text, allowed); ok {
		return "; did you mean \"" + near + "\"?"
	}
	return ""
}

func texts[T ~string](all []T) []string {
	out := make([]string, len(all))
	for i, t := range all {
		out[i] = string(t)
	}
	return out
}

// notifierRows are the fields of a notifier.
func notifierRows() []row[NotifierSpec] {
	on := func(e AlertEvent) func(*NotifierSpec) bool {
		return func(s *NotifierSpec) bool { return slices.Contains(s.Events(), e) }
	}
	return []row[NotifierSpec]{
		{path: "description"},
		{path: "on", zero: "leave it out for the usual events"},
		{path: "everywhere"},
		{path: "namespaces", zero: "leave it out for all namespaces", needs: "everywhere", instead: says[NotifierSpec]("give everywhere: true"),
			met: func(s *NotifierSpec) bool { return s.Everywhere }},
		{path: "jobs", zero: "leave it out for all jobs"},
		{path: "labels", zero: "leave it out for jobs with any labels"},
		{path: "skippedRuns", zero: "leave it out for 5", needs: "on: skipped", met: on(AlertSkipped), instead: says[NotifierSpec]("add skipped to on")},
		{path: "runsFor", zero: "leave it out, and runs may go on for ever", needs: "on: longRunning", met: on(AlertLongRunning), instead: says[NotifierSpec]("add longRunning to on")},
		{path: "remindAfter", zero: "leave it out for 1h"},
		{path: "groupFor", zero: "leave it out, and each alert is told at once"},
		{path: "maxPerHour", zero: "leave it out for 60"},
		{path: "quiet", zero: "leave it out for no quiet hours"},
		{path: "subject", zero: "leave it out for Carillon's wording"},
		{path: "text", zero: "leave it out for Carillon's wording"},
		{path: "webhook"},
		{path: "webhook.url", zero: "give an address, as in https://hooks.example.org/path"},
		{path: "webhook.urlFile", zero: "leave it out, and give url"},
		{path: "webhook.secretFile", zero: "leave it out, and messages are not signed"},
		{path: "email"},
		{path: "email.server", zero: "give host and port, as in smtp.example.org:587"},
		{path: "email.tls", zero: "leave it out for starttls"},
		{path: "email.from", zero: "give a mail address"},
		{path: "email.to", zero: "give the mail addresses of the receivers"},
		{path: "email.user", zero: "leave it out, and nobody logs in"},
		{path: "email.passwordFile", zero: "leave it out, and nobody logs in"},
		{path: "slack"},
		{path: "slack.url", zero: "give an address, as in https://hooks.example.org/path"},
		{path: "slack.urlFile", zero: "leave it out, and give url"},
		{path: "slack.channel", zero: "leave it out for the webhook's channel"},
		{path: "ntfy"},
		{path: "ntfy.url", zero: "give the topic's address, as in https://ntfy.sh/mytopic"},
		{path: "ntfy.urlFile", zero: "leave it out, and give url"},
		{path: "ntfy.tokenFile", zero: "leave it out for a topic that everybody may write to"},
		{path: "pagerDuty"},
		{path: "pagerDuty.routingKeyFile", zero: "give the name of a file that has the integration key"},
		{path: "pagerDuty.url", zero: "leave it out for PagerDuty's own"},
		{path: "pagerDuty.severity", zero: "leave it out for error"},
		{path: "alertmanager"},
		{path: "alertmanager.url", zero: "give its address, as in http://alertmanager:9093"},
		{path: "alertmanager.tokenFile", zero: "leave it out where it asks for none"},
		{path: "healthchecks"},
		{path: "healthchecks.url", zero: "give the check's ping address, as in https://hc-ping.com/UUID"},
		{path: "healthchecks.urlFile", zero: "leave it out, and give url"},
	}
}

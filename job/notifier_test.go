package job

import (
	"strings"
	"testing"
	"time"
)

// TestNotifierProblems: all at once, each with its place.
func TestNotifierProblems(t *testing.T) {
	t.Parallel()
	hook := &WebhookReceiver{URL: "https://hooks.example.org"}
	for name, c := range map[string]struct {
		spec NotifierSpec
		want map[string]string
	}{
		"good":         {NotifierSpec{Webhook: hook}, nil},
		"everything":   {NotifierSpec{On: AlertEvents(), Everywhere: true, Namespaces: []string{"prod-*"}, Jobs: []string{"*"}, SkippedRuns: 2, RunsFor: Duration(time.Hour), Slack: &SlackReceiver{URLFile: "slack"}}, nil},
		"nothing":      {NotifierSpec{}, map[string]string{"spec": "no receiver; give one of webhook"}},
		"two":          {NotifierSpec{Webhook: hook, Slack: &SlackReceiver{URL: "https://x"}}, map[string]string{"spec.slack": "a second receiver"}},
		"events":       {NotifierSpec{Webhook: hook, On: []AlertEvent{"faild", AlertLate, AlertLate}}, map[string]string{"spec.on[0]": `did you mean "failed"?`, "spec.on[2]": "twice"}},
		"no effect":    {NotifierSpec{Webhook: hook, Namespaces: []string{"a"}, SkippedRuns: 3, RunsFor: Duration(time.Hour)}, map[string]string{"spec.namespaces": "everywhere: true", "spec.skippedRuns": "add skipped", "spec.runsFor": "add longRunning"}},
		"ranges":       {NotifierSpec{Webhook: hook, RemindAfter: 1, GroupFor: Duration(2 * time.Hour), MaxPerHour: -1}, map[string]string{"spec.remindAfter": "1m to 24h are", "spec.groupFor": "1s to 1h are", "spec.maxPerHour": "1 to 3600"}},
		"patterns":     {NotifierSpec{Webhook: hook, Jobs: []string{"[", "a/b", ""}, Quiet: []string{"a b"}}, map[string]string{"spec.jobs[0]": "no pattern", "spec.jobs[1]": "no pattern", "spec.jobs[2]": "no pattern", "spec.quiet[0]": "no calendar"}},
		"addresses":    {NotifierSpec{Webhook: &WebhookReceiver{URL: "https://x", URLFile: "../x", SecretFile: "/etc/shadow"}}, map[string]string{"spec.webhook.urlFile": "", "spec.webhook.secretFile": "no name of a file"}},
		"no address":   {NotifierSpec{Ntfy: &NtfyReceiver{}}, map[string]string{"spec.ntfy.url": "is missing"}},
		"mail":         {NotifierSpec{Email: &EmailReceiver{Server: "http://x", From: "x", TLS: "ssl", User: "u"}}, map[string]string{"spec.email.server": "no mail server", "spec.email.from": "no mail address", "spec.email.to": "is missing", "spec.email.tls": "unknown", "spec.email.user": "belong together"}},
		"clear":        {NotifierSpec{Email: &EmailReceiver{Server: "x:25", From: "a@b", To: []string{"a@b"}, TLS: TLSNone, User: "u", PasswordFile: "p"}}, map[string]string{"spec.email.tls": "read the password"}},
		"pager":        {NotifierSpec{PagerDuty: &PagerDutyReceiver{Severity: "bad"}}, map[string]string{"spec.pagerDuty.routingKeyFile": "is missing", "spec.pagerDuty.severity": "unknown"}},
		"long wording": {NotifierSpec{Webhook: hook, Text: strings.Repeat("x", MaxTemplateBytes+1)}, map[string]string{"spec.text": "at most 4096"}},
	} {
		got := map[string]string{}
		for _, p := range c.spec.Validate() {
			got[p.Path] += p.Message
		}
		for path, text := range c.want {
			if told, ok := got[path]; !ok || !strings.Contains(told, text) {
				t.Errorf("%s: %s: %q, want %q", name, path, told, text)
			}
			delete(got, path)
		}
		if len(got) > 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestNotifierMatches: of its own namespace only, unless it is for all.
func TestNotifierMatches(t *testing.T) {
	t.Parallel()
	n := Notifier{Metadata: Metadata{Namespace: "a", Name: "n"}, Spec: NotifierSpec{Jobs: []string{"backup-*"}, Labels: map[string]string{"team": "db"}}}
	db := map[string]string{"team": "db", "x": "y"}
	if !n.Matches(Key{"a", "backup-1"}, db) || n.Matches(Key{"b", "backup-1"}, db) || n.Matches(Key{"a", "report"}, db) || n.Matches(Key{"a", "backup-1"}, nil) {
		t.Error("own namespace")
	}
	n.Spec.Everywhere = true
	if !n.Matches(Key{"b", "backup-1"}, db) {
		t.Error("everywhere")
	}
	n.Spec.Namespaces = []string{"prod-*"}
	if n.Matches(Key{"b", "backup-1"}, db) || !n.Matches(Key{"prod-1", "backup-1"}, db) {
		t.Error("some namespaces")
	}
}

// TestAlertIDs: one per run and event, without dots.
func TestAlertIDs(t *testing.T) {
	t.Parallel()
	a := AlertID("9x2k-0c4g", AlertFailed)
	if a != AlertID("9x2k-0c4g", AlertFailed) || a == AlertID("9x2k-0c4g", AlertLate) || a == AlertID("9x2k-0c4h", AlertFailed) || strings.Contains(a, ".") || len(a) > 64 {
		t.Error(a)
	}
}

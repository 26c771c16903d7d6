package notify

import (
	"net/http"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/job"
)

// A secret that is bound to hosts is sent to these only, whoever edits the notifier, and the
// refusal tells neither it nor where it may go (N9).
func TestSecretsBoundToHosts(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	s, dir := newSender(t, "")
	writeSecret(t, dir, "prod", "here", "hosts: hooks.example.org, 127.0.0.1\ntk_secret\n")
	writeSecret(t, dir, "prod", "there", "hosts: *.example.org\ntk_secret\n")
	writeSecret(t, dir, "prod", "nobody", "hosts:\ntk_secret\n")
	writeSecret(t, dir, "prod", "empty", "hosts: 127.0.0.1\n")
	writeSecret(t, dir, "prod", "hook", "hosts: hooks.example.org\n"+r.URL+"/in")
	writeSecret(t, dir, "prod", "sign", "hosts: 127.0.0.1\n"+testSecret+"\n"+testSecret)

	if err := send(t, s, notifierOf(job.NotifierSpec{Ntfy: &job.NtfyReceiver{URL: r.URL + "/t", TokenFile: "here"}}), failedAlert()); err != nil {
		t.Fatal(err)
	}
	if req, _ := r.last(t); req.Header.Get("Authorization") != "Bearer tk_secret" {
		t.Errorf("it was shown %q", req.Header.Get("Authorization"))
	}
	if err := send(t, s, notifierOf(job.NotifierSpec{Webhook: &job.WebhookReceiver{URL: r.URL, SecretFile: "sign"}}), failedAlert()); err != nil {
		t.Error(err)
	} else if req, _ := r.last(t); strings.Count(req.Header.Get("Webhook-Signature"), "v1,") != 2 {
		t.Errorf("signed %q", req.Header)
	}
	r.mu.Lock()
	r.got = []*http.Request{}
	r.mu.Unlock()
	for name, c := range map[string]struct {
		spec job.NotifierSpec
		want string
	}{
		"ntfy":         {job.NotifierSpec{Ntfy: &job.NtfyReceiver{URL: r.URL + "/t", TokenFile: "there"}}, `secret there is not sent to "127.0.0.1": the line hosts: of its file does not name that host`},
		"alertmanager": {job.NotifierSpec{Alertmanager: &job.AlertmanagerReceiver{URL: r.URL, TokenFile: "there"}}, `secret there is not sent to "127.0.0.1"`},
		"pagerDuty":    {job.NotifierSpec{PagerDuty: &job.PagerDutyReceiver{RoutingKeyFile: "there"}}, `secret there is not sent to "events.pagerduty.com"`},
		"webhook":      {job.NotifierSpec{Webhook: &job.WebhookReceiver{URL: r.URL, SecretFile: "there"}}, `secret there is not sent to "127.0.0.1"`},
		"an address":   {job.NotifierSpec{Slack: &job.SlackReceiver{URLFile: "hook"}}, `secret hook is not sent to "127.0.0.1"`},
		"an address as a token": {
			job.NotifierSpec{Ntfy: &job.NtfyReceiver{URL: r.URL + "/t", TokenFile: "hook"}}, `secret hook is not sent to "127.0.0.1"`,
		},
		"no host":  {job.NotifierSpec{Ntfy: &job.NtfyReceiver{URL: r.URL, TokenFile: "nobody"}}, "secret nobody: the line hosts: names no host to which it may be sent"},
		"no value": {job.NotifierSpec{Ntfy: &job.NtfyReceiver{URL: r.URL, TokenFile: "empty"}}, "secret empty: its file is empty"},
	} {
		err := send(t, s, notifierOf(c.spec), failedAlert())
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "tk_secret") || strings.Contains(err.Error(), "example.org") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if told := s.Unreadable(notifierOf(c.spec)); len(told) != 1 || !strings.Contains(told[0], c.want) {
			t.Errorf("%s: the node tells %q", name, told)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.got) > 0 {
		t.Errorf("it was sent %d times", len(r.got))
	}
}

// What a line names is compared with the host that is called, however it is written (N9).
func TestHostsOfASecret(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line, to string
		want     bool
	}{
		{"hooks.example.org", "https://hooks.example.org/x", true}, {"Hooks.Example.org.", "https://HOOKS.example.org.:8443/x", true},
		{"hooks.example.org", "https://hooks.example.org@evil.test/x", false}, {"hooks.example.org", "https://evil.test/hooks.example.org", false},
		{"hooks.example.org", "https://hooks.example.org.evil.test/", false}, {"*.example.org", "https://a.b.example.org/", true},
		{"*.example.org", "https://example.org/", false}, {"*.example.org", "https://badexample.org/", false},
		{"a.test b.test", "b.test:587", true}, {"a.test,b.test", "a.test", true}, {"[::1]", "https://[::1]:1/", true}, {"10.0.0.7", "10.0.0.7:25", true},
		{"10.0.0.7", "10.0.0.70:25", false}, {"a.test", "", false}, {"a.test", "https:///x", false},
	} {
		v, err := newSecret("x", "hosts: "+c.line+"\nvalue")
		if err != nil {
			t.Fatal(err)
		}
		if err := v.sentTo(c.to); (err == nil) != c.want || v.value != "value" {
			t.Errorf("%q to %q: %v", c.line, c.to, err)
		}
	}
}

package notify

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-cron/carillon/internal/egress"
	"github.com/carillon-cron/carillon/internal/notify/message"
	"github.com/carillon-cron/carillon/internal/webhook"
	"github.com/carillon-cron/carillon/job"
)

const testSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// receiver keeps what it gets.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	got    []*http.Request
	bodies []string
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{status: http.StatusOK}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got, r.bodies = append(r.got, req), append(r.bodies, string(body))
		w.WriteHeader(r.status)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

func (r *receiver) last(t *testing.T) (*http.Request, string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.got) == 0 {
		t.Fatal("nothing has arrived")
	}
	return r.got[len(r.got)-1], r.bodies[len(r.bodies)-1]
}

func writeSecret(t *testing.T, dir, namespace, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, namespace), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, namespace, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func newSender(t *testing.T, caFile string) (*Sender, string) {
	t.Helper()
	c, err := egress.New(egress.Config{Allow: []string{"127.0.0.1"}, CAFile: caFile, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	dir := t.TempDir()
	return NewSender("n1", c, dir, nil), dir
}

func failedAlert() job.Alert {
	at := time.Date(2026, 11, 30, 3, 14, 0, 0, time.UTC)
	return job.Alert{
		ID: job.AlertID("r1", job.AlertFailed), Event: job.AlertFailed, At: at, Job: job.Key{Namespace: "prod", Name: "backup"}, Labels: map[string]string{"team": "db", "a.b/c": "x"},
		Run: "r1", ScheduledAt: at, State: job.StateFailed, Reason: "exit code 1 <é>", Since: at, Trouble: job.AlertID("r1", job.AlertFailed), Count: 1,
	}
}

func recoveredAlert() job.Alert {
	a := failedAlert()
	a.ID, a.Event, a.Run, a.State, a.Reason = job.AlertID("r2", job.AlertRecovered), job.AlertRecovered, "r2", job.StateSucceeded, ""
	return a
}

func notifierOf(spec job.NotifierSpec) *job.Notifier {
	return &job.Notifier{Metadata: job.Metadata{Namespace: "prod", Name: "oncall"}, Spec: spec}
}

func send(t *testing.T, s *Sender, n *job.Notifier, alerts ...job.Alert) error {
	t.Helper()
	m, err := message.Compose(n, alerts[0].ID, alerts)
	if err != nil {
		t.Fatal(err)
	}
	return s.Send(t.Context(), n, m)
}

// TestWebhook: the signature is good by both secrets, the id is the alert's, and no secret
// is reached but the namespace's own (N8).
func TestWebhook(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	s, dir := newSender(t, "")
	other, err := webhook.NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	writeSecret(t, dir, "prod", "hook", testSecret+"\n"+other.Text()+"\n")
	writeSecret(t, dir, "other", "theirs", testSecret)
	n := notifierOf(job.NotifierSpec{Webhook: &job.WebhookReceiver{URL: r.URL + "/in", SecretFile: "hook"}})
	if err := send(t, s, n, failedAlert()); err != nil {
		t.Fatal(err)
	}
	req, body := r.last(t)
	first, err := webhook.ParseSecret(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []webhook.Secret{first, other} {
		if err := secret.Verify(webhook.Of(req.Header), []byte(body), time.Now()); err != nil {
			t.Error(err)
		}
	}
	var v called
	if err := json.Unmarshal([]byte(body), &v); err != nil || v.Type != "alert.failed" || len(v.Data.Alerts) != 1 || req.Header.Get("webhook-id") != failedAlert().ID || v.Data.Notifier != n.Key() {
		t.Errorf("%v %s", err, body)
	}
	for _, file := range []string{"theirs", "none", "../other/theirs", "hook/"} {
		n := notifierOf(job.NotifierSpec{Webhook: &job.WebhookReceiver{URL: r.URL, SecretFile: file}})
		if err := send(t, s, n, failedAlert()); err == nil || strings.Contains(err.Error(), testSecret[8:]) || strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", file, err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "other", "theirs"), filepath.Join(dir, "prod", "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "prod", "hook"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"link", "hook"} { // leads elsewhere; everybody's
		n.Spec.Webhook.SecretFile = file
		if err := send(t, s, n, failedAlert()); err == nil {
			t.Errorf("%s is used", file)
		}
	}
}

// TestAnswers: which answers are for good, and which are tried again.
func TestAnswers(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	s, _ := newSender(t, "")
	n := notifierOf(job.NotifierSpec{Webhook: &job.WebhookReceiver{URL: r.URL}})
	for status, forGood := range map[int]bool{410: true, 400: true, 429: false, 500: false, 401: false, 302: false} {
		r.answer(status)
		var f *failure
		if err := send(t, s, n, failedAlert()); !errors.As(err, &f) || f.forGood != forGood {
			t.Errorf("%d: %v", status, err)
		}
	}
	if req, _ := r.last(t); req.Header.Get("webhook-signature") != "" {
		t.Error("signed without a secret")
	}
}

// TestChats: Slack, ntfy, PagerDuty, Alertmanager and healthchecks get what they take.
func TestChats(t *testing.T) {
	t.Parallel()
	s, dir := newSender(t, "")
	writeSecret(t, dir, "prod", "key", "0123456789abcdef\n")
	for name, c := range map[string]struct {
		spec  func(url string) job.NotifierSpec
		alert job.Alert
		path  string
		head  map[string]string
		has   []string
	}{
		"slack": {func(u string) job.NotifierSpec {
			return job.NotifierSpec{Slack: &job.SlackReceiver{URL: u, Channel: "#x"}}
		}, failedAlert(), "/", nil, []string{`"channel":"#x"`, `*ALERT: prod/backup failed*`, `exit code 1 \u0026lt;é\u0026gt;`}},
		"ntfy": {func(u string) job.NotifierSpec {
			return job.NotifierSpec{Ntfy: &job.NtfyReceiver{URL: u + "/topic", TokenFile: "key"}}
		}, failedAlert(), "/topic", map[string]string{"Authorization": "Bearer 0123456789abcdef", "Title": "ALERT: prod/backup failed", "Priority": "high"}, []string{"run r1"}},
		"ntfy good": {func(u string) job.NotifierSpec { return job.NotifierSpec{Ntfy: &job.NtfyReceiver{URL: u}} }, recoveredAlert(), "/", map[string]string{"Title": "OK: prod/backup has recovered", "Priority": "default"}, nil},
		"pagerduty": {func(u string) job.NotifierSpec {
			return job.NotifierSpec{PagerDuty: &job.PagerDutyReceiver{URL: u, RoutingKeyFile: "key"}}
		}, failedAlert(), "/", nil, []string{`"routing_key":"0123456789abcdef"`, `"event_action":"trigger"`, `"dedup_key":"` + failedAlert().ID, `"severity":"error"`}},
		"pagerduty end": {func(u string) job.NotifierSpec {
			return job.NotifierSpec{PagerDuty: &job.PagerDutyReceiver{URL: u, RoutingKeyFile: "key"}}
		}, recoveredAlert(), "/", nil, []string{`"event_action":"resolve"`, `"dedup_key":"` + failedAlert().ID}},
		"alertmanager": {func(u string) job.NotifierSpec {
			return job.NotifierSpec{Alertmanager: &job.AlertmanagerReceiver{URL: u + "/"}}
		}, failedAlert(), "/api/v2/alerts", nil, []string{`"alertname":"CarillonJob"`, `"job":"backup"`, `"label_a_b_c":"x"`, `"startsAt":"2026-11-30T03:14:00Z"`}},
		"alertmanager end": {func(u string) job.NotifierSpec {
			return job.NotifierSpec{Alertmanager: &job.AlertmanagerReceiver{URL: u}}
		}, recoveredAlert(), "/api/v2/alerts", nil, []string{`"endsAt":"2026-11-30T03:14:00Z"`}},
		"healthchecks": {func(u string) job.NotifierSpec {
			return job.NotifierSpec{Healthchecks: &job.HealthchecksReceiver{URL: u + "/uuid"}}
		}, failedAlert(), "/uuid/fail", nil, []string{"exit code 1"}},
		"healthchecks end": {func(u string) job.NotifierSpec {
			return job.NotifierSpec{Healthchecks: &job.HealthchecksReceiver{URL: u + "/uuid/"}}
		}, recoveredAlert(), "/uuid", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t)
			if err := send(t, s, notifierOf(c.spec(r.URL)), c.alert); err != nil {
				t.Fatal(err)
			}
			req, body := r.last(t)
			if req.Method != http.MethodPost || req.URL.Path != c.path {
				t.Errorf("%s %s", req.Method, req.URL.Path)
			}
			for k, v := range c.head {
				if req.Header.Get(k) != v {
					t.Errorf("%s: %q", k, req.Header.Get(k))
				}
			}
			for _, text := range c.has {
				if !strings.Contains(body, text) {
					t.Errorf("without %s: %s", text, body)
				}
			}
		})
	}
}

// mailServer is a small SMTP server: EHLO, STARTTLS, AUTH PLAIN, MAIL, RCPT, DATA, QUIT.
type mailServer struct {
	net.Listener
	tls    *tls.Config
	direct bool
	mails  chan mailed
	refuse atomic.Pointer[string]
}

type mailed struct {
	from      string
	to        []string
	user      string
	encrypted bool
	data      string
}

func newMailServer(t *testing.T, direct bool) (*mailServer, string) {
	t.Helper()
	keys := httptest.NewUnstartedServer(nil)
	keys.StartTLS()
	t.Cleanup(keys.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: keys.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mailServer{Listener: l, tls: &tls.Config{Certificates: keys.TLS.Certificates}, direct: direct, mails: make(chan mailed, 4)}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				m.serve(c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return m, ca
}

func (m *mailServer) serve(c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	v := mailed{encrypted: m.direct}
	if m.direct {
		c = tls.Server(c, m.tls)
	}
	r := bufio.NewReader(c)
	say := func(text string) { _, _ = io.WriteString(c, text+"\r\n") }
	say("220 test ESMTP")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, rest, _ := strings.Cut(line, " ")
		switch strings.ToUpper(verb) {
		case "EHLO":
			say("250-test")
			if !v.encrypted {
				say("250-STARTTLS")
			}
			say("250 AUTH PLAIN")
		case "STARTTLS":
			say("220 go on")
			c = tls.Server(c, m.tls)
			r, v.encrypted = bufio.NewReader(c), true
		case "AUTH":
			_, text, _ := strings.Cut(rest, " ")
			b, _ := base64.StdEncoding.DecodeString(text)
			if string(b) != "\x00me\x00pw" {
				say("535 no")
				continue
			}
			v.user = "me"
			say("235 ok")
		case "MAIL":
			v.from = rest
			say("250 ok")
		case "RCPT":
			if no := m.refuse.Load(); no != nil {
				say(*no)
				continue
			}
			v.to = append(v.to, rest)
			say("250 ok")
		case "DATA":
			say("354 go on")
			var b strings.Builder
			for {
				l, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if l == ".\r\n" {
					break
				}
				b.WriteString(strings.TrimPrefix(l, "."))
			}
			v.data = b.String()
			m.mails <- v
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("502 what?")
		}
	}
}

// TestEmail: over STARTTLS and over TLS, with a login; what arrives is a mail that others
// can read.
func TestEmail(t *testing.T) {
	t.Parallel()
	for _, how := range []string{job.TLSStart, job.TLSDirect} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			m, ca := newMailServer(t, how == job.TLSDirect)
			s, dir := newSender(t, ca)
			writeSecret(t, dir, "prod", "pw", "pw\n")
			n := notifierOf(job.NotifierSpec{
				Subject: "É {{.Job}}\r\nBcc: all@example.org", Text: ".dot\n{{range .Alerts}}{{.Reason}}{{end}}",
				Email: &job.EmailReceiver{Server: m.Addr().String(), TLS: how, From: "Carillon <c@example.org>", To: []string{"a@example.org", "b@example.org"}, User: "me", PasswordFile: "pw"},
			})
			if err := send(t, s, n, recoveredAlert(), failedAlert()); err != nil {
				t.Fatal(err)
			}
			got := <-m.mails
			if !got.encrypted || got.user != "me" || got.from != "FROM:<c@example.org>" || !cmp.Equal(got.to, []string{"TO:<a@example.org>", "TO:<b@example.org>"}) {
				t.Errorf("%+v", got)
			}
			mailed, err := mail.ReadMessage(strings.NewReader(got.data))
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(quotedprintable.NewReader(mailed.Body))
			if err != nil || !strings.Contains(string(text), ".dot\r\n") || !strings.Contains(string(text), "exit code 1 <é>") {
				t.Errorf("%v %q", err, text)
			}
			subject, err := new(mime.WordDecoder).DecodeHeader(mailed.Header.Get("Subject"))
			if err != nil || subject != "É prod/backup Bcc: all@example.org" || mailed.Header.Get("Bcc") != "" {
				t.Errorf("%v %q", err, subject)
			}
			if mailed.Header.Get("Message-ID") != "<"+recoveredAlert().ID+"@example.org>" || mailed.Header.Get("In-Reply-To") != "<"+failedAlert().ID+"@example.org>" {
				t.Errorf("%v", mailed.Header)
			}
		})
	}
}

// TestEmailRefused: a password is not shown in the clear, a stranger's certificate is not
// believed, and a mailbox that is not there is one for good.
func TestEmailRefused(t *testing.T) {
	t.Parallel()
	m, ca := newMailServer(t, false)
	stranger, _ := newSender(t, "")
	n := notifierOf(job.NotifierSpec{Email: &job.EmailReceiver{Server: m.Addr().String(), From: "c@example.org", To: []string{"a@example.org"}}})
	if err := send(t, stranger, n, failedAlert()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v", err)
	}
	s, _ := newSender(t, ca)
	no, later := "550 nobody", "451 later"
	m.refuse.Store(&no)
	var f *failure
	if err := send(t, s, n, failedAlert()); !errors.As(err, &f) || !f.forGood {
		t.Errorf("%v", err)
	}
	m.refuse.Store(&later)
	if err := send(t, s, n, failedAlert()); err == nil || errors.As(err, &f) && f.forGood {
		t.Errorf("%v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // it says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	n.Spec.Email.Server = l.Addr().String()
	msg, err := message.Compose(n, "x", []job.Alert{failedAlert()})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Send(ctx, n, msg) }()
	if _, err := l.Accept(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("a server that says nothing has taken a mail")
	}
}

// TestUnreadableSecrets: each secret that a notifier names and this node cannot read is told.
func TestUnreadableSecrets(t *testing.T) {
	t.Parallel()
	s, dir := newSender(t, "")
	n := &job.Notifier{Metadata: job.Metadata{Namespace: "prod", Name: "oncall"}}
	n.Spec.Webhook = &job.WebhookReceiver{URLFile: "hook", SecretFile: "sign"}
	if told := s.Unreadable(n); len(told) != 2 || !strings.Contains(told[0], "hook") || !strings.Contains(told[1], "sign") {
		t.Errorf("%q", told)
	}
	writeSecret(t, dir, "prod", "hook", "https://example.org")
	writeSecret(t, dir, "prod", "sign", testSecret)
	if told := s.Unreadable(n); len(told) > 0 {
		t.Errorf("%q", told)
	}
}

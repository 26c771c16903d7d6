//go:build receivers

package notify

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/ports"
	"github.com/carillon-cron/carillon/job"
)

// program builds a program of test/receivers, which has a go.mod of its own.
func program(t *testing.T, pkg string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), filepath.Base(pkg))
	cmd := exec.Command("go", "build", "-modfile=test/receivers/go.mod", "-ldflags=-s", "-o", out, pkg)
	cmd.Dir = filepath.Join("..", "..")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return out
}

// begin starts a program and ends it with the test.
func begin(t *testing.T, env []string, name string, args ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait()
		_ = log.Close()
		if text, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("%s:\n%s", name, text)
		}
	})
}

// asked reports whether an address has an answer, which it reads into v.
func asked(url string, v any) bool {
	resp, err := http.Get(url)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK && json.NewDecoder(resp.Body).Decode(v) == nil
}

// local reserves ports of this host.
func local(t *testing.T, n int) []string {
	t.Helper()
	r, err := ports.Reserve(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Release)
	var all []string
	for _, p := range r.Ports {
		all = append(all, fmt.Sprintf("127.0.0.1:%d", p))
	}
	return all
}

// TestMailpit: a mail server of others takes what is sent, over STARTTLS and with a login,
// and reads it as it was meant.
func TestMailpit(t *testing.T) {
	at := local(t, 2)
	dir := t.TempDir()
	keys := httptest.NewUnstartedServer(nil)
	keys.StartTLS()
	t.Cleanup(keys.Close)
	secret, err := x509.MarshalPKCS8PrivateKey(keys.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: keys.Certificate().Raw}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	begin(t, []string{"MP_SMTP_AUTH=me:pw"}, program(t, "github.com/axllent/mailpit"),
		"--listen", at[0], "--smtp", at[1], "--smtp-tls-cert", cert, "--smtp-tls-key", key, "--smtp-require-starttls", "--disable-version-check")
	var inbox struct {
		Messages []struct {
			MessageID, Subject, Snippet string
			From                        struct{ Name, Address string }
			To                          []struct{ Address string }
		} `json:"messages"`
	}
	await.Until(t, "mailpit answers", func() bool { return asked("http://"+at[0]+"/api/v1/messages", &inbox) })
	s, secrets := newSender(t, cert)
	writeSecret(t, secrets, "prod", "pw", "pw\n")
	n := notifierOf(job.NotifierSpec{Subject: "É {{.Job}}", Text: "{{.Reason}}", Email: &job.EmailReceiver{
		Server: at[1], From: "Carillon <c@example.org>", To: []string{"a@example.org", "b@example.org"}, User: "me", PasswordFile: "pw",
	}})
	if err := send(t, s, n, failedAlert()); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the mail is there", func() bool {
		return asked("http://"+at[0]+"/api/v1/messages", &inbox) && len(inbox.Messages) == 1
	})
	m := inbox.Messages[0]
	if m.MessageID != failedAlert().ID+"@example.org" || m.Subject != "É prod/backup" || m.Snippet != "exit code 1 <é>" || m.From.Name != "Carillon" || len(m.To) != 2 {
		t.Errorf("mailpit reads %+v", m)
	}
	writeSecret(t, secrets, "prod", "pw", "wrong\n")
	if err := send(t, s, n, failedAlert()); err == nil {
		t.Error("a wrong password was taken")
	}
}

// TestAlertmanager: an alert is active in an Alertmanager from the failure until the
// recovery, and is one however often it is told.
func TestAlertmanager(t *testing.T) {
	at := local(t, 1)[0]
	dir := t.TempDir()
	config := filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(config, []byte("route: {receiver: none}\nreceivers: [{name: none}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	begin(t, nil, program(t, "github.com/prometheus/alertmanager/cmd/alertmanager"),
		"--config.file="+config, "--storage.path="+dir, "--web.listen-address="+at, "--cluster.listen-address=")
	type active struct {
		Labels, Annotations map[string]string
		Status              struct{ State string }
	}
	list := func() (all []active, ok bool) { ok = asked("http://"+at+"/api/v2/alerts", &all); return }
	await.Until(t, "Alertmanager answers", func() bool { _, ok := list(); return ok })
	s, _ := newSender(t, "")
	n := notifierOf(job.NotifierSpec{Alertmanager: &job.AlertmanagerReceiver{URL: "http://" + at}})
	failed, recovered := failedAlert(), recoveredAlert()
	failed.At = time.Now().UTC().Add(-time.Minute)
	failed.Since = failed.At
	recovered.Since, recovered.At = failed.At, time.Now().UTC().Add(-time.Second)
	for range 2 {
		if err := send(t, s, n, failed); err != nil {
			t.Fatal(err)
		}
	}
	var all []active
	await.Until(t, "the alert is active", func() bool {
		all, _ = list()
		return len(all) > 0 && all[0].Status.State != "unprocessed"
	})
	if len(all) != 1 || all[0].Labels["job"] != "backup" || all[0].Labels["label_a_b_c"] != "x" || all[0].Annotations["id"] != failed.ID {
		t.Errorf("Alertmanager has %+v", all)
	}
	if err := send(t, s, n, recovered); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "it has ended", func() bool { all, ok := list(); return ok && len(all) == 0 })
}

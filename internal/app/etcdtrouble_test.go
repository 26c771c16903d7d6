package app

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/configs"
)

// Each way to miss an etcd has its reason in the error, and what to do.
func TestReasonsThatEtcdDoesNotAnswer(t *testing.T) {
	t.Parallel()
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) })
	start := func(secure bool, auth tls.ClientAuthType) *httptest.Server {
		s := httptest.NewUnstartedServer(answer)
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		if secure {
			s.TLS = &tls.Config{ClientAuth: auth}
			s.StartTLS()
		} else {
			s.Start()
		}
		t.Cleanup(s.Close)
		return s
	}
	plain, secure, closed := start(false, 0), start(true, 0), start(true, tls.RequireAnyClientCert)
	ca := func(s *httptest.Server) string {
		file := filepath.Join(t.TempDir(), "ca.pem")
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := nobody.Close(); err != nil {
		t.Fatal(err)
	}
	other := func(s *httptest.Server, scheme string) string { return scheme + "://" + s.Listener.Addr().String() }
	for name, c := range map[string]struct {
		reach configs.Etcd
		want  string // empty: no trouble
	}{
		"plain":              {configs.Etcd{Endpoints: []string{plain.URL}}, ""},
		"without a scheme":   {configs.Etcd{Endpoints: []string{plain.Listener.Addr().String()}}, ""},
		"nobody listens":     {configs.Etcd{Endpoints: []string{"http://" + nobody.Addr().String()}}, "connection refused"},
		"no socket":          {configs.Etcd{Endpoints: []string{"unix:///nowhere/client.sock"}}, "no such file or directory"},
		"http, speaks TLS":   {configs.Etcd{Endpoints: []string{other(secure, "http")}}, "it speaks TLS; write https://"},
		"https, speaks http": {configs.Etcd{Endpoints: []string{other(plain, "https")}}, "it speaks plain HTTP; write http://"},
		"unknown authority":  {configs.Etcd{Endpoints: []string{secure.URL}}, "signed by unknown authority; give the authority that has signed etcd's certificate by --etcd-ca"},
		"its authority":      {configs.Etcd{Endpoints: []string{secure.URL}, CA: ca(secure)}, ""},
		"no certificate":     {configs.Etcd{Endpoints: []string{closed.URL}, CA: ca(closed)}, "give a certificate that etcd accepts by --etcd-cert and --etcd-key"},
		"one of two":         {configs.Etcd{Endpoints: []string{plain.URL, other(secure, "http")}}, other(secure, "http") + ": it speaks TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := etcdTrouble(t.Context(), c.reach)
			if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			err := withoutEtcd(ended, c.reach, errUnanswered)
			if !errors.Is(err, errUnanswered) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("a start whose time is over: %v, want %q", err, c.want)
			}
		})
	}
}

var errUnanswered = errors.New("etcd does not answer")

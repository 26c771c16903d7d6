package apitls

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/testkit/certs"
)

// oneCertificate shows one certificate.
type oneCertificate struct{ pair tls.Certificate }

func (o *oneCertificate) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return &o.pair, nil
}
func (*oneCertificate) Expires() time.Time { return time.Time{} }

// Whichever listener of a server is served first, the local socket or that of TLS, what
// TLS offers is spoken.
func TestHTTP2WhicheverListenerIsFirst(t *testing.T) {
	t.Parallel()
	a := certs.Authority(t)
	pair := pairOf(t, issued(t, a, 0, time.Now()))
	cert, err := tls.X509KeyPair(pair.cert, pair.key)
	if err != nil {
		t.Fatal(err)
	}
	for _, plainFirst := range []bool{true, false} {
		t.Run(fmt.Sprintf("plain first %v", plainFirst), func(t *testing.T) {
			t.Parallel()
			srv := &http.Server{
				ReadHeaderTimeout: time.Minute, TLSConfig: Config(&oneCertificate{cert}),
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }),
			}
			plain, secure := listen(t), listen(t)
			done := make(chan error, 2)
			serve := map[bool]func(){
				true:  func() { done <- srv.Serve(plain) },
				false: func() { done <- srv.ServeTLS(secure, "", "") },
			}
			transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
			client := &http.Client{Transport: transport}
			ask := map[bool]func() string{
				true:  func() string { return get(t, client, "http://"+plain.Addr().String()) },
				false: func() string { return get(t, client, "https://"+secure.Addr().String()) },
			}
			want := map[bool]string{true: "HTTP/1.1", false: "HTTP/2.0"}
			for _, which := range []bool{plainFirst, !plainFirst} {
				go serve[which]()
				if got := ask[which](); got != want[which] {
					t.Errorf("plain %v: %s is spoken, want %s", which, got, want[which])
				}
			}
			transport.CloseIdleConnections()
			if err := srv.Close(); err != nil {
				t.Error(err)
			}
			<-done
			<-done
		})
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func get(t *testing.T, c *http.Client, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Errorf("%s: %v", url, err)
		return ""
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

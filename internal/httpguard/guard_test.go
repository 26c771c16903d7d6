package httpguard

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// asked is a request as it came.
func asked(method, host string, local net.Addr, header ...string) *http.Request {
	r := httptest.NewRequest(method, "/", http.NoBody)
	r.Host = host
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if local != nil {
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local))
	}
	return r
}

func answered(g *Guard, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	g.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "in") })).ServeHTTP(w, r)
	return w
}

// Invariant 1.
func TestNames(t *testing.T) {
	t.Parallel()
	g := New(Config{Names: []string{"Node1.Example.", "[2001:db8::1]", "127.0.0.1", "localhost", "[::1]", "10.0.0.7", "", "0.0.0.0", "::"}, Flag: "--api-host"})
	lan := &net.TCPAddr{IP: net.ParseIP("192.168.1.5"), Port: 8420}
	mapped := &net.TCPAddr{IP: net.ParseIP("::ffff:192.168.1.5"), Port: 8420}
	linkLocal := &net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 8420, Zone: "eth0"}
	for host, local := range map[string]net.Addr{
		"localhost": nil, "localhost:8420": nil, "LOCALHOST.:1": nil, "127.0.0.1": nil, "127.8.9.1:80": nil, "[::1]:8420": nil, "[::1]": nil,
		"[::ffff:127.0.0.1]:1": nil, "node1.example": nil, "NODE1.example.:8420": nil, "[2001:DB8:0::1]:8420": nil, "10.0.0.7:1": nil,
		"192.168.1.5:8420": lan, "192.168.1.5": mapped, "[fe80::1%25eth0]:8420": linkLocal, "[fe80::1]:8420": linkLocal,
		"anything": &net.UnixAddr{Name: "/run/carillon.sock", Net: "unix"}, "": &net.UnixAddr{Net: "unix"},
	} {
		if w := answered(g, asked(http.MethodPost, host, local)); w.Code != http.StatusOK {
			t.Errorf("Host %q at %v: status %d: %s", host, local, w.Code, w.Body)
		}
	}
	for _, host := range []string{
		"", ":8420", "evil.test", "evil.test:8420", "localhost.evil.test", "127.0.0.1.evil.test", "node1.example.evil.test", "node1", "10.0.0.8", "0.0.0.0:8420",
		"[::]:8420", "192.168.1.6", "2130706433", "0x7f.1", "evil.test@localhost", "localhost@evil.test", "localhost:80:80", "localhost, evil.test", "[localhost]x",
	} {
		w := answered(g, asked(http.MethodGet, host, lan))
		if w.Code != http.StatusMisdirectedRequest {
			t.Errorf("Host %q: status %d, want 421", host, w.Code)
		}
		for _, want := range []string{"[::1], the address that the server listens on, node1.example, 2001:db8::1, 10.0.0.7", "--api-host NAME"} {
			if !strings.Contains(w.Body.String(), want) {
				t.Errorf("Host %q: the refusal lacks %q: %s", host, want, w.Body)
			}
		}
	}
}

// Invariant 1, on the wire.
func TestSocketTakesAnyName(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: New(Config{}).Handler(http.NotFoundHandler())}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	defer func() {
		_ = srv.Close()
		<-served
	}()
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://carillon/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("status %d, want the handler's", resp.StatusCode)
	}
}

// Invariants 2 and 3.
func TestOrigins(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		method string
		header []string
		want   int
	}{
		"program":                     {http.MethodPost, nil, 200},
		"own page":                    {http.MethodPost, []string{"Sec-Fetch-Site", "same-origin", "Origin", "http://localhost:8420"}, 200},
		"own page, old browser":       {http.MethodPost, []string{"Origin", "http://localhost:8420"}, 200},
		"address typed":               {http.MethodGet, []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 200},
		"link followed":               {http.MethodGet, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 200},
		"other page writes":           {http.MethodPost, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"other page, old browser":     {http.MethodDelete, []string{"Origin", "http://evil.test"}, 403},
		"page of no origin":           {http.MethodPost, []string{"Origin", "null"}, 403},
		"page of another port":        {http.MethodPost, []string{"Sec-Fetch-Site", "same-site", "Origin", "http://localhost:3000"}, 403},
		"form of another page":        {http.MethodPost, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 403},
		"other page reads":            {http.MethodGet, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"}, 403},
		"page of another port reads":  {http.MethodGet, []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "script"}, 403},
		"other page frames":           {http.MethodGet, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, 403},
		"other page asks beforehand":  {http.MethodOptions, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors", "Origin", "http://evil.test"}, 403},
		"other page embeds an object": {http.MethodGet, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "object"}, 403},
	} {
		w := answered(New(Config{}), asked(tc.method, "localhost:8420", nil, tc.header...))
		if w.Code != tc.want {
			t.Errorf("%s: status %d, want %d", name, w.Code, tc.want)
		}
	}
}

// Invariant 4, for answers and for refusals.
func TestHeaders(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"localhost", "evil.test"} {
		h := answered(New(Config{}), asked(http.MethodGet, host, nil)).Header()
		for name, want := range map[string]string{
			"Content-Security-Policy":      "frame-ancestors 'none'",
			"Cross-Origin-Opener-Policy":   "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin",
			"Referrer-Policy":              "same-origin",
			"X-Content-Type-Options":       "nosniff",
			"X-Frame-Options":              "DENY",
			"Cache-Control":                "no-store",
		} {
			if !strings.Contains(h.Get(name), want) {
				t.Errorf("Host %s: %s is %q, want %q in it", host, name, h.Get(name), want)
			}
		}
		for name := range h {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("Host %s: %s lets others read", host, name)
			}
		}
	}
}

// Invariant 5: over TLS a name is to be asked by TLS from then on; localhost,
// addresses and plain answers say nothing of it, nor do refusals of other names.
func TestStrictTransport(t *testing.T) {
	t.Parallel()
	g := New(Config{Names: []string{"node1.example", "10.0.0.7", "dev.localhost"}})
	for _, tc := range []struct {
		host string
		tls  bool
		want bool
	}{
		{"node1.example:8420", true, true},
		{"NODE1.example.", true, true},
		{"node1.example:8420", false, false},
		{"localhost:8420", true, false},
		{"dev.localhost", true, false},
		{"127.0.0.1:8420", true, false},
		{"10.0.0.7", true, false},
		{"[::1]:8420", true, false},
		{"evil.test", true, false},
	} {
		r := asked(http.MethodGet, tc.host, nil)
		if tc.tls {
			r.TLS = &tls.ConnectionState{}
		}
		got := answered(g, r).Header().Get("Strict-Transport-Security")
		if (got != "") != tc.want || tc.want && !strings.HasPrefix(got, "max-age=") {
			t.Errorf("Host %s, TLS %v: %q", tc.host, tc.tls, got)
		}
	}
}

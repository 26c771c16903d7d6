package egress

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestAddresses: invariants 2 and 3.
func TestAddresses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		allow      string
		host, addr string
		ok         bool
	}{
		{"", "a.example.org", "203.0.113.1", true},
		{"", "a.example.org", "10.0.0.1", true},
		{"", "a.example.org", "127.0.0.1", false},
		{"", "a.example.org", "127.9.9.9", false},
		{"", "a.example.org", "::1", false},
		{"", "a.example.org", "::ffff:127.0.0.1", false},
		{"", "a.example.org", "::127.0.0.1", false},
		{"", "a.example.org", "64:ff9b::7f00:1", false},
		{"", "a.example.org", "64:ff9b::a9fe:a9fe", false},
		{"", "a.example.org", "2002:7f00:1::", false},
		{"", "a.example.org", "169.254.169.254", false},
		{"", "a.example.org", "fe80::1%eth0", false},
		{"", "a.example.org", "fd00:ec2::254", false},
		{"", "a.example.org", "100.100.100.200", false},
		{"", "a.example.org", "0.0.0.0", false},
		{"", "a.example.org", "0.1.2.3", false},
		{"", "a.example.org", "::", false},
		{"", "a.example.org", "224.0.0.1", false},
		{"", "a.example.org", "255.255.255.255", false},
		{"", "a.example.org", "2001:db8::1", true},
		{"0.0.0.0/0", "a.example.org", "127.0.0.1", false},
		{"::/0", "a.example.org", "::1", false},
		{"127.0.0.0/8", "a.example.org", "127.0.0.1", true},
		{"127.0.0.1", "a.example.org", "::ffff:127.0.0.1", true},
		{"127.0.0.1", "a.example.org", "203.0.113.1", false},
		{"a.example.org", "a.example.org", "127.0.0.1", false},
		{"a.example.org", "A.Example.org.", "203.0.113.1", true},
		{"a.example.org", "b.a.example.org", "203.0.113.1", false},
		{"*.example.org", "b.a.example.org", "203.0.113.1", true},
		{"*.example.org", "example.org", "203.0.113.1", false},
		{"*.example.org", "badexample.org", "203.0.113.1", false},
		{"203.0.113.0/24", "anything", "203.0.113.9", true},
		{"203.0.113.0/24", "anything", "203.0.114.9", false},
	} {
		var list []string
		if c.allow != "" {
			list = []string{c.allow}
		}
		rules, err := ParseRules(list)
		if err != nil {
			t.Fatal(err)
		}
		err = rules.address(c.host, netip.MustParseAddr(c.addr))
		var refused *RefusedError
		if (err == nil) != c.ok || err != nil && !errors.As(err, &refused) {
			t.Errorf("allow %q, %s at %s: %v", c.allow, c.host, c.addr, err)
		}
	}
}

// TestOwnAddresses: what listens on the host's own addresses is no more to be called than on
// loopback, unless it is named.
func TestOwnAddresses(t *testing.T) {
	t.Parallel()
	own := func() ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("2001:db8::5")}, nil
	}
	for _, c := range []struct {
		allow, addr string
		own         func() ([]netip.Addr, error)
		ok          bool
	}{
		{"", "10.0.0.5", own, false},
		{"", "10.0.0.6", own, true},
		{"", "::ffff:10.0.0.5", own, false},
		{"", "64:ff9b::a00:5", own, false},
		{"", "2001:db8::5", own, false},
		{"h", "10.0.0.5", own, false},
		{"10.0.0.0/24", "10.0.0.5", own, true},
		{"10.0.0.6", "10.0.0.5", own, false},
		{"", "64:ff9b:1::7f00:1", own, false},
		{"", "64:ff9b:1:7f00:0:100::", own, false},
		{"64:ff9b:1::/48", "64:ff9b:1::a00:6", own, true},
		{"", "10.0.0.6", func() ([]netip.Addr, error) { return nil, errors.New("broken") }, false},
	} {
		var list []string
		if c.allow != "" {
			list = []string{c.allow}
		}
		rules, err := ParseRules(list)
		if err != nil {
			t.Fatal(err)
		}
		rules.own = c.own
		err = rules.address("h", netip.MustParseAddr(c.addr))
		var refused *RefusedError
		if (err == nil) != c.ok || err != nil && !errors.As(err, &refused) {
			t.Errorf("allow %q, %s: %v", c.allow, c.addr, err)
		}
	}
	here, err := hostAddresses()
	if err != nil || len(here) == 0 {
		t.Errorf("this host: %v, %v", here, err)
	}
}

// TestRulesTellAllThatIsWrong: not only the first.
func TestRulesTellAllThatIsWrong(t *testing.T) {
	t.Parallel()
	_, err := ParseRules([]string{"ok.example.org", "http://x", "a b", "*", "10.0.0.0/99", ""})
	if err == nil || strings.Count(err.Error(), "is no host") != 5 {
		t.Errorf("%v", err)
	}
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func caller(t *testing.T, cfg Config) *Caller {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestRefusedIsNotSent: invariants 1 and 2, by a name and by an address.
func TestRefusedIsNotSent(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	s := serve(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) })
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []Config{{}, {Allow: []string{"localhost"}}, {Allow: []string{"0.0.0.0/0"}}} {
		for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]"} {
			var refused *RefusedError
			if _, err := caller(t, cfg).Post(t.Context(), "http://"+host+":"+port, nil, nil); !errors.As(err, &refused) {
				t.Errorf("%v, %s: %v", cfg.Allow, host, err)
			}
		}
	}
	if n := calls.Load(); n != 0 {
		t.Errorf("%d calls arrived", n)
	}
	a, err := caller(t, Config{Allow: []string{"127.0.0.1"}}).Post(t.Context(), s.URL, nil, []byte("x"))
	if err != nil || a.Err() != nil || calls.Load() != 1 {
		t.Errorf("%v %v", a, err)
	}
}

// TestRedirectsAreAnswers: invariant 4.
func TestRedirectsAreAnswers(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		http.Redirect(w, r, "http://127.0.0.1:1/elsewhere", http.StatusTemporaryRedirect)
	})
	a, err := caller(t, Config{Allow: []string{"127.0.0.1"}}).Post(t.Context(), s.URL, nil, nil)
	if err != nil || a.Status != http.StatusTemporaryRedirect || a.Err() == nil || !strings.Contains(a.Err().Error(), "redirect") || calls.Load() != 1 {
		t.Errorf("%v %v", a, err)
	}
}

// TestAnswersAreBounded: invariant 5.
func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hang":
			_, _ = io.Copy(io.Discard, r.Body)
			select {
			case <-done:
			case <-r.Context().Done():
			}
		case "/much":
			w.Header().Set("Retry-After", "99999999999")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, strings.Repeat("x", 1<<20))
		}
	})
	c := caller(t, Config{Allow: []string{"127.0.0.1"}, Timeout: time.Second})
	a, err := c.Post(t.Context(), s.URL+"/much", nil, nil)
	if err != nil || len(a.Body) != AnswerBytes || a.Err() == nil || a.RetryAfter > maxRetryAfter {
		t.Errorf("%+v %v", a, err)
	}
	if _, err := c.Post(t.Context(), s.URL+"/hang?token=secret", nil, nil); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Post(ctx, s.URL+"/hang", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestNoProxy: invariant 4. It may not run beside others: it sets the environment.
func TestNoProxy(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	c := caller(t, Config{})
	if p := c.http.Transport.(*http.Transport).Proxy; p != nil {
		t.Error("a proxy of the environment is used")
	}
}

// TestCheckURL: what is no address is told without being repeated.
func TestCheckURL(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		"https://hooks.example.org/x?y=1": true, "http://10.0.0.1:8080": true,
		"": false, "hooks.example.org": false, "ftp://x": false, "file:///etc/passwd": false, "https://": false, "https://:80": false,
		"https://user:secret@x": false, "https://x/#frag": false, "gopher://secret": false, "http://[::1": false,
	} {
		err := CheckURL(text)
		if (err == nil) != ok || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

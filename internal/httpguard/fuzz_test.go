package httpguard

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
)

// FuzzHost: only loopback, the address that a request came to and the names that were
// given are answered, however a Host is written (invariant 1).
func FuzzHost(f *testing.F) {
	for _, seed := range []string{"", "localhost", "LOCALHOST.", "127.0.0.1:8420", "[::1]:8420", "[::1%25lo]", "cron.example.org", "cron.example.org.:1", "10.0.0.5", "::ffff:10.0.0.5", "0x7f.1", "127.1", "[", "localhost:evil.org", "evil.org:localhost", "localhost@evil.org"} {
		f.Add(seed)
	}
	g := New(Config{Names: []string{"cron.example.org"}})
	here := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 5), Port: 8420}
	fuzzed.Run(f, func(t *testing.T, host string) {
		name := normal(hostOf(host))
		if again := normal(name); again != name && normal(again) != again {
			t.Errorf("%q is %q, then %q, then %q", host, name, again, normal(again))
		}
		r := (&http.Request{Host: host}).WithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, here))
		if !g.known(r) {
			return
		}
		ip, err := netip.ParseAddr(name)
		if name != "localhost" && name != "cron.example.org" && (err != nil || !ip.IsLoopback() && ip.String() != "10.0.0.5") {
			t.Errorf("%q is answered as %q", host, name)
		}
	})
}

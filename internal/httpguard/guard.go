// Package httpguard stands in front of an HTTP server that trusts those who can
// reach its address. Pages of other sites run in browsers that can, and must not
// be able to use that.
//
// What holds for every request:
//
//  1. Names. A request is answered only if its Host is the loopback address or
//     localhost, the address that it came to, or one of the names that were
//     given; otherwise the answer is 421. So a page whose own name was pointed at
//     this address ("DNS rebinding") reaches nothing, on any route: for the
//     browser it is of the same origin as the server, and no other check sees it.
//     Requests over a Unix socket are exempt, since no browser speaks to one.
//  2. Writing. A page of another origin cannot send a request of an unsafe
//     method: the answer is 403. Programs that are no browsers say nothing of an
//     origin, and are not asked for one.
//  3. Reading. A browser that says it asks for a page of another origin gets 403,
//     unless a person followed a link. No answer carries a CORS header.
//  4. Headers. Every answer forbids frames, windows and embedding of other
//     origins, guessing of media types and foreign content; a handler may set
//     others.
//  5. Encryption. Over TLS, a browser that asked by a name learns that this name is
//     to be asked by TLS only. For "localhost" and addresses it is not told so: what
//     else is served there is not ours.
//
// What is not promised: who speaks is for others to find out. A program on the
// host that is no browser sends what Host it likes.
package httpguard

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Config holds the settings of a Guard.
type Config struct {
	// Names are hosts by which the server may be asked, besides loopback and the
	// address that a request came to: names or addresses, without port. Empty ones
	// and unspecified addresses, as "0.0.0.0", count for nothing.
	Names []string
	// Flag is how a further name is given, for the text of refusals: "--api-host".
	// Empty: none can be.
	Flag string
	// Deny writes a refusal. Nil: as plain text.
	Deny func(w http.ResponseWriter, status int, text string)
}

// Guard wraps handlers. It may be used by any number of goroutines.
type Guard struct {
	names  []string
	flag   string
	deny   func(w http.ResponseWriter, status int, text string)
	origin *http.CrossOriginProtection
}

// New returns a guard.
func New(cfg Config) *Guard {
	g := &Guard{flag: cfg.Flag, deny: cfg.Deny, origin: http.NewCrossOriginProtection()}
	if g.deny == nil {
		g.deny = func(w http.ResponseWriter, status int, text string) { http.Error(w, text, status) }
	}
	for _, name := range cfg.Names {
		name = normal(name)
		ip, err := netip.ParseAddr(name)
		if name == "" || name == "localhost" || err == nil && (ip.IsUnspecified() || ip.IsLoopback()) || slices.Contains(g.names, name) {
			continue // loopback is good in any case
		}
		g.names = append(g.names, name)
	}
	return g
}

// Handler returns next behind the guard.
func (g *Guard) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setHeaders(w.Header())
		if !g.known(r) {
			g.deny(w, http.StatusMisdirectedRequest, g.misdirected(r.Host))
			return
		}
		if r.TLS != nil && isName(normal(hostOf(r.Host))) {
			w.Header().Set("Strict-Transport-Security", strictly)
		}
		if err := g.origin.Check(r); err != nil || embeds(r) {
			g.deny(w, http.StatusForbidden, "a page of another origin may not do this")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// setHeaders sets what keeps an answer from being used by other sites.
func setHeaders(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cache-Control", "no-store")
}

// strictly is for half a year, from the last answer on.
const strictly = "max-age=15552000"

// isName reports whether a host is the name of one that others may ask for too.
func isName(host string) bool {
	_, err := netip.ParseAddr(host)
	return err != nil && host != "" && host != "localhost" && !strings.HasSuffix(host, ".localhost")
}

// embeds reports whether a page of another origin asks for the answer. A person
// who follows a link there is none.
func embeds(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return false
	}
	return r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document"
}

// known reports whether the request names this server.
func (g *Guard) known(r *http.Request) bool {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if local != nil && local.Network() == "unix" {
		return true
	}
	host := normal(hostOf(r.Host))
	if host == "localhost" || slices.Contains(g.names, host) {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	if ip.IsLoopback() {
		return true
	}
	at, ok := local.(*net.TCPAddr)
	return ok && at.AddrPort().Addr().Unmap().WithZone("") == ip
}

// misdirected tells by which names the server may be asked.
func (g *Guard) misdirected(host string) string {
	good := strings.Join(append([]string{"localhost", "127.0.0.1", "[::1]", "the address that the server listens on"}, g.names...), ", ")
	text := fmt.Sprintf("this server is not %q; ask for it as one of: %s", host, good)
	if g.flag != "" {
		text += fmt.Sprintf(". If the name is right, start the server with %s NAME", g.flag)
	}
	return text
}

// hostOf returns a Host header without its port.
func hostOf(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

// normal returns a host as it is compared: names in lower case and without the
// final dot, addresses in their shortest form, without brackets and zone.
func normal(host string) string {
	host = strings.TrimRight(strings.ToLower(host), ".")
	if inner, ok := strings.CutPrefix(host, "["); ok && strings.HasSuffix(inner, "]") {
		host = strings.TrimSuffix(inner, "]")
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().WithZone("").String()
	}
	return host
}

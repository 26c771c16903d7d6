// Package pagecookie is what a browser keeps of a session of the page: a secret that
// opens nothing once the cluster has ended the session.
//
// Scripts do not see it, it is sent to this host only, and other sites' pages do not
// have it sent but by a link that a person follows. By TLS its name begins with __Host-,
// so that browsers take it from the host itself and by TLS only. On loopback, by plain
// HTTP, browsers send it to every port of the host: whoever serves another port there
// can read it.
//
// Beside it are the logins that a browser has begun at an identity provider, each in a
// cookie of its own, so that two tabs do not disturb one another. They hold what the
// answer is held against: whose browser has no such cookie has not begun that login.
package pagecookie

import (
	"net/http"
	"time"
)

// Where a session begins, and where it ends.
const (
	LoginPath  = "/login"
	LogoutPath = "/logout"
)

const (
	overTLS = "__Host-carillon"
	plain   = "carillon-session"
)

func name(r *http.Request) string {
	if r.TLS != nil {
		return overTLS
	}
	return plain
}

// Of returns the secret that a request shows; empty: none.
func Of(r *http.Request) string {
	if c, err := r.Cookie(name(r)); err == nil {
		return c.Value
	}
	return ""
}

// Set has the browser keep a secret until a time.
func Set(w http.ResponseWriter, r *http.Request, secret string, until time.Time) {
	c := of(r)
	c.Value, c.Expires = secret, until
	http.SetCookie(w, c)
}

// Forget has the browser forget it.
func Forget(w http.ResponseWriter, r *http.Request) {
	c := of(r)
	c.MaxAge = -1
	http.SetCookie(w, c)
}

func of(r *http.Request) *http.Cookie {
	return cookie(r, name(r))
}

func cookie(r *http.Request, name string) *http.Cookie {
	return &http.Cookie{Name: name, Path: "/", HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode}
}

package httpapi

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/pagecookie"
)

// identify finds out who asks, before any route: by the token that the request shows,
// by what its connection proves, or by a session of the page. Whoever shows nothing is a caller of whom
// nothing is known; whoever shows what is not good is refused, whatever the state of
// the cluster is. Health is told to everybody, and no credential is looked at.
func (a *API) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == livezPath || r.URL.Path == readyzPath {
			next.ServeHTTP(w, r)
			return
		}
		c, err := a.callerOf(r)
		if err != nil {
			a.noteRefused(r, err)
			refuse(w, r, fmt.Errorf("find out who asks: %w", err))
			return
		}
		known := r.WithContext(caller.With(r.Context(), c))
		answer := &recorder{ResponseWriter: w}
		defer func() {
			r.Pattern = known.Pattern // who counts requests goes by it
			switch {
			case notesItself(known.URL.Path):
			case answer.status == http.StatusForbidden:
				a.control.Refused(known.Context(), known.Method, known.URL.Path, "the caller has no right to that")
			case answer.status == http.StatusUnauthorized:
				a.control.Refused(known.Context(), known.Method, known.URL.Path, "it is not known who asks")
			}
		}()
		next.ServeHTTP(answer, known)
	})
}

// notesItself reports whether what is refused on a path is told to the audit by who answers
// there, who can say more.
func notesItself(path string) bool {
	for _, of := range []string{hooksPath, pagecookie.LoginPath + "/", "/v1/auth/login/", "/v1/auth/device-login/"} {
		if strings.HasPrefix(path, of) {
			return true
		}
	}
	return path == pagecookie.LoginPath
}

func (a *API) callerOf(r *http.Request) (caller.Caller, error) {
	c, proven := a.peer(r)
	if !proven {
		c = caller.Caller{Remote: remote(r)}
	}
	if strings.HasPrefix(r.URL.Path, hooksPath) {
		return c, nil // what it shows is the job's own token
	}
	token, shown, err := bearer(r.Header.Values("Authorization"))
	switch {
	case err != nil:
		return c, err
	case shown:
		return a.control.ByToken(r.Context(), token, c.Remote)
	}
	if session := pagecookie.Of(r); session != "" && !proven && !entry(r.URL.Path) {
		return a.control.BySession(r.Context(), session, c.Remote)
	}
	return c, nil
}

// bearer returns the token of Authorization headers; false: there is none. Other
// schemes are for who stands between us and the client.
func bearer(headers []string) (string, bool, error) {
	token, shown := "", false
	for _, h := range headers {
		scheme, text, _ := strings.Cut(h, " ")
		if !strings.EqualFold(scheme, "bearer") {
			continue
		}
		if shown {
			return "", false, &caller.RefusedError{Reason: "the request shows more than one token; show one"}
		}
		token, shown = strings.TrimSpace(text), true
	}
	return token, shown, nil
}

// entry reports whether a path of the page is for those, too, whose session has ended.
func entry(path string) bool {
	return path == pagecookie.LoginPath || path == pagecookie.LogoutPath || strings.HasPrefix(path, pagecookie.LoginPath+"/") || strings.HasPrefix(path, "/static/")
}

// toLogin sends a person who asks for a page to where sessions begin; false: it is none
// who asks.
func toLogin(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet || strings.HasPrefix(r.URL.Path, rest) || !strings.Contains(r.Header.Get("Accept"), "text/html") {
		return false
	}
	http.Redirect(w, r, pagecookie.LoginPath+"?"+url.Values{"next": {r.URL.RequestURI()}}.Encode(), http.StatusSeeOther)
	return true
}

// noteRefused has the audit count a credential that was not taken.
func (a *API) noteRefused(r *http.Request, err error) {
	refused, busy := (*caller.RefusedError)(nil), (*caller.BusyError)(nil)
	if !errors.As(err, &refused) && !errors.As(err, &busy) {
		return
	}
	c, proven := a.peer(r)
	if !proven { // whatever name the request gives itself
		c = caller.Caller{Remote: remote(r)}
	}
	a.control.Refused(caller.With(r.Context(), c), "authenticate", "as somebody", err.Error())
}

// refuse answers a request whose credential is not taken.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	var (
		refused *caller.RefusedError
		busy    *caller.BusyError
	)
	if errors.As(err, &refused) && r.Header.Get("Authorization") == "" { // it was a session
		pagecookie.Forget(w, r)
		if toLogin(w, r) {
			return
		}
	}
	switch {
	case errors.As(err, &refused):
		w.Header().Set("WWW-Authenticate", "Bearer")
		err = problem(http.StatusUnauthorized, refused.Error())
	case errors.As(err, &busy):
		err = busyProblem(busy)
	}
	writeProblem(w, err)
}

// busyProblem tells that there are too many requests, and when one may come again.
func busyProblem(busy *caller.BusyError) *Problem {
	p := problem(http.StatusTooManyRequests, busy.Error())
	p.header = http.Header{"Retry-After": {strconv.Itoa(max(int(math.Ceil(busy.RetryAfter.Seconds())), 1))}}
	return p
}

// remote is the address that a request comes from, without its port.
func remote(r *http.Request) string {
	return withoutPort(r.RemoteAddr)
}

func withoutPort(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	return addr
}

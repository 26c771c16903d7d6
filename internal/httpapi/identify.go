package httpapi

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/carillon-cron/carillon/internal/control/caller"
)

// hooksPath begins the paths of webhooks, which have tokens of their own.
const hooksPath = "/v1/hooks/"

// identify finds out who asks, before any route: by the token that the request shows,
// or else by what its connection proves. Whoever shows nothing is a caller of whom
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
			refuse(w, err)
			return
		}
		known := r.WithContext(caller.With(r.Context(), c))
		defer func() { r.Pattern = known.Pattern }() // who counts requests goes by it
		next.ServeHTTP(w, known)
	})
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
	if err != nil || !shown {
		return c, err
	}
	return a.control.ByToken(r.Context(), token, c.Remote)
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

// refuse answers a request whose credential is not taken.
func refuse(w http.ResponseWriter, err error) {
	var (
		refused *caller.RefusedError
		busy    *caller.BusyError
	)
	switch {
	case errors.As(err, &refused):
		w.Header().Set("WWW-Authenticate", "Bearer")
		err = problem(http.StatusUnauthorized, refused.Error())
	case errors.As(err, &busy):
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(busy.RetryAfter.Seconds()))))
		err = problem(http.StatusTooManyRequests, busy.Error())
	default:
		err = fmt.Errorf("find out who asks: %w", err)
	}
	writeProblem(w, err)
}

// remote is the address that a request comes from, without its port.
func remote(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		return host
	}
	return r.RemoteAddr
}

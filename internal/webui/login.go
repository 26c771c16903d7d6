package webui

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/pagecookie"
	"github.com/carillon-cron/carillon/job"
)

// Sessions are the logins of the page.
type Sessions interface {
	// Login begins a session for who shows the text of a token, and returns what the
	// browser is to keep of it, and until when. A text that is not good is a
	// caller.RefusedError or a caller.BusyError.
	Login(ctx context.Context, token, from string) (secret string, until time.Time, err error)
	// Logout ends a session.
	Logout(ctx context.Context, secret string) error
	// LoginWays tells whether there is an identity provider.
	LoginWays() api.LoginWays
	// PageLogin returns where a browser is sent for a login by it.
	PageLogin(ctx context.Context, req api.LoginRequest) (string, error)
	// LoginByProvider is Login for what the provider sends the browser back with.
	LoginByProvider(ctx context.Context, in api.LoginAnswer, from string) (secret string, until time.Time, err error)
	// LogoutByProvider ends the sessions that a logout token of the provider names.
	LogoutByProvider(ctx context.Context, token, from string) error
	// Refused notes that somebody was refused what it tried. It does not block.
	Refused(ctx context.Context, action, object, why string)
}

// maxLogin bounds the form.
const maxLogin = 4096

// loginData is what the login page shows.
type loginData struct {
	// Problem says why the last try was in vain.
	Problem string
	// Next is where the reader wanted to go.
	Next string
	// Provider is the identity provider that one may log in by, and Begin where that
	// begins. Empty: there is none.
	Provider, Begin string
}

func (u *UI) login(w http.ResponseWriter, r *http.Request) {
	u.showLogin(w, r, http.StatusOK, loginData{Next: local(r.FormValue("next"))})
}

func (u *UI) showLogin(w http.ResponseWriter, r *http.Request, status int, d loginData) {
	if u.provider != "" {
		d.Provider, d.Begin = u.provider, pagecookie.ProviderPath+"?"+url.Values{"next": {d.Next}}.Encode()
	}
	u.render(w, r, status, "login", page{Title: "Log in", Data: d})
}

// enter takes the form of the login page. That the form is our own, and not another
// site's, the check of the origin in front of the page tells: see httpguard.
func (u *UI) enter(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxLogin)
	token, next := strings.TrimSpace(r.PostFormValue("token")), local(r.PostFormValue("next"))
	who, _ := caller.From(r.Context())
	secret, until, err := u.sessions.Login(r.Context(), token, who.Remote)
	u.entered(w, r, next, secret, until, err)
}

// entered answers who has tried to log in.
func (u *UI) entered(w http.ResponseWriter, r *http.Request, next, secret string, until time.Time, err error) {
	var (
		refused *caller.RefusedError
		busy    *caller.BusyError
	)
	switch {
	case errors.As(err, &refused):
		u.sessions.Refused(r.Context(), "log in", "as somebody", refused.Error())
		u.showLogin(w, r, http.StatusUnauthorized, loginData{Problem: refused.Error(), Next: next})
	case errors.As(err, &busy):
		u.showLogin(w, r, http.StatusTooManyRequests, loginData{Problem: busy.Error(), Next: next})
	case errors.Is(err, job.ErrUnavailable):
		u.showLogin(w, r, http.StatusServiceUnavailable, loginData{Problem: err.Error(), Next: next})
	case err != nil:
		u.show(w, r, "error", page{}, err)
	default:
		// A session that the browser had before is not used on.
		if old := pagecookie.Of(r); old != "" {
			_ = u.sessions.Logout(r.Context(), old) // it ends by itself, too
		}
		pagecookie.Set(w, r, secret, until)
		http.Redirect(w, r, next, http.StatusSeeOther)
	}
}

func (u *UI) leave(w http.ResponseWriter, r *http.Request) {
	if secret := pagecookie.Of(r); secret != "" {
		if err := u.sessions.Logout(r.Context(), secret); err != nil {
			u.show(w, r, "error", page{}, err) // the cookie stays, so that it can be tried again
			return
		}
	}
	pagecookie.Forget(w, r)
	http.Redirect(w, r, pagecookie.LoginPath, http.StatusSeeOther)
}

// local returns a path of this page; "/" for all else, so that nobody is sent to
// another site.
func local(next string) string {
	if !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") {
		return "/"
	}
	return next
}

package webui

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/pagecookie"
)

// Sessions are the logins of the page.
type Sessions interface {
	// Login begins a session for who shows the text of a token, and returns what the
	// browser is to keep of it, and until when. A text that is not good is a
	// caller.RefusedError or a caller.BusyError.
	Login(ctx context.Context, token, from string) (secret string, until time.Time, err error)
	// Logout ends a session.
	Logout(ctx context.Context, secret string) error
}

// maxLogin bounds the form.
const maxLogin = 4096

// loginData is what the login page shows.
type loginData struct {
	// Problem says why the last try was in vain.
	Problem string
	// Next is where the reader wanted to go.
	Next string
}

func (u *UI) login(w http.ResponseWriter, r *http.Request) {
	u.showLogin(w, r, http.StatusOK, loginData{Next: local(r.FormValue("next"))})
}

func (u *UI) showLogin(w http.ResponseWriter, r *http.Request, status int, d loginData) {
	u.render(w, r, status, "login", page{Title: "Log in", Data: d})
}

// enter takes the form of the login page. That the form is our own, and not another
// site's, the check of the origin in front of the page tells: see httpguard.
func (u *UI) enter(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxLogin)
	token, next := strings.TrimSpace(r.PostFormValue("token")), local(r.PostFormValue("next"))
	who, _ := caller.From(r.Context())
	secret, until, err := u.sessions.Login(r.Context(), token, who.Remote)
	var (
		refused *caller.RefusedError
		busy    *caller.BusyError
	)
	switch {
	case errors.As(err, &refused):
		u.showLogin(w, r, http.StatusUnauthorized, loginData{refused.Error(), next})
	case errors.As(err, &busy):
		u.showLogin(w, r, http.StatusTooManyRequests, loginData{busy.Error(), next})
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

package webui

import (
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/httpstatus"
	"github.com/carillon-cron/carillon/internal/pagecookie"
)

// toProvider sends a reader to the identity provider. It changes nothing but what the
// reader's browser keeps, so that it may be a link.
func (u *UI) toProvider(w http.ResponseWriter, r *http.Request) {
	next := local(r.FormValue("next"))
	// What the browser keeps is kept for one name: that to which the provider sends back.
	if u.base != nil && r.Host != u.base.Host && r.FormValue("here") == "" {
		there := *u.base
		there.Path, there.RawQuery = pagecookie.ProviderPath, url.Values{"next": {next}, "here": {"1"}}.Encode()
		http.Redirect(w, r, there.String(), http.StatusSeeOther)
		return
	}
	a := pagecookie.NewAttempt(next)
	to, err := u.sessions.PageLogin(r.Context(), api.LoginRequest{State: a.State, Nonce: a.Nonce, Challenge: a.Challenge()})
	if err != nil {
		u.entered(w, r, next, "", time.Time{}, err)
		return
	}
	pagecookie.SetAttempt(w, r, a)
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// fromProvider takes a reader back.
func (u *UI) fromProvider(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	a, begun := pagecookie.TakeAttempt(w, r, q.Get("state"))
	if !begun {
		u.entered(w, r, "/", "", time.Time{}, &caller.RefusedError{Reason: "this browser has not begun that login, or too long ago; begin it anew"})
		return
	}
	next := local(a.Next)
	if q.Has("error") {
		reason := "the identity provider has not let you in; begin anew"
		if q.Get("error") == "access_denied" {
			reason = "the identity provider has not let you in: you, or it, said no"
		}
		u.entered(w, r, next, "", time.Time{}, &caller.RefusedError{Reason: reason})
		return
	}
	who, _ := caller.From(r.Context())
	secret, until, err := u.sessions.LoginByProvider(r.Context(), api.LoginAnswer{
		Code: q.Get("code"), Issuer: q.Get("iss"), Nonce: a.Nonce, Verifier: a.Verifier,
	}, who.Remote)
	u.entered(w, r, next, secret, until, err)
}

// maxLogout bounds a logout token.
const maxLogout = 64 << 10

// backChannel takes the provider's word that sessions have ended (OpenID Connect
// Back-Channel Logout 1.0). Whatever is wrong with it is answered with 400.
func (u *UI) backChannel(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxLogout)
	who, _ := caller.From(r.Context())
	w.Header().Set("Cache-Control", "no-store")
	var refused *caller.RefusedError
	err := u.sessions.LogoutByProvider(r.Context(), r.PostFormValue("logout_token"), who.Remote)
	switch {
	case err == nil:
		w.WriteHeader(http.StatusOK)
	case errors.As(err, &refused):
		u.sessions.Refused(r.Context(), "end", "sessions", refused.Error())
		http.Error(w, refused.Error(), http.StatusBadRequest)
	default:
		http.Error(w, err.Error(), httpstatus.Of(err))
	}
}

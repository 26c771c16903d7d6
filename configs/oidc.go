package configs

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/internal/control/access"
)

// validateOIDC checks how people log in.
func (c *Scheduler) validateOIDC(v *validator) {
	o := &c.OIDC
	v.between("oidc.sessionMaxAge", o.SessionMaxAge, 5*time.Minute, access.MaxLoginLife)
	if o.UserClaim == "" {
		v.add("oidc.userClaim", "is empty; give the claim of the ID token that people are called by, as in email or sub")
	}
	for _, s := range o.Scopes {
		if s == "" || strings.ContainsAny(s, " \t\"\\") {
			v.add("oidc.scopes", "%q is no scope; give one name each, without blanks", s)
		}
	}
	if o.Issuer == "" {
		for _, s := range []struct{ path, value string }{
			{"oidc.clientID", o.ClientID}, {"oidc.clientSecretFile", o.ClientSecretFile}, {"oidc.ca", o.CA}, {"oidc.redirectBase", o.RedirectBase},
		} {
			if s.value != "" {
				v.add(s.path, "has no effect without an identity provider; give oidc.issuer (--oidc-issuer) too")
			}
		}
		return
	}
	if u, err := url.Parse(o.Issuer); err != nil || !isWeb(u) || u.RawQuery != "" || u.Fragment != "" {
		v.add("oidc.issuer", "%q is not the name of an identity provider; give the URL that it calls itself, as in https://login.example.org/realms/main; http is for loopback only", o.Issuer)
	}
	if o.ClientID == "" {
		v.add("oidc.clientID", "is not given; give the client's id, as the identity provider has it (--oidc-client-id)")
	}
	base, err := url.Parse(o.RedirectBase)
	switch {
	case o.RedirectBase == "":
		v.add("oidc.redirectBase", "is not given; give where browsers reach the page, as in https://carillon.example.org:8420 (--oidc-redirect-base), and let the identity provider allow https://carillon.example.org:8420/login/callback")
	case err != nil || !isWeb(base) || strings.Trim(base.Path, "/") != "" || base.RawQuery != "" || base.Fragment != "":
		v.add("oidc.redirectBase", "%q is not where browsers reach the page; give scheme, name and port, as in https://carillon.example.org:8420; http is for loopback only", o.RedirectBase)
	case base.Scheme == "http" && !c.PlainAPI():
		v.add("oidc.redirectBase", "%q is asked by plain HTTP, and the page speaks TLS; give https://%s", o.RedirectBase, base.Host)
	case !c.answersTo(base.Hostname()):
		v.add("oidc.redirectBase", "the node refuses requests for the name %q; give it as --api-host too", base.Hostname())
	}
}

// isWeb reports whether a URL is one that browsers are sent to: by TLS, or on loopback.
func isWeb(u *url.URL) bool {
	return u.Hostname() != "" && u.User == nil && (u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()))
}

// answersTo reports whether the API may be asked by a name.
func (c *Scheduler) answersTo(host string) bool {
	is := func(name string) bool { return strings.EqualFold(name, host) }
	return loopback(host) || is(c.Advertise) || is(hostOf(c.Listen)) || slices.ContainsFunc(c.APIHosts, is)
}

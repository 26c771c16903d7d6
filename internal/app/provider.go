package app

import (
	"github.com/carillon-cron/carillon/internal/idp"
)

// openProvider returns the identity provider by which people log in; nil: there is none.
// It asks it nothing: a provider that is down keeps no node from starting.
func (n *Node) openProvider() (*idp.Provider, error) {
	o := &n.cfg.OIDC
	if o.Issuer == "" {
		return nil, nil
	}
	return idp.New(idp.Config{
		Issuer: o.Issuer, ClientID: o.ClientID, SecretFile: o.ClientSecretFile, CAFile: o.CA, Scopes: o.Scopes,
		UserClaim: o.UserClaim, GroupsClaim: o.GroupsClaim, Redirect: o.Redirect(),
	}, idp.Deps{Logger: n.log, Now: n.now})
}

package idp

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/rights"
)

// Identity is who somebody is for the provider.
type Identity struct {
	Issuer, Subject string
	// Session is the provider's name for its session with the person. Empty: it has none.
	Session string
	// Name is what bindings know the person by, and Groups what they know of it besides.
	Name   string
	Groups []string
}

// maxText bounds the subject and the session of a token.
const maxText = 256

// identity returns whom an answer's token is of.
func (p *Provider) identity(ctx context.Context, k *known, got answer, nonce string) (Identity, error) {
	if got.IDToken == "" {
		return Identity{}, p.broken("there is no ID token in it; is the scope openid allowed for the client?")
	}
	token, err := k.verifier.Verify(ctx, got.IDToken)
	if err != nil {
		return Identity{}, p.disbelieve("ID token", err)
	}
	var claims struct {
		Party   string `json:"azp"`
		Session string `json:"sid"`
	}
	all := map[string]any{}
	if err := errors.Join(token.Claims(&claims), token.Claims(&all)); err != nil {
		return Identity{}, p.disbelieve("ID token", err)
	}
	switch {
	case nonce != "" && token.Nonce != nonce:
		return Identity{}, p.disbelieve("ID token", errors.New("it is not of the login that was begun: its nonce is another, or missing"))
	case claims.Party != "" && claims.Party != p.cfg.ClientID, claims.Party == "" && len(token.Audience) > 1:
		return Identity{}, p.disbelieve("ID token", errors.New("it was made for another client (azp)"))
	case token.IssuedAt.IsZero() || token.IssuedAt.After(p.now().Add(Skew)):
		return Identity{}, p.disbelieve("ID token", errors.New("it was issued in the future, or at no time"))
	case token.Subject == "" || len(token.Subject) > maxText || len(claims.Session) > maxText:
		return Identity{}, p.disbelieve("ID token", errors.New("its sub is empty, or its sub or sid is too long"))
	}
	if token.AccessTokenHash != "" {
		if err := token.VerifyAccessToken(got.AccessToken); err != nil {
			return Identity{}, p.disbelieve("ID token", err)
		}
	}
	id := Identity{Issuer: p.cfg.Issuer, Subject: token.Subject, Session: claims.Session}
	if id.Name, err = nameOf(all, p.cfg.UserClaim); err != nil {
		return Identity{}, err
	}
	id.Groups, err = groupsOf(all, p.cfg.GroupsClaim)
	return id, err
}

// disbelieve notes why a token is not believed. Who shows it need not know more than that;
// a provider whose keys cannot be read is another matter.
func (p *Provider) disbelieve(what string, why error) error {
	p.log.Warn("a token of the identity provider is not believed", zap.String("what", what), zap.Error(why))
	// The keys are asked for by the library, which tells no kind of its errors.
	if netErr := net.Error(nil); errors.As(why, &netErr) || strings.Contains(why.Error(), "fetching keys") {
		return p.down()
	}
	return refuse("the %s of the identity provider is not believed: %s", what, reasonOf(why))
}

// reasonOf says why in words that repeat nothing of a token.
func reasonOf(err error) string {
	text := err.Error()
	switch {
	case errors.As(err, new(*oidc.TokenExpiredError)):
		return "it has expired"
	case strings.Contains(text, "audience"):
		return "it was made for another client (aud)"
	case strings.Contains(text, "different provider"):
		return "another provider has issued it (iss)"
	case strings.Contains(text, "failed to verify"):
		return "no key of the provider has signed it"
	case strings.Contains(text, "malformed jwt"):
		return "it is none, or is signed by an algorithm that is not allowed"
	case strings.HasPrefix(text, "it "), strings.HasPrefix(text, "its "):
		return text
	}
	return "the node's log says why"
}

// nameOf returns what a person is called.
func nameOf(claims map[string]any, claim string) (string, error) {
	name, _ := claims[claim].(string)
	switch {
	case name == "":
		return "", refuse("the identity provider does not say who you are: the ID token has no claim %s; it is for who runs the cluster to choose another (--oidc-user-claim), or a scope that brings it (--oidc-scope)", claim)
	case claim == "email" && claims["email_verified"] != true && claims["email_verified"] != "true":
		return "", refuse("the identity provider does not say that your email address is verified, so it may be anybody's; have it verified there, or let who runs the cluster choose another claim (--oidc-user-claim)")
	case !isName(name) || strings.ContainsFunc(name, unicode.IsSpace):
		return "", refuse("the claim %s of your ID token is not what somebody can be called here: it has more than %d bytes, a blank, or a character that cannot be seen; it is for who runs the cluster to choose another (--oidc-user-claim)", claim, rights.MaxSubject)
	}
	return name, nil
}

// isName reports whether a binding can have a text as a name.
func isName(text string) bool {
	return text != "" && len(text) <= rights.MaxSubject && strings.TrimSpace(text) == text &&
		!strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) || c == unicode.ReplacementChar })
}

// at returns a claim, by its name or by its path.
func at(claims map[string]any, path string) (any, bool) {
	if v, ok := claims[path]; ok {
		return v, true
	}
	head, rest, deeper := strings.Cut(path, ".")
	inner, ok := claims[head].(map[string]any)
	if !deeper || !ok {
		return nil, false
	}
	return at(inner, rest)
}

// groupsOf returns the groups of a person, in order. Those that no binding can name are
// left out.
func groupsOf(claims map[string]any, claim string) ([]string, error) {
	if claim == "" {
		return nil, nil
	}
	if elsewhere, ok := claims["_claim_names"].(map[string]any); ok && elsewhere[claim] != nil {
		return nil, refuse("the identity provider does not send your groups, as you are in too many of them; let it send only those that are assigned to this application")
	}
	v, ok := at(claims, claim)
	if !ok || v == nil {
		return nil, nil
	}
	var groups []string
	switch v := v.(type) {
	case string:
		groups = []string{v}
	case []any:
		if len(v) > MostGroups {
			return nil, refuse("the identity provider says that you are in %d groups; at most %d are allowed: let it send only those that matter here", len(v), MostGroups)
		}
		for _, g := range v {
			if text, ok := g.(string); ok {
				groups = append(groups, text)
			}
		}
	default:
		return nil, refuse("the claim %s of your ID token is no list of groups; it is for who runs the cluster to choose another (--oidc-groups-claim)", claim)
	}
	groups = slices.DeleteFunc(groups, func(g string) bool { return !isName(g) })
	slices.Sort(groups)
	return slices.Compact(groups), nil
}

// Logout is that the provider has ended sessions.
type Logout struct {
	Issuer string
	// ID is the token's own.
	ID string
	// Subject is whose sessions, Session which of them; one of them may be empty.
	Subject, Session string
}

// Logout returns what a logout token says. The error is a *RefusedError, or wraps
// job.ErrUnavailable.
func (p *Provider) Logout(ctx context.Context, text string) (Logout, error) {
	k, err := p.describe(ctx)
	if err != nil {
		return Logout{}, err
	}
	token, err := k.verifier.VerifyLogout(ctx, text)
	if err != nil {
		return Logout{}, p.disbelieve("logout token", err)
	}
	var claims struct {
		Events map[string]json.RawMessage `json:"events"`
	}
	var event map[string]any
	if err := token.Claims(&claims); err != nil {
		return Logout{}, p.disbelieve("logout token", err)
	}
	now := p.now()
	switch {
	case json.Unmarshal(claims.Events["http://schemas.openid.net/event/backchannel-logout"], &event) != nil || event == nil:
		return Logout{}, p.disbelieve("logout token", errors.New("its event is none"))
	case token.IssuedAt.IsZero() || token.IssuedAt.After(now.Add(Skew)) || now.Sub(token.IssuedAt) > LogoutAge:
		return Logout{}, p.disbelieve("logout token", errors.New("it was issued in the future, too long ago, or at no time"))
	case len(token.TokenID) > maxText || len(token.Subject) > maxText || len(token.SessionID) > maxText:
		return Logout{}, p.disbelieve("logout token", errors.New("its jti, sub or sid is too long"))
	}
	return Logout{Issuer: p.cfg.Issuer, ID: token.TokenID, Subject: token.Subject, Session: token.SessionID}, nil
}

// LogoutMemory is how long the ID of a logout token has to be remembered: it is refused
// for its age then.
const LogoutMemory = LogoutAge + 2*Skew + time.Minute

package idp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/job"
)

// Attempt is the beginning of a login that has a redirect.
type Attempt struct {
	// State comes back with the answer, for who began.
	State string
	// Nonce is in the token.
	Nonce string
	// Challenge is the SHA-256 of the verifier, in base64url.
	Challenge string
	// Redirect is where the browser comes back to. Empty: to the page.
	Redirect string
}

// AuthURL returns where a browser is sent for a login.
func (p *Provider) AuthURL(ctx context.Context, a Attempt) (string, error) {
	k, err := p.describe(ctx)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(k.Authorize)
	if err != nil {
		return "", fmt.Errorf("authorization endpoint: %w", err)
	}
	q := u.Query()
	for name, value := range map[string]string{
		"response_type": "code", "client_id": p.cfg.ClientID, "redirect_uri": p.redirect(a.Redirect), "scope": p.scopes(),
		"state": a.State, "nonce": a.Nonce, "code_challenge": a.Challenge, "code_challenge_method": "S256",
	} {
		q.Set(name, value)
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

func (p *Provider) redirect(given string) string {
	if given == "" {
		return p.cfg.Redirect
	}
	return given
}

func (p *Provider) scopes() string {
	scopes := []string{"openid"}
	for _, s := range p.cfg.Scopes {
		if !slices.Contains(scopes, s) {
			scopes = append(scopes, s)
		}
	}
	return strings.Join(scopes, " ")
}

// Answer is what a browser came back with, and what its attempt began with.
type Answer struct {
	Code string
	// Issuer is who the answer says it is of. Empty: it does not say.
	Issuer string

	Verifier, Nonce, Redirect string
}

// Redeem returns whose login an answer is of. The error is a *RefusedError, or wraps
// job.ErrUnavailable.
func (p *Provider) Redeem(ctx context.Context, a Answer) (Identity, error) {
	k, err := p.describe(ctx)
	switch {
	case err != nil:
		return Identity{}, err
	case a.Issuer != "" && a.Issuer != p.cfg.Issuer:
		return Identity{}, refuse("the answer is of another identity provider than this cluster's; begin the login anew")
	case a.Issuer == "" && k.NamesItself:
		return Identity{}, refuse("the answer does not say which identity provider it is of, and this cluster's does; begin the login anew")
	case a.Code == "" || a.Verifier == "" || a.Nonce == "":
		return Identity{}, refuse("the answer has no code, or nobody began its login; begin the login anew")
	}
	got, err := p.ask(ctx, k, k.Token, url.Values{
		"grant_type": {"authorization_code"}, "code": {a.Code}, "redirect_uri": {p.redirect(a.Redirect)}, "code_verifier": {a.Verifier},
	})
	if err != nil {
		return Identity{}, err
	}
	if err := p.refused(got, "code"); err != nil {
		return Identity{}, err
	}
	return p.identity(ctx, k, got, a.Nonce)
}

// Device is a login that a person confirms on another device.
type Device struct {
	// Code is for who began the login, UserCode for the person.
	Code, UserCode string
	// Page is where the person gives UserCode; Direct, where there is one, has it already.
	Page, Direct string
	// Expires is how long it may take, Interval how often one may ask.
	Expires, Interval time.Duration
}

// ErrPending is a login that the person has not confirmed yet.
var ErrPending = errors.New("the login is not confirmed yet")

// ErrSlower is ErrPending for who asks too often.
var ErrSlower = fmt.Errorf("%w, and the identity provider is asked too often", ErrPending)

// BeginDevice begins a login that is confirmed elsewhere.
func (p *Provider) BeginDevice(ctx context.Context) (Device, error) {
	k, err := p.describe(ctx)
	if err != nil {
		return Device{}, err
	}
	if k.Device == "" {
		return Device{}, refuse("the identity provider has no logins by a code; log in by a browser (carillon login)")
	}
	got, err := p.ask(ctx, k, k.Device, url.Values{"scope": {p.scopes()}})
	if err != nil {
		return Device{}, err
	}
	if err := p.refused(got, "login by a code"); err != nil {
		return Device{}, err
	}
	d := Device{
		Code: got.DeviceCode, UserCode: got.UserCode, Page: got.Page, Direct: got.Direct,
		Expires: time.Duration(got.ExpiresIn) * time.Second, Interval: time.Duration(got.Interval) * time.Second,
	}
	if got.Interval <= 0 {
		d.Interval = 5 * time.Second // RFC 8628, 3.2
	}
	if d.Code == "" || d.UserCode == "" || p.page(d.Page) != nil || d.Direct != "" && p.page(d.Direct) != nil || got.ExpiresIn <= 0 {
		return Device{}, p.broken("its answer to a login by a code is not whole")
	}
	return d, nil
}

// page returns an error for what no person is sent to.
func (p *Provider) page(address string) error { return p.good(address) }

// RedeemDevice returns whose login a device code is of. The error is ErrPending, a
// *RefusedError, or wraps job.ErrUnavailable.
func (p *Provider) RedeemDevice(ctx context.Context, code string) (Identity, error) {
	k, err := p.describe(ctx)
	if err != nil {
		return Identity{}, err
	}
	got, err := p.ask(ctx, k, k.Token, url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {code}})
	switch {
	case err != nil:
		return Identity{}, err
	case got.Error == "authorization_pending":
		return Identity{}, ErrPending
	case got.Error == "slow_down":
		return Identity{}, ErrSlower
	}
	if err := p.refused(got, "code"); err != nil {
		return Identity{}, err
	}
	return p.identity(ctx, k, got, "")
}

// answer is what the provider answers a question of ours.
type answer struct {
	IDToken     string `json:"id_token"`
	AccessToken string `json:"access_token"`

	DeviceCode string `json:"device_code"`
	UserCode   string `json:"user_code"`
	Page       string `json:"verification_uri"`
	Direct     string `json:"verification_uri_complete"`
	ExpiresIn  int    `json:"expires_in"`
	Interval   int    `json:"interval"`

	Error       string `json:"error"`
	Description string `json:"error_description"`
}

// ask sends a form to the provider, as who we are for it.
func (p *Provider) ask(ctx context.Context, k *known, address string, form url.Values) (answer, error) {
	secret, err := p.secret()
	if err != nil {
		p.log.Error("the secret for the identity provider cannot be read", zap.Error(err))
		return answer{}, p.down()
	}
	header := secret != "" && k.inHeader()
	if !header {
		form.Set("client_id", p.cfg.ClientID)
		if secret != "" {
			form.Set("client_secret", secret)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, fmt.Errorf("ask the identity provider: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if header {
		req.SetBasicAuth(url.QueryEscape(p.cfg.ClientID), url.QueryEscape(secret)) // RFC 6749, 2.3.1
	}
	res, err := p.http.Do(req)
	if err != nil {
		p.log.Warn("the identity provider does not answer", zap.String("issuer", p.cfg.Issuer), zap.Error(err))
		return answer{}, p.down()
	}
	defer res.Body.Close()
	var got answer
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil {
		return answer{}, p.broken(fmt.Sprintf("its answer (%s) is no JSON", res.Status))
	}
	if res.StatusCode != http.StatusOK && got.Error == "" {
		return answer{}, p.broken("it answers " + res.Status)
	}
	return got, nil
}

// errorCode is what RFC 6749 lets the name of an error be.
var errorCode = regexp.MustCompile(`^[a-z_]{1,64}$`)

// refused returns the error that an answer tells; nil: none.
func (p *Provider) refused(got answer, what string) error {
	switch got.Error {
	case "":
		return nil
	case "invalid_grant", "access_denied", "expired_token":
		return refuse("the identity provider does not take the %s (%s); begin the login anew", what, got.Error)
	}
	name := got.Error
	if !errorCode.MatchString(name) {
		name = "an error"
	}
	p.log.Error("the identity provider refuses this node", zap.String("issuer", p.cfg.Issuer), zap.String("error", name), zap.String("description", got.Description))
	return fmt.Errorf("the identity provider answers %s; the node's log says more, and the settings (--oidc-*) may be wrong: %w", name, job.ErrUnavailable)
}

func (p *Provider) down() error {
	return fmt.Errorf("the identity provider %s does not answer; try again: %w", p.cfg.Issuer, job.ErrUnavailable)
}

func (p *Provider) broken(why string) error {
	p.log.Error("the identity provider answers what nobody can use", zap.String("issuer", p.cfg.Issuer), zap.String("why", why))
	return fmt.Errorf("the identity provider %s answers what nobody can use: %s: %w", p.cfg.Issuer, why, job.ErrUnavailable)
}

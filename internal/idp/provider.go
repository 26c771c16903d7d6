package idp

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/job"
)

const (
	// Skew is how far the provider's clock may be ahead.
	Skew = time.Minute
	// RetryAfter is how long a provider that failed is not asked again.
	RetryAfter = 3 * time.Second
	// RefreshEvery is how often the provider is asked again what it says of itself.
	RefreshEvery = time.Hour
	// LogoutAge is how old a logout token may be.
	LogoutAge = 10 * time.Minute
	// MostGroups bounds the groups of one person.
	MostGroups = 1000

	// askTimeout bounds one question to the provider.
	askTimeout = 10 * time.Second
	// maxAnswer bounds an answer of the provider.
	maxAnswer = 1 << 20
)

// algorithms are those by which tokens may be signed.
func algorithms() []string { return []string{oidc.RS256, oidc.ES256, oidc.EdDSA} }

// Config says who the provider is, and who we are for it. Issuer and ClientID must be set.
type Config struct {
	// Issuer is the provider's own name, a URL.
	Issuer   string
	ClientID string
	// SecretFile holds the secret by which the provider knows us; it is read for each
	// question. Empty: there is none, and PKCE alone protects codes.
	SecretFile string
	// CAFile holds the authorities, in PEM, of which one must have made the provider's
	// certificate. Empty: those that this host trusts.
	CAFile string
	// Scopes are asked for besides openid.
	Scopes []string
	// UserClaim is what a person is called by.
	UserClaim string
	// GroupsClaim is where groups are; parts of a path are divided by dots. Empty: there
	// are none.
	GroupsClaim string
	// Redirect is where the provider sends browsers back to, for the page.
	Redirect string
}

// Deps is what a Provider stands on.
type Deps struct {
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Logger may be nil.
	Logger *zap.Logger
}

// Provider is an identity provider. Use New. It may be used by many goroutines.
type Provider struct {
	cfg  Config
	now  func() time.Time
	log  *zap.Logger
	http *http.Client

	mu sync.Mutex
	// mu guards all below.
	known *known
	// failed is when the provider failed, and why.
	failed time.Time
	why    error
}

// known is what the provider says of itself.
type known struct {
	description

	verifier *oidc.IDTokenVerifier
	at       time.Time
}

// description is a part of the provider's metadata (OpenID Connect Discovery 1.0).
type description struct {
	Authorize   string   `json:"authorization_endpoint"`
	Token       string   `json:"token_endpoint"`
	Device      string   `json:"device_authorization_endpoint"`
	Keys        string   `json:"jwks_uri"`
	AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
	// NamesItself: answers say which issuer they are of.
	NamesItself bool `json:"authorization_response_iss_parameter_supported"`
}

// RefusedError is an answer that is not believed. Its text may be shown to who logs in.
type RefusedError struct{ Reason string }

// Error implements error.
func (e *RefusedError) Error() string { return e.Reason }

func refuse(format string, args ...any) error {
	return &RefusedError{Reason: fmt.Sprintf(format, args...)}
}

// New returns a provider. It reads the files, and asks nobody.
func New(cfg Config, deps Deps) (*Provider, error) {
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Logger == nil {
		deps.Logger = zap.NewNop()
	}
	p := &Provider{cfg: cfg, now: deps.Now, log: deps.Logger.Named("idp")}
	var errs []error
	if _, err := p.secret(); err != nil {
		errs = append(errs, err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = askTimeout
	if cfg.CAFile != "" {
		roots, err := authorities(cfg.CAFile)
		if err != nil {
			errs = append(errs, err)
		}
		transport.TLSClientConfig.RootCAs = roots
	}
	p.http = &http.Client{
		Timeout: askTimeout, Transport: bounded{transport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("it sends elsewhere") },
	}
	return p, errors.Join(errs...)
}

func authorities(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--oidc-ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--oidc-ca %s: there is no certificate in it; it wants PEM, which begins with -----BEGIN CERTIFICATE-----", file)
	}
	return roots, nil
}

// maxSecret bounds what is read of the file with the secret.
const maxSecret = 4096

// secret returns what the provider knows us by; empty: nothing.
func (p *Provider) secret() (string, error) {
	if p.cfg.SecretFile == "" {
		return "", nil
	}
	f, err := os.Open(p.cfg.SecretFile)
	if err != nil {
		return "", fmt.Errorf("--oidc-client-secret-file: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("--oidc-client-secret-file: %w", err)
	}
	if mode := st.Mode().Perm(); mode&0o007 != 0 {
		return "", fmt.Errorf("--oidc-client-secret-file %s: every account of this host may use it (mode %04o); make it 0600", p.cfg.SecretFile, mode)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return "", fmt.Errorf("--oidc-client-secret-file: %w", err)
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" {
		return "", fmt.Errorf("--oidc-client-secret-file %s: is empty; write the client's secret into it, or leave the flag out for a client without one", p.cfg.SecretFile)
	}
	return secret, nil
}

// bounded reads no more of an answer than it may have.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := b.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(res.Body, maxAnswer), res.Body}
	return res, nil
}

// Issuer is the provider's own name.
func (p *Provider) Issuer() string { return p.cfg.Issuer }

// Redirect is where the provider sends browsers back to, for the page.
func (p *Provider) Redirect() string { return p.cfg.Redirect }

// describe returns what the provider says of itself.
func (p *Provider) describe(ctx context.Context) (*known, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	old := p.known
	if old != nil && now.Sub(old.at) < RefreshEvery {
		return old, nil
	}
	if !p.failed.IsZero() && now.Sub(p.failed) < RetryAfter {
		if old != nil {
			return old, nil
		}
		return nil, p.why
	}
	// Who asks first may go away; the answer is for all.
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	defer cancel()
	k, err := p.discover(asking)
	if err == nil {
		if p.why != nil {
			p.log.Info("the identity provider is back", zap.String("issuer", p.cfg.Issuer))
		}
		p.known, p.failed, p.why = k, time.Time{}, nil
		return k, nil
	}
	p.log.Warn("the identity provider does not say how to log in by it; it is asked again", zap.String("issuer", p.cfg.Issuer), zap.Error(err))
	p.failed, p.why = p.now(), fmt.Errorf("the identity provider %s cannot be asked now, and the node's log says why; log in later, or by a token: %w", p.cfg.Issuer, job.ErrUnavailable)
	if old != nil {
		return old, nil
	}
	return nil, p.why
}

func (p *Provider) discover(ctx context.Context) (*known, error) {
	ctx = oidc.ClientContext(ctx, p.http)
	provider, err := oidc.NewProvider(ctx, p.cfg.Issuer)
	if err != nil {
		return nil, err
	}
	k := &known{at: p.now()}
	if err := provider.Claims(&k.description); err != nil {
		return nil, err
	}
	var errs []error
	for _, e := range []struct {
		name, url string
		may       bool // it may be missing
	}{{"authorization_endpoint", k.Authorize, false}, {"token_endpoint", k.Token, false}, {"jwks_uri", k.Keys, false}, {"device_authorization_endpoint", k.Device, true}} {
		if e.url == "" && e.may {
			continue
		}
		if err := p.good(e.url); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", e.name, err))
		}
	}
	// The key set keeps the client of the context, and no deadline of it.
	k.verifier = provider.VerifierContext(ctx, &oidc.Config{ClientID: p.cfg.ClientID, SupportedSigningAlgs: algorithms(), Now: p.now})
	return k, errors.Join(errs...)
}

// good returns an error for an address that is not asked.
func (p *Provider) good(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("%q is no URL", address)
	}
	issuer, err := url.Parse(p.cfg.Issuer)
	if err != nil {
		return err
	}
	if u.Scheme == "https" || u.Scheme == "http" && issuer.Scheme == "http" && loopback(u.Hostname()) {
		return nil
	}
	return fmt.Errorf("%q is not asked by TLS", address)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// inHeader reports whether we show our secret in the header of a question.
func (d *description) inHeader() bool {
	return len(d.AuthMethods) == 0 || slices.Contains(d.AuthMethods, "client_secret_basic") || !slices.Contains(d.AuthMethods, "client_secret_post")
}

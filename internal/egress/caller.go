package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Config says what may be called, and how long a call may take. The zero value is usable.
type Config struct {
	// Allow is the allow-list; empty: everything that is not refused anyway.
	Allow []string
	// CAFile has certificates, in PEM, that others' are checked against, besides the
	// host's.
	CAFile string
	// Timeout bounds a call as a whole. 0: DefaultTimeout.
	Timeout time.Duration
}

// DefaultTimeout is how long a call may take: receivers are given 15 to 30 seconds by the
// Standard Webhooks specification.
const DefaultTimeout = 15 * time.Second

// AnswerBytes is how much of an answer is read.
const AnswerBytes = 4 << 10

// Caller calls addresses that others chose. It may be used by many goroutines at once.
type Caller struct {
	rules  Rules
	http   *http.Client
	roots  *x509.CertPool
	within time.Duration
}

// New returns a caller.
func New(cfg Config) (*Caller, error) {
	rules, err := ParseRules(cfg.Allow)
	if err != nil {
		return nil, fmt.Errorf("egress.allow: %w", err)
	}
	rules.own = hostAddresses
	c := &Caller{rules: rules, within: cfg.Timeout}
	if c.within <= 0 {
		c.within = DefaultTimeout
	}
	if cfg.CAFile != "" {
		if c.roots, err = roots(cfg.CAFile); err != nil {
			return nil, fmt.Errorf("egress.ca: %w", err)
		}
	}
	c.http = &http.Client{
		Timeout: c.within,
		Transport: &http.Transport{
			DialContext:            c.Dial,
			TLSClientConfig:        &tls.Config{RootCAs: c.roots, MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    2,
			MaxConnsPerHost:        16,
			IdleConnTimeout:        30 * time.Second,
			TLSHandshakeTimeout:    c.within,
			ResponseHeaderTimeout:  c.within,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

func roots(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: there is no certificate in it; it wants PEM, which begins with -----BEGIN CERTIFICATE-----", file)
	}
	return pool, nil
}

// TLS returns what checks the certificate of a host that is spoken to by another protocol
// than HTTP.
func (c *Caller) TLS(host string) *tls.Config {
	return &tls.Config{ServerName: host, RootCAs: c.roots, MinVersion: tls.VersionTLS12}
}

// Dial connects to host:port if that may be called.
func (c *Caller) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: c.within, ControlContext: func(_ context.Context, _, resolved string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(resolved)
		if err != nil {
			return fmt.Errorf("%s: %w", resolved, err)
		}
		return c.rules.address(host, at.Addr())
	}}
	return dialer.DialContext(ctx, network, address)
}

// Answer is what the other side said.
type Answer struct {
	Status int
	// RetryAfter is how long it wants to be left alone; 0: it does not say.
	RetryAfter time.Duration
	// Body is the beginning of it.
	Body []byte
}

// OK reports whether the call was taken.
func (a *Answer) OK() bool { return a.Status >= 200 && a.Status < 300 }

// Gone reports whether the receiver wants no more calls.
func (a *Answer) Gone() bool { return a.Status == http.StatusGone }

// Err returns nil if the call was taken, or else what the other side answered.
func (a *Answer) Err() error {
	switch {
	case a.OK():
		return nil
	case a.Status >= 300 && a.Status < 400:
		return fmt.Errorf("the answer is %d, a redirect; redirects are not followed: give the address itself", a.Status)
	}
	text := strings.TrimSpace(strings.ToValidUTF8(string(a.Body), "?"))
	if len(text) > 200 {
		text = text[:200] + "..."
	}
	if text == "" {
		text = http.StatusText(a.Status)
	}
	return fmt.Errorf("the answer is %d: %q", a.Status, text)
}

// Post sends a body. An error is of a call that was not answered; what the answer says is
// for the caller of Post to judge (Answer.Err).
func (c *Caller) Post(ctx context.Context, to string, header http.Header, body []byte) (*Answer, error) {
	if err := CheckURL(to); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return nil, without(err)
	}
	if header != nil {
		req.Header = header.Clone()
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "carillon")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, without(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, AnswerBytes))
	if err != nil && len(text) == 0 && (resp.StatusCode < 200 || resp.StatusCode > 299) {
		return nil, without(err)
	}
	return &Answer{Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header.Get("Retry-After")), Body: text}, nil
}

// without takes the URL out of an error: it may have a token in it.
func without(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		if failed.Timeout() {
			return errors.New("there was no answer in time")
		}
		return failed.Err
	}
	return err
}

// maxRetryAfter bounds how long another side may have us wait.
const maxRetryAfter = 24 * time.Hour

// retryAfter reads the header of that name: seconds; a date is not believed.
func retryAfter(text string) time.Duration {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0
	}
	return min(time.Duration(min(n, int(maxRetryAfter/time.Second)))*time.Second, maxRetryAfter)
}

// CheckURL tells what is wrong with an address to call, without repeating what may be
// secret in it.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("it is no address to call; give one as in https://hooks.example.org/path")
	case u.User != nil:
		return errors.New("there are a name and a password in the address; leave them out")
	case u.Fragment != "":
		return errors.New("there is a fragment (#...) in the address; leave it out")
	}
	return nil
}

// Close gives idle connections back.
func (c *Caller) Close() { c.http.CloseIdleConnections() }

package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// Why a server is not asked, though something answers at its address. An
// [*UnreachableError] wraps them; [*tls.CertificateVerificationError] is another such
// cause.
var (
	// ErrSpeaksTLS is a server that was asked by plain HTTP and speaks TLS.
	ErrSpeaksTLS = errors.New("it speaks TLS, and was asked by plain HTTP")
	// ErrSpeaksHTTP is a server that was asked by TLS and speaks plain HTTP.
	ErrSpeaksHTTP = errors.New("it speaks plain HTTP, and was asked by TLS")
)

// ErrTokenInClear is a server that would be sent a token in clear.
var ErrTokenInClear = errors.New("a token is not sent by plain HTTP beyond loopback, where others could read it")

// inClear returns an error where others could read what is sent to a server. A local
// socket has a name of loopback.
func inClear(base *url.URL) error {
	if base.Scheme == "http" && !loopback(base.Hostname()) {
		return fmt.Errorf("%w: ask https://%s", ErrTokenInClear, base.Host)
	}
	return nil
}

// notElsewhere keeps a request, and what it shows, with the server that is asked: the
// API sends nobody elsewhere.
func notElsewhere(next *http.Request, before []*http.Request) error {
	if was := before[0].URL; next.URL.Scheme != was.Scheme || next.URL.Host != was.Host {
		return fmt.Errorf("it sends elsewhere, to %s://%s", next.URL.Scheme, next.URL.Host)
	}
	if len(before) >= 10 {
		return errors.New("it sends from one place to the next")
	}
	return nil
}

// tlsConfig returns what connections by TLS go by.
func tlsConfig(ca []byte) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(ca) == 0 {
		return conf, nil
	}
	conf.RootCAs = x509.NewCertPool()
	if !conf.RootCAs.AppendCertsFromPEM(ca) {
		return nil, errors.New("CA holds no certificate in PEM; it begins with -----BEGIN CERTIFICATE-----")
	}
	return conf, nil
}

// loopback reports whether a host is this one.
func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback()
}

// mismatch returns the error for a server that speaks other than it was asked; nil
// where that is not so.
func (c *conn) mismatch(err error) error {
	if errors.Is(err, http.ErrSchemeMismatch) {
		return &UnreachableError{Server: c.base.String(), Err: fmt.Errorf("%w: ask http://%s", ErrSpeaksHTTP, c.base.Host)}
	}
	return nil
}

// askedPlainly reports whether an answer is that of a server which speaks TLS to who
// asked by plain HTTP, as those of Go and nginx put it.
func (c *conn) askedPlainly(status int, body []byte) bool {
	text := string(body)
	return c.base.Scheme == "http" && status == http.StatusBadRequest &&
		(strings.Contains(text, "HTTP request to an HTTPS server") || strings.Contains(text, "HTTP request was sent to HTTPS port"))
}

package auth

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// ErrRevoked is why a revoked certificate is refused.
var ErrRevoked = errors.New("certificate is revoked")

// Revocations tells whether a certificate is revoked. It is asked at every
// handshake, by many goroutines, and must not block.
type Revocations interface {
	Revoked(Identity) bool
}

// ServerConfig is what a server's TLS needs. CA, Certificate and Revocations
// must be given.
type ServerConfig struct {
	// CA is the authority that clients' certificates are from.
	CA *x509.Certificate
	// Certificate returns the server's own certificate of now. It is called at
	// every full handshake, so that a renewal needs no restart.
	Certificate func() (*tls.Certificate, error)
	Revocations Revocations
	// NextProtos are the protocols offered by ALPN. Default: "h2", as gRPC needs.
	NextProtos []string
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// ServerTLS is a server's side of TLS 1.3. A client's certificate is verified
// if it shows one; who needs one asks FromPeer. Its methods may be called by
// many goroutines.
type ServerTLS struct {
	outer, inner *tls.Config
}

// NewServerTLS returns a server's TLS. Until SetTickets is called, sessions are
// resumed by this server only.
func NewServerTLS(cfg ServerConfig) (*ServerTLS, error) {
	if cfg.CA == nil || cfg.Certificate == nil || cfg.Revocations == nil {
		return nil, errors.New("auth: CA, Certificate and Revocations of a server must be given")
	}
	if cfg.NextProtos == nil {
		cfg.NextProtos = []string{"h2"}
	}
	inner := &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: cfg.NextProtos,
		ClientAuth: tls.VerifyClientCertIfGiven,
		ClientCAs:  poolOf(cfg.CA),
		Time:       cfg.Now,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return cfg.Certificate()
		},
		VerifyConnection: func(cs tls.ConnectionState) error { return verifyClient(cs, cfg.Revocations) },
	}
	// Who serves with a configuration copies it first, as gRPC does; tickets
	// set later must reach the copy too. It asks for the one below each time.
	outer := inner.Clone()
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return inner, nil }
	return &ServerTLS{outer: outer, inner: inner}, nil
}

// Config returns the configuration to serve with.
func (s *ServerTLS) Config() *tls.Config { return s.outer.Clone() }

// SetTickets sets the keys of session tickets: the first one makes new tickets,
// all of them read old ones. Servers that have them in common resume one
// another's sessions. There must be at least one.
func (s *ServerTLS) SetTickets(keys [][32]byte) error {
	if len(keys) == 0 {
		return errors.New("auth: no key for session tickets; give at least one")
	}
	s.inner.SetSessionTicketKeys(keys)
	return nil
}

// verifyClient is called for every connection, resumed ones included. The chain
// has been verified before, for this connection or for the one it resumes.
func verifyClient(cs tls.ConnectionState, revoked Revocations) error {
	if len(cs.PeerCertificates) == 0 {
		return nil
	}
	id, err := IdentityOf(cs.PeerCertificates[0])
	if err != nil {
		return err
	}
	if revoked.Revoked(id) {
		return fmt.Errorf("%s, issued %s: %w", id, id.IssuedAt.Format(time.RFC3339), ErrRevoked)
	}
	return nil
}

// ClientConfig is what a client's TLS needs. CA must be given.
type ClientConfig struct {
	// CA is the cluster's authority.
	CA *x509.Certificate
	// Certificate returns the client's certificate of now, or nil to show none.
	// A nil function shows none.
	Certificate func() (*tls.Certificate, error)
	// Sessions keeps tickets. Default: a new cache of 64; all servers share
	// one entry. It must be emptied when the client gets another identity.
	Sessions tls.ClientSessionCache
	// Afresh: no session is resumed, so that the certificate that a connection
	// shows is that of the node which answers.
	Afresh bool
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// ClientTLS returns the configuration of a client, minion or node, of nodes. It
// accepts a node of the cluster only.
func ClientTLS(cfg ClientConfig) (*tls.Config, error) {
	if cfg.CA == nil {
		return nil, errors.New("auth: CA of a client must be given")
	}
	switch {
	case cfg.Afresh:
		cfg.Sessions = nil
	case cfg.Sessions == nil:
		cfg.Sessions = tls.NewLRUClientSessionCache(sessionCount)
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		ServerName:         ServerName,
		NextProtos:         []string{"h2"},
		RootCAs:            poolOf(cfg.CA),
		ClientSessionCache: cfg.Sessions,
		Time:               cfg.Now,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if cfg.Certificate == nil {
				return &tls.Certificate{}, nil
			}
			cert, err := cfg.Certificate()
			if cert == nil && err == nil {
				cert = &tls.Certificate{}
			}
			return cert, err
		},
		VerifyConnection: verifyServer,
	}, nil
}

const sessionCount = 64

// errUntrusted is why a server is refused.
var errUntrusted = errors.New("the server is not a node of this cluster")

// errUnnamed is why a server is refused whose certificate is not that of a node: it may
// be a node's, at another port.
var errUnnamed = errors.New("its certificate does not name a node")

func verifyServer(cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 {
		return fmt.Errorf("%w: it showed no certificate", errUntrusted)
	}
	id, err := IdentityOf(cs.PeerCertificates[0])
	if err != nil {
		return fmt.Errorf("%w: %w: %w", errUntrusted, errUnnamed, err)
	}
	if id.Kind != KindNode {
		return fmt.Errorf("%w: it is %s", errUntrusted, id)
	}
	return nil
}

// verifyFirst verifies a server whose authority is not known yet: accept says
// whether an authority that the server sent is the right one. It returns it.
func verifyFirst(cs tls.ConnectionState, now time.Time, accept func(*x509.Certificate) error) (*x509.Certificate, error) {
	if err := verifyServer(cs); err != nil {
		return nil, err
	}
	leaf, ca := cs.PeerCertificates[0], cs.PeerCertificates[len(cs.PeerCertificates)-1]
	if !ca.IsCA {
		return nil, fmt.Errorf("%w: it did not send its authority's certificate", errUntrusted)
	}
	if err := accept(ca); err != nil {
		return nil, fmt.Errorf("%w: %w", errUntrusted, err)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{DNSName: ServerName, Roots: poolOf(ca), CurrentTime: now}); err != nil {
		return nil, fmt.Errorf("%w: %w", errUntrusted, err)
	}
	return ca, nil
}

func poolOf(ca *x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	return pool
}

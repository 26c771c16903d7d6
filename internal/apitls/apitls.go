package apitls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// Deps is what a source works with; all may be nil.
type Deps struct {
	Logger *zap.Logger
	Now    func() time.Time
}

func (d Deps) filled() Deps {
	if d.Logger == nil {
		d.Logger = zap.NewNop()
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	return d
}

// Source gives the certificate to show. Its methods may be called by many
// goroutines.
type Source interface {
	// Certificate returns the certificate for a client.
	Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Expires is when the certificate ends that was shown last.
	Expires() time.Time
}

// Config returns the configuration of a server: TLS 1.2 or newer, with the ciphers
// and curves that Go takes. It names HTTP/2, since the server serves the local socket
// too: an http.Server decides once whether it speaks HTTP/2, and where a plain listener
// comes first it would not, though TLS offers it.
func Config(s Source) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.Certificate, NextProtos: []string{"h2", "http/1.1"}}
}

// checkLeaf tells why a certificate cannot serve at an instant.
func checkLeaf(leaf *x509.Certificate, now time.Time) error {
	switch {
	case !now.Before(leaf.NotAfter):
		return fmt.Errorf("it expired on %s; give one that is good", leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("it is good only from %s on; give one that is good now, or set this host's clock", leaf.NotBefore.UTC().Format(time.RFC3339))
	case !forServers(leaf):
		return errors.New("it is not for servers (its extended key usage lacks serverAuth); give one that is")
	}
	return nil
}

// forServers reports whether clients take a certificate as a server's.
func forServers(leaf *x509.Certificate) bool {
	if len(leaf.ExtKeyUsage) == 0 && len(leaf.UnknownExtKeyUsage) == 0 {
		return true // it is for all
	}
	for _, use := range leaf.ExtKeyUsage {
		if use == x509.ExtKeyUsageServerAuth || use == x509.ExtKeyUsageAny {
			return true
		}
	}
	return false
}

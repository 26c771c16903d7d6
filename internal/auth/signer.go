package auth

import (
	"crypto/x509"
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// NodeOf reads a certificate (DER), and returns it and the node that it names, if it is
// good at a time: of the authority, a node's, and not past its end. No other certificate
// that the authority issues is for servers by the name of nodes.
func NodeOf(ca *x509.Certificate, der []byte, at time.Time) (*x509.Certificate, job.NodeID, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, "", fmt.Errorf("the certificate cannot be read: %w", err)
	}
	if _, err := cert.Verify(x509.VerifyOptions{DNSName: ServerName, Roots: poolOf(ca), CurrentTime: at}); err != nil {
		return nil, "", fmt.Errorf("certificate %q: %w", cert.Subject.CommonName, err)
	}
	id, err := IdentityOf(cert)
	if err != nil {
		return nil, "", err
	}
	node, ok := id.Node()
	if !ok {
		return nil, "", fmt.Errorf("it is the certificate of %s", id)
	}
	return cert, node, nil
}

// Node is NodeOf by the authority of the cluster that the minion has joined.
func (c *Credentials) Node(der []byte, at time.Time) (*x509.Certificate, job.NodeID, error) {
	c.mu.Lock()
	ca := c.ca
	c.mu.Unlock()
	if ca == nil {
		return nil, "", ErrNotJoined
	}
	return NodeOf(ca, der, at)
}

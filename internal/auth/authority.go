package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"slices"
	"time"

	"github.com/carillon-cron/carillon/job"
)

const (
	// ServerName is the DNS name in the certificate of every node. All nodes
	// have the same, so that a session begun with one is resumed with another.
	ServerName = "carillon"
	// MemberName is the DNS name in the certificate of every member of the cluster's
	// own etcd: etcd goes by names, and no minion's certificate has one.
	MemberName = "carillon-etcd"
	// MemberTTL is how long a member's certificate lasts. A node that is off for
	// longer has to join again.
	MemberTTL = 365 * 24 * time.Hour
	// MinionTTL is how long a minion's certificate lasts by default.
	MinionTTL = 24 * time.Hour
	// NodeTTL is how long a node's certificate lasts by default.
	NodeTTL = 7 * 24 * time.Hour
	// Skew is how much earlier than its issue a certificate begins.
	Skew = 5 * time.Minute

	authorityTTL = 10 * 365 * 24 * time.Hour
)

// Authority issues the certificates of one cluster. It is immutable, and may be
// used by many goroutines.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes the authority of a cluster: a new P-256 key and a
// certificate for 10 years from now. The cluster's name is for people only.
func NewAuthority(cluster string, now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the authority's key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "carillon " + cluster},
		NotBefore:             now.Add(-Skew),
		NotAfter:              now.Add(authorityTTL),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true, // it signs no other authorities
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the authority's certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the authority's certificate: %w", err)
	}
	return &Authority{cert: cert, key: key}, nil
}

// ParseAuthority reads what CertificatePEM and KeyPEM return.
func ParseAuthority(certPEM, keyPEM []byte) (*Authority, error) {
	cert, err := parseCA(certPEM)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("the authority's key: %w", err)
	}
	pub, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok || !pub.Equal(key.Public()) {
		return nil, errors.New("the authority's key and certificate do not belong together")
	}
	return &Authority{cert: cert, key: key}, nil
}

// Certificate returns the authority's certificate; it must not be changed.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// CertificatePEM returns the authority's certificate, which is no secret.
func (a *Authority) CertificatePEM() []byte { return certificatePEM(a.cert.Raw) }

// KeyPEM returns the authority's key: who has it, is every node and minion.
func (a *Authority) KeyPEM() ([]byte, error) { return keyPEM(a.key) }

// SignMinion issues a certificate, in DER, for the key in a certificate signing
// request (DER), as CheckRequest accepts it. Its instant of issue is at, cut to
// a second; a ttl of 0 is MinionTTL. It does not outlast the authority.
func (a *Authority) SignMinion(csr []byte, id job.MinionID, ttl time.Duration, at time.Time) ([]byte, error) {
	req, err := CheckRequest(csr, id)
	if err != nil {
		return nil, err
	}
	if ttl == 0 {
		ttl = MinionTTL
	}
	return a.sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: string(id)},
		URIs:        []*url.URL{identityURI(KindMinion, string(id))},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, req.PublicKey, ttl, at)
}

// IssueNode makes a key and a certificate for a node, for both sides of a
// connection. Hosts are names and addresses by which others than minions and
// nodes, which ask for ServerName, reach the node; there may be none. A ttl of
// 0 is NodeTTL. The chain holds the authority too, for a minion's first contact.
func (a *Authority) IssueNode(name job.NodeID, hosts []string, ttl time.Duration, at time.Time) (*tls.Certificate, error) {
	if err := job.CheckName(string(name)); err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	if ttl == 0 {
		ttl = NodeTTL
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key of node %s: %w", name, err)
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: string(name)},
		URIs:        []*url.URL{identityURI(KindNode, string(name))},
		DNSNames:    []string{ServerName},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	addHosts(template, hosts)
	return a.issue(template, key, ttl, at)
}

// IssueServer makes a key and a certificate for the API of a node. It is good for
// servers only, and names nobody: minions and nodes take who shows it neither for a
// node nor for a minion. Hosts are the names and addresses by which clients ask; one
// at least. A ttl of 0 is NodeTTL. The chain holds the authority too.
func (a *Authority) IssueServer(node job.NodeID, hosts []string, ttl time.Duration, at time.Time) (*tls.Certificate, error) {
	if len(hosts) == 0 {
		return nil, fmt.Errorf("the API of node %s: no name is given; give one at least", node)
	}
	if ttl == 0 {
		ttl = NodeTTL
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key of the API of node %s: %w", node, err)
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "API of node " + string(node)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	addHosts(template, hosts)
	return a.issue(template, key, ttl, at)
}

// SignMember issues a certificate, in DER, for the key in a certificate signing
// request (DER) of a node whose etcd is a member of the cluster's own, or a client of
// one. Hosts are the names and addresses by which other nodes reach it.
func (a *Authority) SignMember(csr []byte, node job.NodeID, hosts []string, at time.Time) ([]byte, error) {
	req, err := CheckRequest(csr, job.MinionID(node))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: string(node)},
		URIs:        []*url.URL{identityURI(KindNode, string(node))},
		DNSNames:    []string{MemberName},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	addHosts(template, hosts)
	return a.sign(template, req.PublicKey, MemberTTL, at)
}

// addHosts makes a certificate good for names and addresses.
func addHosts(template *x509.Certificate, hosts []string) {
	for _, h := range hosts {
		switch ip := net.ParseIP(h); {
		case ip != nil && slices.ContainsFunc(template.IPAddresses, ip.Equal), ip == nil && slices.Contains(template.DNSNames, h):
		case ip != nil:
			template.IPAddresses = append(template.IPAddresses, ip)
		case h != "":
			template.DNSNames = append(template.DNSNames, h)
		}
	}
}

// issue signs a certificate for a key of our own.
func (a *Authority) issue(template *x509.Certificate, key *ecdsa.PrivateKey, ttl time.Duration, at time.Time) (*tls.Certificate, error) {
	der, err := a.sign(template, key.Public(), ttl, at)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the certificate of %s: %w", template.Subject.CommonName, err)
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// sign fills in what all certificates have in common.
func (a *Authority) sign(template *x509.Certificate, pub crypto.PublicKey, ttl time.Duration, at time.Time) ([]byte, error) {
	name := template.Subject.CommonName
	at = at.UTC().Truncate(time.Second)
	if ttl < time.Second {
		return nil, fmt.Errorf("certificate of %s: a life of %s is too short; give 1s or more", name, ttl)
	}
	if !at.Before(a.cert.NotAfter) {
		return nil, fmt.Errorf("certificate of %s: the cluster's authority expired on %s", name, a.cert.NotAfter.Format(time.DateOnly))
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	template.NotBefore = at.Add(-Skew)
	template.NotAfter = at.Add(ttl)
	if template.NotAfter.After(a.cert.NotAfter) {
		template.NotAfter = a.cert.NotAfter
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.BasicConstraintsValid = true
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, pub, a.key)
	if err != nil {
		return nil, fmt.Errorf("certificate of %s: %w", name, err)
	}
	return der, nil
}

// CheckRequest reads a certificate signing request (DER) of a minion. It must
// be signed by its own ECDSA or Ed25519 key and ask for the minion's id, or for
// no name at all.
func CheckRequest(csr []byte, id job.MinionID) (*x509.CertificateRequest, error) {
	if err := job.CheckName(string(id)); err != nil {
		return nil, fmt.Errorf("minion: %w", err)
	}
	req, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return nil, fmt.Errorf("signing request of minion %s cannot be read; send PKCS #10 in DER: %w", id, err)
	}
	switch req.PublicKey.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey:
	default:
		return nil, fmt.Errorf("signing request of minion %s has a key of type %s; use ECDSA or Ed25519", id, req.PublicKeyAlgorithm)
	}
	if err := req.CheckSignature(); err != nil {
		return nil, fmt.Errorf("signing request of minion %s is not signed by its own key: %w", id, err)
	}
	if cn := req.Subject.CommonName; cn != "" && cn != string(id) {
		return nil, fmt.Errorf("signing request of minion %s asks for the name %q; ask for the minion's own id", id, cn)
	}
	return req, nil
}

// NewRequest makes the certificate signing request (DER) of a minion.
func NewRequest(id job.MinionID, key crypto.Signer) ([]byte, error) {
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: string(id)}}, key)
	if err != nil {
		return nil, fmt.Errorf("signing request of minion %s: %w", id, err)
	}
	return csr, nil
}

// parseCA reads the certificate of an authority from PEM.
func parseCA(text []byte) (*x509.Certificate, error) {
	cert, err := parseCertificate(text)
	if err != nil {
		return nil, fmt.Errorf("the authority's certificate: %w", err)
	}
	if !cert.IsCA || !cert.BasicConstraintsValid {
		return nil, fmt.Errorf("certificate %q is not an authority's; give the cluster's authority", cert.Subject)
	}
	return cert, nil
}

// newSerial returns a random serial number of 127 bits.
func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("serial number: %w", err)
	}
	return n.Add(n, big.NewInt(1)), nil
}

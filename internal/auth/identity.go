package auth

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/carillon-cron/carillon/job"
)

// Kind is what a certificate says that its holder is.
type Kind string

// The kinds of holders. KindJoining is in no certificate: it is who shows none,
// since it has yet to join.
const (
	KindMinion  Kind = "minion"
	KindNode    Kind = "node"
	KindJoining Kind = "joining"
)

// Identity is who is at the other end of a connection. The zero Identity is
// nobody.
type Identity struct {
	Kind Kind
	Name string
	// Serial is the certificate's number, in hexadecimal.
	Serial string
	// IssuedAt is when the certificate was issued, in whole seconds, UTC; for
	// one minion it rises strictly.
	IssuedAt time.Time
}

// ErrNoIdentity is returned for a peer that showed no certificate.
var ErrNoIdentity = errors.New("the peer showed no certificate of this cluster")

// Minion returns the id of a minion, and false for anybody else, whose name is
// not told.
func (i Identity) Minion() (job.MinionID, bool) {
	if i.Kind != KindMinion {
		return "", false
	}
	return job.MinionID(i.Name), true
}

// Node returns the name of a node, and false for anybody else, whose name is
// not told.
func (i Identity) Node() (job.NodeID, bool) {
	if i.Kind != KindNode {
		return "", false
	}
	return job.NodeID(i.Name), true
}

func (i Identity) String() string {
	switch i.Kind {
	case "":
		return "nobody"
	case KindJoining:
		return "who shows no certificate"
	case KindMinion, KindNode:
	}
	return string(i.Kind) + " " + i.Name
}

// IdentityOf reads who a certificate is for. It does not verify it.
func IdentityOf(cert *x509.Certificate) (Identity, error) {
	if len(cert.URIs) != 1 {
		return Identity{}, fmt.Errorf("certificate %q has %d URIs; one like carillon://minion/ID is needed", cert.Subject, len(cert.URIs))
	}
	u := cert.URIs[0]
	kind, name := Kind(u.Host), strings.TrimPrefix(u.Path, "/")
	if u.Scheme != uriScheme || kind != KindMinion && kind != KindNode || *u != *identityURI(kind, name) {
		return Identity{}, fmt.Errorf("certificate %q is for %s; carillon://minion/ID or carillon://node/NAME is needed", cert.Subject, u)
	}
	if err := job.CheckName(name); err != nil {
		return Identity{}, fmt.Errorf("certificate for %s: the name %w", u, err)
	}
	if cert.Subject.CommonName != name {
		return Identity{}, fmt.Errorf("certificate for %s has the other name %q", u, cert.Subject.CommonName)
	}
	return Identity{Kind: kind, Name: name, Serial: cert.SerialNumber.Text(16), IssuedAt: cert.NotBefore.Add(Skew).UTC()}, nil
}

// FromPeer returns who calls a gRPC method, as TLS has verified it. The error
// is ErrNoIdentity where the caller showed no certificate.
func FromPeer(ctx context.Context) (Identity, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return Identity{}, ErrNoIdentity
	}
	switch info := p.AuthInfo.(type) {
	case AuthInfo:
		if info.Identity == (Identity{}) {
			return Identity{}, ErrNoIdentity
		}
		return info.Identity, nil
	case credentials.TLSInfo:
		if len(info.State.VerifiedChains) == 0 {
			return Identity{}, ErrNoIdentity
		}
		return IdentityOf(info.State.PeerCertificates[0])
	}
	return Identity{}, ErrNoIdentity
}

const uriScheme = "carillon"

func identityURI(k Kind, name string) *url.URL {
	return &url.URL{Scheme: uriScheme, Host: string(k), Path: "/" + name}
}

// Fingerprint is the SHA-256 of a public key in the form of SSH, for people to
// compare: "SHA256:" and base64.
type Fingerprint string

// FingerprintOf returns the fingerprint of a public key.
func FingerprintOf(pub crypto.PublicKey) (Fingerprint, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("fingerprint: %w", err)
	}
	sum := sha256.Sum256(der)
	return Fingerprint("SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])), nil
}

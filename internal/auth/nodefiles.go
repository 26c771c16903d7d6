package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/internal/auth/authpb"
	"github.com/carillon-cron/carillon/job"
)

// NodeFiles are the key and the certificates by which a node reaches the cluster's own
// etcd, and is reached as a member of it. They lie in files, since etcd reads them
// there at every handshake: a renewal needs no restart.
type NodeFiles struct {
	dir  directory
	node job.NodeID
	key  *ecdsa.PrivateKey
}

// OpenNodeFiles opens the files in a directory, and makes the key where there is none.
func OpenNodeFiles(dir string, node job.NodeID) (*NodeFiles, error) {
	f := &NodeFiles{dir: directory(dir), node: node}
	var err error
	f.key, err = f.dir.key()
	return f, err
}

// Cert, Key and CA are the paths of the files.
func (f *NodeFiles) Cert() string { return f.dir.path(certFile) }

// Key is the path of the key.
func (f *NodeFiles) Key() string { return f.dir.path(keyFile) }

// CA is the path of the authority's certificate.
func (f *NodeFiles) CA() string { return f.dir.path(caFile) }

// Leaf returns the certificate; nil: there is none yet.
func (f *NodeFiles) Leaf() (*x509.Certificate, error) {
	text, err := f.dir.read(certFile)
	if text == nil || err != nil {
		return nil, err
	}
	leaf, err := parseCertificate(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Cert(), err)
	}
	return leaf, nil
}

// Request makes the certificate signing request (DER) of the node.
func (f *NodeFiles) Request() ([]byte, error) { return NewRequest(job.MinionID(f.node), f.key) }

// Install keeps a certificate and the authority's, both in DER.
func (f *NodeFiles) Install(cert, ca []byte) error {
	leaf, err := x509.ParseCertificate(cert)
	if err != nil {
		return fmt.Errorf("certificate of node %s: %w", f.node, err)
	}
	if pub, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || !pub.Equal(f.key.Public()) {
		return fmt.Errorf("certificate of node %s: it is not for this node's key", f.node)
	}
	if err := f.dir.write(caFile, certificatePEM(ca)); err != nil {
		return err
	}
	return f.dir.write(certFile, certificatePEM(cert))
}

// NodeJoin is what a host asks for that is to be a node.
type NodeJoin struct {
	// Server is the host:port of a node, for minions and peers.
	Server string
	// Token is the text of a token for nodes.
	Token string
	// Hosts are the names and addresses by which other nodes reach this one.
	Hosts []string
	// PeerURL and ClientURL are where its etcd would be reached.
	PeerURL, ClientURL string
}

// ErrUnanswered is returned where no node has answered.
var ErrUnanswered = errors.New("no node answered")

// Join asks a node for what makes this host one, and installs the certificate. The
// server is told nothing before it has proved that it is of the token's cluster.
func (f *NodeFiles) Join(ctx context.Context, j NodeJoin) (*authpb.JoinNodeResponse, error) {
	token, err := ParseToken(j.Token)
	if err != nil {
		return nil, err
	}
	csr, err := f.Request()
	if err != nil {
		return nil, err
	}
	first := &firstContact{token: &token}
	var answer *authpb.JoinNodeResponse
	err = askNode(ctx, j.Server, first.config(time.Now), nil, func(ctx context.Context, e authpb.EnrollClient) (err error) {
		answer, err = e.JoinNode(ctx, &authpb.JoinNodeRequest{
			Node: string(f.node), Token: token.Text(), Csr: csr, Hosts: j.Hosts, PeerUrl: j.PeerURL, ClientUrl: j.ClientURL,
		})
		return err
	})
	if err != nil && !errors.Is(err, ErrRefused) && !errors.Is(err, errUntrusted) {
		return nil, fmt.Errorf("%w: %s: %w", ErrUnanswered, j.Server, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", j.Server, err)
	}
	ca, err := x509.ParseCertificate(answer.GetCa())
	if err != nil {
		return nil, fmt.Errorf("the answer of %s holds no authority's certificate: %w", j.Server, err)
	}
	if known := first.known(); known == nil || !ca.Equal(known) {
		return nil, fmt.Errorf("%w: it answered with an authority that is not its own", errUntrusted)
	}
	return answer, f.Install(answer.GetCertificate(), answer.GetCa())
}

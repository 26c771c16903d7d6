package signature

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
)

// Certificate is that of a signer.
type Certificate struct {
	// ID is the SHA-256 of DER, by which signatures name it.
	ID string
	// DER is the certificate itself.
	DER []byte
}

// CertificateOf returns a signer's certificate.
func CertificateOf(der []byte) *Certificate {
	sum := sha256.Sum256(der)
	return &Certificate{ID: string(sum[:]), DER: der}
}

// Signer signs by a node's certificate. It may be used by many goroutines.
type Signer struct {
	own func() (*tls.Certificate, error)

	mu sync.Mutex
	// mu guards the following: the certificate of last time, and what of it is told.
	last *tls.Certificate
	cert *Certificate
}

// NewSigner returns a Signer. own returns the node's certificate of now, with its key.
func NewSigner(own func() (*tls.Certificate, error)) *Signer { return &Signer{own: own} }

// Sign signs what is sent together. It keeps the leaves. Of none it returns nil.
func (s *Signer) Sign(leaves []Hash) (*Batch, error) {
	if len(leaves) == 0 {
		return nil, nil
	}
	cert, err := s.own()
	if err != nil {
		return nil, fmt.Errorf("sign orders: %w", err)
	}
	key, ok := cert.PrivateKey.(crypto.Signer)
	if !ok || len(cert.Certificate) == 0 {
		return nil, errors.New("sign orders: the node's certificate has no key")
	}
	b := &Batch{by: s.told(cert), tree: grow(leaves)}
	sum := signedText(b.tree.root(), len(leaves))
	if b.signature, err = key.Sign(rand.Reader, sum[:], crypto.SHA256); err != nil {
		return nil, fmt.Errorf("sign orders: %w", err)
	}
	return b, nil
}

func (s *Signer) told(cert *tls.Certificate) *Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != cert {
		s.last, s.cert = cert, CertificateOf(cert.Certificate[0])
	}
	return s.cert
}

// Batch is what was signed together. It is never changed, and may be used from any
// goroutine.
type Batch struct {
	by        *Certificate
	signature []byte
	tree      tree
}

// Restored returns the batch that somebody else has signed, of all its leaves.
func Restored(by *Certificate, signature []byte, leaves []Hash) *Batch {
	return &Batch{by: by, signature: signature, tree: grow(leaves)}
}

// By returns the certificate of who has signed.
func (b *Batch) By() *Certificate { return b.by }

// Root returns the signature of all, which names no place among the leaves.
func (b *Batch) Root() *agentpb.Signature {
	return &agentpb.Signature{Signer: []byte(b.by.ID), Signature: b.signature, Count: uint32(len(b.tree[0]))} // orders of one send
}

// Proof returns the signature of one, by its place among the leaves.
func (b *Batch) Proof(place int) Proof { return Proof{batch: b, place: uint32(place)} } // below the number of leaves

// Proof is the signature of one order. The zero Proof is none.
type Proof struct {
	batch *Batch
	place uint32
	// by and told are of a proof that came as a whole.
	by   *Certificate
	told *agentpb.Signature
}

// Told returns the proof that came with an order.
func Told(by *Certificate, s *agentpb.Signature) Proof { return Proof{by: by, told: s} }

// By returns the certificate of who has signed; nil: nobody has.
func (p *Proof) By() *Certificate {
	if p.batch != nil {
		return p.batch.by
	}
	return p.by
}

// Wire returns the form in which it is sent; empty: there is none.
func (p *Proof) Wire() *agentpb.Signature {
	switch {
	case p.batch != nil:
		s := p.batch.Root()
		s.Place, s.Path = p.place, p.batch.tree.path(int(p.place))
		return s
	case p.told != nil:
		return p.told
	}
	return &agentpb.Signature{}
}

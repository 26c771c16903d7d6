package signature

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// ErrUnsigned is the error of what has no signature.
var ErrUnsigned = errors.New("it has no signature of a node")

const (
	// maxCertificates bounds those that are kept; nodes tell them anew in each session.
	maxCertificates = 256
	// maxCertificate bounds one.
	maxCertificate = 8 << 10
	// keepGood is how many signatures that were found good are known again: the orders of
	// a batch come one after the other.
	keepGood = 16
)

// Node tells which node a certificate is of, if it is good at a time; see auth.Credentials.
type Node func(der []byte, at time.Time) (*x509.Certificate, job.NodeID, error)

// Checker checks signatures on a minion. It may be used by many goroutines.
type Checker struct {
	minion job.MinionID
	node   Node

	mu sync.Mutex
	// mu guards the following: certificates by their IDs, and the signatures that were
	// good last.
	certificates map[string]*certificate
	good         [keepGood]goodRoot
	next         int
}

type certificate struct {
	der []byte
	// node and leaf are known once it was checked; leaf is nil before.
	node job.NodeID
	leaf *x509.Certificate
}

type goodRoot struct {
	signer, signature string
	root              Hash
	leaves            uint32
}

// NewChecker returns a Checker for what a minion is told.
func NewChecker(minion job.MinionID, node Node) *Checker {
	return &Checker{minion: minion, node: node, certificates: map[string]*certificate{}}
}

// Learn takes certificates of signers. They count once they are found to be a node's.
func (c *Checker) Learn(ders [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, der := range ders {
		if len(der) > maxCertificate {
			continue
		}
		of := CertificateOf(der)
		if c.certificates[of.ID] != nil {
			continue
		}
		if len(c.certificates) >= maxCertificates {
			clear(c.certificates)
		}
		c.certificates[of.ID] = &certificate{der: der}
	}
}

// Check returns the node that has signed an order for this minion. The error says what
// is wrong, to people; at is the nodes' time.
func (c *Checker) Check(o *job.Order, s *agentpb.Signature, at time.Time) (job.NodeID, error) {
	if len(s.GetSignature()) == 0 {
		return "", ErrUnsigned
	}
	if o.NotAfter.IsZero() {
		return "", errors.New("it has no end")
	}
	var d Digests
	return c.check("order", d.Of(o), s, at)
}

// CheckQuestion returns the node that has signed a question for this minion, as Check does.
func (c *Checker) CheckQuestion(r *job.Ref, s *agentpb.Signature, at time.Time) (job.NodeID, error) {
	var d Digests
	return c.check("question", d.OfQuestion(r), s, at)
}

// CheckCancel returns the node that has signed a cancel for this minion, as Check does.
func (c *Checker) CheckCancel(r *job.Ref, reason string, s *agentpb.Signature, at time.Time) (job.NodeID, error) {
	var d Digests
	return c.check("cancel", d.OfCancel(r, reason), s, at)
}

func (c *Checker) check(what string, digest Hash, s *agentpb.Signature, at time.Time) (job.NodeID, error) {
	if len(s.GetSignature()) == 0 {
		return "", ErrUnsigned
	}
	root, ok := climb(LeafOf(digest, c.minion), s.GetPlace(), s.GetCount(), s.GetPath())
	if !ok {
		return "", errors.New("its signature is malformed")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	by, err := c.signer(string(s.GetSigner()), at)
	if err != nil {
		return "", err
	}
	found := goodRoot{signer: string(s.GetSigner()), signature: string(s.GetSignature()), root: root, leaves: s.GetCount()}
	for i := range c.good {
		if c.good[i] == found {
			return by.node, nil
		}
	}
	key, ok := by.leaf.PublicKey.(*ecdsa.PublicKey)
	sum := signedText(root, int(s.GetCount()))
	if !ok || !ecdsa.VerifyASN1(key, sum[:], s.GetSignature()) {
		return "", fmt.Errorf("the signature of node %s is not for this %s on this minion: it is another minion's, or was altered, or has something that this release does not know", by.node, what)
	}
	c.good[c.next], c.next = found, (c.next+1)%keepGood
	return by.node, nil
}

// signer returns the certificate of a node that is good at a time. The caller holds c.mu.
func (c *Checker) signer(id string, at time.Time) (*certificate, error) {
	by := c.certificates[id]
	if by == nil {
		return nil, fmt.Errorf("the certificate of its signature, %s, was not told", hex.EncodeToString([]byte(id)))
	}
	if by.leaf == nil || at.Before(by.leaf.NotBefore) || at.After(by.leaf.NotAfter) {
		leaf, node, err := c.node(by.der, at)
		if err != nil {
			return nil, fmt.Errorf("it is signed by a certificate that is no node's of this cluster: %w", err)
		}
		by.leaf, by.node = leaf, node
	}
	return by, nil
}

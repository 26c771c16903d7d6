package agentpush

import (
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/agentpush/signature"
	"github.com/carillon-cron/carillon/job"
)

// signing signs what this node's engine has minions told; see package signature.
type signing struct {
	*base
	signer *signature.Signer
	// ready reports whether orders are signed.
	ready func() bool
}

// proofBytes is about what a signature adds to a message.
const proofBytes = 640

// sign signs messages that are the orders, and are sent together.
func (sg *signing) sign(msgs []*message, orders []job.Order) {
	if sg.signer == nil || !sg.ready() {
		return
	}
	var digests signature.Digests
	leaves := make([]signature.Hash, len(orders))
	var digest signature.Hash
	for i := range orders {
		if i == 0 || !sameFan(msgs[i-1], msgs[i]) {
			digest = digests.Of(&orders[i])
		}
		leaves[i] = signature.LeafOf(digest, orders[i].Task.Minion)
	}
	sg.prove(msgs, leaves)
}

// signRefs signs messages that are questions or cancels of tasks, and are sent together.
func (sg *signing) signRefs(msgs []*message, refs []job.Ref, of func(*signature.Digests, *job.Ref) signature.Hash) {
	if sg.signer == nil || !sg.ready() {
		return
	}
	var digests signature.Digests
	leaves := make([]signature.Hash, len(refs))
	for i := range refs {
		leaves[i] = signature.LeafOf(of(&digests, &refs[i]), refs[i].Task.Minion)
	}
	sg.prove(msgs, leaves)
}

// prove signs the leaves of messages.
func (sg *signing) prove(msgs []*message, leaves []signature.Hash) {
	b := sg.batch(leaves)
	if b == nil {
		return
	}
	for i, m := range msgs {
		m.proof = b.Proof(i)
		m.size += proofBytes
	}
}

// batch signs leaves; nil: there are none, or it cannot.
func (sg *signing) batch(leaves []signature.Hash) *signature.Batch {
	b, err := sg.signer.Sign(leaves)
	if err != nil {
		sg.log.Error("messages to minions go without a signature, and minions that want one refuse them", zap.Error(err))
		return nil
	}
	return b
}

// signFans signs the orders of all fans of a batch.
func (sg *signing) signFans(b *agentpb.Batch, told *told) {
	if len(b.GetFans()) == 0 || sg.signer == nil || !sg.ready() {
		return
	}
	var digests signature.Digests
	for _, f := range b.GetFans() {
		o, err := agentpb.ToOrder(f.GetOrder(), "")
		if err != nil {
			sg.log.Error("an order of our own cannot be read, and is not signed", zap.Error(err))
			return
		}
		digest := digests.Of(&o)
		f.Digest = digest[:]
	}
	if signed := sg.batch(leavesOf(b)); signed != nil {
		b.Fanned = signed.Root()
		b.Certificates = told.add(b.GetCertificates(), signed.By())
	}
}

// leavesOf returns the leaves of all fans of a batch; nil: they are not signed.
func leavesOf(b *agentpb.Batch) []signature.Hash {
	var leaves []signature.Hash
	for _, f := range b.GetFans() {
		if len(f.GetDigest()) != len(signature.Hash{}) {
			return nil
		}
		for _, minion := range f.GetMinions() {
			leaves = append(leaves, signature.LeafOf(signature.Hash(f.GetDigest()), job.MinionID(minion)))
		}
	}
	return leaves
}

// told are the IDs of certificates that the reader of a stream was told of.
type told []string

// maxTold bounds what is remembered; then all are told anew.
const maxTold = 64

// add adds a certificate to those that are told next, if the reader does not have it.
func (t *told) add(next [][]byte, by *signature.Certificate) [][]byte {
	if slices.Contains(*t, by.ID) {
		return next
	}
	if len(*t) >= maxTold {
		*t = (*t)[:0]
	}
	*t = append(*t, by.ID)
	return append(next, by.DER)
}

// signatures returns those of messages, nil if none has one, and the certificates that
// are to be told with them.
func (t *told) signatures(msgs []*message) (all []*agentpb.Signature, certificates [][]byte) {
	signed := false
	for _, m := range msgs {
		if by := m.proof.By(); by != nil {
			signed = true
			certificates = t.add(certificates, by)
		}
	}
	if !signed {
		return nil, nil
	}
	all = make([]*agentpb.Signature, len(msgs))
	for i, m := range msgs {
		all[i] = m.proof.Wire()
	}
	return all, certificates
}

// signers are the certificates that came by a link.
type signers map[string]*signature.Certificate

// learn takes certificates. There are no more of them than whoever tells remembers.
func (s signers) learn(ders [][]byte) error {
	for _, der := range ders {
		by := signature.CertificateOf(der)
		if len(s) >= 2*maxTold && s[by.ID] == nil {
			clear(s)
		}
		if len(der) > maxSigner {
			return fmt.Errorf("a signer's certificate has %d bytes; at most %d are taken", len(der), maxSigner)
		}
		s[by.ID] = by
	}
	return nil
}

// maxSigner bounds a signer's certificate.
const maxSigner = 8 << 10

// proof returns what was told of the message at a place of a batch; zero: it is not signed.
func (s signers) proof(b *agentpb.Batch, place int) signature.Proof {
	if place >= len(b.GetSignatures()) {
		return signature.Proof{}
	}
	told := b.GetSignatures()[place]
	if by := s[string(told.GetSigner())]; by != nil {
		return signature.Told(by, told)
	}
	return signature.Proof{}
}

// fanned returns what all orders of a batch's fans were signed by; nil: they were not.
func (s signers) fanned(b *agentpb.Batch) *signature.Batch {
	by := s[string(b.GetFanned().GetSigner())]
	if by == nil {
		return nil
	}
	leaves := leavesOf(b)
	if len(leaves) == 0 || len(leaves) != int(b.GetFanned().GetCount()) {
		return nil
	}
	return signature.Restored(by, b.GetFanned().GetSignature(), leaves)
}

package worker

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/agentpush/signature"
	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/job"
)

// signer has minions check signatures, and signs by a node's certificate.
type signer struct {
	t    testing.TB
	n    *node
	cert *tls.Certificate
	sign *signature.Signer
}

func newSigner(t testing.TB, n *node) *signer {
	t.Helper()
	ca, err := auth.NewAuthority("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.IssueNode("n1", nil, 0, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	n.change = func(d *Deps) {
		d.Signatures = signature.NewChecker("m1", func(der []byte, at time.Time) (*x509.Certificate, job.NodeID, error) {
			return auth.NodeOf(ca.Certificate(), der, at)
		})
	}
	return &signer{t, n, cert, signature.NewSigner(func() (*tls.Certificate, error) { return cert, nil })}
}

// order offers an order as it was signed, and waits until it is taken.
func (s *signer) order(o *job.Order, change ...func(*agentpb.Order)) {
	s.t.Helper()
	var d signature.Digests
	b, err := s.sign.Sign([]signature.Hash{signature.LeafOf(d.Of(o), "m1")})
	if err != nil {
		s.t.Fatal(err)
	}
	p := b.Proof(0)
	w := agentpb.FromOrder(o)
	for _, f := range change {
		f(w)
	}
	seq := s.n.offer(&agentpb.Offer{Orders: []*agentpb.Order{w}, Signatures: []*agentpb.Signature{p.Wire()}, Certificates: s.cert.Certificate[:1]})
	s.n.await("taken", func() bool { return s.n.taken[seq] })
}

// cancel cancels an order as it was signed, and waits until that is taken.
func (s *signer) cancel(o *job.Order, reason string) {
	s.t.Helper()
	var d signature.Digests
	ref := job.Ref{Task: o.Task, Shard: o.Shard, Token: o.Token, Term: o.Term}
	b, err := s.sign.Sign([]signature.Hash{signature.LeafOf(d.OfCancel(&ref, reason), "m1")})
	if err != nil {
		s.t.Fatal(err)
	}
	p := b.Proof(0)
	seq := s.n.offer(&agentpb.Offer{
		Cancels:    []*agentpb.Cancel{{Task: agentpb.FromTask(o.Task), Shard: uint32(o.Shard), TokenEpoch: o.Token.Epoch, TokenRevision: o.Token.Revision, Term: o.Term, Reason: reason}},
		Signatures: []*agentpb.Signature{p.Wire()}, Certificates: s.cert.Certificate[:1],
	})
	s.n.await("taken", func() bool { return s.n.taken[seq] })
}

// Nobody ends what runs, nor fences those who order, by a word that no node has signed (I14).
func TestI14_CancelsAndQuestionsAreSigned(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	s := newSigner(t, n)
	start(t, n, dir)
	o := bounded("sleep 600")
	s.order(o)
	n.running(o)
	n.cancel(o, "by who forwards")
	n.ask(o.Task, o.Shard, job.Token{Epoch: o.Token.Epoch, Revision: 1 << 40})
	later := bounded("true")
	s.order(later)
	if r := n.final(later); r.State != job.StateSucceeded {
		t.Errorf("an order after a question with another token: %s, %s", r.State, r.Reason)
	}
	n.running(o)
	s.cancel(o, "by its owner")
	if r := n.final(o); r.State != job.StateCancelled || !strings.Contains(r.Reason, "cancelled while it ran") {
		t.Errorf("cancelled by its owner: %s, %s", r.State, r.Reason)
	}
}

// bounded returns an order that has an end.
func bounded(line string) *job.Order {
	o := shell("%s", line)
	o.NotAfter = time.Now().Add(time.Hour)
	return o
}

// A new minion takes no order without the signature of a node, nor one that was changed;
// what is refused is told, counted, and starts nothing (I14).
func TestI14_OrdersAreSigned(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	s := newSigner(t, n)
	reg := prometheus.NewRegistry()
	checked := n.change
	n.change = func(d *Deps) { checked(d); d.Metrics = reg }
	start(t, n, dir)
	good, unsigned, changed := bounded("true"), bounded("true"), bounded("true")
	unsigned.Token.Revision = 1 << 40
	n.order(unsigned)
	if r := n.final(unsigned); r.State != job.StateRejected || !strings.Contains(r.Reason, "has no signature of a node, and this minion takes none without") {
		t.Errorf("without a signature: %s, %s", r.State, r.Reason)
	}
	s.order(changed, func(w *agentpb.Order) { w.Command = []string{"/bin/sh", "-c", "false"} })
	if r := n.final(changed); r.State != job.StateRejected || !strings.Contains(r.Reason, "the signature of node n1 is not for this order") {
		t.Errorf("changed: %s, %s", r.State, r.Reason)
	}
	// A token that nobody has signed fences nobody.
	s.order(good)
	if r := n.final(good); r.State != job.StateSucceeded {
		t.Errorf("as it was signed: %s, %s", r.State, r.Reason)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, x := range f.GetMetric() {
			name := f.GetName()
			for _, l := range x.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = x.GetCounter().GetValue() + x.GetGauge().GetValue()
		}
	}
	for _, name := range []string{"carillon_minion_orders_refused_total missing", "carillon_minion_orders_refused_total wrong", "carillon_minion_signatures_demanded"} {
		if got[name] != 1 {
			t.Errorf("%s is %v", name, got[name])
		}
	}
}

// A minion that has worked before its release knew of signatures takes orders without,
// until the first good one; then never again, unless it is told to (I14).
func TestI14_OnceSignedAlwaysSigned(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	_, stop := start(t, n, dir) // of the former release, which checks nothing
	n.connected()
	stop()
	s := newSigner(t, n)
	run := func(what string, order func(*job.Order), want job.State) {
		t.Helper()
		o := bounded("true")
		order(o)
		if r := n.final(o); r.State != want {
			t.Errorf("%s: %s, %s; want %s", what, r.State, r.Reason, want)
		}
	}
	signed, unsigned := func(o *job.Order) { s.order(o) }, func(o *job.Order) { n.order(o) }
	changed := func(o *job.Order) { s.order(o, func(w *agentpb.Order) { w.User = "root" }) }
	tells := func(want string) {
		t.Helper()
		n.await("the fact "+want, func() bool {
			said := []*agentpb.Inventory{n.hellos[len(n.hellos)-1].GetInventory()}
			if len(n.told) > 0 {
				said = append(said, n.told[len(n.told)-1])
			}
			return slices.ContainsFunc(said, func(inv *agentpb.Inventory) bool { return inv.GetFacts()[job.FactUnsignedOrders] == want })
		})
	}
	_, stop = start(t, n, dir)
	n.connected()
	tells(job.UnsignedUntilSigned)
	run("before the first signature, without one", unsigned, job.StateSucceeded)
	run("before the first signature, with a wrong one", changed, job.StateRejected)
	run("before the first signature, without one, again", unsigned, job.StateSucceeded)
	run("with a signature", signed, job.StateSucceeded)
	tells(job.UnsignedRefused)
	run("after it, without one", unsigned, job.StateRejected)
	stop()
	_, stop = start(t, n, dir)
	run("in the next process, without one", unsigned, job.StateRejected)
	stop()
	_, stop = start(t, n, dir, func(c *Config) { c.UnsignedOrders = true })
	n.connected()
	tells(job.UnsignedAllowed)
	run("where it is told to, without one", unsigned, job.StateSucceeded)
	run("where it is told to, with a wrong one", changed, job.StateRejected)
	run("where it is told to, with one", signed, job.StateSucceeded)
	stop()
	start(t, n, dir)
	run("where it is told to no more, without one", unsigned, job.StateRejected)
	if st, err := os.Stat((&Config{DataDir: dir}).path(signedMark)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the mark: %v, %v", st, err)
	}
}

// The command knows who has caused it, and no job can say otherwise.
func TestSubjectIsAVariable(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	start(t, n, dir)
	o := shell("echo $CARILLON_SUBJECT")
	o.Subject, o.Author, o.Env = "token ci", "ada", map[string]string{"CARILLON_SUBJECT": "root (socket)"}
	n.order(o)
	if r := n.final(o); r.Stdout.Head != "token ci\n" {
		t.Errorf("the command ran for %q", r.Stdout.Head)
	}
}

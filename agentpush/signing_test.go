package agentpush_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/carillon-cron/carillon/agentpush"
	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/agentpush/agenttest"
	"github.com/carillon-cron/carillon/agentpush/signature"
	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/job"
)

// reader is a minion that checks the orders that it is offered, and takes them.
type reader struct {
	check *signature.Checker
	conn  *grpc.ClientConn

	mu sync.Mutex
	// mu guards the following: who has signed its orders, in their order, or why they
	// are not good; and how many certificates it was told.
	by           []string
	certificates int
	// ended is why the session has.
	ended error
}

// read opens a minion's session with a node.
func (c *cluster) read(n *node, id job.MinionID, ca *auth.Authority) *reader {
	c.t.Helper()
	conn, err := agenttest.Dialer(n.addr)()
	if err != nil {
		c.t.Fatal(err)
	}
	r := &reader{conn: conn, check: signature.NewChecker(id, func(der []byte, at time.Time) (*x509.Certificate, job.NodeID, error) {
		return auth.NodeOf(ca.Certificate(), der, at)
	})}
	stream, err := agentpb.NewPushClient(conn).Session(c.ctx)
	if err == nil {
		err = stream.Send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Hello{Hello: &agentpb.Hello{
			Minion: string(id), Instance: "1", Version: "1", Protocol: agentpb.Protocol, WallClock: time.Now().UnixNano(), Inventory: &agentpb.Inventory{},
		}}})
	}
	if err != nil {
		c.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			f, err := stream.Recv()
			if err != nil {
				r.mu.Lock()
				r.ended = err
				r.mu.Unlock()
				return
			}
			if o := f.GetOffer(); o != nil {
				r.take(o)
				if stream.Send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Taken{Taken: &agentpb.Taken{Seq: o.GetSeq()}}}) != nil {
					return
				}
			}
		}
	}()
	c.t.Cleanup(func() { _ = conn.Close(); <-done })
	c.eventually("minion "+string(id)+" is known to all nodes", func() bool {
		r.mu.Lock()
		ended := r.ended
		r.mu.Unlock()
		if ended != nil {
			c.t.Fatal(ended)
		}
		return !slices.ContainsFunc(c.nodes, func(n *node) bool { return !n.hub.Connected(id) })
	})
	return r
}

func (r *reader) take(o *agentpb.Offer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.check.Learn(o.GetCertificates())
	r.certificates += len(o.GetCertificates())
	place := 0
	next := func(check func(*agentpb.Signature) (job.NodeID, error)) {
		var s *agentpb.Signature
		if place < len(o.GetSignatures()) {
			s = o.GetSignatures()[place]
		}
		place++
		node, err := check(s)
		if err != nil {
			node = job.NodeID(err.Error())
		}
		r.by = append(r.by, string(node))
	}
	for _, w := range o.GetOrders() {
		next(func(s *agentpb.Signature) (job.NodeID, error) {
			order, err := agentpb.ToOrder(w, "")
			if err != nil {
				return "", err
			}
			return r.check.Check(&order, s, time.Now())
		})
	}
	for _, w := range o.GetQuestions() {
		next(func(s *agentpb.Signature) (job.NodeID, error) {
			ref, err := agentpb.ToRef(w, "")
			if err != nil {
				return "", err
			}
			return r.check.CheckQuestion(&ref, s, time.Now())
		})
	}
	for _, w := range o.GetCancels() {
		next(func(s *agentpb.Signature) (job.NodeID, error) {
			ref, err := agentpb.ToRef(w, "")
			if err != nil {
				return "", err
			}
			return r.check.CheckCancel(&ref, w.GetReason(), s, time.Now())
		})
	}
}

// signing returns what has each node sign by a certificate of its own.
func signing(t testing.TB, ready func(*node) bool) (*auth.Authority, func(*node, *agentpush.Deps)) {
	t.Helper()
	ca, err := auth.NewAuthority("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ca, func(n *node, d *agentpush.Deps) {
		cert, err := ca.IssueNode(n.id, nil, 0, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		d.Signer = signature.NewSigner(func() (*tls.Certificate, error) { return cert, nil })
		d.Signs = func() bool { return ready(n) }
	}
}

// An order, a question and a cancel go to their minion with the signature of the node whose
// engine has sent them, each by itself or with others, also by way of a peer; the
// certificate goes once (I15).
func TestI15_OrdersAreSignedByTheirOwner(t *testing.T) {
	t.Parallel()
	ca, sign := signing(t, func(*node) bool { return true })
	c := newClusterWith(t, 2, nil, sign)
	const minions = 20
	readers := map[job.MinionID]*reader{}
	for i := range minions {
		id := job.MinionID(fmt.Sprintf("m%02d", i))
		readers[id] = c.read(c.nodes[i%2], id, ca)
	}
	want := map[job.MinionID][]string{}
	arrives := func(n *node, of []job.MinionID) {
		t.Helper()
		for _, id := range of {
			want[id] = append(want[id], string(n.id))
		}
		c.eventually("each minion has what it is told", func() bool {
			for id, r := range readers {
				r.mu.Lock()
				there := len(r.by)
				r.mu.Unlock()
				if there < len(want[id]) {
					return false
				}
			}
			return true
		})
	}
	send := func(n *node, all []job.Order) {
		t.Helper()
		n.hub.Send(all)
		var of []job.MinionID
		var refs []job.Ref
		for i := range all {
			of, refs = append(of, all[i].Task.Minion), append(refs, job.Ref{Task: all[i].Task, Shard: all[i].Shard, Token: all[i].Token, Term: 7})
		}
		arrives(n, of)
		n.hub.Ask(refs)
		arrives(n, of)
		n.hub.Cancel(refs, "enough \xff")
		arrives(n, of)
	}
	for round := range 3 {
		for _, n := range c.nodes {
			// One run on all of them: a fan to the peer.
			fan := orders("", minions, time.Hour)
			for i := range fan {
				fan[i] = fan[0]
				fan[i].Task.Minion, fan[i].Task.Attempt = job.MinionID(fmt.Sprintf("m%02d", i)), 2*round+3
			}
			send(n, fan)
			// Others, which have nothing in common.
			single := orders("", minions, time.Hour)
			for i := range single {
				single[i].Task.Minion = job.MinionID(fmt.Sprintf("m%02d", i))
			}
			send(n, single)
		}
	}
	for id, r := range readers {
		r.mu.Lock()
		if !slices.Equal(r.by, want[id]) {
			t.Errorf("minion %s: what it was told is signed by %q, want %q", id, r.by, want[id])
		}
		if r.certificates != len(c.nodes) {
			t.Errorf("minion %s was told %d certificates of %d nodes", id, r.certificates, len(c.nodes))
		}
		r.mu.Unlock()
	}
}

// A node that may not sign yet sends its orders without a signature.
func TestOrdersBeforeAllNodesSign(t *testing.T) {
	t.Parallel()
	ca, sign := signing(t, func(n *node) bool { return n.id == "node-1" })
	c := newClusterWith(t, 2, nil, sign)
	r := c.read(c.nodes[1], "m", ca)
	for i, n := range c.nodes {
		one := orders("m", 1, time.Hour)
		n.hub.Send(one)
		want := []string{signature.ErrUnsigned.Error(), "node-1"}[i]
		c.eventually("the order is there", func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			return len(r.by) == i+1
		})
		if got := r.by[i]; got != want {
			t.Errorf("an order of %s: %s, want %s", n.id, got, want)
		}
	}
}

package attack

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
)

// The certificates that callers come with. A kind is what a caller shows, good
// or bad.
const (
	showsNothing  = "nothing"
	showsMinion   = "a minion's"
	showsNode     = "a node's"
	showsExpired  = "an expired one of a minion"
	showsLateNode = "an expired one of a node"
	showsRevoked  = "a revoked one"
	showsForeign  = "another authority's, of a minion"
	showsImpostor = "another authority's, of a node"
)

// certificates returns one of each kind for a cluster. The minion's is that of
// "web1", the node's that of the node itself.
func certificates(t testing.TB, n *node) map[string]*tls.Certificate {
	t.Helper()
	const id job.MinionID = "web1"
	ours, theirs := n.cluster.authority(t), newAuthority(t)
	longAgo := time.Now().Add(-2 * time.Hour)
	revoked := joined(t, n, "revoked1")
	n.carillon(t, "minions", "revoke", "revoked1", "--reason", "taken").must(t)
	return map[string]*tls.Certificate{
		showsNothing:  nil,
		showsMinion:   joined(t, n, id),
		showsNode:     nodeCertificate(t, ours, job.NodeID(n.name), time.Now(), 0),
		showsExpired:  minionCertificate(t, ours, id, longAgo, time.Hour),
		showsLateNode: nodeCertificate(t, ours, job.NodeID(n.name), longAgo, time.Hour),
		showsRevoked:  revoked,
		showsForeign:  minionCertificate(t, theirs, id, time.Now(), 0),
		showsImpostor: nodeCertificate(t, theirs, job.NodeID(n.name), time.Now(), 0),
	}
}

// greet makes a TLS connection and returns why the node refuses it. A server of
// TLS 1.3 refuses after the client's last word, so it takes a read to learn it.
func greet(t testing.TB, n *node, cert *tls.Certificate) error {
	t.Helper()
	conn, err := tls.Dial("tcp", n.peer, tlsOf(cert))
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Read(make([]byte, 1))
	return err
}

// Who shows a bad certificate does not get as far as to call a method.
func TestBadCertificatesEndAtTheHandshake(t *testing.T) {
	t.Parallel()
	n := startNode(t, newCluster(t), "n1")
	certs := certificates(t, n)
	for _, kind := range []string{showsNothing, showsMinion, showsNode} {
		if err := greet(t, n, certs[kind]); err != nil {
			t.Errorf("who shows %s is refused: %v", kind, err)
		}
	}
	for _, kind := range []string{showsExpired, showsLateNode, showsForeign, showsImpostor} {
		if greet(t, n, certs[kind]) == nil {
			t.Errorf("who shows %s is let in", kind)
		}
	}
	await.Until(t, "the node knows the revocation", func() bool { return greet(t, n, certs[showsRevoked]) != nil })
}

// A minion that joins by a token is there, as a process.
func TestMinionJoins(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil, "n1")
	m := startMinion(t, n, "web1")
	n.carillon(t, "exec", "--target", "web1", "--", "true").must(t)
	if n.apply(t, "kind: nonsense\n").code == 0 {
		t.Error("nonsense was applied")
	}
	if res, err := n.post("/v1/nonsense", "{}"); err != nil || res.code != 404 {
		t.Errorf("nonsense was answered: %v, %v", res, err)
	}
	if m.id == "" || m.dir == "" || n.dir == "" {
		t.Error("nothing is known of the processes")
	}
}

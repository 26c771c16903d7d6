package attack

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/internal/auth/authpb"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
)

// hold opens a TLS connection on which nothing is said, and reports its end.
func hold(t testing.TB, n *node, cert *tls.Certificate) (ended chan struct{}) {
	t.Helper()
	conn, err := tls.Dial("tcp", n.peer, tlsOf(cert))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		for buf := make([]byte, 1024); ; {
			if _, err := conn.Read(buf); err != nil {
				return
			}
		}
	}()
	return ended
}

// unfinished opens a connection on which a call is begun that is never said to its
// end, and reports the connection's end. While a call is open nothing but the
// revocation ends the connection, and nothing is said that could be refused.
func unfinished(t testing.TB, n *node, cert *tls.Certificate) (ended chan struct{}) {
	t.Helper()
	stream, err := dial(t, n, cert).NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true}, authpb.Enroll_Renew_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		_ = stream.RecvMsg(&authpb.RenewResponse{}) // there is no answer: the request is not complete
	}()
	return ended
}

// session opens a minion's session, and reports its end.
func session(t testing.TB, n *node, cert *tls.Certificate, id string) (ended chan struct{}) {
	t.Helper()
	stream, err := agentpb.NewPushClient(dial(t, n, cert)).Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	hello := &agentpb.Hello{Minion: id, Instance: "stolen", Protocol: agentpb.Protocol}
	if err := stream.Send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Hello{Hello: hello}}); err != nil {
		t.Fatal(err)
	}
	if m, err := stream.Recv(); err != nil || m.GetWelcome() == nil {
		t.Fatalf("no welcome: %v, %v", m, err)
	}
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if _, err := stream.Recv(); err != nil {
				return
			}
		}
	}()
	return ended
}

func done(ended chan struct{}) bool {
	select {
	case <-ended:
		return true
	default:
		return false
	}
}

// A revocation ends all that was opened with the certificate, on all nodes:
// sessions, other streams, and connections on which nothing is said.
func TestRevocationEndsOpenConnections(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	n1, n2 := startNode(t, c, "n1"), startNode(t, c, "n2")
	stolen, other := joined(t, n1, "web1"), joined(t, n1, "web2")
	open := map[string]chan struct{}{
		"its session":                          session(t, n1, stolen, "web1"),
		"a call that is never said to its end": unfinished(t, n1, stolen),
		"such a call to another node":          unfinished(t, n2, stolen),
		"an idle connection":                   hold(t, n1, stolen),
	}
	bystanders := map[string]chan struct{}{"session": session(t, n2, other, "web2"), "call": unfinished(t, n2, other)}
	n1.carillon(t, "minions", "revoke", "web1", "--reason", "taken").must(t)
	begin := time.Now()
	for name, ended := range open {
		await.Until(t, name+" has ended", func() bool { return done(ended) })
		t.Logf("%s ended %v after the revocation", name, time.Since(begin).Round(time.Millisecond))
	}
	for _, n := range []*node{n1, n2} {
		await.Until(t, "node "+n.name+" refuses the certificate", func() bool { return greet(t, n, stolen) != nil })
	}
	for name, ended := range bystanders {
		if done(ended) {
			t.Errorf("the %s of another minion has ended, too", name)
		}
	}
}

// A revoked minion gets no orders, and is told as one whose certificate was
// revoked. What it runs is told as uncontrollable: its run does not go on as if
// somebody would hear of its end.
func TestRevokedMinionIsOutOfReach(t *testing.T) {
	t.Parallel()
	const why = "certificate was revoked"
	c := newCluster(t)
	nodes := []*node{startNode(t, c, "n1"), startNode(t, c, "n2")}
	n := nodes[0]
	startMinion(t, n, "web1")
	startMinion(t, n, "web2")
	going := n.detached(t, "web1", "sleep", "600")
	n.carillon(t, "minions", "revoke", "web1", "--reason", "taken").must(t)
	for _, n := range nodes {
		await.Until(t, n.name+" says why the minion is out of reach", func() bool {
			return strings.Contains(n.carillon(t, "minions").must(t), "its "+why)
		})
		if r := n.carillon(t, "exec", "--timeout", "1m", "--target", "web1", "--", "true"); r.code == 0 || !strings.Contains(r.stderr, why) || strings.Contains(r.stderr, "not connected") {
			t.Errorf("a revoked minion gets orders, or is not told as out of reach: %+v", r)
		}
	}
	var r job.Run
	await.Until(t, "the run has ended", func() bool {
		r = n.run(t, string(going.RunID))
		return r.State.Final()
	})
	// A node that has just taken the shard does not know yet that it was begun.
	if r.State != job.StateIndeterminate || !strings.Contains(r.Reason, why) || !strings.HasSuffix(r.Reason, " is not known") {
		t.Errorf("what it ran ended as %s: %s", r.State, r.Reason)
	}
	both := n.carillon(t, "exec", "--target", "web*", "--detach", "-o", "name", "--", "true").must(t)
	await.Until(t, "the run of both has ended", func() bool {
		r = n.run(t, strings.TrimPrefix(both, "run/"))
		return r.State.Final()
	})
	told := false
	for _, task := range r.Tasks {
		told = told || task.Minion == "web1" && task.State == job.StateUncontrollable && strings.Contains(task.Reason, why)
	}
	if !told || r.State != job.StateSucceeded {
		t.Errorf("a run on both says nothing of the revoked one, or did not run on the other: %+v", r)
	}
}

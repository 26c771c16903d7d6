package attack

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/auth/access"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/certs"
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
	showsServer   = "that of the API"
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
	server, err := ours.IssueServer(job.NodeID(n.name), []string{"carillon", n.name}, 0, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*tls.Certificate{
		showsServer:   server,
		showsNothing:  nil,
		showsMinion:   joined(t, n, id),
		showsNode:     nodeCertificate(t, ours, job.NodeID(n.name), time.Now(), 0),
		showsExpired:  certs.Minion(t, ours, id, longAgo, time.Hour),
		showsLateNode: nodeCertificate(t, ours, job.NodeID(n.name), longAgo, time.Hour),
		showsRevoked:  revoked,
		showsForeign:  certs.Minion(t, theirs, id, time.Now(), 0),
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
	for _, kind := range []string{showsExpired, showsLateNode, showsForeign, showsImpostor, showsServer} {
		if greet(t, n, certs[kind]) == nil {
			t.Errorf("who shows %s is let in", kind)
		}
	}
	await.Until(t, "the node knows the revocation", func() bool { return greet(t, n, certs[showsRevoked]) != nil })
}

// takeover is what a stolen minion's certificate is tried for: what only nodes
// may do, in one link.
func takeover(n *node, victim string, run job.Run, mark string) []*agentpb.PeerFrame {
	const highest = 1 << 62
	task := agentpb.FromTask(job.TaskID{Fire: run.FireID, Minion: job.MinionID(victim), Attempt: run.Attempt})
	uid := job.UID{1, 2, 3}
	order := &agentpb.Order{
		Task:  &agentpb.TaskID{Job: uid[:], At: time.Now().UnixNano(), Trigger: uint32(job.TriggerManual), Attempt: 1, Minion: victim},
		Shard: 7, TokenEpoch: highest, TokenRevision: highest, Namespace: "default", Name: "taken", RunId: "taken",
		Command: []string{"/usr/bin/touch", mark}, NotAfter: time.Now().Add(time.Minute).UnixNano(), Timeout: int64(time.Minute),
	}
	var questions []*agentpb.Question
	for shard := range uint32(shards) {
		questions = append(questions, &agentpb.Question{Task: task, Shard: shard, TokenEpoch: highest, TokenRevision: highest})
	}
	return []*agentpb.PeerFrame{
		{Body: &agentpb.PeerFrame_Hello{Hello: &agentpb.PeerHello{Node: n.name}}},
		{Body: &agentpb.PeerFrame_Batch{Batch: &agentpb.Batch{
			First:     1,
			Orders:    []*agentpb.Order{order},
			Questions: questions,
			Cancels:   []*agentpb.Cancel{{Task: task, Shard: uint32(run.Shard), TokenEpoch: highest, TokenRevision: highest, Reason: "taken"}},
		}}},
	}
}

// detached starts a command on a minion, and returns its run once it runs.
func (n *node) detached(t testing.TB, on string, command ...string) job.Run {
	t.Helper()
	id := n.carillon(t, append([]string{"exec", "--target", on, "--detach", "-o", "name", "--"}, command...)...).must(t)
	id = strings.TrimPrefix(id, "run/")
	var r job.Run
	await.Until(t, "run "+id+" runs", func() bool {
		r = n.run(t, id)
		return len(r.Tasks) > 0 && r.Tasks[0].State == job.StateRunning
	})
	return r
}

// run returns a run as the API tells of it.
func (n *node) run(t testing.TB, id string) job.Run {
	t.Helper()
	res, err := n.get("/v1/runs/" + id)
	if err != nil || res.code != http.StatusOK {
		t.Fatalf("run %s: %+v, %v", id, res, err)
	}
	var r job.Run
	if err := json.Unmarshal([]byte(res.body), &r); err != nil {
		t.Fatalf("run %s: %v", id, err)
	}
	return r
}

// With a minion's certificate one cannot order commands on another minion, end
// its tasks, block its shards with a high token, or read what nodes tell one
// another.
func TestMinionDoesNotPassAsNode(t *testing.T) {
	t.Parallel()
	n := startNode(t, newCluster(t), "n1")
	startMinion(t, n, "victim")
	going := n.detached(t, "victim", "sleep", "600")
	mark := filepath.Join(t.TempDir(), "mark")

	conn := dial(t, n, joined(t, n, "web1"))
	peers := agentpb.NewPeerClient(conn)
	if got, err := peers.LiveRuns(t.Context(), &agentpb.LiveRunsRequest{}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a minion reads the open runs: %d of them, %v", len(got.GetRuns()), err)
	}
	if got, err := peers.Status(t.Context(), &agentpb.StatusRequest{}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a minion reads the node's status: %s, %v", got.GetStatus(), err)
	}
	link, err := peers.Link(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range takeover(n, "victim", going, mark) {
		_ = link.Send(f) // what came of it, Recv tells
	}
	refused := make(chan error, 1)
	go func() {
		for {
			if _, err := link.Recv(); err != nil {
				refused <- err
				return
			}
		}
	}()
	await.Until(t, "the link is refused, or the command has run", func() bool {
		select {
		case err := <-refused:
			if status.Code(err) != codes.PermissionDenied {
				t.Errorf("the link ended with %v", err)
			}
			return true
		default:
			_, err := os.Stat(mark)
			return err == nil
		}
	})
	// What comes now comes after whatever the intruder has sent.
	if r := n.carillon(t, "exec", "--timeout", "1m", "--target", "victim", "--", "true"); r.code != 0 {
		t.Errorf("the minion does not take orders any more: %s%s", r.stdout, r.stderr)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("a minion's certificate ran a command on another minion")
	}
	if r := n.run(t, string(going.RunID)); r.State.Final() {
		t.Errorf("a minion's certificate ended another minion's task: %s, %s", r.State, r.Reason)
	}
}

// A node's certificate is good for that node's name only.
func TestNodeDoesNotPassAsAnother(t *testing.T) {
	t.Parallel()
	n := startNode(t, newCluster(t), "n1")
	cert := nodeCertificate(t, n.cluster.authority(t), "n2", time.Now(), 0)
	link, err := agentpb.NewPeerClient(dial(t, n, cert)).Link(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = link.Send(&agentpb.PeerFrame{Body: &agentpb.PeerFrame_Hello{Hello: &agentpb.PeerHello{Node: "n3"}}}) // Recv tells
	for err == nil {
		_, err = link.Recv()
	}
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("node n2 said that it is n3, and the link ended with %v", err)
	}
}

// mayCall says for every method which certificates it takes: of the kinds that
// the handshake lets through, for others get to no method.
func mayCall() map[protoreflect.FullName]string {
	return map[protoreflect.FullName]string{
		"carillon.auth.v1.Enroll.Join":     showsNothing,
		"carillon.auth.v1.Enroll.JoinNode": showsNothing,
		"carillon.auth.v1.Enroll.Renew":    showsMinion,
		"carillon.agent.v1.Push.Session":   showsMinion,
		"carillon.agent.v1.Peer.Link":      showsNode,
		"carillon.agent.v1.Peer.LiveRuns":  showsNode,
		"carillon.agent.v1.Peer.Status":    showsNode,
		"carillon.agent.v1.Peer.Time":      showsNode,
		"carillon.agent.v1.Peer.Output":    showsNode,
		"carillon.agent.v1.Peer.Share":     showsNode,
	}
}

// Every method of every service, called with every kind of certificate, is
// refused but to the one kind that it is for.
func TestMethodsByKindOfCertificate(t *testing.T) {
	t.Parallel()
	n := startNode(t, newCluster(t), "n1")
	certs := certificates(t, n)
	await.Until(t, "the node knows the revocation", func() bool { return greet(t, n, certs[showsRevoked]) != nil })
	for _, m := range methods(t) {
		taker, ok := mayCall()[m.FullName()]
		if !ok {
			t.Errorf("nothing here says who may call %s", m.FullName())
			continue
		}
		for kind, cert := range certs {
			err := call(t, dial(t, n, cert), m)
			switch refused := isRefusal(err); {
			case kind == taker && refused:
				t.Errorf("%s, which is for who shows %s, is refused to it: %v", m.FullName(), kind, err)
			case kind != taker && !refused:
				t.Errorf("%s is for who shows %s, and takes who shows %s: %v", m.FullName(), taker, kind, err)
			}
		}
	}
}

// Every frame that a stream can carry has one kind of sender, and the table of
// the node says the same.
func TestFramesByKindOfCertificate(t *testing.T) {
	t.Parallel()
	senders := map[protoreflect.FullName]auth.Kind{
		"carillon.agent.v1.FromMinion": auth.KindMinion,
		"carillon.agent.v1.ToMinion":   auth.KindNode,
		"carillon.agent.v1.PeerFrame":  auth.KindNode,
	}
	n := startNode(t, newCluster(t), "n1")
	certs := certificates(t, n)
	files(func(f protoreflect.FileDescriptor) {
		for i := range f.Messages().Len() {
			m := f.Messages().Get(i)
			for j := range m.Oneofs().Len() {
				if m.Oneofs().Get(j).IsSynthetic() {
					continue // an optional field
				}
				for k := range m.Oneofs().Get(j).Fields().Len() {
					frame := m.Oneofs().Get(j).Fields().Get(k).FullName()
					if got := access.Rules()[frame]; len(got) != 1 || got[0] != senders[m.FullName()] {
						t.Errorf("the table lets %v send %s; want %q", got, frame, senders[m.FullName()])
					}
				}
			}
		}
	})
	// On the wire: a stream of one kind does not take what the others send.
	for _, m := range methods(t) {
		if !m.IsStreamingClient() {
			continue
		}
		frames := []*dynamicpb.Message{dynamicpb.NewMessage(m.Input())} // all of one kind
		if body := m.Input().Oneofs().ByName("body"); body != nil {
			frames = nil
			for k := range body.Fields().Len() {
				frame := dynamicpb.NewMessage(m.Input())
				frame.Set(body.Fields().Get(k), frame.NewField(body.Fields().Get(k)))
				frames = append(frames, frame)
			}
		}
		for _, frame := range frames {
			for kind, cert := range certs {
				err := call(t, dial(t, n, cert), m, frame)
				if refused := isRefusal(err); refused == (kind == mayCall()[m.FullName()]) {
					t.Errorf("%s of %v from who shows %s: %v", m.FullName(), frame, kind, err)
				}
			}
		}
	}
}

// files calls fn for the files of all protocols of this project that are linked
// here.
func files(fn func(protoreflect.FileDescriptor)) {
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if strings.HasPrefix(string(f.Package()), "carillon.") {
			fn(f)
		}
		return true
	})
}

// methods returns the methods of all services of this project.
func methods(t testing.TB) []protoreflect.MethodDescriptor {
	t.Helper()
	var out []protoreflect.MethodDescriptor
	files(func(f protoreflect.FileDescriptor) {
		for i := range f.Services().Len() {
			for j := range f.Services().Get(i).Methods().Len() {
				out = append(out, f.Services().Get(i).Methods().Get(j))
			}
		}
	})
	if len(out) < len(mayCall()) {
		t.Fatalf("%d methods were found, of %d that are known", len(out), len(mayCall()))
	}
	return out
}

// call calls a method with empty messages, or with those given, and returns how
// it ended: there is always an error where it does not succeed.
func call(t testing.TB, conn *grpc.ClientConn, m protoreflect.MethodDescriptor, frames ...proto.Message) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	name := "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, name)
	if err != nil {
		return err
	}
	if len(frames) == 0 {
		frames = []proto.Message{dynamicpb.NewMessage(m.Input())}
	}
	for _, f := range frames {
		_ = stream.SendMsg(f) // why not, RecvMsg tells
	}
	_ = stream.CloseSend() // the same
	for err == nil {
		err = stream.RecvMsg(dynamicpb.NewMessage(m.Output()))
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// isRefusal reports whether a call was refused for who the caller is: by the
// method, or in the handshake.
func isRefusal(err error) bool {
	switch status.Code(err) {
	case codes.PermissionDenied, codes.Unauthenticated:
		return true
	case codes.Unavailable:
		for _, broken := range []string{"tls: ", "write tcp ", "read tcp ", "connection reset", "error reading"} {
			if strings.Contains(err.Error(), broken) {
				return true
			}
		}
	}
	return false
}

// Nodes take one another's certificates: what one orders arrives at the other's
// minion.
func TestNodesTakeOneAnother(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	nodes := []*node{startNode(t, c, "n1"), startNode(t, c, "n2")}
	startMinion(t, nodes[1], "web1")
	await.Until(t, "the other node knows the minion", func() bool { return nodes[0].connected(t, "web1") })
	for i := range 2 * shards { // the shards of commands are spread over both
		await.Until(t, "a command has run", func() bool {
			res := nodes[i%2].carillon(t, "exec", "--timeout", "1m", "--target", "web1", "--", "true")
			if res.code != 0 { // nodes whose etcd stands still lose their leases, and for a while their minions
				t.Logf("%s: exit code %d: %s", nodes[i%2].name, res.code, res.stderr)
			}
			return res.code == 0
		})
	}
}

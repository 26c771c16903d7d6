package attack

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/agentpush/signature"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
)

// relay is who forwards orders to a minion, with the certificate of a node: it may say
// what it likes, but for the words of other nodes.
type relay struct {
	agentpb.UnimplementedPushServer
	addr string

	mu sync.Mutex
	// mu guards the following: the minion's session, and what it has said of tasks.
	stream grpc.BidiStreamingServer[agentpb.FromMinion, agentpb.ToMinion]
	ends   map[int64]*agentpb.Report // by the instants of their fires
	runs   map[int64]bool            // what was started
	seq    uint64
}

func startRelay(t testing.TB, cert *tls.Certificate) *relay {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{addr: lis.Addr().String(), ends: map[int64]*agentpb.Report{}, runs: map[int64]bool{}}
	srv := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{*cert}, ClientAuth: tls.RequestClientCert, NextProtos: []string{"h2"},
	})))
	agentpb.RegisterPushServer(srv, r)
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(lis) }()
	t.Cleanup(func() { srv.Stop(); <-done })
	return r
}

// Session implements agentpb.PushServer.
func (r *relay) Session(stream grpc.BidiStreamingServer[agentpb.FromMinion, agentpb.ToMinion]) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	if err := stream.Send(&agentpb.ToMinion{Body: &agentpb.ToMinion_Welcome{Welcome: &agentpb.Welcome{Node: "relay", WallClock: time.Now().UnixNano(), Session: 1 << 40}}}); err != nil {
		return err
	}
	r.mu.Lock()
	r.stream = stream
	r.mu.Unlock()
	for {
		f, err := stream.Recv()
		if err != nil {
			return err
		}
		r.mu.Lock()
		for _, rep := range f.GetReports().GetReports() {
			if rep.GetState() == string(job.StateRunning) && rep.GetStartedAt() != 0 {
				r.runs[rep.GetTask().GetAt()] = true
			}
			if job.State(rep.GetState()).Final() {
				r.ends[rep.GetTask().GetAt()] = rep
			}
		}
		r.mu.Unlock()
	}
}

// sends sends an order, and returns how it ended.
func (r *relay) sends(t testing.TB, o *agentpb.Order, s *agentpb.Signature, certificates ...[]byte) *agentpb.Report {
	t.Helper()
	offer := &agentpb.Offer{Orders: []*agentpb.Order{o}, Certificates: certificates}
	if s != nil {
		offer.Signatures = []*agentpb.Signature{s}
	}
	r.offers(t, offer)
	await.Until(t, "the order has an end", func() bool { return r.end(o.GetTask().GetAt()) != nil })
	return r.end(o.GetTask().GetAt())
}

// offers offers something.
func (r *relay) offers(t testing.TB, offer *agentpb.Offer) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq++
	offer.Seq = r.seq
	if err := r.stream.Send(&agentpb.ToMinion{Body: &agentpb.ToMinion_Offer{Offer: offer}}); err != nil {
		t.Fatal(err)
	}
}

// end returns how the task of an instant ended; nil: it has not.
func (r *relay) end(at int64) *agentpb.Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ends[at]
}

// began reports whether the task of an instant has been started.
func (r *relay) began(at int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.runs[at]
}

// acknowledges has the minion forget what it has told of a task, as far as it does.
func (r *relay) acknowledges(t testing.TB, o *job.Order) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.ends, o.Task.Fire.At)
	if err := r.stream.Send(&agentpb.ToMinion{Body: &agentpb.ToMinion_Ack{Ack: &agentpb.Ack{Tasks: []*agentpb.TaskID{agentpb.FromTask(o.Task)}}}}); err != nil {
		t.Fatal(err)
	}
}

// questionSignedBy returns the signature of whoever has a certificate, for a question.
func questionSignedBy(t testing.TB, cert *tls.Certificate, o *job.Order) *agentpb.Signature {
	t.Helper()
	var d signature.Digests
	leaf := signature.LeafOf(d.OfQuestion(&job.Ref{Task: o.Task, Shard: o.Shard, Token: o.Token, Term: o.Term}), o.Task.Minion)
	b, err := signature.NewSigner(func() (*tls.Certificate, error) { return cert, nil }).Sign([]signature.Hash{leaf})
	if err != nil {
		t.Fatal(err)
	}
	p := b.Proof(0)
	return p.Wire()
}

// cancelSignedBy returns the signature of whoever has a certificate, for a cancel.
func cancelSignedBy(t testing.TB, cert *tls.Certificate, o *job.Order, reason string) *agentpb.Signature {
	t.Helper()
	var d signature.Digests
	leaf := signature.LeafOf(d.OfCancel(&job.Ref{Task: o.Task, Shard: o.Shard, Token: o.Token, Term: o.Term}, reason), o.Task.Minion)
	b, err := signature.NewSigner(func() (*tls.Certificate, error) { return cert, nil }).Sign([]signature.Hash{leaf})
	if err != nil {
		t.Fatal(err)
	}
	p := b.Proof(0)
	return p.Wire()
}

// signedBy returns the signature of whoever has a certificate.
func signedBy(t testing.TB, cert *tls.Certificate, o *job.Order) *agentpb.Signature {
	t.Helper()
	var d signature.Digests
	b, err := signature.NewSigner(func() (*tls.Certificate, error) { return cert, nil }).Sign([]signature.Hash{signature.LeafOf(d.Of(o), o.Task.Minion)})
	if err != nil {
		t.Fatal(err)
	}
	p := b.Proof(0)
	return p.Wire()
}

// Who stands between a node and a minion, be it another node, can have the minion start
// nothing but what a node has signed for it, and for whom its list names.
func TestOrdersWithoutTheSignatureOfANode(t *testing.T) {
	t.Parallel()
	n := startNode(t, newCluster(t), "n1")
	authority := n.cluster.authority(t)
	owner := nodeCertificate(t, authority, "n1", time.Now(), time.Hour)
	former := nodeCertificate(t, authority, "n1", time.Now().Add(-2*time.Hour), time.Hour)
	stranger := nodeCertificate(t, newAuthority(t), "n1", time.Now(), time.Hour)
	other := joined(t, n, "m2")
	list, marker := filepath.Join(openDir(t), "allow.yaml"), filepath.Join(openDir(t), "made")
	if err := os.WriteFile(list, []byte("rules: [{program: /usr/bin/touch, args: any, subjects: [alice]}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := startMinion(t, n, "m1")
	m.kill() // it has joined, and comes to the relay now
	r := startRelay(t, nodeCertificate(t, authority, "relay", time.Now(), time.Hour))
	start(t, program{name: "worker", args: []string{"--id", "m1", "--servers", r.addr, "--data-dir", m.dir, "--cgroup", "none", "--allow", list}})
	await.Until(t, "the minion is at the relay", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.stream != nil
	})
	at := time.Now().UnixNano()
	order := func(path string, change ...func(*job.Order)) *job.Order {
		at++
		o := &job.Order{
			Task: job.TaskID{Fire: job.FireID{Job: job.UID{1}, At: at, Trigger: job.TriggerManual}, Minion: "m1", Attempt: 1}, Shard: 1, Token: job.Token{Epoch: 1, Revision: 1},
			Key: job.Key{Namespace: "ops", Name: "j"}, RunID: "r", Command: []string{"/usr/bin/touch", path}, Subject: "alice", Author: "alice",
			ScheduledAt: time.Now(), NotAfter: time.Now().Add(time.Hour), Timeout: time.Minute,
		}
		for _, f := range change {
			f(o)
		}
		return o
	}
	by := func(who string) func(*job.Order) { return func(o *job.Order) { o.Subject = who } }
	for name, c := range map[string]struct {
		order  *job.Order
		cert   *tls.Certificate
		change func(*agentpb.Order, *agentpb.Signature)
		want   string
	}{
		"without a signature":         {order: order(marker), want: "it has no signature of a node"},
		"signed by another minion":    {order: order(marker), cert: other, want: "signed by a certificate that is no node's of this cluster"},
		"signed by a foreign node":    {order: order(marker), cert: stranger, want: "signed by a certificate that is no node's of this cluster"},
		"signed by what has expired":  {order: order(marker), cert: former, want: "has expired"},
		"for another minion":          {order: order(marker, func(o *job.Order) { o.Task.Minion = "m2" }), cert: owner, want: "is not for this order on this minion"},
		"with another command":        {order: order(marker), cert: owner, change: func(o *agentpb.Order, _ *agentpb.Signature) { o.Command = []string{"/usr/bin/touch", marker, marker} }, want: "is not for this order"},
		"as another account":          {order: order(marker), cert: owner, change: func(o *agentpb.Order, _ *agentpb.Signature) { o.User = "root" }, want: "is not for this order"},
		"a second time, as a new one": {order: order(marker), cert: owner, change: func(o *agentpb.Order, _ *agentpb.Signature) { at++; o.Task.At = at }, want: "is not for this order"},
		"for mallory as alice":        {order: order(marker, by("mallory")), cert: owner, change: func(o *agentpb.Order, _ *agentpb.Signature) { o.Subject = "alice" }, want: "is not for this order"},
		"for mallory":                 {order: order(marker, by("mallory")), cert: owner, want: `mallory asked for the start, and the rule has the subjects "alice"`},
		"of mallory's job":            {order: order(marker, func(o *job.Order) { o.Author = "mallory" }), cert: owner, want: `mallory applied the job, and the rule has the subjects "alice"`},
		"of nobody":                   {order: order(marker, by(""), func(o *job.Order) { o.Author = "" }), cert: owner, want: "nobody knows who applied the job"},
	} {
		w := agentpb.FromOrder(c.order)
		var s *agentpb.Signature
		var certificates [][]byte
		if c.cert != nil {
			s, certificates = signedBy(t, c.cert, c.order), c.cert.Certificate[:1]
		}
		if c.change != nil {
			c.change(w, s)
		}
		w.Task.Minion = "m1"
		if end := r.sends(t, w, s, certificates...); end.GetState() != string(job.StateRejected) || !strings.Contains(end.GetReason(), c.want) {
			t.Errorf("an order %s ended as %s: %s\nwant %q", name, end.GetState(), end.GetReason(), c.want)
		}
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("an order was obeyed that no node has signed for this minion")
	}
	good := order(marker)
	if end := r.sends(t, agentpb.FromOrder(good), signedBy(t, owner, good), owner.Certificate[0]); end.GetState() != string(job.StateSucceeded) {
		t.Errorf("a good order ended as %s: %s", end.GetState(), end.GetReason())
	}
	if _, err := os.Stat(marker); err != nil {
		t.Error(err)
	}
}

// Who stands between a node and a minion ends nothing that runs, and has no later order
// refused, by a cancel or a question of their own.
func TestCancelsWithoutTheSignatureOfANode(t *testing.T) {
	t.Parallel()
	n := startNode(t, newCluster(t), "n1")
	authority := n.cluster.authority(t)
	owner, stranger := nodeCertificate(t, authority, "n1", time.Now(), time.Hour), nodeCertificate(t, newAuthority(t), "n1", time.Now(), time.Hour)
	m := startMinion(t, n, "m1")
	m.kill() // it has joined, and comes to the relay now
	r := startRelay(t, nodeCertificate(t, authority, "relay", time.Now(), time.Hour))
	start(t, program{name: "worker", args: []string{"--id", "m1", "--servers", r.addr, "--data-dir", m.dir, "--cgroup", "none"}})
	await.Until(t, "the minion is at the relay", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.stream != nil
	})
	at := time.Now().UnixNano()
	order := func(argv ...string) *job.Order {
		at++
		return &job.Order{
			Task: job.TaskID{Fire: job.FireID{Job: job.UID{1}, At: at, Trigger: job.TriggerManual}, Minion: "m1", Attempt: 1}, Shard: 1, Token: job.Token{Epoch: 1, Revision: 1},
			Key: job.Key{Namespace: "ops", Name: "j"}, RunID: "r", Command: argv, ScheduledAt: time.Now(), NotAfter: time.Now().Add(time.Hour), Timeout: time.Hour,
		}
	}
	// What runs waits for this file.
	gate := filepath.Join(openDir(t), "gate")
	victim := order("/bin/sh", "-c", `echo began; while [ ! -e "$0" ]; do sleep 0.05; done`, gate)
	r.offers(t, &agentpb.Offer{Orders: []*agentpb.Order{agentpb.FromOrder(victim)}, Signatures: []*agentpb.Signature{signedBy(t, owner, victim)}, Certificates: owner.Certificate[:1]})
	await.Until(t, "the command runs", func() bool { return r.began(victim.Task.Fire.At) })
	cancel := func(o *job.Order) *agentpb.Cancel {
		return &agentpb.Cancel{Task: agentpb.FromTask(o.Task), Shard: 1, TokenEpoch: 1, TokenRevision: 1, Reason: "mallory"}
	}
	fence := &agentpb.Question{Task: agentpb.FromTask(victim.Task), Shard: 1, TokenEpoch: 1 << 40, TokenRevision: 1 << 40}
	elsewhere := *victim
	elsewhere.Task.Minion = "m2"
	for name, o := range map[string]*agentpb.Offer{
		"a cancel without a signature":       {Cancels: []*agentpb.Cancel{cancel(victim)}},
		"a question without a signature":     {Questions: []*agentpb.Question{fence}},
		"a cancel by the order's signature":  {Cancels: []*agentpb.Cancel{cancel(victim)}, Signatures: []*agentpb.Signature{signedBy(t, owner, victim)}, Certificates: owner.Certificate[:1]},
		"a cancel of another minion's task":  {Cancels: []*agentpb.Cancel{cancel(victim)}, Signatures: []*agentpb.Signature{cancelSignedBy(t, owner, &elsewhere, "mallory")}, Certificates: owner.Certificate[:1]},
		"a cancel of another task":           {Cancels: []*agentpb.Cancel{cancel(victim)}, Signatures: []*agentpb.Signature{cancelSignedBy(t, owner, order("/bin/true"), "mallory")}, Certificates: owner.Certificate[:1]},
		"a cancel signed by a foreign node":  {Cancels: []*agentpb.Cancel{cancel(victim)}, Signatures: []*agentpb.Signature{cancelSignedBy(t, stranger, victim, "mallory")}, Certificates: stranger.Certificate[:1]},
		"a question by a cancel's signature": {Questions: []*agentpb.Question{fence}, Signatures: []*agentpb.Signature{cancelSignedBy(t, owner, victim, "mallory")}, Certificates: owner.Certificate[:1]},
	} {
		r.offers(t, o)
		// What is taken after it shows that it was dealt with.
		next := order("/bin/true")
		if end := r.sends(t, agentpb.FromOrder(next), signedBy(t, owner, next), owner.Certificate[0]); end.GetState() != string(job.StateSucceeded) {
			t.Errorf("after %s, an order ended as %s: %s", name, end.GetState(), end.GetReason())
		}
		if end := r.end(victim.Task.Fire.At); end != nil {
			t.Fatalf("%s ended the command: %s, %s", name, end.GetState(), end.GetReason())
		}
	}
	// An acknowledgement, which nobody signs, ends nothing, and has nothing start again: the
	// minion still knows how a task ended when it has nothing more to tell of it.
	r.acknowledges(t, victim)
	made := filepath.Join(openDir(t), "made")
	once := order("/bin/sh", "-c", `echo once >> "$0"`, made)
	again := func(o *job.Order) *agentpb.Report {
		return r.sends(t, agentpb.FromOrder(o), signedBy(t, owner, o), owner.Certificate[0])
	}
	if end := again(once); end.GetState() != string(job.StateSucceeded) {
		t.Fatalf("an order ended as %s: %s", end.GetState(), end.GetReason())
	}
	if end := r.end(victim.Task.Fire.At); end != nil {
		t.Fatalf("an acknowledgement ended the command: %s, %s", end.GetState(), end.GetReason())
	}
	r.acknowledges(t, once)
	r.offers(t, &agentpb.Offer{Orders: []*agentpb.Order{agentpb.FromOrder(once)}, Signatures: []*agentpb.Signature{signedBy(t, owner, once)}, Certificates: owner.Certificate[:1]})
	again(order("/bin/true"))
	r.offers(t, &agentpb.Offer{
		Questions:  []*agentpb.Question{{Task: agentpb.FromTask(once.Task), Shard: 1, TokenEpoch: 1, TokenRevision: 1}},
		Signatures: []*agentpb.Signature{questionSignedBy(t, owner, once)}, Certificates: owner.Certificate[:1],
	})
	await.Until(t, "the owner has an answer", func() bool { return r.end(once.Task.Fire.At) != nil })
	if end := r.end(once.Task.Fire.At); end.GetState() != string(job.StateSucceeded) || !end.GetExited() {
		t.Errorf("what was acknowledged is remembered as %v", end)
	}
	if text, err := os.ReadFile(made); err != nil || string(text) != "once\n" {
		t.Errorf("what was acknowledged and ordered again has made %q, %v", text, err)
	}
	r.offers(t, &agentpb.Offer{Cancels: []*agentpb.Cancel{cancel(victim)}, Signatures: []*agentpb.Signature{cancelSignedBy(t, owner, victim, "mallory")}, Certificates: owner.Certificate[:1]})
	await.Until(t, "the owner's cancel ends the command", func() bool { return r.end(victim.Task.Fire.At) != nil })
	if end := r.end(victim.Task.Fire.At); end.GetState() != string(job.StateCancelled) {
		t.Errorf("the command ended as %s: %s", end.GetState(), end.GetReason())
	}
}

// Orders of real nodes are signed, also by way of a peer, and name who has caused them as
// far as that is proven: nobody becomes somebody else by a name.
func TestSubjectsReachTheMinion(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	n1, n2 := startNode(t, c, "n1"), startNode(t, c, "n2")
	list := filepath.Join(openDir(t), "allow.yaml")
	if err := os.WriteFile(list, []byte(`rules: [{program: /usr/bin/printenv, args: any, subjects: ["root (socket)"]}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	startMinion(t, n2, "m1", "--allow", list)
	await.Until(t, "n1 knows of the minion", func() bool { return n1.connected(t, "m1") })
	command := []string{"exec", "-t", "m1", "--", "printenv", "CARILLON_SUBJECT"}
	for range 8 { // shards of both nodes
		for _, n := range []*node{n1, n2} {
			socket := append([]string{"--server", "unix://" + filepath.Join(n.dir, "carillon.sock")}, command...)
			if r := n.carillon(t, socket...); r.code != 0 || !strings.Contains(r.stdout, "root (socket)") {
				t.Errorf("over the socket of %s: exit code %d\n%s%s", n.name, r.code, r.stdout, r.stderr)
			}
		}
	}
	// Who calls themselves so is not.
	r := run(t, program{name: "carillon", args: command, env: []string{"CARILLON_SERVER=" + n1.url(), "USER=root (socket)"}})
	if r.code == 0 || !strings.Contains(r.stdout+r.stderr, `root (socket) (not proven) applied the job, and the rule has the subjects "root (socket)"`) {
		t.Errorf("without a proof: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}

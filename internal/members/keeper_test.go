package members

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/members/pace"
	"github.com/carillon-cron/carillon/internal/members/roster"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/ports"
	"github.com/carillon-cron/carillon/job"
)

// host is a node without a scheduler: its Keeper, and its client.
type host struct {
	cfg    Config
	ca     *auth.Authority
	keeper *Keeper
	client *clientv3.Client
	stop   func()
}

func newHost(t *testing.T, ca *auth.Authority, name string) *host {
	t.Helper()
	dir, err := os.MkdirTemp("", "member") // short, for its socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	free, err := ports.Reserve(2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(free.Release)
	at := func(i int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(free.Ports[i])) }
	peers, clients := at(0), at(1)
	h := &host{ca: ca, cfg: Config{
		Node: job.NodeID(name), DataDir: dir, Keys: etcdkv.NewKeys(""), Hosts: []string{"127.0.0.1"}, Every: 100 * time.Millisecond,
		At: Addresses{PeerListen: peers, ClientListen: clients, PeerURL: "https://" + peers, ClientURL: "https://" + clients},
	}}
	t.Cleanup(func() { h.end() })
	return h
}

// metrics are what its etcd tells of itself, by what follows carillon_etcd_member_.
func (h *host) metrics(t *testing.T) map[string]float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(h.keeper.Collector())
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		out[strings.TrimPrefix(f.GetName(), "carillon_etcd_member_")] = f.GetMetric()[0].GetGauge().GetValue()
	}
	return out
}

func (h *host) sign(csr []byte) ([]byte, []byte, error) {
	cert, err := h.ca.SignMember(csr, h.cfg.Node, h.cfg.Hosts, time.Now())
	return cert, h.ca.Certificate().Raw, err
}

// join does what the answer of a node does: the certificate, the endpoints, and the record.
func (h *host) join(t *testing.T, of *host) {
	t.Helper()
	k, err := newKeeper(h.cfg, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	h.install(t, k)
	if err := k.keep(State{Schema: 1, Node: h.cfg.Node, Prefix: h.cfg.Keys.Prefix(), Endpoints: of.keeper.Endpoints()}); err != nil {
		t.Fatal(err)
	}
	of.want(t, h.cfg.Node, true)
	h.run(t, k)
}

func (h *host) install(t *testing.T, k *Keeper) {
	t.Helper()
	csr, err := k.files.Request()
	if err != nil {
		t.Fatal(err)
	}
	cert, ca, err := h.sign(csr)
	if err == nil {
		err = k.files.Install(cert, ca)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// want writes whether a node is to be a member.
func (h *host) want(t *testing.T, node job.NodeID, member bool) {
	t.Helper()
	text, err := etcdkv.Encode(etcdkv.EtcdNode{Schema: 1, Node: node, Member: member})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.client.Put(t.Context(), h.cfg.Keys.EtcdNode(node), text); err != nil {
		t.Fatal(err)
	}
}

// run runs a Keeper until end.
func (h *host) run(t *testing.T, k *Keeper) {
	t.Helper()
	c, err := h.dial(k.files, k.Endpoints())
	if err != nil {
		t.Fatal(err)
	}
	still, err := h.dial(k.files, k.Endpoints())
	if err != nil {
		t.Fatal(err)
	}
	Following(c, still)
	h.keeper, h.client = k, c
	k.Use(Store{Client: c, Follow: func(e []string) { c.SetEndpoints(e...) }, Sign: h.sign})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- k.Run(ctx) }()
	h.stop = func() {
		cancel()
		<-ended
		_ = c.Close()
		_ = still.Close()
		k.Close()
	}
}

func (h *host) dial(files *auth.NodeFiles, endpoints []string) (*clientv3.Client, error) {
	info := transport.TLSInfo{CertFile: files.Cert(), KeyFile: files.Key(), TrustedCAFile: files.CA()}
	secure, err := info.ClientConfig()
	if err != nil {
		return nil, err
	}
	return clientv3.New(clientv3.Config{
		Endpoints: endpoints, TLS: secure, DialTimeout: 10 * time.Second, Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(etcdkv.AskAgain())},
	})
}

// writing writes by the client of a host again and again until stop is called, which
// returns the first write that did not work.
func (h *host) writing(t *testing.T) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		for {
			_, err := h.client.Put(context.WithoutCancel(ctx), "/written/"+string(h.cfg.Node), "x")
			if err != nil || !backoff.Sleep(ctx, 5*time.Millisecond) {
				failed <- err
				return
			}
		}
	}()
	return func() error { cancel(); return <-failed }
}

func (h *host) end() {
	if h.stop != nil {
		h.stop()
		h.stop = nil
	}
}

// resume starts the host again.
func (h *host) resume(t *testing.T) {
	t.Helper()
	k, err := Resume(h.cfg, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	h.run(t, k)
}

func (h *host) operator() *roster.Operator {
	return roster.NewOperator(h.cfg.Node, h.cfg.Keys, h.client, func(e []string) (*clientv3.Client, error) { return h.dial(h.keeper.files, e) }, pace.For(0))
}

// voters waits until these nodes, and no others, are members with a vote.
func (h *host) voters(t *testing.T, names ...string) []roster.Status {
	t.Helper()
	var all []roster.Status
	await.Until(t, fmt.Sprint("members are ", names), func() bool {
		var err error
		if all, err = h.operator().Look(t.Context()); err != nil || len(all) != len(names) {
			return false
		}
		for i := range all {
			if all[i].Name != names[i] || all[i].Learner || all[i].Down != "" {
				return false
			}
		}
		return true
	})
	return all
}

// TestMembersComeAndGo goes from one member to three, loses the data of one, has one
// removed and come back, and ends with one.
func TestMembersComeAndGo(t *testing.T) {
	t.Parallel()
	ca, err := auth.NewAuthority("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	a, b, c := newHost(t, ca, "a"), newHost(t, ca, "b"), newHost(t, ca, "c")
	k, err := Found(t.Context(), a.cfg, zap.NewNop(), func(ctx context.Context, endpoint string) (*Founding, error) {
		c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 10 * time.Second, Logger: zap.NewNop()})
		return &Founding{Client: c, Cluster: "test", Sign: a.sign}, err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.run(t, k)
	a.voters(t, "a")
	b.join(t, a)
	a.voters(t, "a", "b")
	// I1: c has ended right after it was added, and knows nothing of that.
	await.Until(t, "etcd takes c", func() bool { // it takes nobody while a member that is new seems not to be there
		_, err := a.client.MemberAddAsLearner(t.Context(), []string{c.cfg.At.PeerURL})
		return err == nil || errors.Is(err, rpctypes.ErrPeerURLExist)
	})
	c.join(t, a)
	all := a.voters(t, "a", "b", "c")

	strangersAreRefused(t, a)
	await.Until(t, "one of three leads", func() bool {
		leaders := 0.0
		for _, h := range []*host{a, b, c} {
			m := h.metrics(t)
			leaders += m["is_leader"]
			if m["up"] != 1 || m["has_leader"] != 1 || m["is_learner"] != 0 || m["applied_index"] == 0 || m["db_bytes"] < m["db_in_use_bytes"] || m["quota_bytes"] != roster.Quota {
				return false
			}
		}
		return leaders == 1
	})

	// A restart needs nobody's help, and no token.
	c.end()
	c.resume(t)
	if again := a.voters(t, "a", "b", "c"); again[2].ID != all[2].ID {
		t.Errorf("c was member %s, and came back as %s", all[2].ID, again[2].ID)
	}

	// Its data is lost: it comes back as a new one.
	c.end()
	if err := os.RemoveAll(filepath.Join(c.cfg.DataDir, etcdName)); err != nil {
		t.Fatal(err)
	}
	c.resume(t)
	await.Until(t, "c is another member", func() bool {
		now, err := a.operator().Look(t.Context())
		s, ok := roster.Find(now, "c")
		return err == nil && ok && s.ID != all[2].ID && !s.Learner && s.Down == ""
	})
	now := a.voters(t, "a", "b", "c")

	// I4: with one down, no other may go.
	c.end()
	b1, _ := roster.Find(now, "b")
	if err := a.operator().Remove(t.Context(), b1.ID); !errors.Is(err, job.ErrConflict) || !strings.Contains(err.Error(), "not: [c]") {
		t.Errorf("b is removed while c is down: %v, want a conflict that names c", err)
	}
	c.resume(t)
	a.voters(t, "a", "b", "c")

	// An operator has c be none: its data is set aside, and it asks the others on.
	// Nobody's write is lost by that, whichever member it was sent to.
	now = a.voters(t, "a", "b", "c")
	first, _ := roster.Find(now, "a")
	if err := a.operator().MoveLeader(t.Context(), first); err != nil {
		t.Errorf("a leads: %v", err)
	}
	leaving, _ := roster.Find(now, "c")
	stops := []func() error{a.writing(t), c.writing(t)}
	a.want(t, "c", false)
	if err := a.operator().Leave(t.Context(), leaving.ID); err != nil {
		t.Errorf("c leaves: %v", err)
	}
	a.voters(t, "a", "b")
	await.Until(t, "c has set its data aside", func() bool {
		_, err := os.Stat(filepath.Join(c.cfg.DataDir, asideName))
		return err == nil && !c.keeper.Runs()
	})
	if m := c.metrics(t); len(m) != 1 || m["up"] != 0 {
		t.Errorf("metrics of a client: %v", m)
	}
	for _, stop := range stops {
		if err := stop(); err != nil {
			t.Errorf("a write while c left: %v", err)
		}
	}
	a.want(t, "c", true)
	now = a.voters(t, "a", "b", "c")

	// The founder leaves, and the others go on; then there is one.
	led, _ := roster.Find(now, "b")
	if err := a.operator().MoveLeader(t.Context(), led); err != nil {
		t.Errorf("b leads: %v", err)
	}
	b.want(t, "a", false)
	b.voters(t, "b", "c")
	a.end()
	b.want(t, "c", false)
	last := b.voters(t, "b")
	await.Until(t, "the last one is not removed", func() bool {
		err := b.operator().Remove(t.Context(), last[0].ID) // its client may ask one of those that have left once more
		if err == nil {
			t.Fatal("the last one is removed")
		}
		return errors.Is(err, job.ErrConflict) && strings.Contains(err.Error(), "last member")
	})
	if err := b.operator().Defrag(t.Context(), last[0]); err != nil {
		t.Errorf("defragment: %v", err)
	}
}

// I6: a minion of the same authority, and who shows nothing, get nothing.
func strangersAreRefused(t *testing.T, h *host) {
	t.Helper()
	key, err := auth.OpenNodeFiles(t.TempDir(), "m1")
	if err != nil {
		t.Fatal(err)
	}
	csr, err := key.Request()
	if err != nil {
		t.Fatal(err)
	}
	der, err := h.ca.SignMinion(csr, "m1", 0, time.Now())
	if err == nil {
		err = key.Install(der, h.ca.Certificate().Raw)
	}
	if err != nil {
		t.Fatal(err)
	}
	minion, err := tls.LoadX509KeyPair(key.Cert(), key.Key())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(h.ca.Certificate())
	for who, certs := range map[string][]tls.Certificate{"a minion": {minion}, "who shows none": nil} {
		for port, addr := range map[string]string{"clients": h.cfg.At.ClientListen, "peers": h.cfg.At.PeerListen} {
			conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool, Certificates: certs, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12})
			if err == nil {
				_ = conn.Close()
				t.Errorf("%s gets in at the port for %s", who, port)
			}
		}
	}
}

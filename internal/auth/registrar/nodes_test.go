package registrar

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"

	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/auth/authpb"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// joinNode asks as a host that is to be a node.
func (h *host) joinNode(t *testing.T, r *Registrar, token string) (*authpb.JoinNodeResponse, error) {
	t.Helper()
	ctx := peer.NewContext(t.Context(), &peer.Peer{Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1}})
	return r.JoinNode(ctx, &authpb.JoinNodeRequest{
		Node: string(h.id), Token: token, Csr: h.csr(t), Hosts: []string{"n2.example.org", "10.0.0.2"}, PeerUrl: "https://10.0.0.2:7480", ClientUrl: "https://10.0.0.2:7479",
	})
}

// A host gets all that the cluster has by a token that was made for nodes, for as many
// hosts as it has uses, and by nothing else.
func TestNodesJoinByTokensOfTheirs(t *testing.T) {
	t.Parallel()
	e, c := newEnv(t), newClock()
	store := func(context.Context) (Store, error) {
		return Store{SealKey: []byte("the key"), Endpoints: []string{"https://10.0.0.1:7479"}}, nil
	}
	r, err := Open(t.Context(), Config{Node: "n1", Keys: e.keys, Cluster: "c"}, Deps{Client: e.client, Now: c.now, Store: store})
	if err != nil {
		t.Fatal(err)
	}
	n2, n3 := newHost(t, "n2"), newHost(t, "n3")
	token := r.mustToken(t, TokenSpec{Nodes: true, Minions: "n?", By: "ada"})
	for why, tc := range map[string]struct {
		h     *host
		token string
		want  string
	}{
		"of minions":   {n2, r.mustToken(t, TokenSpec{}), "is for minions"},
		"another name": {newHost(t, "web1"), token, "is for nodes named n? only"},
		"made up":      {n2, token[:9] + strings.Repeat("0", 32) + token[41:], "is not known"},
	} {
		if _, err := tc.h.joinNode(t, r, tc.token); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", why, err, tc.want)
		}
	}
	_, err = newHost(t, "m1").join(t, r, token)
	wantCode(t, "a minion by a token of nodes", err, codes.PermissionDenied)

	answer, err := n2.joinNode(t, r, token)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(answer.GetCertificate())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{auth.MemberName, "n2.example.org", "10.0.0.2"} {
		if err := leaf.VerifyHostname(name); err != nil {
			t.Errorf("the certificate: %v", err)
		}
	}
	if id := identity(t, answer.GetCertificate()); id.Kind != auth.KindNode || id.Name != "n2" {
		t.Errorf("the certificate is of %s", id)
	}
	if string(answer.GetSealKey()) != "the key" || len(answer.GetEndpoints()) != 1 || answer.GetPrefix() != e.keys.Prefix() || answer.GetCluster() != "c" {
		t.Errorf("the answer is %v", answer)
	}
	text, _ := e.get(t, e.keys.EtcdNode("n2"))
	if rec, err := etcdkv.Decode[etcdkv.EtcdNode]("", []byte(text)); err != nil || !rec.Member || rec.PeerURL != "https://10.0.0.2:7480" {
		t.Errorf("the record is %s, %v", text, err)
	}

	// Who has lost the answer asks again; nobody else does.
	if _, err := n2.joinNode(t, r, token); err != nil {
		t.Errorf("once more: %v", err)
	}
	if _, err := n3.joinNode(t, r, token); err == nil || !strings.Contains(err.Error(), "is used up") {
		t.Errorf("another host: %v", err)
	}

	// While a node of the name is live, nobody takes its place.
	live, err := etcdkv.Encode(etcdkv.Member{Schema: 1, Node: "n2"})
	if err != nil {
		t.Fatal(err)
	}
	e.put(t, e.keys.Member("n2"), live)
	_, err = newHost(t, "n2").joinNode(t, r, r.mustToken(t, TokenSpec{Nodes: true}))
	wantCode(t, "a name that is live", err, codes.AlreadyExists)

	c.pass(2 * time.Hour)
	if _, err := n3.joinNode(t, r, token); err == nil || !strings.Contains(err.Error(), "has expired") {
		t.Errorf("later: %v", err)
	}
}

// A cluster whose etcd is not its own lets nodes in by nothing that it has.
func TestNodesDoNotJoinWhereEtcdIsNotTheClusters(t *testing.T) {
	t.Parallel()
	r := newEnv(t).open(t, "n1", nil)
	if _, err := newHost(t, "n2").joinNode(t, r, r.mustToken(t, TokenSpec{Nodes: true})); err == nil || !strings.Contains(err.Error(), "etcd is not its own") {
		t.Errorf("%v", err)
	}
	_, err := r.CreateToken(t.Context(), TokenSpec{Nodes: true, Uses: MaxNodeUses + 1, Labels: map[string]string{"a": "b"}})
	if bad, ok := errors.AsType[*job.InvalidError](err); !ok || len(bad.Problems) != 2 {
		t.Errorf("too many uses, and labels: %v", err)
	}
}

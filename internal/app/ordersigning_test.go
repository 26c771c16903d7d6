package app

import (
	"testing"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush/signature"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/job"
)

// A node signs once all nodes can, also those that are not live now, and then goes on.
func TestSigningBeginsWhenAllNodesCan(t *testing.T) {
	t.Parallel()
	cli := etcdtest.Start(t).Client(t)
	keys := etcdkv.NewKeys(etcdtest.Prefix(t))
	put := func(key string, value any) {
		t.Helper()
		text, err := etcdkv.Encode(value)
		if err == nil {
			_, err = cli.Put(t.Context(), key, text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	known := func(n job.NodeID, signs bool) {
		put(keys.KnownNode(n), etcdkv.KnownNode{Schema: etcdkv.Schema, Node: n, Signs: signs})
	}
	node := func() *orderSigning {
		return &orderSigning{node: "n1", client: cli, keys: keys, log: zap.NewNop(), signer: signature.NewSigner(nil)}
	}
	s := node()
	look := func(what string, want bool) {
		t.Helper()
		if err := s.look(t.Context()); err != nil || s.ready.Load() != want {
			t.Errorf("%s: signs %v, %v; want %v", what, s.ready.Load(), err, want)
		}
	}
	known("n1", false) // of the release that the node had before
	known("n2", false)
	look("another node does not sign, and is not live", false)
	known("n2", true)
	put(keys.Member("n3"), etcdkv.Member{Schema: etcdkv.Schema, Node: "n3"})
	look("another node does not sign, and is live", false)
	put(keys.Member("n3"), etcdkv.Member{Schema: etcdkv.Schema, Node: "n3", Signs: true})
	look("all nodes sign", true)
	known("n4", false)
	look("a node of the former release comes later", true)
	s = node()
	look("a node starts beside one that does not sign", false)
	s = &orderSigning{node: "n1", client: cli, keys: keys, log: zap.NewNop()}
	if _, err := cli.Delete(t.Context(), keys.KnownNode("n4")); err != nil {
		t.Fatal(err)
	}
	look("a node without certificates", false)
}

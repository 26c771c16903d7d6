package agentpush_test

import (
	"testing"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
)

// What can be said for good is answered; what cannot be said now is not, so that
// the minion asks again; and orders go on meanwhile.
func TestFetchIsAnswered(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	n := c.nodes[0]
	n.texts = map[string]string{"a": "text", "down": ""}
	r := c.raw("raw", n)
	r.send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Fetch{Fetch: &agentpb.Fetch{Sha256: []string{"down", "none", "a"}}}})
	if got := r.next().GetText(); got.GetSha256() != "none" || got.GetError() == "" || got.GetText() != "" {
		t.Errorf("no such text: %v", got)
	}
	if got := r.next().GetText(); got.GetSha256() != "a" || got.GetError() != "" || got.GetText() != "text" {
		t.Errorf("a text: %v", got)
	}
	n.hub.Send(orders("raw", 1, long))
	if got := r.next().GetOffer(); len(got.GetOrders()) != 1 {
		t.Errorf("offer: %v", got)
	}
}

// A fetch cannot ask for more than an order can name.
func TestFetchIsBounded(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	n := c.nodes[0]
	r := c.raw("raw", n)
	sums := make([]string, 10_000)
	r.send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Fetch{Fetch: &agentpb.Fetch{Sha256: append([]string{"first"}, sums...)}}})
	for range 65 {
		r.next()
	}
	n.hub.Send(orders("raw", 1, long))
	if got := r.next(); len(got.GetOffer().GetOrders()) != 1 {
		t.Errorf("after the last text that may be asked for: %v", got)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.reads != 65 {
		t.Errorf("%d texts were read", n.reads)
	}
}

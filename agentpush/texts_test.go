package agentpush_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/carillon-cron/carillon/agentpush"
	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/agentpush/agenttest"
	"github.com/carillon-cron/carillon/job"
)

// What can be said for good is answered; what cannot be said now is not, so that
// the minion asks again; and orders go on meanwhile.
func TestFetchIsAnswered(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	n := c.nodes[0]
	a, down, none := job.ScriptSum("text"), job.ScriptSum("down"), job.ScriptSum("none")
	n.texts = map[string]string{a: "text", down: ""}
	r := c.raw("raw", n)
	r.send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Fetch{Fetch: &agentpb.Fetch{Sha256: []string{down, none, a}}}})
	if got := r.next().GetText(); got.GetSha256() != none || got.GetError() == "" || got.GetText() != "" {
		t.Errorf("no such text: %v", got)
	}
	if got := r.next().GetText(); got.GetSha256() != a || got.GetError() != "" || got.GetText() != "text" {
		t.Errorf("a text: %v", got)
	}
	n.hub.Send(orders("raw", 1, long))
	if got := r.next().GetOffer(); len(got.GetOrders()) != 1 {
		t.Errorf("offer: %v", got)
	}
}

// mute opens a session whose minion reads nothing but the welcome.
func (c *cluster) mute(id string, n *node) grpc.BidiStreamingClient[agentpb.FromMinion, agentpb.ToMinion] {
	c.t.Helper()
	conn, err := agenttest.Dialer(n.addr)()
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.Close() })
	stream, err := agentpb.NewPushClient(conn).Session(context.Background())
	if err != nil {
		c.t.Fatal(err)
	}
	hello := &agentpb.Hello{Minion: id, Instance: "i", Protocol: agentpb.Protocol}
	if err := stream.Send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Hello{Hello: hello}}); err != nil {
		c.t.Fatal(err)
	}
	if f, err := stream.Recv(); err != nil || f.GetWelcome() == nil {
		c.t.Fatal(f, err)
	}
	return stream
}

// TestTextsWaitForTheirReader: a minion that asks for texts and does not read them
// has so many bytes waiting for it, however often it asks, and then no session.
func TestTextsWaitForTheirReader(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, func(cfg *agentpush.Config) { cfg.StallAfter = time.Minute })
	n := c.nodes[0]
	large := strings.Repeat("x", job.MaxScriptBytes)
	n.texts = map[string]string{}
	var sums []string
	for i := range agentpb.MaxFetch {
		sums = append(sums, job.ScriptSum(fmt.Sprint(i)))
		n.texts[sums[i]] = large
	}
	stream := c.mute("mute", n)
	for range 200 {
		_ = stream.Send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Fetch{Fetch: &agentpb.Fetch{Sha256: sums}}})
	}
	reads := func() int {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.reads
	}
	c.eventually("some are read", func() bool { return reads() >= 3 })
	if held := n.hub.HeldTexts(); held > agentpush.TextBytes {
		t.Errorf("%d bytes are held for a minion that does not read", held)
	}
	n.hub.SweepAt(time.Now().Add(2 * time.Minute))
	c.eventually("the session has ended, and nothing is held", func() bool {
		return n.hub.Status().Connected == 0 && n.hub.HeldTexts() == 0
	})
	if got := reads(); got > 20 {
		t.Errorf("%d texts were read for a minion that does not read", got)
	}
}

// TestManyTextsArrive: a minion that reads gets all that it asks for, though they
// are more than may wait for it.
func TestManyTextsArrive(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	n := c.nodes[0]
	n.texts = map[string]string{}
	var sums []string
	for i := range agentpb.MaxFetch {
		text := strings.Repeat(fmt.Sprint(i%10), job.MaxScriptBytes/4)
		sums = append(sums, job.ScriptSum(fmt.Sprint(i)))
		n.texts[sums[i]] = text
	}
	r := c.raw("raw", n)
	// What a node has no room for in time is not answered: a minion asks again.
	done, asking := make(chan struct{}), sync.WaitGroup{}
	asking.Go(func() {
		for {
			_ = r.stream.Send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Fetch{Fetch: &agentpb.Fetch{Sha256: sums}}})
			select {
			case <-done:
				return
			case <-time.After(5 * time.Second):
			}
		}
	})
	defer asking.Wait()
	defer close(done)
	missing := slices.Clone(sums)
	for len(missing) > 0 {
		got := r.next().GetText()
		if !slices.Contains(sums, got.GetSha256()) || got.GetText() != n.texts[got.GetSha256()] {
			t.Fatalf("%.40v is no text that was asked for", got)
		}
		missing = slices.DeleteFunc(missing, func(s string) bool { return s == got.GetSha256() })
	}
}

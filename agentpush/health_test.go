package agentpush_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/agentpush"
	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// TestUncontrollable: a minion in trouble is filtered out of targets at every
// node, listed with the reason, and back by itself.
func TestUncontrollable(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, func(cfg *agentpush.Config) {
		cfg.StallAfter, cfg.MinVersion = 100*time.Millisecond, "v0.9.0"
	})
	n := c.nodes[0]
	all := job.Target{Names: []string{"raw"}}
	r := c.raw("raw", n)
	is := func(why string) {
		t.Helper()
		for _, at := range c.nodes {
			c.eventually("every node says: "+why, func() bool {
				u := at.hub.Uncontrollable(all)
				if why == "" {
					return len(u) == 0 && len(at.hub.Match(all)) == 1
				}
				return len(at.hub.Match(all)) == 0 && len(u) == 1 && strings.Contains(u[0].Reason, why) && !u[0].Since.IsZero()
			})
		}
	}
	is("its release, unknown, is older than v0.9.0")
	_ = r.stream.CloseSend()
	c.eventually("the old one has left", func() bool { return n.hub.Status().Connected == 0 })
	is("not connected")

	r = c.raw("raw", n, "v0.10.1")
	is("")
	beat := func(b *agentpb.Beat) { r.send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Beat{Beat: b}}) }
	beat(&agentpb.Beat{Trouble: []string{"journal full"}, ClockSkew: -time.Hour.Milliseconds()})
	is("journal full; its clock is more than 30s off")
	beat(&agentpb.Beat{})
	is("")

	// It takes nothing: it is stalled, and well when it takes what it was offered.
	n.hub.Send(orders("raw", 1, long))
	offer := r.next().GetOffer()
	is("has not taken an order")
	r.taken(offer.GetSeq())
	is("")
}

// TestUncontrollableEndsWithItsSession: a session that takes the place of one in
// trouble is not held to be so itself.
func TestUncontrollableEndsWithItsSession(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	n := c.nodes[0]
	all := job.Target{Names: []string{"raw"}}
	r := c.raw("raw", n)
	r.send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Beat{Beat: &agentpb.Beat{Trouble: []string{"journal full"}}}})
	c.eventually("it is uncontrollable", func() bool { return len(n.hub.Uncontrollable(all)) == 1 })
	before := n.hub.Status().Minions[0].Session
	c.raw("raw", n) // the same instance, while the old stream is still open
	c.eventually("the new session is there", func() bool { return n.hub.Status().Minions[0].Session > before })
	if u := n.hub.Uncontrollable(all); len(u) != 0 || len(n.hub.Match(all)) != 1 {
		t.Errorf("uncontrollable %+v, matched %v", u, n.hub.Match(all))
	}
}

// TestTroubleIsBounded: what a minion says of itself is kept in a value that
// others share, so it can be told so much only, and so often.
func TestTroubleIsBounded(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	n := c.nodes[0]
	all := job.Target{Names: []string{"raw"}}
	r := c.raw("raw", n)
	for i := range 1000 {
		r.send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Beat{Beat: &agentpb.Beat{Trouble: []string{fmt.Sprint("trouble ", i)}}}})
	}
	n.hub.Send(orders("raw", 1, long))
	r.taken(r.next().GetOffer().GetSeq())
	c.eventually("all is heard", func() bool { return n.hub.Status().Minions[0].Taken == 1 })
	var last int
	if _, err := fmt.Sscanf(n.hub.Uncontrollable(all)[0].Reason, "trouble %d", &last); err != nil || last > 50 {
		t.Errorf("of 1000 changes of its mind number %d counts: %v", last, err)
	}
	r.send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Beat{Beat: &agentpb.Beat{Trouble: []string{strings.Repeat("x", 1000)}}}})
	c.eventually("its session has ended", func() bool { return n.hub.Status().Connected == 0 })
}

package agentpush_test

import (
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
		cfg.BeatEvery, cfg.StallAfter, cfg.MinVersion = time.Hour, 100*time.Millisecond, "v0.9.0"
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
	n.hub.Send(orders("raw", 1, time.Minute))
	offer := r.next().GetOffer()
	is("has not taken an order")
	r.taken(offer.GetSeq())
	is("")
}

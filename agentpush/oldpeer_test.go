package agentpush_test

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/carillon-cron/carillon/agentpush"
	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// downgraded is a peer whose first link ends once a fan has come over it, and that
// is of a release which does not know of fans from then on.
type downgraded struct {
	agentpb.UnimplementedPeerServer

	mu sync.Mutex
	// mu guards what follows: the counts are of the links after the first.
	down         bool
	orders, fans int
}

func (d *downgraded) Link(stream grpc.BidiStreamingServer[agentpb.PeerFrame, agentpb.PeerFrame]) error {
	d.mu.Lock()
	down := d.down
	d.mu.Unlock()
	if !down {
		hello := &agentpb.PeerFrame{Body: &agentpb.PeerFrame_Hello{Hello: &agentpb.PeerHello{Node: "node-1", Fans: true}}}
		if err := stream.Send(hello); err != nil {
			return err
		}
	}
	for {
		f, err := stream.Recv()
		if err != nil {
			return err
		}
		b := f.GetBatch()
		d.mu.Lock()
		switch {
		case down:
			d.orders, d.fans = d.orders+len(b.GetOrders()), d.fans+len(b.GetFans())
		case len(b.GetFans()) > 0:
			d.down = true
			d.mu.Unlock()
			return errors.New("the peer restarts")
		}
		d.mu.Unlock()
	}
}

// TestFansAreForWhoReadsThem: a peer that comes back with an older release gets
// each order by itself, whatever it read before.
func TestFansAreForWhoReadsThem(t *testing.T) {
	t.Parallel()
	const hosts = 10
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	peer := &downgraded{}
	srv := grpc.NewServer()
	agentpb.RegisterPeerServer(srv, peer)
	go func() { _ = srv.Serve(lis) }()
	t.Cleanup(srv.Stop)
	c := newCluster(t, 2, nil)
	n := c.nodes[0]
	c.lead("node-1", lis.Addr().String())
	var there []agentpush.Present
	all := orders("", hosts, time.Hour)
	for i := range all {
		all[i] = all[0]
		all[i].Task.Minion = job.MinionID(fmt.Sprintf("m%d", i))
		all[i].Task.Attempt = 0
		there = append(there, agentpush.Present{ID: all[i].Task.Minion, Session: 1})
	}
	n.hub.Inventory().SetPresence("node-1", 0, there)
	again := func() { // orders of one attempt that differ in their minion only
		for i := range all {
			all[i].Task.Attempt++
		}
		n.hub.Send(all)
	}
	c.eventually("a fan has come", func() bool { // once the peer has said that it reads them
		again()
		peer.mu.Lock()
		defer peer.mu.Unlock()
		return peer.down
	})
	c.eventually("many orders have come since", func() bool {
		again()
		peer.mu.Lock()
		defer peer.mu.Unlock()
		if peer.fans > 0 {
			t.Fatalf("%d fans and %d orders came to a peer that does not read fans", peer.fans, peer.orders)
		}
		return peer.orders >= 10*hosts
	})
}

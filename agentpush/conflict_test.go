package agentpush_test

import (
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-cron/carillon/agentpush/agenttest"
	"github.com/carillon-cron/carillon/job"
)

// route connects a fake minion to the nodes one after the other, and then to the
// last one again and again; the counter tells how often.
func route(nodes ...*node) (dial func() (*grpc.ClientConn, error), dials *atomic.Int64) {
	dials = &atomic.Int64{}
	return func() (*grpc.ClientConn, error) {
		n := nodes[min(int(dials.Add(1)), len(nodes))-1]
		return agenttest.Dialer(n.addr)()
	}, dials
}

// hold has a node not tell any more who is connected to it.
func (n *node) hold() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.muted = true
}

// A process that comes to another node than that of an older session of its id is
// sent there, and refused.
func TestI2_SecondLiveProcessIsSentToTheFirst(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, nil)
	a, b := c.nodes[0], c.nodes[1]
	first := c.minion(agenttest.Config{ID: "m", Instance: "first"}, a)
	c.eventually("b sees it", func() bool { return b.hub.Connected("m") })
	dial, _ := route(b, a)
	second := c.start(agenttest.Config{ID: "m", Instance: "second", Dial: dial}, b)
	c.eventually("it is refused", func() bool { return status.Code(second.LastError()) == codes.AlreadyExists })
	b.hub.Send(orders("m", 1, long))
	a.await(1, "succeeded", inState(job.StateSucceeded))
	if first.Executed() != 1 || first.Sessions() != 1 || second.Sessions() != 0 {
		t.Errorf("first: %d executed, %d sessions; second: %d sessions", first.Executed(), first.Sessions(), second.Sessions())
	}
}

// A process that knows of the session at another node is the one that had it.
func TestI2_MovedProcessIsNotSentBack(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, nil)
	a, b := c.nodes[0], c.nodes[1]
	dial, dials := route(a, b)
	m := c.minion(agenttest.Config{ID: "m", Dial: dial}, a)
	c.eventually("b sees it", func() bool { return b.hub.Connected("m") })
	a.hold()
	m.Disconnect()
	c.eventually("it is connected again", func() bool { return m.Sessions() == 2 })
	if n := dials.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// A new process whose node is not to be reached is let in elsewhere when it comes
// back.
func TestI2_RestartedProcessIsSentAwayOnce(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, nil)
	a, b := c.nodes[0], c.nodes[1]
	old := c.minion(agenttest.Config{ID: "m", Instance: "old"}, a)
	c.eventually("b sees it", func() bool { return b.hub.Connected("m") })
	a.hold()
	old.Away(true)
	dial, dials := route(b)
	m := c.start(agenttest.Config{ID: "m", Instance: "new", Dial: dial}, b)
	c.eventually("it is connected", m.Connected)
	if n := dials.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

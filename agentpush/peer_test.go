package agentpush_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/carillon-cron/carillon/agentpush"
	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/agentpush/agenttest"
	"github.com/carillon-cron/carillon/job"
)

func TestForwardBetweenThreeNodes(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	var ms []*agenttest.Minion
	for i := range 30 {
		ms = append(ms, c.minion(agenttest.Config{ID: job.MinionID(fmt.Sprintf("m%02d", i)), Spool: true}, c.nodes[i%3]))
	}
	for _, n := range c.nodes {
		c.eventually("every node sees all", func() bool { return len(n.hub.Match(job.Target{})) == 30 })
	}
	asked := make([][]job.Ref, len(c.nodes))
	for i, n := range c.nodes {
		c.own(job.ShardID(i), n.id)
		for _, m := range ms {
			os := orders(m.ID(), 40, long)
			for j := range os {
				os[j].Shard = job.ShardID(i)
			}
			n.hub.Send(os)
			ref := job.Ref{Task: orders(m.ID(), 1, 0)[0].Task, Shard: job.ShardID(i)}
			n.hub.Ask([]job.Ref{ref})
			asked[i] = append(asked[i], ref)
		}
	}
	for i, n := range c.nodes {
		var ids []job.TaskID
		for _, r := range n.await(30*40, "succeeded", inState(job.StateSucceeded)) {
			ids = append(ids, r.Task)
		}
		n.hub.Ack(ids)
		n.unknown(asked[i])
	}
	for _, m := range ms {
		if m.Executed() != 120 || m.Repeated() != 0 {
			t.Errorf("%s: %d executed, %d repeated", m.ID(), m.Executed(), m.Repeated())
		}
		c.eventually("acknowledged across nodes", func() bool { return m.Unacked() == 0 })
	}
	for _, n := range c.nodes {
		c.eventually("everything forwarded is settled", func() bool { return n.hub.Status().Forwarded == 0 })
	}
	for _, mv := range c.nodes[2].hub.Inventory().Minions() {
		if want := job.NodeID("node-" + fmt.Sprint(atoi(string(mv.ID)[1:])%3)); mv.Node != want {
			t.Errorf("%s is at %s, want %s", mv.ID, mv.Node, want)
		}
	}
}

func atoi(s string) (n int) {
	_, _ = fmt.Sscanf(s, "%d", &n)
	return n
}

func TestI8_OwnerChangesWhileAReportTravels(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	a, b := c.nodes[0], c.nodes[1]
	release := make(chan struct{})
	c.minion(agenttest.Config{ID: "m", Answer: func(o *job.Order) job.Report {
		<-release
		return job.Report{Task: o.Task, Shard: o.Shard, Known: true, State: job.StateSucceeded}
	}}, c.nodes[2])
	c.eventually("seen", func() bool { return a.hub.Connected("m") })
	c.own(7, a.id)
	a.hub.Send(orders("m", 1, long))
	c.own(7, "") // nobody owns it for a while
	close(release)
	time.AfterFunc(100*time.Millisecond, func() { c.own(7, b.id) })
	b.await(1, "succeeded", inState(job.StateSucceeded))
	if a.count(inState(job.StateSucceeded)) != 0 {
		t.Error("the former owner got it too")
	}
}

func TestI8_RelayedReportFollowsTheOwner(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	// Node 1 gets a report for a shard that belongs to node 2 by now.
	c.own(7, "node-2")
	conn, err := agenttest.Dialer(c.nodes[1].addr)()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	link, err := agentpb.NewPeerClient(conn).Link(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	report := job.Report{Task: orders("m", 1, 0)[0].Task, Shard: 7, Known: true, State: job.StateFailed}
	for _, f := range []*agentpb.PeerFrame{
		{Body: &agentpb.PeerFrame_Hello{Hello: &agentpb.PeerHello{Node: "node-x"}}},
		{Body: &agentpb.PeerFrame_Batch{Batch: &agentpb.Batch{Reports: []*agentpb.Report{agentpb.FromReport(&report)}}}},
	} {
		if err := link.Send(f); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.nodes[2].await(1, "failed", inState(job.StateFailed)); got[0].Task != report.Task {
		t.Errorf("report: %+v", got[0])
	}
}

func TestI4_OfferFollowsTheMinionToAnotherNode(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, nil)
	a, b := c.nodes[0], c.nodes[1]
	first := true
	turn := 0
	m := c.minion(agenttest.Config{
		ID: "m",
		Take: func(*agentpb.Offer) bool {
			was := first
			first = false
			return !was // the first offer is never answered
		},
		Dial: func() (*grpc.ClientConn, error) {
			addr := a.addr
			if turn > 0 {
				addr = b.addr
			}
			turn++
			return agenttest.Dialer(addr)()
		},
	})
	a.hub.Send(orders("m", 5, long))
	c.eventually("offered, and come to the minion", func() bool { return a.hub.Status().InFlight > 0 && m.Offers() > 0 })
	a.hub.Send(orders("m", 5, long))
	m.Disconnect()
	a.await(10, "succeeded", inState(job.StateSucceeded))
	if m.Executed() != 10 {
		t.Errorf("executed %d", m.Executed())
	}
	if st := b.hub.Status(); st.Connected != 1 {
		t.Errorf("b: %+v", st)
	}
}

func TestI2_HigherSessionElsewhereEndsTheOldOne(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, nil) // node 0 has the higher session base
	a, b := c.nodes[0], c.nodes[1]
	old := c.minion(agenttest.Config{ID: "m", Reconnect: time.Hour, Take: func(*agentpb.Offer) bool { return false }}, a)
	c.eventually("b sees it", func() bool { return b.hub.Connected("m") })
	a.hub.Send(orders("m", 3, long))
	c.eventually("offered", func() bool { return a.hub.Status().InFlight == 3 })
	fresh := c.minion(agenttest.Config{ID: "m"}, b)
	c.eventually("the old session ends", func() bool { return !old.Connected() })
	a.await(3, "succeeded", inState(job.StateSucceeded))
	if fresh.Executed() != 3 {
		t.Errorf("executed %d", fresh.Executed())
	}
	for _, n := range c.nodes {
		c.eventually("both know where it is", func() bool { return n.hub.Inventory().Minions()[0].Node == b.id })
	}
}

func TestI6_BrokenLinkDeliversAnew(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	a, b := c.nodes[0], c.nodes[1]
	// The minion is at b and takes nothing there; b dies; the minion goes to c.
	turn := 0
	m := c.minion(agenttest.Config{
		ID:   "m",
		Take: func(*agentpb.Offer) bool { return turn > 1 },
		Dial: func() (*grpc.ClientConn, error) {
			n := c.nodes[min(turn+1, 2)]
			turn++
			return agenttest.Dialer(n.addr)()
		},
	})
	c.eventually("a sees it", func() bool { return a.hub.Connected("m") })
	a.hub.Send(orders("m", 300, long))
	c.eventually("b has offered", func() bool { return b.hub.Status().InFlight > 0 && b.hub.Status().Queued > 0 })
	b.kill()
	a.hub.Inventory().RemoveNode(b.id)
	c.nodes[2].hub.Inventory().RemoveNode(b.id)
	a.await(300, "succeeded", inState(job.StateSucceeded))
	if m.Executed() != 300 {
		t.Errorf("executed %d", m.Executed())
	}
	if k := a.count(func(r *job.Report) bool { return r.State != job.StateSucceeded }); k != 0 {
		t.Errorf("%d other reports", k)
	}
}

func TestI6_UnsettledAtADeadPeerIsIndeterminate(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, nil)
	a, b := c.nodes[0], c.nodes[1]
	c.minion(agenttest.Config{ID: "m", Take: func(*agentpb.Offer) bool { return false }, Reconnect: time.Hour}, b)
	c.eventually("a sees it", func() bool { return a.hub.Connected("m") })
	a.hub.Send(orders("m", 2, long))
	c.eventually("b has offered", func() bool { return b.hub.Status().InFlight > 0 })
	b.kill()
	a.hub.Inventory().RemoveNode(b.id)
	c.eventually("they are indeterminate when their time is over", func() bool {
		a.hub.SweepAt(time.Now().Add(2 * long))
		return a.count(inState(job.StateIndeterminate)) == 2
	})
	if k := a.count(inState(job.StateDeliveryTimeout)); k != 0 {
		t.Errorf("%d delivery timeouts", k)
	}
}

func TestI1_EndAtAPeerIsReportedToTheOwnerOnce(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, func(cfg *agentpush.Config) { cfg.TopicDepth, cfg.OfferMax = 4, 2 })
	a, b := c.nodes[0], c.nodes[1]
	c.minion(agenttest.Config{ID: "m", Take: func(*agentpb.Offer) bool { return false }, Reconnect: time.Hour}, b)
	c.eventually("a sees it", func() bool { return a.hub.Connected("m") })
	a.hub.Send(orders("m", 1, long))
	c.eventually("b has offered", func() bool { return b.hub.Status().InFlight == 1 })
	a.hub.Send(orders("m", 6, long/2))
	a.await(2, "dropped", inState(job.StateDropped))
	b.hub.SweepAt(time.Now().Add(long / 2))
	a.await(4, "delivery timeout", inState(job.StateDeliveryTimeout))
	seen := map[job.TaskID]int{}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.reports {
		if seen[r.Task]++; seen[r.Task] > 1 {
			t.Errorf("reported again: %+v", r)
		}
	}
}

func TestWaitingOrdersFollowPresence(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, nil)
	a, b := c.nodes[0], c.nodes[1]
	a.hub.Send(orders("m", 3, long))
	b.hub.Send(orders("m", 2, long))
	m := c.minion(agenttest.Config{ID: "m"}, b)
	a.await(5, "succeeded", inState(job.StateSucceeded))
	if m.Executed() != 5 {
		t.Errorf("executed %d", m.Executed())
	}
}

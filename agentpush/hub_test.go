package agentpush_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-cron/carillon/agentpush"
	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/agentpush/agenttest"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
)

func TestOrderIsTakenAndReported(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	n := c.nodes[0]
	m := c.minion(agenttest.Config{ID: "m1", Labels: map[string]string{"os": "linux"}, Spool: true}, n)
	if got := n.hub.Match(job.Target{Labels: map[string]string{"os": "linux"}}); !cmp.Equal(got, []job.MinionID{"m1"}) {
		t.Fatalf("match: %v", got)
	}
	for expr, want := range map[string]int{`m[1-9] and os == "linux"`: 1, `m2`: 0, `os != linux`: 0, `not nope == 1`: 0, `@unsaved`: 0, `(`: 0} {
		if got := n.hub.Match(job.Target{Match: expr}); len(got) != want {
			t.Errorf("match %s: %v, want %d", expr, got, want)
		}
	}
	inv := n.hub.Inventory()
	matched := func(why string, want int) {
		t.Helper()
		if got := n.hub.Match(job.Target{Match: "@late"}); len(got) != want {
			t.Errorf("%s: match %v, want %d", why, got, want)
		}
	}
	matched("a group that is not saved", 0)
	if err := inv.SetHostGroup("late", "m*"); err != nil {
		t.Error(err)
	}
	matched("a group that is saved later", 1)
	if err := inv.SetHostGroup("late", "m["); err == nil {
		t.Error("a group that cannot be read is taken")
	}
	matched("a group that cannot be read", 0)
	_ = inv.SetHostGroup("late", "m1")
	inv.RemoveHostGroup("late")
	matched("a group that is gone", 0)
	if got := n.hub.Match(job.Target{Match: "m1", Names: []string{"x*"}}); len(got) != 0 {
		t.Errorf("names and match must both admit a minion: %v", got)
	}
	if !n.hub.Connected("m1") || n.hub.Connected("m2") {
		t.Fatal("connected is wrong")
	}
	os := orders("m1", 3, long)
	n.hub.Send(os)
	got := n.await(3, "succeeded", inState(job.StateSucceeded))
	if got[0].Task.Minion != "m1" || got[0].Shard != 7 || !got[0].Spooled {
		t.Errorf("report: %+v", got[0])
	}
	if m.Unacked() != 3 {
		t.Errorf("unacked: %d", m.Unacked())
	}
	n.hub.Ack([]job.TaskID{os[0].Task, os[1].Task, os[2].Task})
	c.eventually("all is acknowledged", func() bool { return m.Unacked() == 0 })

	refs := []job.Ref{{Task: orders("m1", 1, 0)[0].Task, Shard: 7}}
	n.hub.Ask(append(refs, job.Ref{Task: os[0].Task, Shard: 7}))
	n.unknown(refs)
	n.hub.Cancel([]job.Ref{{Task: orders("m1", 1, 0)[0].Task, Shard: 7}}, "by request")
	n.await(1, "cancelled", func(r *job.Report) bool { return r.State == job.StateCancelled && r.Reason == "by request" })
	c.eventually("the minion is described", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.minions["m1"].Labels["os"] == "linux"
	})
}

func TestI1_ExpiredInTheTopicIsDeliveryTimeout(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	n := c.nodes[0]
	n.hub.Send(orders("nobody", 2, 100*time.Millisecond))
	for _, r := range n.await(2, "delivery timeout", inState(job.StateDeliveryTimeout)) {
		if !r.Known || !strings.Contains(r.Reason, "never reached the minion") {
			t.Errorf("report: %+v", r)
		}
	}
	c.eventually("nothing is left", func() bool { return len(n.hub.Status().Minions) == 0 })
}

func TestI1_WaitsForTheMinion(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	n := c.nodes[0]
	n.hub.Send(orders("late", 2, long))
	if st := n.hub.Status(); st.Queued != 2 || st.Minions[0].Oldest <= 0 {
		t.Fatalf("status: %+v", st)
	}
	c.minion(agenttest.Config{ID: "late"}, n)
	n.await(2, "succeeded", inState(job.StateSucceeded))
}

// raw is a stream that does nothing by itself.
type raw struct {
	c      *cluster
	stream grpc.BidiStreamingClient[agentpb.FromMinion, agentpb.ToMinion]
	frames chan *agentpb.ToMinion
}

func (c *cluster) raw(id string, n *node, version ...string) *raw {
	c.t.Helper()
	conn, err := agenttest.Dialer(n.addr)()
	if err != nil {
		c.t.Fatal(err)
	}
	stream, err := agentpb.NewPushClient(conn).Session(context.Background())
	if err != nil {
		c.t.Fatal(err)
	}
	r := &raw{c: c, stream: stream, frames: make(chan *agentpb.ToMinion, 100)} // more than a test needs
	c.t.Cleanup(func() {
		_ = conn.Close()
		for range r.frames {
		}
	})
	r.send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Hello{Hello: &agentpb.Hello{Minion: id, Instance: "i", Protocol: agentpb.Protocol, Version: strings.Join(version, "")}}})
	go func() {
		defer close(r.frames)
		for {
			f, err := stream.Recv()
			if err != nil {
				return
			}
			r.frames <- f
		}
	}()
	if w := r.next().GetWelcome(); w.GetNode() != string(n.id) || w.GetSession() == 0 || w.GetBeatEvery() == 0 || len(w.GetServers()) == 0 {
		c.t.Fatalf("welcome: %v", w)
	}
	return r
}

func (r *raw) send(f *agentpb.FromMinion) {
	r.c.t.Helper()
	if err := r.stream.Send(f); err != nil {
		r.c.t.Fatal(err)
	}
}

func (r *raw) taken(seq uint64) {
	r.c.t.Helper()
	r.send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Taken{Taken: &agentpb.Taken{Seq: seq}}})
}

func (r *raw) next() *agentpb.ToMinion {
	r.c.t.Helper()
	return await.From(r.c.t, "a frame", r.frames)
}

func TestI3_OneOfferAtATime(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, func(cfg *agentpush.Config) { cfg.OfferMax = 4 })
	n := c.nodes[0]
	r := c.raw("raw", n)
	os := orders("raw", 10, long)
	n.hub.Send(os)
	for i, want := range []int{4, 4, 2} {
		offer := r.next().GetOffer()
		if len(offer.GetOrders()) != want {
			t.Fatalf("offer %d has %d orders", i, len(offer.GetOrders()))
		}
		// An acknowledgement passes, a second offer does not; a wrong number
		// frees nothing.
		r.taken(offer.GetSeq() + 1)
		n.hub.Ack([]job.TaskID{os[0].Task})
		if f := r.next(); f.GetAck() == nil {
			t.Fatalf("frame while an offer is out: %v", f)
		}
		if st := n.hub.Status(); st.InFlight != want {
			t.Fatalf("in flight: %d", st.InFlight)
		}
		r.taken(offer.GetSeq())
	}
	c.eventually("the slot is free", func() bool { return n.hub.Status().InFlight == 0 })
}

func TestI1_OfferNotTakenInALiveSession(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	n := c.nodes[0]
	r := c.raw("raw", n)
	os := orders("raw", 2, long)
	n.hub.Send(os)
	offer := r.next().GetOffer()
	n.hub.SweepAt(os[0].NotAfter.Add(agentpush.Grace - time.Second))
	if k := n.count(inState(job.StateIndeterminate)); k != 0 {
		t.Errorf("%d reports before the grace is over", k)
	}
	for range 2 {
		n.hub.SweepAt(os[0].NotAfter.Add(agentpush.Grace))
	}
	if st := n.hub.Status(); st.InFlight != 2 || st.Connected != 1 {
		t.Errorf("status: %+v", st)
	}
	n.await(2, "indeterminate", inState(job.StateIndeterminate))
	r.taken(offer.GetSeq())
	c.eventually("nothing is held", func() bool { st := n.hub.Status(); return st.InFlight+st.Queued == 0 })
	if k := n.count(func(*job.Report) bool { return true }); k != 2 {
		t.Errorf("%d reports", k)
	}
}

func TestI9_ReportsSpeakOfTheirMinion(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	n := c.nodes[0]
	r := c.raw("liar", n)
	report := agentpb.FromReport(&job.Report{Task: orders("victim", 1, 0)[0].Task, Shard: 7, Known: true, State: job.StateSucceeded, Instance: "another"})
	r.send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Reports{Reports: &agentpb.Reports{Reports: []*agentpb.Report{{}, report}}}})
	if got := n.await(1, "succeeded", inState(job.StateSucceeded)); got[0].Task.Minion != "liar" || got[0].Instance != "i" {
		t.Errorf("report: %+v", got[0])
	}
}

// TestRefusalReachesTheOwner: that a minion has not taken an order, as one with a
// token that is not good there, is told to the owner, though it says nothing of the
// task. An end of a task that the minion does not know is no report.
func TestRefusalReachesTheOwner(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	n := c.nodes[0]
	r := c.raw("m", n)
	task := orders("m", 1, 0)[0].Task
	var reports []*agentpb.Report
	for _, s := range []job.State{job.StateSucceeded, job.StateRejected} {
		reports = append(reports, agentpb.FromReport(&job.Report{Task: task, Shard: 7, State: s, Reason: "stale token"}))
	}
	r.send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Reports{Reports: &agentpb.Reports{Reports: reports}}})
	if got := n.await(1, "rejected", inState(job.StateRejected)); got[0].Known || got[0].Reason != "stale token" {
		t.Errorf("report: %+v", got[0])
	}
	if k := n.count(func(*job.Report) bool { return true }); k != 1 {
		t.Errorf("%d reports", k)
	}
}

func TestI6_HolderForgetsWhatABrokenLinkBrought(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	n := c.nodes[0]
	conn, err := agenttest.Dialer(n.addr)()
	if err != nil {
		t.Fatal(err)
	}
	link, err := agentpb.NewPeerClient(conn).Link(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b := &agentpb.Batch{First: 1}
	os := orders("ghost", 3, long)
	for i := range os {
		b.Orders = append(b.Orders, agentpb.FromOrder(&os[i]))
	}
	for _, f := range []*agentpb.PeerFrame{
		{Body: &agentpb.PeerFrame_Hello{Hello: &agentpb.PeerHello{Node: "node-x"}}},
		{Body: &agentpb.PeerFrame_Batch{Batch: b}},
	} {
		if err := link.Send(f); err != nil {
			t.Fatal(err)
		}
	}
	c.eventually("the orders wait", func() bool { return n.hub.Status().Queued == 3 })
	_ = conn.Close()
	c.eventually("they are forgotten", func() bool { return n.hub.Status().Queued == 0 })
	n.hub.SweepAt(time.Now().Add(2 * time.Hour))
	if k := n.count(func(*job.Report) bool { return true }); k != 0 {
		t.Errorf("%d reports: the sender answers for them", k)
	}
}

func TestI8_ReportWithoutOwnerIsGivenUp(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	n := c.nodes[0]
	c.own(7, "")
	c.own(8, n.id)
	n.hub.Send(orders("nobody", 1, time.Millisecond))
	c.eventually("the report is given up", func() bool {
		n.hub.SweepAt(time.Now().Add(2 * long))
		return n.hub.Lost() == 1
	})
	c.own(7, n.id)
	os := orders("nobody", 1, time.Millisecond)
	os[0].Shard = 8
	n.hub.Send(os)
	n.await(1, "the later one", func(r *job.Report) bool { return r.Shard == 8 })
	if k := n.count(func(r *job.Report) bool { return r.Shard == 7 }); k != 0 {
		t.Error("the report came after it was given up")
	}
}

func TestI7_FullTopicDropsTheOldest(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, func(cfg *agentpush.Config) { cfg.TopicDepth = 5 })
	n := c.nodes[0]
	os := orders("m", 8, long)
	n.hub.Send(os)
	got := n.await(3, "dropped", inState(job.StateDropped))
	var dropped, want []job.TaskID
	for i, r := range got {
		dropped = append(dropped, r.Task)
		want = append(want, os[i].Task)
	}
	if diff := cmp.Diff(want, dropped); diff != "" {
		t.Errorf("not the oldest were dropped: %s", diff)
	}
	if st := n.hub.Status(); st.Dropped != 3 || st.Queued != 5 {
		t.Errorf("status: %+v", st)
	}
	c.minion(agenttest.Config{ID: "m"}, n)
	n.await(5, "succeeded", inState(job.StateSucceeded))
	if n.count(inState(job.StateDropped)) != 3 {
		t.Error("dropped more than once")
	}
}

func TestI4_OfferedAndNotTakenIsIndeterminate(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, func(cfg *agentpush.Config) { cfg.TopicDepth = 5 })
	n := c.nodes[0]
	m := c.minion(agenttest.Config{ID: "m", Take: func(*agentpb.Offer) bool { return false }}, n)
	n.hub.Send(orders("m", 2, long))
	c.eventually("offered", func() bool { return n.hub.Status().InFlight > 0 })
	m.Away(true)
	c.eventually("it has left", func() bool { return n.hub.Status().Connected == 0 })
	n.hub.SweepAt(time.Now().Add(2 * long))
	for _, r := range n.await(2, "indeterminate", inState(job.StateIndeterminate)) {
		if !strings.Contains(r.Reason, "has not said whether it accepted") {
			t.Errorf("reason: %s", r.Reason)
		}
	}
	if k := n.count(inState(job.StateDeliveryTimeout)); k != 0 {
		t.Errorf("%d delivery timeouts: they may be tried elsewhere", k)
	}
}

func TestI4_ReofferedAfterReconnectWithoutDouble(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, func(cfg *agentpush.Config) { cfg.OfferMax = 50 })
	n := c.nodes[0]
	// Now and then the session is cut while an offer's tasks run: the offer has no
	// answer and comes again.
	var m *agenttest.Minion
	var ran atomic.Int64
	m = c.start(agenttest.Config{ID: "m", Spool: true, Answer: func(o *job.Order) job.Report {
		if ran.Add(1)%70 == 0 {
			go m.Disconnect()
		}
		return job.Report{Task: o.Task, Shard: o.Shard, Known: true, State: job.StateSucceeded}
	}}, n)
	const count = 900
	n.hub.Send(orders("m", count, long))
	seen := map[job.TaskID]bool{}
	c.eventually("every task is reported", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		for i := range n.reports {
			if n.reports[i].State == job.StateSucceeded {
				seen[n.reports[i].Task] = true
			}
		}
		return len(seen) == count
	})
	if m.Executed() != count {
		t.Errorf("executed %d tasks", m.Executed())
	}
	if m.Sessions() < 3 {
		t.Errorf("only %d sessions: nothing was tested", m.Sessions())
	}
	t.Logf("%d sessions, %d orders repeated", m.Sessions(), m.Repeated())
}

func TestI5_StalledMinionDelaysNobody(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	n := c.nodes[0]
	const stalled, healthy = 40, 10
	for i := range stalled {
		m := c.minion(agenttest.Config{ID: job.MinionID(fmt.Sprintf("stalled-%02d", i))}, n)
		m.Stall(true)
	}
	fat := strings.Repeat("x", 100<<10)
	for i := range stalled {
		os := orders(job.MinionID(fmt.Sprintf("stalled-%02d", i)), 20, long)
		for j := range os {
			os[j].Env = map[string]string{"FAT": fat}
		}
		n.hub.Send(os)
		c.eventually("the offer is out", func() bool { return n.hub.Status().Minions[i].InFlight > 0 })
		// Acknowledgements need no slot: they fill the stream, and block its pump.
		acks := make([]job.TaskID, 10_000)
		for j := range acks {
			acks[j] = os[0].Task
		}
		n.hub.Ack(acks)
	}
	for i := range healthy {
		c.minion(agenttest.Config{ID: job.MinionID(fmt.Sprintf("healthy-%d", i))}, n)
	}
	for i := range healthy {
		n.hub.Send(orders(job.MinionID(fmt.Sprintf("healthy-%d", i)), 100, long))
	}
	n.await(healthy*100, "succeeded", func(r *job.Report) bool {
		return r.State == job.StateSucceeded && strings.HasPrefix(string(r.Task.Minion), "healthy")
	})
	// Theirs are still stuck: whoever waited for them would wait now.
	if st := n.hub.Status(); st.Connected != stalled+healthy {
		t.Errorf("%d of %d are connected", st.Connected, stalled+healthy)
	}
	if k := n.count(func(r *job.Report) bool { return strings.HasPrefix(string(r.Task.Minion), "stalled") }); k != 0 {
		t.Errorf("stalled minions have reported %d times", k)
	}
}

func TestI2_SameInstanceReplacesItsSession(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	n := c.nodes[0]
	a := c.minion(agenttest.Config{ID: "m", Instance: "same", Reconnect: time.Hour}, n)
	b := c.minion(agenttest.Config{ID: "m", Instance: "same"}, n)
	c.eventually("the first has lost its session", func() bool { return !a.Connected() })
	n.hub.Send(orders("m", 1, long))
	n.await(1, "succeeded", inState(job.StateSucceeded))
	if b.Executed() != 1 {
		t.Error("the newer session did not get the order")
	}
}

func TestI2_SecondLiveProcessIsRefused(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	n := c.nodes[0]
	a := c.minion(agenttest.Config{ID: "m", Instance: "first"}, n)
	b := c.start(agenttest.Config{ID: "m", Instance: "second"}, n)
	c.eventually("the second is refused", func() bool { return b.LastError() != nil })
	err := b.LastError()
	if status.Code(err) != codes.AlreadyExists || !strings.Contains(err.Error(), "first") || !strings.Contains(err.Error(), "second") {
		t.Errorf("error: %v", err)
	}
	n.hub.Send(orders("m", 1, long))
	n.await(1, "succeeded", inState(job.StateSucceeded))
	if a.Executed() != 1 || a.Sessions() != 1 || b.Sessions() != 0 {
		t.Errorf("first: %d executed, %d sessions; second: %d sessions", a.Executed(), a.Sessions(), b.Sessions())
	}
}

func TestI2_SilentProcessGivesWay(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, func(cfg *agentpush.Config) { cfg.ProbeWait = 100 * time.Millisecond })
	n := c.nodes[0]
	a := c.minion(agenttest.Config{ID: "m", Instance: "first", Reconnect: time.Hour}, n)
	a.Stall(true)
	b := c.minion(agenttest.Config{ID: "m", Instance: "second"}, n)
	n.hub.Send(orders("m", 1, long))
	n.await(1, "succeeded", inState(job.StateSucceeded))
	if b.Executed() != 1 {
		t.Error("the second process did not get the order")
	}
}

func TestMissedBeatsCloseTheSession(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, func(cfg *agentpush.Config) { cfg.BeatEvery = 100 * time.Millisecond })
	n := c.nodes[0]
	m := c.start(agenttest.Config{ID: "m", BeatEvery: -1, Reconnect: time.Hour}, n)
	c.eventually("the session is closed", func() bool { return m.Sessions() == 1 && !m.Connected() && !n.hub.Connected("m") })
	if err := m.LastError(); err == nil || !strings.Contains(err.Error(), "no beat in time") {
		t.Errorf("error: %v", err)
	}
}

func TestHelloIsChecked(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	for _, tc := range []struct {
		hello *agentpb.Hello
		code  codes.Code
		word  string
	}{
		{&agentpb.Hello{Minion: "a/b", Instance: "i", Protocol: 1}, codes.InvalidArgument, "minion id"},
		{&agentpb.Hello{Minion: "a", Instance: "i", Protocol: 99}, codes.FailedPrecondition, "protocol 99"},
		{&agentpb.Hello{Minion: "a", Protocol: 1}, codes.InvalidArgument, "instance"},
	} {
		conn, err := agenttest.Dialer(c.nodes[0].addr)()
		if err != nil {
			t.Fatal(err)
		}
		stream, err := agentpb.NewPushClient(conn).Session(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = stream.Send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Hello{Hello: tc.hello}})
		_, err = stream.Recv()
		if status.Code(err) != tc.code || !strings.Contains(err.Error(), tc.word) {
			t.Errorf("hello %v: %v", tc.hello, err)
		}
		_ = conn.Close()
	}
}

func TestOutput(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, nil)
	text := strings.Repeat("0123456789abcdef", 5000)
	c.minion(agenttest.Config{ID: "m", Output: func(id job.TaskID) ([]byte, error) {
		if id.Attempt == 2 {
			return nil, errors.New("no output of this attempt")
		}
		return []byte(text), nil
	}}, c.nodes[1])
	c.eventually("all know where it is", func() bool { return c.nodes[0].hub.Connected("m") && c.nodes[1].hub.Connected("m") })
	id := orders("m", 1, 0)[0].Task
	for _, n := range c.nodes {
		var got strings.Builder
		err := n.hub.Output(t.Context(), id, false, func(stream int, data []byte, _ int64) error {
			if stream != 1 {
				t.Errorf("stream %d", stream)
			}
			got.Write(data)
			return nil
		})
		if err != nil || got.String() != text {
			t.Errorf("%s: %d bytes, %v", n.id, got.Len(), err)
		}
		bad := id
		bad.Attempt = 2
		if err := n.hub.Output(t.Context(), bad, false, nil); err == nil || !strings.Contains(err.Error(), "no output of this attempt") {
			t.Errorf("%s: %v", n.id, err)
		}
		stop := errors.New("enough")
		if err := n.hub.Output(t.Context(), id, true, func(int, []byte, int64) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("%s: %v", n.id, err)
		}
		bad.Minion = "absent"
		if err := n.hub.Output(t.Context(), bad, false, nil); !errors.Is(err, job.ErrUnavailable) {
			t.Errorf("%s: %v", n.id, err)
		}
	}
}

func TestLiveRuns(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	for i, n := range c.nodes {
		n.live = []job.Run{{FireID: orders("m", 1, 0)[0].Task.Fire, RunID: job.RunID(fmt.Sprintf("run-%d", i)), ScheduledAt: time.Unix(int64(i), 0).UTC()}}
		n.liveOf = []job.ShardID{job.ShardID(10 + i)}
	}
	ids := func(runs []job.Run) (out []job.RunID) {
		for _, r := range runs {
			out = append(out, r.RunID)
		}
		return out
	}
	var runs []job.Run
	var of []job.ShardID
	var err error
	c.eventually("all have answered", func() bool { // a peer may take longer than gRPC waits for a connection
		runs, of, err = c.nodes[0].hub.LiveRuns(t.Context(), "", "")
		return err == nil
	})
	if !cmp.Equal(ids(runs), []job.RunID{"run-2", "run-1", "run-0"}) || !cmp.Equal(of, []job.ShardID{10, 11, 12}) {
		t.Errorf("%v of %v, %v", ids(runs), of, err)
	}
	c.nodes[2].kill()
	runs, of, err = c.nodes[0].hub.LiveRuns(t.Context(), "", "")
	if err == nil || !cmp.Equal(ids(runs), []job.RunID{"run-1", "run-0"}) || !cmp.Equal(of, []job.ShardID{10, 11}) {
		t.Errorf("with a dead peer: %v of %v, %v", ids(runs), of, err)
	}
}

func TestDrainSendsMinionsAway(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, nil)
	a, b := c.nodes[0], c.nodes[1]
	var ms []*agenttest.Minion
	for i := range 20 {
		ms = append(ms, c.minion(agenttest.Config{ID: job.MinionID(fmt.Sprintf("m%d", i))}, a, b))
	}
	a.hub.Drain(t.Context(), 10*time.Second) // they leave within the first half of it
	for _, m := range ms {
		c.eventually("the minion is at the other node", func() bool { return m.Connected() && m.Sessions() >= 2 })
	}
	c.eventually("none is left, and all are there", func() bool { return a.hub.Status().Connected == 0 && b.hub.Status().Connected == 20 })
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	_, err := agentpush.New(agentpush.Config{Node: "a b", TopicDepth: -1}, agentpush.Deps{})
	for _, want := range []string{"node", "topic depth is -1", "Directory"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not speak of %q", err, want)
		}
	}
}

func TestFanOutToManyMinions(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	n := c.nodes[0]
	minions := 500
	if testing.Short() {
		minions = 200
	}
	for i := range minions {
		c.start(agenttest.Config{ID: job.MinionID(fmt.Sprintf("m%04d", i)), Labels: map[string]string{"role": "web"}}, n)
	}
	c.eventually("all are connected", func() bool { return n.hub.Status().Connected == minions })
	ids := n.hub.Match(job.Target{Labels: map[string]string{"role": "web"}, Run: job.SpreadAll})
	if len(ids) != minions {
		t.Fatalf("matched %d", len(ids))
	}
	one := orders("", 1, long)[0]
	all := make([]job.Order, minions)
	for i, id := range ids {
		all[i] = one
		all[i].Task.Minion = id
	}
	n.hub.Send(all)
	n.await(minions, "succeeded", inState(job.StateSucceeded))
}

// TestPeerThatSaysNothing: a listener that accepts and says nothing must not hold
// anything up.
func TestPeerThatSaysNothing(t *testing.T) {
	t.Parallel()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lis.Close() }()
	c := newCluster(t, 2, func(cfg *agentpush.Config) { cfg.PeerWait = 2 * time.Second })
	n := c.nodes[0]
	c.lead("node-1", lis.Addr().String())
	n.hub.Inventory().SetPresence("node-1", 0, []agentpush.Present{{ID: "far", Session: 1}})
	n.hub.Send(orders("far", 1, 700*time.Millisecond))
	r := n.await(1, "an end", func(r *job.Report) bool { return r.State.Final() })
	if r[0].State != job.StateDeliveryTimeout {
		t.Errorf("report: %+v", r[0])
	}
	if _, _, err := n.hub.LiveRuns(t.Context(), "", ""); err == nil {
		t.Error("live runs: no error, want one that tells of who does not answer")
	}
	// Orders wait while there is no way, and go once there is one.
	m := c.minion(agenttest.Config{ID: "near"}, c.nodes[1])
	c.eventually("seen", func() bool { return n.hub.Connected("near") })
	n.hub.Send(orders("near", 5, long))
	c.eventually("they wait here", func() bool { return n.hub.Status().Queued == 5 })
	c.lead("node-1", "")
	n.await(5, "succeeded", inState(job.StateSucceeded))
	if m.Executed() != 5 {
		t.Errorf("executed %d", m.Executed())
	}
}

// TestRevokedWhileItSaysHello: a minion whose certificate is revoked between the
// look at it and its session's begin has no session.
func TestRevokedWhileItSaysHello(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	n := c.nodes[0]
	var looks atomic.Int32
	hub, err := agentpush.New(agentpush.Config{Node: n.id}, agentpush.Deps{
		Directory: c, Sink: n, Registry: n, Texts: n,
		Caller: func(context.Context) (agentpush.Caller, error) {
			if looks.Add(1) > 1 {
				return agentpush.Caller{}, errors.New("revoked")
			}
			return agentpush.MinionCaller("m1"), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = hub.Run(ctx)
	}()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(agentpush.ServerOptions()...)
	hub.Register(srv)
	go func() { _ = srv.Serve(lis) }()
	t.Cleanup(func() {
		srv.Stop()
		stop()
		<-done
	})
	conn, err := agenttest.Dialer(lis.Addr().String())()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	stream, err := agentpb.NewPushClient(conn).Session(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Hello{Hello: &agentpb.Hello{Minion: "m1", Instance: "i", Protocol: agentpb.Protocol}}}); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = stream.Recv()
	}
	if s := status.Convert(err); s.Code() != codes.Aborted || !strings.Contains(s.Message(), "revoked") {
		t.Errorf("its session ended with %v", err)
	}
	if got := hub.Match(job.Target{Names: []string{"m1"}}); len(got) != 0 {
		t.Errorf("it still gets orders: %v", got)
	}
}

package agentpush

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
)

// Minions choose their node at random, so they are spread evenly at first. A
// node that was away comes back to none, and its peers keep what they took over.
// So each node looks how many minions the others have, and asks some of its own
// to go to those that have fewer. It does so when the odds have lasted for a
// while, for a tenth of them at most at a time, and asks idle ones first: no
// storm comes of it, and nothing is lost, as with any session that ends.

// slack is how many minions more than the mean a node keeps at least.
const slack = 8

// balance has minions go to nodes that have fewer, or to any other node when this
// one leaves.
type balance struct {
	*base
	life      *lifetime
	channels  *channels
	inventory *Inventory
	pumps     *pumps
	sessions  *sessions
	admission *admission
	// The sweeper uses the following alone. over is since when the node has had too many; 0: it has not. looked is when
	// it looked last.
	over, looked int64
	// left is when all were asked last to go to another cluster.
	left int64
}

// excess returns how many minions a node should give away, of those it has, when
// all nodes have total.
func excess(own, total, nodes int) int {
	mean := total / max(nodes, 1)
	if nodes < 2 || own <= mean+max(mean/10, slack) {
		return 0
	}
	return own - mean
}

// check asks minions to go elsewhere when this node has had more than its
// share for a while.
func (b *balance) check(now int64) {
	nodes := b.directory.Nodes()
	counts := b.inventory.perNode()
	own, total := int(b.sessions.connected.Load()), 0
	for _, n := range nodes {
		if n == b.cfg.Node {
			total += own
		} else {
			total += counts[n]
		}
	}
	n := excess(own, total, len(nodes))
	if len(nodes) > 0 && !slices.Contains(nodes, b.cfg.Node) {
		n = own // an operator drains it
	}
	switch {
	case n == 0 || b.admission.draining.Load():
		b.over = 0
		return
	case b.over == 0:
		b.over = now
		return
	case now-b.over < int64(b.cfg.RebalanceAfter):
		return
	}
	b.over = now
	var servers []string
	for _, node := range nodes {
		if addr, ok := b.directory.PeerAddr(node); ok && node != b.cfg.Node && counts[node] <= total/len(nodes) {
			servers = append(servers, addr)
		}
	}
	if len(servers) == 0 {
		return
	}
	n = min(n, max(own/10, slack))
	b.log.Info("asking minions to go to nodes that have fewer", zap.Int("minions", n), zap.Int("connected", own), zap.Int("mean", total/len(nodes)))
	b.sendAway(b.pickIdle(n), servers, b.cfg.RebalanceAfter/2)
}

// pickIdle returns n channels with a session, any of them, idle minions first.
func (b *balance) pickIdle(n int) []*channel {
	all := b.channels.all()
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	var idle, busy []*channel
	for _, c := range all {
		c.mu.Lock()
		connected, free := c.session != nil, !c.offered && c.topic.len() == 0
		c.mu.Unlock()
		switch {
		case !connected:
		case free && b.inventory.locals.running(c.id) == 0:
			idle = append(idle, c)
		default:
			busy = append(busy, c)
		}
	}
	all = append(idle, busy...)
	return all[:min(n, len(all))]
}

// leave asks all minions to go to another cluster, if this one is not the active one of two.
func (b *balance) leave(now int64) {
	if b.admission.away == nil || b.admission.away() == "" || now-b.left < int64(leaveEvery) {
		return
	}
	b.left = now
	if n := b.sessions.connected.Load(); n > 0 {
		b.log.Info("asking all minions to go to the other cluster", zap.Int64("minions", n))
		b.sendAway(b.channels.all(), nil, leaveEvery/2)
	}
}

// leaveEvery is how often minions are asked that do not leave.
const leaveEvery = time.Second

// sendAway asks minions to connect to other servers, each at a moment of its own
// within the given time.
func (b *balance) sendAway(channels []*channel, servers []string, within time.Duration) {
	for _, c := range channels {
		c.mu.Lock()
		if s := c.session; s != nil {
			s.control = append(s.control, &agentpb.ToMinion{Body: &agentpb.ToMinion_Drain{
				Drain: &agentpb.Drain{Servers: servers, Within: int64(within)},
			}})
			b.pumps.kick(c)
		}
		c.mu.Unlock()
	}
}

// perDrain is how long a draining node takes for each of its minions, and
// longestDrain for all of them, so that the others are not overrun.
const (
	perDrain     = time.Millisecond
	longestDrain = 30 * time.Second
)

// Drain asks all minions to connect elsewhere, spread over the given time or,
// where there are many and there is an elsewhere, a longer one, and takes no new
// ones. It returns when they have left, when the time is over, or when ctx is
// done.
func (b *balance) drain(ctx context.Context, within time.Duration) {
	b.admission.draining.Store(true)
	own, _ := b.directory.PeerAddr(b.cfg.Node)
	servers := slices.DeleteFunc(slices.Clone(b.directory.Servers()), func(a string) bool { return a == own })
	if len(servers) > 0 {
		within = max(within, min(time.Duration(b.sessions.connected.Load())*perDrain, longestDrain))
	}
	// The minions spread themselves over the time that they are given.
	b.sendAway(b.channels.all(), servers, within/2)
	over := time.NewTimer(within)
	defer over.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for b.sessions.connected.Load() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-b.life.ctx.Done():
			return
		case <-over.C:
			return
		case <-tick.C:
		}
	}
}
